"""A value that a setting does not know stops the start. The cases are made from the list of settings, so a new one is tried too."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, get_args

import pytest
from annotated_types import Ge, Gt
from django.core.exceptions import ImproperlyConfigured
from pydantic.fields import FieldInfo

from aiagents.settings.env import Env, read
from tests.kit.servers import preloaded
from tests.kit.servers.server_process import ROOT

# Text that may be anything: nothing in the product compares it with a word (tests/test_settings_compared.py looks).
FREE = {
    "secret_key": "checked in production (aiagents/checks.py)",
    "metrics_token": "a secret",
    "openai_api_key": "a secret",
    "anthropic_api_key": "a secret",
    "google_api_key": "a secret",
    "allowed_hosts": "names; wildcards are refused in production",
    "host": "an address or a name of this machine; the start fails where it is none",
    "data_dir": "a path",
    "static_root": "a path",
    "log_file": "a path",
    "email_from": "an address of the operator's",
    "default_model": "a model of the catalogue, which staff change",
    "email_url": "see VALUES",
}
# What these may not be, beside what the loop below makes up.
VALUES = {
    "environment": ["Production", "PRODUCTION", "prod", "live", "staging", "dev", "test", " production", "production;", "true", "1", " "],
    "registration": ["Open", "opn", "invited", "none", "false", "yes"],
    "registration_domains": ["example", "@", "*.example.com", "ann@example.com", "example.com/x"],
    "log_level": ["LOUD", "10", "none"],
    "log_format": ["JSON", "text", "Console"],
    "budget_time_zone": ["Mars/Olympus", "utc+1", "CEST", "../etc/passwd"],
    "login_limit_ip": ["30", "30/5", "30/5x", "0/m", "-1/m", "off", "many/m", "30 per minute"],
    "login_limit_account": ["10/0m", "10 / m", "none"],
    "site_url": [
        "ai.example.com",
        "//ai.example.com",
        "ftp://ai.example.com",
        "https://",
        "https://ai.example.com/chat",
        "https:ai.example.com",
    ],
    "database_url": ["mysql://h/x", "postgresql+asyncpg://h/x", "Postgres", "sqlite3:///x", "postgres://u:pa:ss@h:x/n"],
    "redis_url": ["localhost:6379", "http://h", "redis://", "unix://", "memory://"],
    "email_url": ["mail.example.com", "http://h", "smtp://", "smtp://h?starttls=no", "smtp://h?starttls=off&x=1", "smtp://h:port"],
    "openai_base_url": ["api.openai.com", "ftp://h", "https://"],
    "csrf_trusted_origins": ["ai.example.com", "*", "https://a.example.com,b.example.com"],
    "cors_allowed_origins": ["*", "null", "https://a.example.com/path"],
    "websocket_origins": ["wss://a.example.com", "a.example.com"],
    "metrics_networks": ["nginx", "none,10.0.0.0/8"],
    "trusted_proxies": ["nginx", "10.0.0.0/33", "10.0.0.0/8,x", "*"],
    "encryption_keys": ["short", "a" * 44, "x" * 43],
    "monthly_cost_limit": ["-1", "nan", "inf", "1,000", "$1000", "unlimited", "no", "off", "1e12"],
    "new_user_monthly_limit": ["-0.01", "infinity", "fifty"],
    "access_token_expire_minutes": ["0", "-30", "30m", "1e9", "99999999999"],
    "refresh_token_days": ["99999999999"],
    "rate_limit_window": ["0", "1m", "99999999"],
    "port": ["0", "65536", "http"],
}


def _words(info: FieldInfo) -> bool:
    return any(getattr(part, "__origin__", None) is Literal for part in [info.annotation, *get_args(info.annotation)])


def _cases() -> Iterator[tuple[str, str]]:
    for name, info in Env.model_fields.items():
        for value in VALUES.get(name, []):
            yield name, value
        if name in FREE:
            continue
        for value in ("no-such-word", "ENVIRONMENT", "\N{FULLWIDTH DIGIT ONE}x"):
            yield name, value
        kinds = {info.annotation, *get_args(info.annotation)}
        if kinds & {int, float, Decimal} and bool not in kinds:
            least = next((bound for bound in info.metadata if isinstance(bound, Ge | Gt)), None)
            assert Decimal in kinds or least is not None, f"{name} has no least value"
            yield from [(name, value) for value in ("-1", "nan", "-inf", "0x10", "1_0_", "ten")]
        if bool in kinds:
            yield from [(name, value) for value in ("enabled", "-", "2", "tru", "none")]


CASES = sorted(set(_cases()))


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Env.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(("name", "value"), CASES)
def test_what_a_setting_does_not_know_is_refused_by_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str):
    monkeypatch.setenv(name.upper(), value)
    with pytest.raises(ImproperlyConfigured, match=name.upper()) as refused:
        read(tmp_path / "none")
    if "pa:ss" in value:
        assert "ss@" not in str(refused.value)


def test_every_setting_is_tried_or_is_free_text():
    assert set(Env.model_fields) == {name for name, _ in CASES} | set(FREE)
    assert all(name in VALUES or not _words(info) for name, info in Env.model_fields.items())
    assert len(CASES) > 250


@pytest.mark.parametrize("value", ["", "   "])
def test_an_empty_environment_is_not_development(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str):
    monkeypatch.setenv("ENVIRONMENT", value)
    with pytest.raises(ImproperlyConfigured, match="ENVIRONMENT is empty"):
        read(tmp_path / "none")
    monkeypatch.delenv("ENVIRONMENT")
    (tmp_path / ".env").write_text(f"ENVIRONMENT={value}\n")
    with pytest.raises(ImproperlyConfigured, match="ENVIRONMENT is empty"):
        read(tmp_path / ".env")


def test_domains_are_named_where_they_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("REGISTRATION", "domains")
    with pytest.raises(ImproperlyConfigured, match="REGISTRATION_DOMAINS"):
        read(tmp_path / "none")
    monkeypatch.setenv("REGISTRATION_DOMAINS", "@Example.com, example.org")
    assert read(tmp_path / "none").registration_domains == ["example.com", "example.org"]
    monkeypatch.delenv("REGISTRATION")
    with pytest.raises(ImproperlyConfigured, match="REGISTRATION=domains"):
        read(tmp_path / "none")


def test_every_wrong_setting_is_named_at_once_and_secrets_are_not_repeated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("ENVIRONMENT", "prod")
    monkeypatch.setenv("DEBUG", "perhaps")
    monkeypatch.setenv("DATABASE_URL", "mysql://app:hunter2@db/x")
    with pytest.raises(ImproperlyConfigured) as refused:
        read(tmp_path / "none")
    text = str(refused.value)
    assert "'prod'" in text and "'development' or 'production'" in text and "DEBUG" in text and "DATABASE_URL" in text
    assert "hunter2" not in text


@pytest.mark.parametrize(
    ("name", "value", "read_as"),
    [
        ("LOG_LEVEL", "info", "INFO"), ("SITE_URL", "HTTPS://AI.Example.com/", "https://ai.example.com"), ("DEBUG", "Yes", True),
        ("MONTHLY_COST_LIMIT", "none", None), ("MONTHLY_COST_LIMIT", "None", None), ("MONTHLY_COST_LIMIT", "", Decimal(1000)),
        ("NEW_USER_MONTHLY_LIMIT", "none", None), ("TRUSTED_PROXIES", "unix,10.1.2.3,10.0.0.0/8", ["unix", "10.1.2.3", "10.0.0.0/8"]),
        ("CSRF_TRUSTED_ORIGINS", "https://*.example.com", ["https://*.example.com"]),
    ],
)  # fmt: skip
def test_what_was_written_differently_is_read_as_meant(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str, read_as: Any
):
    monkeypatch.setenv(name, value)
    assert getattr(read(tmp_path / "none"), name.lower()) == read_as


COMMANDS = {
    "manage.py check": ["manage.py", "check"],
    "manage.py up": ["manage.py", "up"],
    "manage.py seed": ["manage.py", "seed"],
    "django-admin": ["-m", "django", "check"],
    "our server": ["-m", "aiagents.server"],
    "another ASGI server": ["-m", "daphne", "-p", "1", "aiagents.asgi:application"],
    "the ASGI application": ["-c", "import aiagents.asgi"],
    "worker": ["-m", "celery", "-A", "aiagents", "worker"],
    "beat": ["-m", "celery", "-A", "aiagents", "beat"],
    "inspect": ["-m", "celery", "-A", "aiagents", "inspect", "ping"],
    "pytest": ["-m", "pytest", "-n", "0", "tests/test_schema.py"],
}


@pytest.mark.long
@pytest.mark.parametrize(
    ("what", "value"), [*((what, "prod") for what in COMMANDS), *(("our server", value) for value in ("Production", ""))]
)
def test_nothing_starts_with_an_unknown_environment(tmp_path: Path, what: str, value: str):
    env = {"PATH": os.environ["PATH"], "ENVIRONMENT": value, "DEBUG": "true", "DATA_DIR": str(tmp_path / "data")}
    env["DJANGO_SETTINGS_MODULE"] = "aiagents.settings"
    done = preloaded.run(sys.executable, *COMMANDS[what], cwd=ROOT, env=env)
    assert done.returncode == 1, done.stdout
    lines = done.stderr.strip().splitlines()
    assert lines[0].startswith("aiagents does not start.") and len(lines) <= 2, done.stderr
    assert "ENVIRONMENT is" in lines[-1] and "development" in lines[-1]
    assert not (tmp_path / "data").exists()
