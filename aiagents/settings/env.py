"""Every environment variable the product reads, typed and checked once.

`.env.example` documents the same names; `tests/test_settings.py` keeps the two equal.
"""

from __future__ import annotations

import ipaddress
from decimal import Decimal
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

ROOT = Path(__file__).resolve().parents[2]
List = Annotated[list[str], NoDecode]


class Env(BaseSettings):
    """What an operator may set. Units stand in the name or the description."""

    model_config = SettingsConfigDict(env_file=ROOT / ".env", extra="ignore", env_ignore_empty=True)

    # The product
    environment: str = Field("development", description="`production` refuses unsafe settings at start")
    debug: bool = False
    secret_key: SecretStr | None = Field(None, description="signs sessions and tokens; made under DATA_DIR when unset")
    encryption_keys: List = Field([], description="Fernet keys, newest first, for provider keys at rest")
    site_url: str = Field("", description="public address, e.g. https://ai.example.com; used in links")
    allowed_hosts: List = ["localhost", "127.0.0.1", "[::1]"]
    csrf_trusted_origins: List = []
    cors_allowed_origins: List = []
    websocket_origins: List = Field([], description="further full origins that may open the WebSocket")
    trusted_proxies: List = Field([], description="CIDRs of proxies whose X-Forwarded-For is believed")

    # Where things run
    host: str = "127.0.0.1"
    port: int = 8000
    web_processes: int = Field(1, description="Daphne processes on the one listening socket")
    data_dir: Path = Field(ROOT / ".data", description="embedded servers, secret, logs")
    database_url: str = Field("", description="postgres://… or sqlite:///…; empty: the embedded PostgreSQL")
    redis_url: str = Field("", description="redis://… or unix://…; empty: the embedded Valkey")
    database_pool_size: int = Field(12, description="PostgreSQL connections per process")
    database_prepare: bool = Field(True, description="prepare the ledger's statements; off behind a pooler in transaction mode")

    # Sessions and limits
    access_token_minutes: int = 15
    refresh_token_days: int = 14
    refresh_grace_seconds: int = Field(10, description="a second tab may repeat a refresh this long")
    password_reset_minutes: int = Field(1440, ge=1, description="minutes for which a one-time link to set a password works")
    rate_limit_requests: int = Field(120, description="requests per window and caller")
    rate_limit_window: int = Field(60, description="seconds")
    rate_limit_admin_requests: int = Field(0, description="the same for the admin role; 0: as for everybody")
    rate_limit_anonymous_requests: int = Field(0, description="the same for an address without a credential; 0: as for everybody")
    rate_limit_ip_requests: int = Field(
        0, description="one address, whoever signs in from there; 0: signed-in requests count by user and key"
    )
    login_limit_ip: str = "30/5m"
    login_limit_account: str = "10/5m"
    max_body_bytes: int = Field(12 * 1024 * 1024, description="largest request body")
    cache_enabled: bool = Field(True, description="remember principals, models, connections and messages between requests")
    drain_seconds: int = Field(20, description="grace for running turns at shutdown")

    # Money
    budget_time_zone: str = Field("UTC", description="zone in which a budget's month begins")
    monthly_cost_limit: Decimal | None = Field(None, description="USD per month for the whole system")
    default_user_monthly_limit: Decimal | None = Field(Decimal("50"), description="USD per month for a new user")

    # E-mail
    email_url: SecretStr | None = Field(None, description="smtp://user:password@host:587 or smtps://…; unset: printed to the console")
    email_from: str = Field("aiagents@localhost", description="sender of what the product mails")

    # Vendors. A missing key means: this vendor's answers come from the simulator when SIMULATOR is on.
    openai_api_key: SecretStr | None = None
    openai_base_url: str = ""
    anthropic_api_key: SecretStr | None = None
    anthropic_base_url: str = ""
    google_api_key: SecretStr | None = None
    google_base_url: str = ""
    simulator: bool = Field(False, description="serve vendors without a key from the loopback simulator")
    simulator_port: int = Field(0, description="0: PORT + 99")

    llm_connect_timeout: float = Field(5, description="seconds to open a connection to a vendor")
    llm_first_token_timeout: float = Field(45, description="seconds to a vendor's first event")
    llm_idle_timeout: float = Field(60, description="seconds of silence inside a stream")
    llm_total_timeout: float = Field(600, description="seconds for one whole vendor call")
    llm_max_attempts: int = Field(3, description="candidates tried for one call")
    llm_default_max_output_tokens: int = 4096
    default_model: str = Field("gpt-4o-mini", description="what `auto` falls back to")
    agent_approval_seconds: int = Field(900, description="seconds that a chat turn waits for a person's yes to a tool call")
    agent_max_steps: int = Field(50, description="model calls that an agent may be allowed for one run")
    agent_max_seconds: int = Field(3600, description="seconds that an agent may be allowed for one run")
    routing_value_usd: float = Field(0.06, gt=0, le=1000, description="USD that a good answer is worth to `auto` with the goal balanced")
    routing_second_usd: float = Field(0.0002, ge=0, le=1, description="USD that a second of waiting costs, for the goal balanced")
    routing_spread: float = Field(5, ge=1, le=100, description="points of quality over which an answer goes from doubtful to likely good")
    # Below one half the proof that quality never falls as the need rises does not hold (docs/adr/0084-routing-rule.md).
    routing_good_enough: float = Field(0.5, ge=0.5, lt=1, description="chance of a good answer that makes a model good enough for `auto`")
    routing_feedback: bool = Field(True, description="people's thumbs move a model's quality in `auto` routing, damped")
    chat_titles: bool = Field(True, description="a cheap call gives each new conversation a title, charged to its user")

    # Tasks
    tasks_per_user: int = Field(500, description="tasks that one user may have")
    task_runs_per_user: int = Field(20, description="runs of one user's tasks at the same time; more wait")
    task_runs_per_process: int = Field(100, description="runs that one worker process has in flight at the same time")
    task_drain_seconds: int = Field(20, description="what running runs get to end by themselves when their worker is told to stop")
    webhook_allow_private_address: bool = Field(False, description="let webhooks reach addresses of your own network")

    # Seen from outside
    log_level: str = "INFO"
    log_format: str = Field("json", description="json or console")
    log_file: str = Field("", description="rotating file beside the console; empty: none")
    log_file_bytes: int = Field(20 * 1024 * 1024, description="size at which the file is rotated")
    log_files_kept: int = Field(5, description="rotated files that are kept")
    metrics_token: SecretStr | None = Field(None, description="bearer token for /metrics from outside METRICS_NETWORKS")
    metrics_networks: List = Field(
        ["127.0.0.0/8", "::1"], description="CIDRs that read /metrics and the details of readiness without a token; none: nobody"
    )

    @field_validator(
        "encryption_keys", "allowed_hosts", "csrf_trusted_origins", "cors_allowed_origins",
        "websocket_origins", "trusted_proxies", "metrics_networks", mode="before",
    )  # fmt: skip
    @classmethod
    def _split(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("metrics_networks")
    @classmethod
    def _networks(cls, value: list[str]) -> list[str]:
        """The word `none` is the empty list: an empty variable would count as unset."""
        if value == ["none"]:
            return []
        for network in value:
            ipaddress.ip_network(network, strict=False)
        return value


env = Env()
