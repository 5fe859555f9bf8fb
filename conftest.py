"""Async tests on the test's own thread, no way out but loopback, a clean Valkey for each test."""

from __future__ import annotations

import gc
import inspect
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit.people import PASSWORD

ROOT = Path(__file__).resolve().parent
pytest_plugins = ["tests.kit.plugins.canary", "tests.kit.plugins.coverage_data", "tests.kit.plugins.cpu_report"]


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Async tests run through async_to_sync: the ORM stays on this thread and in this test's transaction."""
    from asgiref.sync import async_to_sync

    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    async_to_sync(pyfuncitem.obj)(**arguments)
    return True


@pytest.fixture(scope="session")
def django_db_setup(django_test_environment: None, django_db_blocker: Any, django_db_modify_db_settings: None) -> Iterator[None]:
    """Each process's test database, as a copy of one that is migrated once; pytest-django would migrate each."""
    from django.conf import settings
    from django.core.management import call_command
    from django.db import connection
    from django.test.utils import setup_databases, teardown_databases

    from tests.kit import catalogue, databases, emptying

    if connection.vendor != "postgresql":
        with django_db_blocker.unblock():
            made = setup_databases(verbosity=0, interactive=False)
            yield
            teardown_databases(made, verbosity=0)
        return
    server, name = os.environ["DATABASE_URL"], connection.creation._get_test_db_name()

    def use(database: str) -> None:
        connection.close()
        settings.DATABASES["default"]["NAME"] = connection.settings_dict["NAME"] = database

    def migrate(empty: str) -> None:
        use(empty)
        call_command("migrate", verbosity=0, interactive=False)
        catalogue.prepare()
        use(name)

    with django_db_blocker.unblock():
        databases.copy(server, "test", ROOT, name, migrate)
        use(name)
        emptying.install()
        yield
        connection.close()
        databases.drop(server, name)


def pytest_collection_finish() -> None:
    """What is collected stays until the end; the collector of garbage need not look at it again."""
    gc.freeze()


_connect = socket.socket.connect


def _guarded_connect(self: socket.socket, address: object) -> None:
    if self.family in (socket.AF_INET, socket.AF_INET6):
        host = address[0] if isinstance(address, tuple) else ""
        if host not in {"127.0.0.1", "::1", "localhost"} and not str(host).startswith("127."):
            raise RuntimeError(f"the suite tried to reach {address!r}; only loopback is allowed")
    _connect(self, address)


socket.socket.connect = _guarded_connect


@pytest.fixture(autouse=True, scope="session")
def _short_reads_of_the_channel_layer() -> None:
    """redis-py loses a cancellation that comes while it connects; the loop of a test would wait five seconds for that read."""
    from aiagents.core.live.channel_layer import ChannelLayer

    ChannelLayer.brpop_timeout = 0.5


@pytest.fixture(autouse=True)
def _fresh_valkey(request: pytest.FixtureRequest):
    """No test sees another's limits, breakers or logs."""
    from accounts.sign_in import throttle
    from agents.routing import health
    from aiagents.core import idempotency
    from aiagents.core.valkey.clients import sync_client

    sync_client().flushdb()
    idempotency.stop_heartbeats()  # of claims that a test left as a dead process does; the thread has no business in another test
    health.reset()  # what this process knows of the vendors, whichever tests came before
    throttle.forget()  # a test that took Valkey away made the process count by itself for some seconds
    yield


@pytest.fixture
def monthly_limit() -> Any:
    """What `user` may spend in a month; None is the default of new accounts. Test modules override it."""
    return None


@pytest.fixture
def user(db: None, monthly_limit: Any) -> Any:
    """Ann, who has an account and the password of tests/kit/people.py."""
    from accounts.models import User
    from billing.budgets import budgets
    from billing.models import Budget

    made = User.objects.create_user("ann@example.com", PASSWORD, name="Ann")
    if monthly_limit is not None:
        budgets.set_limit(Budget.Scope.USER, made.pk, monthly_limit)
    return made


@pytest.fixture
def db_threads(settings: Any) -> Iterator[None]:
    """Database work of async code on real threads, as in production; their connections end with the test."""
    from django.db import connections

    from aiagents.core.db import calls
    from aiagents.core.db.threads import Threads

    settings.DB_THREADS, settings.CATALOGUE_CHECK_SECONDS = 20, 60
    calls.database_threads = Threads(20, "db")
    yield
    pool, calls.database_threads = calls.database_threads, None
    pool.end(connections.close_all)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport():
    """What a test logged may hold lone surrogates; the report of a parallel run must be UTF-8."""
    outcome = yield
    report = outcome.get_result()
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
