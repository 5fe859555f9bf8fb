from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from typing import Any, Literal

import redis
from django.apps import apps
from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor

from accounts.sign_in import published_passwords
from aiagents import checks
from aiagents.core import registration
from aiagents.core.valkey.clients import sync_client
from aiagents.local import embedded
from aiagents.monitoring import health
from aiagents.settings.env import misnomers
from billing.budgets import budgets
from billing.models import Budget

Level = Literal["ok", "warning", "error"]
Line = tuple[Level, str, str]
OLDEST_POSTGRES = 15
# First versions without CVE-2025-67733 (replies of a shared connection mixed up) and CVE-2025-49844 (Lua).
SAFE_VALKEY = {(7, 2): 12, (8, 0): 7, (8, 1): 6, (9, 0): 2}


class Command(BaseCommand):
    help = "Report what is missing or wrong. Exit status 1 if something stops the product from working."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        marks = {"ok": self.style.SUCCESS("ok     "), "warning": self.style.WARNING("warning"), "error": self.style.ERROR("ERROR  ")}
        levels: list[Level] = []
        for level, subject, text in diagnose():
            levels.append(level)
            self.stdout.write(f"{marks[level]}  {subject:<11} {text}")
        errors, warnings = levels.count("error"), levels.count("warning")
        self.stdout.write(f"\n{errors} errors, {warnings} warnings.")
        if errors:
            sys.exit(1)


def diagnose() -> Iterator[Line]:
    """All findings as (level, subject, text), also the good ones."""
    version = ".".join(map(str, sys.version_info[:3]))
    yield ("ok", "Python", version) if sys.version_info >= (3, 11) else ("error", "Python", f"{version}; 3.11 or newer is needed.")
    yield from _database()
    if connection.connection is not None:
        yield from _tables()
    yield from _store()
    yield from _vendors()
    yield from _settings()
    free = shutil.disk_usage(settings.DATA_DIR).free
    yield "ok" if free > health.LOW_DISK_BYTES else "error", "disk", f"{free / 2**30:.1f} GiB free under {settings.DATA_DIR}"


def _database() -> Iterator[Line]:
    name = "embedded PostgreSQL" if settings.EMBEDDED_POSTGRES else connection.display_name
    if settings.EMBEDDED_POSTGRES and not embedded.postgres_runs(settings.DATA_DIR):
        yield "warning", "database", "The embedded PostgreSQL is not running; `make run` starts it."
        return
    try:
        connection.ensure_connection()
    except Error as exc:
        yield "error", "database", f"{name} does not answer: {str(exc).strip().splitlines()[0]} Check DATABASE_URL."
        return
    if connection.vendor == "postgresql":
        major = connection.pg_version // 10000  # type: ignore[attr-defined]  # only PostgreSQL's connection has it
        if major < OLDEST_POSTGRES:
            yield "error", "database", f"PostgreSQL {major}; {OLDEST_POSTGRES} or newer is needed."
        else:
            yield "ok", "database", f"{name} {major}"
    else:
        yield "ok", "database", f"{name}; for one machine and few users"


def _tables() -> Iterator[Line]:
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        yield "error", "migrations", f"{len(missing)} are not applied; run manage.py migrate (`make run` does)."
        return
    yield "ok", "migrations", "all applied"
    models = apps.get_model("billing", "AIModel").objects.filter(enabled=True).count()
    if models:
        yield "ok", "catalogue", f"{models} models enabled"
    else:
        yield "error", "catalogue", "empty: no model can be called; run manage.py catalogue load."
    limit = budgets.month_of_scope(Budget.Scope.SYSTEM, None).limit_usd
    if limit is None:
        yield "warning", "budget", "The system has no monthly limit; set one in the admin, under Budgets."
    else:
        yield "ok", "budget", f"the system may spend {limit:,.2f} USD a month"
    for text, hint in checks.demo_logins(privileged_too=True):
        yield "error", "accounts", f"{text} {hint}"
    for email in published_passwords.still_disabled():
        hint = "enable the account and run manage.py changepassword, or delete it; for the demo accounts, manage.py seed --new-passwords."
        yield "warning", "accounts", f"{email} was disabled: {published_passwords.REASON}. To use it again {hint}"


def _store() -> Iterator[Line]:
    client = sync_client()
    try:
        info = client.info("server")
    except redis.RedisError as exc:
        if settings.EMBEDDED_VALKEY:
            yield "warning", "Valkey", "The embedded Valkey is not running; `make run` starts it."
        else:
            yield "error", "Valkey", f"does not answer ({type(exc).__name__}); check REDIS_URL."
        return
    name, version = ("Valkey", info["valkey_version"]) if "valkey_version" in info else ("Redis", info["redis_version"])
    yield store_version(name, version)
    for part in ("worker", "beat"):
        seen = client.get(health.HEARTBEATS[part])
        age = time.time() - float(seen) if seen else None
        if age is None:
            yield "warning", part, "never seen here; `make run` starts it."
        elif age > health.STALE_SECONDS:
            yield "warning", part, f"last seen {age:.0f} s ago: it does not run, or takes no work."
        else:
            yield "ok", part, f"seen {age:.0f} s ago"


def store_version(name: str, version: str) -> Line:
    """A warning about known vulnerabilities by version. Redis 8 and newer have other version numbers and are not compared."""
    major, minor, patch = (int(part) for part in [*version.split("."), "0", "0"][:3])
    needed = SAFE_VALKEY.get((major, minor))
    old = (major, minor) < min(SAFE_VALKEY) or (name == "Valkey" and needed is not None and patch < needed)
    if old:
        return "warning", "Valkey", f"{name} {version} has known vulnerabilities (CVE-2025-67733, CVE-2025-49844); update it."
    return "ok", "Valkey", f"{name} {version}"


def _vendors() -> Iterator[Line]:
    for vendor, has in settings.VENDORS.items():
        if has["api_key"]:
            yield "ok", vendor, "has a key"
        elif settings.SIMULATOR or settings.ENVIRONMENT != "production":
            yield "warning", vendor, f"no key: answers are simulated. Set {vendor.upper()}_API_KEY in .env."
        else:
            yield (
                "warning",
                vendor,
                f"no key: its models are off unless staff saved a connection. Or set {vendor.upper()}_API_KEY.",
            )


def _settings() -> Iterator[Line]:
    production = settings.ENVIRONMENT == "production"
    found = checks.refusals()
    for text, hint in found:
        yield "error" if production else "warning", "settings", f"{text} {hint}"
    if not found:
        yield "ok", "settings", "safe for production"
    for misnomer in misnomers():
        yield "warning", "settings", str(misnomer)
    policy = registration.policy()
    careless = production and policy["mode"] == "open"
    yield "warning" if careless else "ok", "registration", f"REGISTRATION={policy['mode']}: {policy['message']}"
    if not settings.ENCRYPTION_KEYS:
        hint = "stored provider keys are encrypted with a key derived from SECRET_KEY, which then must not change."
        yield "warning" if production else "ok", "encryption", f"ENCRYPTION_KEYS is not set: {hint}"
