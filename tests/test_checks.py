"""Production starts safe or not at all; the doctor says what is wrong."""

from __future__ import annotations

import os
import sys
from io import StringIO

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command

from aiagents import checks
from aiagents.management.commands import doctor
from aiagents.monitoring import health
from tests.kit.servers import preloaded
from tests.kit.servers.server_process import ROOT, free_port

SAFE_KEY = "kq3v8LwZ0sYt5RnXbC7mPfJdHgEa2Uo9iT1yQx4VzWNcBrMS6lKhGjFpDu"


@pytest.fixture
def production(settings):
    settings.ENVIRONMENT = "production"
    settings.DEBUG = False
    settings.SECRET_KEY = SAFE_KEY
    settings.ALLOWED_HOSTS = ["ai.example.com"]
    settings.CORS_ALLOWED_ORIGINS = settings.WEBSOCKET_ORIGINS = []
    return settings


@pytest.mark.django_db
def test_safe_settings_start(production):
    checks.refuse_if_unsafe()


@pytest.mark.django_db
@pytest.mark.parametrize(
    "name, value, reason",
    [
        ("DEBUG", True, "DEBUG"),
        ("SECRET_KEY", SAFE_KEY[:49], "SECRET_KEY"),
        ("SECRET_KEY", "a" * 80, "SECRET_KEY"),
        ("SECRET_KEY", "django-insecure-" + SAFE_KEY, "SECRET_KEY"),
        ("ALLOWED_HOSTS", ["*"], "ALLOWED_HOSTS"),
        ("ALLOWED_HOSTS", [], "ALLOWED_HOSTS"),
        ("CORS_ALLOWED_ORIGINS", ["https://*.example.com"], "wildcard"),
    ],
)
def test_each_unsafe_setting_is_refused_in_production_only(production, name, value, reason):
    setattr(production, name, value)
    with pytest.raises(ImproperlyConfigured, match=reason):
        checks.refuse_if_unsafe()
    production.ENVIRONMENT = "development"
    checks.refuse_if_unsafe()


def test_the_server_itself_does_not_start_unsafe(tmp_path):
    env = os.environ | {
        "DJANGO_SETTINGS_MODULE": "aiagents.settings", "ENVIRONMENT": "production", "DEBUG": "true", "SECRET_KEY": SAFE_KEY,
        "ALLOWED_HOSTS": "ai.example.com", "DATA_DIR": str(tmp_path), "DATABASE_URL": f"sqlite:///{tmp_path}/x.sqlite3",
    }  # fmt: skip
    for processes in ("1", "2"):
        command = ["-m", "aiagents.server", "--port", str(free_port()), "--processes", processes]
        done = preloaded.run(sys.executable, *command, cwd=ROOT, env=env)
        assert done.returncode == 1
        assert "does not start in production" in done.stderr and "DEBUG is on" in done.stderr


# --- the doctor ---------------------------------------------------------------------------------


def findings() -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for level, subject, text in doctor.diagnose():
        found.setdefault(subject, []).append((level, text))
    return found


@pytest.mark.django_db
def test_the_doctor_finds_the_empty_catalogue_and_the_missing_worker(settings):
    settings.EMBEDDED_POSTGRES = settings.EMBEDDED_VALKEY = False
    found = findings()
    assert found["database"][0][0] == "ok"
    assert found["migrations"][0][0] == "ok"
    assert found["catalogue"][0][0] == "error"
    assert found["worker"][0][0] == "warning"
    with pytest.raises(SystemExit) as left:
        call_command("doctor", stdout=StringIO())
    assert left.value.code == 1


@pytest.mark.django_db
def test_the_doctor_is_content_with_a_whole_installation(settings):
    from aiagents.monitoring.tasks import heartbeat

    settings.EMBEDDED_POSTGRES = settings.EMBEDDED_VALKEY = False
    call_command("catalogue", "load", stdout=StringIO())
    heartbeat()
    out = StringIO()
    call_command("doctor", stdout=out)  # and no SystemExit
    found = findings()
    assert found["catalogue"][0][0] == "ok"
    assert found["worker"][0][0] == "ok"
    assert "0 errors" in out.getvalue()


@pytest.mark.django_db
def test_the_doctor_says_which_store_is_away(settings, monkeypatch):
    import redis

    settings.EMBEDDED_VALKEY = False
    monkeypatch.setattr(doctor, "sync_client", lambda: redis.Redis(port=1, socket_connect_timeout=0.2))
    assert findings()["Valkey"][0][0] == "error"


@pytest.mark.parametrize(
    "name, version, level",
    [
        ("Valkey", "9.0.1", "warning"), ("Valkey", "9.0.2", "ok"), ("Valkey", "8.1.5", "warning"), ("Valkey", "8.1.6", "ok"),
        ("Valkey", "9.1.2", "ok"), ("Redis", "6.2.14", "warning"), ("Redis", "8.2.1", "ok"),
    ],
)  # fmt: skip
def test_the_doctor_knows_versions_with_holes(name, version, level):
    assert doctor.store_version(name, version)[0] == level


def test_every_needed_part_has_a_probe():
    assert set(health.registered_probes) >= health.NEEDED | set(health.HEARTBEATS)
