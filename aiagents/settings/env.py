"""Every environment variable the product reads, typed and checked once.

`.env.example` documents the same names; `tests/test_settings.py` keeps the two equal.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from aiagents.settings import names
from aiagents.settings.values import (
    AnswerValue,
    Count,
    CountOrZero,
    DatabaseUrl,
    Domains,
    EmailUrl,
    Environment,
    FernetKeys,
    GoodEnough,
    List,
    LogFormat,
    LogLevel,
    MonthlyLimit,
    Networks,
    NetworksOrNone,
    Origins,
    Port,
    Rate,
    RedisUrl,
    Registration,
    SecondPrice,
    Seconds,
    SiteUrl,
    Spread,
    TimeZone,
    VendorUrl,
)

ROOT = Path(__file__).resolve().parents[2]


def _also(name: str) -> Any:
    """The setting's names in the environment: the current one, then its old ones."""
    return AliasChoices(name, *(old.lower() for old, new in names.RENAMED.items() if new.lower() == name))


class Env(BaseSettings):
    """The settings that an operator may set. The name or the description has the unit."""

    model_config = SettingsConfigDict(env_file=ROOT / ".env", extra="ignore", env_ignore_empty=True)

    # The product
    environment: Environment = Field("development", description="`production` refuses unsafe settings at start")
    debug: bool = False
    secret_key: SecretStr | None = Field(None, description="signs sessions and tokens; generated under DATA_DIR when unset")
    encryption_keys: FernetKeys = Field([], description="Fernet keys, newest first, for provider keys at rest")
    site_url: SiteUrl = Field("", description="public address, e.g. https://ai.example.com; used in links")
    allowed_hosts: List = ["localhost", "127.0.0.1", "[::1]"]
    csrf_trusted_origins: Origins = []
    cors_allowed_origins: Origins = []
    websocket_origins: Origins = Field([], description="further full origins that may open the WebSocket")
    trusted_proxies: Networks = Field([], description="CIDRs of proxies whose X-Forwarded-For is trusted")

    # Where things run
    host: str = "127.0.0.1"
    port: Port = 8000
    web_processes: Count = Field(1, description="Daphne processes on the one listening socket")
    data_dir: Path = Field(ROOT / ".data", description="embedded servers, secret, logs")
    static_root: Path | None = Field(None, description="where static files are collected; unset: static under DATA_DIR")
    database_url: DatabaseUrl = Field("", description="postgres://… or sqlite:///…; empty: the embedded PostgreSQL")
    redis_url: RedisUrl = Field("", description="redis://… or unix://…; empty: the embedded Valkey")
    database_pool_size: Count = Field(12, description="PostgreSQL connections per process")
    database_prepare: bool = Field(True, description="prepare the ledger's statements; off behind a pooler in transaction mode")

    # Sessions and limits
    access_token_expire_minutes: int = Field(30, ge=1, le=43_200, validation_alias=_also("access_token_expire_minutes"))
    refresh_token_days: int = Field(14, ge=1, le=3650)
    registration: Registration | None = Field(
        None, description="self-registration: open, invite, domains or closed; unset: open on loopback in development, else invite"
    )
    registration_domains: Domains = Field([], description="e-mail domains that may register with REGISTRATION=domains")
    refresh_grace_seconds: CountOrZero = Field(10, description="a second tab may repeat a refresh this long")
    password_reset_minutes: int = Field(1440, ge=1, le=43_200, description="minutes for which a one-time link to set a password works")
    rate_limit_requests: Count = Field(100, description="requests per window and caller")
    rate_limit_window: int = Field(60, ge=1, le=86_400, description="seconds")
    rate_limit_admin_requests: CountOrZero = Field(0, description="the same for the admin role; 0: RATE_LIMIT_REQUESTS")
    rate_limit_anonymous_requests: CountOrZero = Field(
        0, description="the same for an address without a credential; 0: RATE_LIMIT_REQUESTS"
    )
    rate_limit_ip_requests: CountOrZero = Field(
        0, description="requests per window of one address, over all users; 0: authenticated requests count by user and key only"
    )
    login_limit_ip: Rate = "30/5m"
    login_limit_account: Rate = "10/5m"
    max_body_bytes: int = Field(12 * 1024 * 1024, ge=1024, le=2**30, description="largest request body")
    max_expanded_characters: Count = Field(1_000_000, description="longest text after a template's placeholders are filled")
    max_prompt_characters: Count = Field(
        32 * 1024 * 1024, description="characters of text and attachments (base64) that one model call may hold, history included"
    )
    cache_enabled: bool = Field(True, description="cache principals, models, connections and messages between requests")
    drain_seconds: CountOrZero = Field(20, description="seconds that running turns have at shutdown")

    # Money
    budget_time_zone: TimeZone = Field("UTC", description="zone in which a budget's month begins")
    monthly_cost_limit: MonthlyLimit = Field(Decimal("1000"), description="USD per month for the whole system; none: no limit")
    new_user_monthly_limit: MonthlyLimit = Field(
        Decimal("50"), validation_alias=_also("new_user_monthly_limit"), description="USD per month for a new account; none: no limit"
    )

    # E-mail
    email_url: EmailUrl = Field(None, description="smtp://user:password@host:587 or smtps://…; unset: printed to the console")
    email_from: str = Field("aiagents@localhost", description="sender of the product's e-mails")

    # Vendors. Without a key a vendor's answers come from the simulator if SIMULATOR is on.
    openai_api_key: SecretStr | None = None
    openai_base_url: VendorUrl = ""
    anthropic_api_key: SecretStr | None = None
    anthropic_base_url: VendorUrl = ""
    google_api_key: SecretStr | None = None
    google_base_url: VendorUrl = ""
    simulator: bool = Field(False, description="serve vendors without a key from the loopback simulator")
    simulator_port: int = Field(0, ge=0, le=65_535, description="0: PORT + 99")

    llm_connect_timeout: Seconds = Field(5, description="seconds to open a connection to a vendor")
    llm_first_token_timeout: Seconds = Field(45, description="seconds to a vendor's first event")
    llm_idle_timeout: Seconds = Field(60, description="seconds of silence inside a stream")
    llm_total_timeout: Seconds = Field(600, description="seconds for one whole vendor call")
    llm_max_attempts: Count = Field(3, description="candidates tried for one call")
    llm_default_max_output_tokens: CountOrZero = Field(
        0, description="output tokens of an answer whose request has no limit; 0: as many as the model writes and the budgets pay for"
    )
    responses_kept_seconds: CountOrZero = Field(
        86_400, description="seconds after their last use that answers of /v1/responses are kept for later references; 0: none are"
    )
    responses_kept_bytes: int = Field(
        256 * 1024 * 1024, ge=1024 * 1024, description="bytes of Valkey for these answers, of all users; one user gets an eighth"
    )
    default_model: str = Field("gpt-4o-mini", description="the model that `auto` falls back to")
    agent_approval_seconds: Count = Field(900, description="seconds that a chat turn waits for a person's approval of a tool call")
    agent_max_steps: Count = Field(50, description="model calls that an agent may be allowed for one run")
    agent_max_seconds: Count = Field(3600, description="seconds that an agent may be allowed for one run")
    # `auto`, per goal. `fastest` and `best` order by one number, so they have neither value nor price of a second (ADR 0084).
    routing_balanced_value_usd: AnswerValue = Field(0.06, description="USD that a good answer is worth to the goal balanced")
    routing_balanced_second_usd: SecondPrice = Field(0.0002, description="USD that a second of waiting costs the goal balanced")
    routing_balanced_spread: Spread = Field(5, description="points of quality over which an answer goes from doubtful to likely good")
    routing_balanced_good_enough: GoodEnough = Field(0.5, description="chance of a good answer that makes a model good enough")
    routing_cheapest_value_usd: AnswerValue = Field(0.002, description="USD that a good answer is worth to the goal cheapest")
    routing_cheapest_second_usd: SecondPrice = Field(0, description="USD that a second of waiting costs the goal cheapest")
    routing_cheapest_spread: Spread = Field(5, description="ROUTING_BALANCED_SPREAD for the goal cheapest")
    routing_cheapest_good_enough: GoodEnough = Field(0.5, description="ROUTING_BALANCED_GOOD_ENOUGH for the goal cheapest")
    routing_fastest_spread: Spread = Field(5, description="ROUTING_BALANCED_SPREAD for the goal fastest")
    routing_fastest_good_enough: GoodEnough = Field(0.5, description="ROUTING_BALANCED_GOOD_ENOUGH for the goal fastest")
    routing_best_spread: Spread = Field(5, description="ROUTING_BALANCED_SPREAD for the goal best")
    routing_best_good_enough: GoodEnough = Field(0.5, description="chance of a good answer that a second choice of another vendor needs")
    routing_feedback: bool = Field(True, description="people's thumbs move a model's quality in `auto` routing, damped")
    deleted_retention_days: int = Field(
        7, ge=0, description="days until deleted conversations, tasks and agents are erased with all their data"
    )
    chat_titles: bool = Field(True, description="a cheap call gives each new conversation a title, charged to its user")

    # Tasks
    tasks_per_user: Count = Field(500, description="tasks that one user may have")
    task_runs_per_user: Count = Field(20, description="runs of one user's tasks at the same time; more wait")
    task_runs_per_process: Count = Field(100, description="runs that one worker process has in flight at the same time")
    task_drain_seconds: CountOrZero = Field(20, description="seconds that running runs have to end when their worker stops")
    webhook_allow_private_address: bool = Field(False, description="let webhooks reach addresses of your own network")

    # Logs and metrics
    log_level: LogLevel = "INFO"
    log_format: LogFormat = Field("json", description="json or console")
    log_file: str = Field("", description="rotating file beside the console; empty: none")
    log_file_bytes: Count = Field(20 * 1024 * 1024, description="size at which the file is rotated")
    log_files_kept: CountOrZero = Field(5, description="rotated files that are kept")
    metrics_token: SecretStr | None = Field(None, description="bearer token for /metrics from outside METRICS_NETWORKS")
    metrics_networks: NetworksOrNone = Field(
        ["127.0.0.0/8", "::1"], description="CIDRs that read /metrics and the details of readiness without a token; none: no network"
    )

    @field_validator(
        "encryption_keys", "allowed_hosts", "csrf_trusted_origins", "cors_allowed_origins",
        "websocket_origins", "trusted_proxies", "registration_domains", "metrics_networks", mode="before",
    )  # fmt: skip
    @classmethod
    def _split(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _domains_are_named(self) -> Env:
        if self.registration == "domains" and not self.registration_domains:
            raise ValueError("REGISTRATION=domains needs REGISTRATION_DOMAINS, e.g. example.com,example.org")
        if self.registration is None and self.registration_domains:
            raise ValueError("REGISTRATION_DOMAINS is set but REGISTRATION is not; set REGISTRATION=domains")
        return self


def read(env_file: Path = ROOT / ".env") -> Env:
    """Read and check the environment.

    Raises ImproperlyConfigured with every wrong setting and its allowed values; values that may be secret are not repeated.
    """
    # An empty value usually means the default. Here the default is the less safe value, and the operator meant to choose.
    if names.given(env_file).get("ENVIRONMENT", "development").strip() == "":
        raise ImproperlyConfigured("The settings are wrong:\n- ENVIRONMENT is empty; set it to development or production, or remove it.")
    try:
        return Env(_env_file=env_file)  # type: ignore[call-arg]  # pydantic-settings accepts it; its mypy plugin does not know it
    except ValidationError as exc:
        lines = "\n".join(f"- {_described(error)}" for error in exc.errors(include_url=False))
        raise ImproperlyConfigured(f"The settings are wrong:\n{lines}") from None


def _described(error: Any) -> str:
    """One sentence about one wrong setting."""
    reason = str(error["ctx"]["error"]) if error["type"] == "value_error" else error["msg"]
    if not error["loc"]:
        return f"{reason}."
    name = str(error["loc"][0]).upper()
    if error["type"] == "literal_error":
        return f"{name} is {error['input']!r}; it must be {error['ctx']['expected']}."
    if error["type"] == "bool_parsing":
        return f"{name} is {error['input']!r}; it must be true or false."
    return f"{name} {reason}." if error["type"] == "value_error" else f"{name}: {reason}."


def misnomers() -> list[names.Misnomer]:
    """The names in the environment and in .env that look like a setting but are not one."""
    return names.misnomers({name.upper() for name in Env.model_fields}, ROOT / ".env")


env = read()
