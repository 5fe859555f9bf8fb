"""What is shipped for production: the compose file, the image, and the settings that they lead to."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.fernet import Fernet
from django.conf import settings

from aiagents.settings.celery import broker
from aiagents.settings.env import Env
from tests.kit.servers import preloaded
from tests.kit.servers.live import ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("aiagents:")}
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def _queues(service: dict[str, Any]) -> list[str]:
    command = service.get("command") or []
    return command[command.index("-Q") + 1].split(",") if "-Q" in command else []


def _seconds(text: str) -> int:
    assert text.endswith("s")
    return int(text[:-1])


def test_every_queue_has_its_workers_and_there_is_one_beat():
    served = [queue for service in OURS.values() for queue in _queues(service)]
    assert sorted(served) == sorted(queue.name for queue in settings.CELERY_TASK_QUEUES)
    beats = [service for service in OURS.values() if "beat" in (service.get("command") or [])]
    assert len(beats) == 1 and "deploy" not in beats[0]


def test_the_containers_of_ours_know_every_variable_and_hold_no_secret():
    known = {name.upper() for name in Env.model_fields}
    for name, service in OURS.items():
        assert set(service["environment"]) <= known, name
        assert service["env_file"] == ".env" and service["environment"]["ENVIRONMENT"] == "production"
    for variable in ("POSTGRES_PASSWORD", "VALKEY_PASSWORD"):
        assert re.search(rf"\${{{variable}:\?", (ROOT / "docker-compose.yml").read_text())
    assert not re.search(r"(?i)(password|secret|token)\w*:\s*['\"]?[a-z0-9]{6,}['\"]?\s*$", (ROOT / "docker-compose.yml").read_text(), re.M)


def test_grace_is_longer_than_the_drain_and_nginx_waits_longest():
    assert _seconds(SERVICES["web"]["stop_grace_period"]) > Env.model_fields["drain_seconds"].default + 15
    for name, service in OURS.items():
        if _queues(service):
            assert _seconds(service["stop_grace_period"]) > settings.TASK_DRAIN_SECONDS + 10, name
    assert _seconds(SERVICES["nginx"]["stop_grace_period"]) > _seconds(SERVICES["web"]["stop_grace_period"])


def test_only_nginx_is_reachable_from_outside_and_alone_is_trusted():
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["nginx"]
    assert {name for name, service in SERVICES.items() if "front" in (service.get("networks") or [])} == {"nginx", "web"}
    assert SERVICES["web"]["environment"]["TRUSTED_PROXIES"] == COMPOSE["networks"]["front"]["ipam"]["config"][0]["subnet"]


def test_the_containers_of_ours_are_locked_down():
    for name, service in OURS.items():
        assert service["read_only"] and service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"], name


def test_the_image_runs_as_nobody_and_takes_no_secret_along():
    assert re.findall(r"^USER (\S+)$", DOCKERFILE, re.M)[-1] == "10001:10001"
    assert "HEALTHCHECK" in DOCKERFILE and "STOPSIGNAL SIGTERM" in DOCKERFILE
    ignored = (ROOT / ".dockerignore").read_text().split("\n")
    for pattern in (".env", ".env.*", ".data", ".git", "*.pem", "*.key", "deploy/tls"):
        assert pattern in ignored, pattern
    assert "deploy/tls/" in (ROOT / ".gitignore").read_text()


def test_nginx_lets_a_whole_answer_be_silent_and_a_large_body_be_refused_by_us():
    conf = (ROOT / "deploy" / "nginx" / "nginx.conf").read_text()
    assert int(re.findall(r"proxy_read_timeout (\d+)s", conf)[0]) > Env.model_fields["llm_total_timeout"].default
    assert int(re.findall(r"client_max_body_size (\d+)m", conf)[0]) * 1024 * 1024 > Env.model_fields["max_body_bytes"].default
    assert "proxy_buffering off" in conf


@pytest.mark.parametrize(
    "given, wanted",
    [
        ("unix:///a/b.sock", "redis+socket:///a/b.sock"),
        ("unix:///a/b.sock?db=9", "redis+socket:///a/b.sock?virtual_host=9"),
        ("redis://:pw@h:6379/2", "redis://:pw@h:6379/2"),
        ("redis://h:6379?db=8", "redis://h:6379/8"),
        ("rediss://u:p@h/0?ssl_cert_reqs=required", "rediss://u:p@h/0?ssl_cert_reqs=required"),
    ],
)
def test_celery_uses_the_database_that_redis_url_names(given: str, wanted: str):
    assert broker(given) == wanted


@pytest.fixture
def production(tmp_path: Path) -> dict[str, str]:
    """The environment of a production process, as the operator's guide has it."""
    return {
        "PATH": os.environ["PATH"], "ENVIRONMENT": "production", "SECRET_KEY": "aZ3-" + os.urandom(32).hex(),
        "ENCRYPTION_KEYS": Fernet.generate_key().decode(), "SITE_URL": "https://ai.example.com", "ALLOWED_HOSTS": "ai.example.com",
        "DATA_DIR": str(tmp_path), "DATABASE_URL": f"sqlite:///{tmp_path}/x.sqlite3", "REDIS_URL": "redis://127.0.0.1:1/0",
    }  # fmt: skip


def _manage(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return preloaded.run(sys.executable, "manage.py", *arguments, cwd=ROOT, env=environment)


def test_check_deploy_is_clean_in_production(production: dict[str, str]):
    done = _manage(production, "check", "--deploy", "--fail-level", "WARNING")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "name, value, said",
    [
        ("DEBUG", "true", "DEBUG"), ("SECRET_KEY", "short", "SECRET_KEY"), ("ALLOWED_HOSTS", "*", "ALLOWED_HOSTS"),
        ("SITE_URL", "http://ai.example.com", "security.W"),
    ],
)  # fmt: skip
def test_check_deploy_finds_what_is_not_for_production(production: dict[str, str], name: str, value: str, said: str):
    done = _manage(production | {name: value}, "check", "--deploy", "--fail-level", "WARNING")
    assert done.returncode and said in done.stderr


def test_cookies_headers_and_origins_of_production(production: dict[str, str]):
    asked = "SESSION_COOKIE_SECURE CSRF_COOKIE_SECURE SECURE_HSTS_SECONDS SESSION_COOKIE_NAME CSRF_TRUSTED_ORIGINS SECURE_PROXY_SSL_HEADER"
    code = f"from django.conf import settings as s; print([getattr(s, n) for n in '{asked}'.split()])"
    done = _manage(production, "shell", "--no-imports", "-c", code)
    assert done.stdout.strip() == "[True, True, 31536000, '__Host-session', ['https://ai.example.com'], None]", done.stdout + done.stderr
