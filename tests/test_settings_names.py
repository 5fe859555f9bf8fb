"""Names in the environment: the mission's example is honoured, old names work, slips are named, and ordinary names are left alone."""

from __future__ import annotations

import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from aiagents.settings import names
from aiagents.settings.env import Env, read
from tests.kit.servers.server_process import ROOT

FIELDS = {name.upper() for name in Env.model_fields}
# The example environment of the product's mission, with what each leads to.
EXAMPLE = {
    "ENVIRONMENT": ("production", "environment", "production"),
    "DEBUG": ("true", "debug", True),
    "DATABASE_URL": ("postgresql://u:p@h:5432/n", "database_url", "postgresql://u:p@h:5432/n"),
    "SECRET_KEY": ("a-key", "secret_key", "a-key"),
    "ACCESS_TOKEN_EXPIRE_MINUTES": ("45", "access_token_expire_minutes", 45),
    "OPENAI_API_KEY": ("sk-1", "openai_api_key", "sk-1"),
    "ANTHROPIC_API_KEY": ("sk-2", "anthropic_api_key", "sk-2"),
    "GOOGLE_API_KEY": ("sk-3", "google_api_key", "sk-3"),
    "REDIS_URL": ("redis://h:6379/0", "redis_url", "redis://h:6379/0"),
    "RATE_LIMIT_REQUESTS": ("7", "rate_limit_requests", 7),
    "RATE_LIMIT_WINDOW": ("90", "rate_limit_window", 90),
    "MONTHLY_COST_LIMIT": ("12.50", "monthly_cost_limit", Decimal("12.50")),
}
# What stands in the environment of an ordinary machine, shell, container or pipeline.
ORDINARY = """
    PATH HOME USER LANG LC_ALL LANGUAGE TERM SHELL PWD OLDPWD SHLVL LOGNAME MAIL HOSTNAME HOSTTYPE HOSTS EDITOR PAGER TZ TMPDIR
    DISPLAY XDG_DATA_DIRS XDG_DATA_HOME XDG_RUNTIME_DIR SSH_AUTH_SOCK VIRTUAL_ENV PYTHONPATH PYTHONUNBUFFERED PYTHONHASHSEED
    PIP_INDEX_URL DOCKER_HOST DOCKER_BUILDKIT COMPOSE_PROJECT_NAME COMPOSE_FILE POSTGRES_PASSWORD POSTGRES_USER POSTGRES_DB
    POSTGRES_HOST POSTGRES_PORT PGHOST PGPORT PGUSER PGPASSWORD PGDATA PGDATABASE VALKEY_PASSWORD REDIS_HOST REDIS_PORT REDIS_PASSWORD
    HTTP_PROXY HTTPS_PROXY NO_PROXY KUBERNETES_SERVICE_HOST KUBERNETES_SERVICE_PORT KUBERNETES_PORT CI GITHUB_TOKEN GITHUB_ACTIONS
    RUNNER_OS NODE_ENV NODE_OPTIONS AWS_REGION AWS_SECRET_ACCESS_KEY AZURE_OPENAI_API_KEY GEMINI_API_KEY HF_TOKEN MISTRAL_API_KEY
    XAI_API_KEY GOOGLE_APPLICATION_CREDENTIALS GOOGLE_CLOUD_PROJECT OPENAI_ORG_ID ANTHROPIC_AUTH_TOKEN DJANGO_SETTINGS_MODULE
    PYTEST_CURRENT_TEST PROMETHEUS_MULTIPROC_DIR CELERY_BROKER_URL SENTRY_DSN SMTP_HOST GHOST POST SPORT DEBUGINFOD_URLS
    DEBIAN_FRONTEND LOGDIR LESSOPEN LS_COLORS WINDOWID JOURNAL_STREAM INVOCATION_ID SYSTEMD_EXEC_PID NOTIFY_SOCKET
    MEMORY_PRESSURE_WATCH ENV BASH_ENV SIMULATOR_PACE_MS SIMULATOR_STRICT SIMULATOR_TOKEN WEB_REPLICAS
"""
SLIPS = {
    "ENVIROMENT": "ENVIRONMENT", "ENVIRONMENTS": "ENVIRONMENT", "SECRETKEY": "SECRET_KEY", "SECRECT_KEY": "SECRET_KEY",
    "DATABASE_URI": "DATABASE_URL", "REDIS_URI": "REDIS_URL", "RATE_LIMIT_REQUEST": "RATE_LIMIT_REQUESTS",
    "MONTLY_COST_LIMIT": "MONTHLY_COST_LIMIT", "MONTHLY_COSTS_LIMIT": "MONTHLY_COST_LIMIT", "ALLOWED_HOST": "ALLOWED_HOSTS",
    "OPENAI_API_KEYS": "OPENAI_API_KEY", "ANTROPIC_API_KEY": "ANTHROPIC_API_KEY", "TRUSTED_PROXYS": "TRUSTED_PROXIES",
    "REGISTRATIONS": "REGISTRATION", "REGISTRATION_DOMAIN": "REGISTRATION_DOMAINS", "ENCRYPTION_KEY": "ENCRYPTION_KEYS",
    "ACCESS_TOKEN_EXPIRES_MINUTES": "ACCESS_TOKEN_EXPIRE_MINUTES", "LOGLEVEL": "LOG_LEVEL", "AIAGENTS_PORT": "PORT",
    "DJANGO_SECRET_KEY": "SECRET_KEY", "NEW_USERS_MONTHLY_LIMIT": "NEW_USER_MONTHLY_LIMIT", "METRICS_TOKENS": "METRICS_TOKEN",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*FIELDS, *names.RENAMED]:
        monkeypatch.delenv(name, raising=False)


def value_of(env: Env, field: str) -> object:
    found = getattr(env, field)
    return found.get_secret_value() if hasattr(found, "get_secret_value") else found


@pytest.mark.parametrize("name", EXAMPLE)
@pytest.mark.parametrize("in_file", [True, False])
def test_every_name_of_the_example_environment_is_honoured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, in_file: bool):
    given, field, read_as = EXAMPLE[name]
    file = tmp_path / ".env"
    if in_file:
        file.write_text(f"{name}={given}\n")
    else:
        monkeypatch.setenv(name, given)
    assert value_of(read(file), field) == read_as


def test_the_examples_defaults_hold(tmp_path: Path):
    env = read(tmp_path / "none")
    assert (env.access_token_expire_minutes, env.rate_limit_requests, env.rate_limit_window) == (30, 100, 60)
    assert env.monthly_cost_limit == Decimal(1000)


@pytest.mark.parametrize(("old", "new"), names.RENAMED.items())
@pytest.mark.parametrize("in_file", [True, False])
def test_an_old_name_works_and_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, old: str, new: str, in_file: bool):
    file = tmp_path / ".env"
    if in_file:
        file.write_text(f"{old}=17\n")
    else:
        monkeypatch.setenv(old, "17")
    assert value_of(read(file), new.lower()) == 17
    assert [(found.name, found.instead, found.old) for found in names.misnomers(FIELDS, file) if found.old] == [(old, new, True)]
    monkeypatch.setenv(new, "18")
    assert value_of(read(file), new.lower()) == 18
    assert old not in FIELDS and new in FIELDS


@pytest.mark.parametrize(("slip", "meant"), SLIPS.items())
def test_a_slip_is_named_with_the_setting_that_is_meant(tmp_path: Path, slip: str, meant: str):
    assert [(found.name, found.instead) for found in names.misnomers(FIELDS, tmp_path / "none", {slip: "x"})] == [(slip, meant)]
    (tmp_path / ".env").write_text(f"{slip}=x\n")
    found = names.misnomers(FIELDS, tmp_path / ".env", {})
    assert [(one.name, one.instead) for one in found] == [(slip, meant)] and meant in str(found[0])


def test_one_letter_less_of_any_longer_setting_is_named(tmp_path: Path):
    """Made from the list of settings: each with a letter of its middle left out."""
    for name in sorted(FIELDS):
        slip = name[: len(name) // 2] + name[len(name) // 2 + 1 :]
        if len(slip) >= 7 and slip not in FIELDS:
            assert [found.name for found in names.misnomers(FIELDS, tmp_path / "none", {slip: "x"})] == [slip], slip


def test_ordinary_names_are_left_alone(tmp_path: Path):
    assert names.misnomers(FIELDS, tmp_path / "none", dict.fromkeys(ORDINARY.split(), "x")) == []
    assert names.misnomers(FIELDS, tmp_path / "none", dict.fromkeys(FIELDS, "x")) == []
    assert names.misnomers(FIELDS, tmp_path / "none", {name.lower(): "x" for name in FIELDS}) == []


def test_what_this_very_process_was_given_is_left_alone(tmp_path: Path):
    given = {name: value for name, value in os.environ.items() if not name.startswith("TEST_")}
    assert names.misnomers(FIELDS, tmp_path / "none", given) == []


def test_a_name_in_the_file_that_begins_like_a_setting_is_named(tmp_path: Path):
    (tmp_path / ".env").write_text(
        "LLM_RETRIES=3\nRATE_LIMIT_BURST=5\nTZ=UTC\nPOSTGRES_PASSWORD=x\nWEB_REPLICAS=2\nCOMPOSE_PROJECT_NAME=a\nHSOT=1\n"
    )
    assert [found.name for found in names.misnomers(FIELDS, tmp_path / ".env", {})] == ["HSOT", "LLM_RETRIES", "RATE_LIMIT_BURST"]


@pytest.mark.parametrize("command", [["manage.py", "check"], ["manage.py", "doctor"], ["-m", "aiagents.server", "--port", "PORT"]])
def test_they_are_named_at_the_start_by_check_and_by_the_doctor(tmp_path: Path, command: list[str]):
    from tests.kit.servers.server_process import free_port, wait_for

    env = {
        "PATH": os.environ["PATH"], "DATA_DIR": str(tmp_path), "DATABASE_URL": f"sqlite:///{tmp_path}/x.sqlite3",
        "REDIS_URL": "redis://127.0.0.1:1/0", "MONTLY_COST_LIMIT": "5", "ACCESS_TOKEN_MINUTES": "9",
    }  # fmt: skip
    log = tmp_path / "log"
    with log.open("wb") as output:
        arguments = [str(free_port()) if part == "PORT" else part for part in command]
        process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, env=env, stdout=output, stderr=output)
    try:
        said = ("MONTLY_COST_LIMIT is not a setting", "Did you mean MONTHLY_COST_LIMIT?", "ACCESS_TOKEN_MINUTES is the old name")
        assert wait_for(lambda: all(text in log.read_text() for text in said), 60), log.read_text()
    finally:
        process.terminate()
        process.wait(30)
