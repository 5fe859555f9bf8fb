"""The log of a running installation: each line of web, socket and worker has the ids of its request and holds no secret.

The same processes also report live figures, samples and Prometheus metrics.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.kit.servers.live import PASSWORD, Live, launch
from tests.kit.waiting import wait_for

pytestmark = pytest.mark.long
VENDOR_KEY = "sk-live-canary-0123456789"
FAILS = "[[sim:500,leak]] a question that nobody may read in a log"
WEB, WORKER = "trace-of-the-web-1", "trace-of-the-worker-1"


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """Two web processes and a worker, logging to the console and to one rotating file, with a vendor key that must not show."""
    folder = tmp_path_factory.mktemp("logs")
    log = folder / "log" / "aiagents.log"
    live = launch(
        folder, os.environ.get("PYTEST_XDIST_WORKER", "") + "l",
        LOG_FILE=str(log), LOG_FILE_BYTES="40000", LOG_FILES_KEPT="20", WEB_PROCESSES="2", LLM_MAX_ATTEMPTS="1", CHAT_TITLES="false",
    )  # fmt: skip
    live.stop()
    live.env |= {"OPENAI_API_KEY": VENDOR_KEY, "OPENAI_BASE_URL": f"http://127.0.0.1:{live.sim_port}/v1"}
    live.start()
    command = ["-m", "celery", "-q", "-A", "aiagents", "worker", "-P", "solo", "-Q", "celery,tasks,housekeeping", "--loglevel", "INFO"]
    live.spawn("worker", *command, "--without-gossip", "--without-mingle")
    yield live
    live.close()


@dataclass(frozen=True)
class FailedCalls:
    """One call each of the web process, of a socket and of a task of the worker failed at the vendor."""

    user_id: str
    task_id: str


@pytest.fixture(scope="module")
def failed(installation: Live) -> FailedCalls:
    answer = installation.call("POST", "/api/v1/chat/send", {"content": FAILS, "model": "gpt-4o-mini"}, headers={"X-Request-ID": WEB})
    assert answer.status in (502, 503), answer.body

    scopes = {"name": "all", "scopes": ["chat", "tasks", "agents"]}
    key = installation.call("POST", "/api/v1/auth/api-keys", scopes, key=installation.access).json["key"]
    with connect(f"ws://127.0.0.1:{installation.port}/api/v1/chat/ws", additional_headers={"Authorization": f"Bearer {key}"}) as socket:
        socket.send(json.dumps({"type": "send", "content": FAILS, "model": "gpt-4o-mini"}))
        while json.loads(socket.recv(timeout=30))["type"] != "error":
            pass

    body = {"name": "t", "input": FAILS, "model": "gpt-4o-mini", "max_retries": 0}
    task = installation.call("POST", "/api/v1/tasks/", body, key=key)
    assert task.status == 201, task.body
    ran = installation.call("POST", f"/api/v1/tasks/{task.json['id']}/run", {}, key=key, headers={"X-Request-ID": WORKER})
    assert ran.status in (200, 201, 202), ran.body
    for ids in ({"request_id": WEB}, {"surface": "ws"}, {"request_id": WORKER}):
        until(lambda ids=ids: calls(installation, **ids))
    me = installation.call("GET", "/api/v1/auth/profile", key=installation.access).json["id"]
    return FailedCalls(me, task.json["id"])


def until(condition: Any, seconds: float = 60) -> Any:
    """What the condition returns once that is true. It is looked for seldom: most read all files of the log."""
    found = wait_for(condition, seconds, every=0.3)
    assert found, "the condition did not come true in time"
    return found


def lines(live: Live) -> list[dict[str, Any]]:
    """All lines of the log file and of those it was rotated to. One that is no JSON fails the test."""
    folder = live.folder / "log"
    return [json.loads(line) for file in folder.glob("aiagents.log*") if file.suffix != ".lock" for line in file.read_text().splitlines()]


def calls(live: Live, **ids: str) -> list[dict[str, Any]]:
    return [line for line in lines(live) if line["event"] == "model_call" and all(line.get(name) == value for name, value in ids.items())]


def test_a_request_a_socket_and_a_task_leave_lines_with_all_their_ids(installation: Live, failed: FailedCalls):
    (web,) = calls(installation, request_id=WEB)
    (socket_line,) = calls(installation, surface="ws")
    worker = calls(installation, request_id=WORKER)[0]
    for line in (web, socket_line, worker):
        assert line["user_id"] == failed.user_id and len(line["call_id"]) == 36 and line["code"] == "provider_unavailable", line
    assert worker["task_id"] == failed.task_id
    assert [
        line
        for line in lines(installation)
        if line["event"] == "request" and line.get("request_id") == WEB and line.get("user_id") == failed.user_id
    ]
    closed = {"event": "socket", "user_id": failed.user_id, "path": "/api/v1/chat/ws"}
    assert until(lambda: [line for line in lines(installation) if closed.items() <= line.items()])
    assert socket_line["request_id"] not in (WEB, "", None)
    # The usage log has the same ids.
    booked = {str(row[0]) for row in installation.query("SELECT call_id FROM billing_usagelog WHERE request_id IN (%s, %s)", WEB, WORKER)}
    assert {line["call_id"].replace("-", "") for line in (web, worker)} <= {call.replace("-", "") for call in booked}


@pytest.mark.usefixtures("failed")
def test_no_secret_and_no_content_stands_in_any_log(installation: Live):
    def sockets() -> int:
        return sum(line["event"] == "socket" for line in lines(installation))

    before, ids = sockets(), {"login-with-password", "profile-with-key"}
    installation.call(
        "POST",
        "/api/v1/auth/login",
        {"email": installation.email, "password": PASSWORD},
        key="",
        headers={"X-Request-ID": "login-with-password"},
    )
    installation.call(
        "GET", f"/api/v1/auth/profile?api_key={installation.key}", key="aia_" + "n" * 43, headers={"X-Request-ID": "profile-with-key"}
    )
    ticket = installation.call("POST", "/api/v1/auth/ws-ticket", key=installation.access).json["ticket"]
    with connect(f"ws://127.0.0.1:{installation.port}/api/v1/chat/ws", subprotocols=["aiagents.v1", f"ticket.{ticket}"]):
        pass
    until(lambda: sockets() > before and ids <= {line.get("request_id") for line in lines(installation)})
    written = "".join(
        file.read_text() for file in [*(installation.folder / "log").glob("aiagents.log*"), *installation.folder.glob("*.log")]
    )
    assert len(written) > 5_000
    secrets = [
        installation.key,
        installation.access,
        PASSWORD,
        ticket,
        VENDOR_KEY,
        installation.env["SECRET_KEY"],
        "nobody may read",
        "n" * 43,
    ]
    for secret in secrets:
        assert secret not in written, secret[:12]


def test_console_and_file_have_the_same_lines_in_json_and_the_file_rotates(installation: Live):
    for number in range(150):
        installation.call("GET", "/api/v1/auth/profile", headers={"X-Request-ID": f"rotation-{number:04}"})
    wanted = {f"rotation-{number:04}" for number in range(150)}
    until(lambda: wanted <= {line.get("request_id") for line in lines(installation)})
    in_files = [line["request_id"] for line in lines(installation) if line.get("request_id") in wanted]
    assert sorted(in_files) == sorted(wanted), "no line is lost or doubled by two processes that rotate one file"
    assert len([file for file in (installation.folder / "log").glob("aiagents.log*") if file.suffix != ".lock"]) > 1
    assert all(file.stat().st_size < 60_000 for file in (installation.folder / "log").iterdir())
    console = [json.loads(line) for line in (installation.folder / "web.log").read_text().splitlines() if line.startswith("{")]
    assert wanted <= {line.get("request_id") for line in console}


@pytest.mark.usefixtures("failed")
def test_metrics_and_readiness_cover_all_processes(installation: Live):
    for _ in range(6):
        installation.call("GET", "/v1/models")
    wanted = (
        'aiagents_requests_total{area="auth",status="200"}', 'aiagents_request_seconds_bucket{area="auth",le="0.1"}',
        'aiagents_cache_lookups_total{cache="principals",result="hit"}', 'aiagents_queue_depth{queue="tasks"}',
    )  # fmt: skip

    def exported() -> bool:  # each process adds its counts to the common files every few seconds
        metrics = installation.call("GET", "/metrics", key="").body.decode()
        failed = [line for line in metrics.splitlines() if line.startswith("aiagents_model_calls_total") and 'status="failed"' in line]
        # Of the web processes and the worker.
        return all(series in metrics for series in wanted) and any(float(line.split()[-1]) >= 3 for line in failed)

    until(exported)
    assert installation.manage("shell", "-c", "from aiagents.monitoring.tasks import heartbeat; heartbeat.delay()") is not None
    ready = until(lambda: _worker_up(installation))
    assert {"database", "valkey", "worker", "beat", "disk", "memory", "providers"} <= set(ready["checks"])
    assert ready["checks"]["providers"]["vendors"]["google"] | {"latency_ms": None} == {
        "status": "idle", "latency_ms": None, "error_rate": 0.0, "samples": 0, "open": [], "simulated": True,
    }  # fmt: skip
    # Outcomes are each process's own until a breaker opens: one of the two has seen the failures.
    openai = until(lambda: _failing(installation))
    assert openai["error_rate"] == 1.0 and openai["simulated"] is False

    installation.query("DELETE FROM monitoring_systemmetric")  # this minute may have been sampled
    assert int(installation.manage("shell", "-v0", "-c", "from aiagents.monitoring import system; print(system.sample())").split()[-1]) >= 1
    rows = installation.query("SELECT processes, valkey_ms, database_ms, cpu_percent FROM monitoring_systemmetric ORDER BY at DESC")
    processes, *measured = rows[0]
    assert processes == 2 and all(value is not None for value in measured)


def _failing(installation: Live) -> Any:
    installation.call("POST", "/api/v1/chat/send", {"content": FAILS, "model": "gpt-4o-mini"})
    found = installation.call("GET", "/health/ready", key="").json["checks"]["providers"]
    openai = found["vendors"]["openai"]
    return openai if (found["status"], openai["status"]) in (("degraded", "degraded"), ("degraded", "down")) else None


def _worker_up(installation: Live) -> Any:
    answer = installation.call("GET", "/health/ready", key="")
    assert answer.status == 200, answer.body
    return answer.json if answer.json["checks"]["worker"]["queues"]["celery"] is not None else None


@pytest.mark.usefixtures("failed")
def test_an_admin_watches_all_processes_live(installation: Live):
    installation.manage(
        "shell", "-c",
        "from accounts.models import User; User.objects.create_superuser('boss@example.com', 'correct horse battery staple')",
    )  # fmt: skip
    signed_in = installation.call(
        "POST", "/api/v1/auth/login", {"email": "boss@example.com", "password": "correct horse battery staple"}, key=""
    )
    access = signed_in.json["access"]
    url = f"ws://127.0.0.1:{installation.port}/api/v1/admin/live"
    with connect(url, additional_headers={"Authorization": f"Bearer {access}"}) as socket:

        def whole() -> bool:  # the figures come again and again; the calls are the web's, the socket's and the worker's
            frame = json.loads(socket.recv(timeout=10))
            both = frame.get("complete") and frame["processes"]["web"] == 2 and frame["open_sockets"] >= 1
            return bool(both and frame["today"]["calls"] >= 3)

        until(whole)
        installation.call("POST", "/api/v1/auth/logout-all", key=access)
        began = time.monotonic()
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                socket.recv(timeout=10)
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 4401 and time.monotonic() - began < 5


def test_beat_shows_that_each_queue_is_served_and_samples_the_minute(installation: Live):
    installation.query("DELETE FROM monitoring_systemmetric")
    installation.spawn("beat", "-m", "celery", "-q", "-A", "aiagents", "beat", "--loglevel", "WARNING", "--pidfile=")
    try:
        checks = until(lambda: _all_served(installation))
        assert (checks["worker"]["status"], checks["beat"]["status"]) == ("ok", "ok")
        row = until(lambda: installation.query("SELECT processes, queues FROM monitoring_systemmetric WHERE processes IS NOT NULL"), 90)
        assert row[0][0] == 2
    finally:
        installation.stop("beat", timeout=15)


def _all_served(installation: Live) -> Any:
    checks = installation.call("GET", "/health/ready", key="").json["checks"]
    return checks if None not in checks["worker"]["queues"].values() and checks["beat"]["status"] == "ok" else None
