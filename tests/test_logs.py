"""The log of a running installation: web, socket and worker, each line with the ids of its request and without a secret.

And what the same processes say of themselves: live figures, samples, Prometheus.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.kit.servers.live import PASSWORD, Live, launch

pytestmark = pytest.mark.long
VENDOR_KEY = "sk-live-canary-0123456789"
FAILS = "[[sim:500,leak]] a question that nobody may read in a log"
WEB, WORKER = "trace-of-the-web-1", "trace-of-the-worker-1"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
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


def until(found: Callable[[], Any], seconds: float = 40) -> Any:
    """What `found` returns, once that is something."""
    deadline = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.3)
    return result


def lines(live: Live) -> list[dict[str, Any]]:
    """All lines of the log file and of those it was rotated to. One that is no JSON fails the test."""
    folder = live.folder / "log"
    return [json.loads(line) for file in folder.glob("aiagents.log*") if file.suffix != ".lock" for line in file.read_text().splitlines()]


def calls(live: Live, **ids: str) -> list[dict[str, Any]]:
    return [line for line in lines(live) if line["event"] == "model_call" and all(line.get(name) == value for name, value in ids.items())]


def user_of(live: Live) -> str:
    return live.call("GET", "/api/v1/auth/profile", key=live.access).json["id"]


def test_a_request_a_socket_and_a_task_leave_lines_with_all_their_ids(house: Live):
    me = user_of(house)
    answer = house.call("POST", "/api/v1/chat/send", {"content": FAILS, "model": "gpt-4o-mini"}, headers={"X-Request-ID": WEB})
    assert answer.status in (502, 503), answer.body

    key = house.call(
        "POST", "/api/v1/auth/api-keys", {"name": "all", "scopes": ["chat", "tasks", "agents"]}, key=house.access
    ).json["key"]  # fmt: skip
    with connect(f"ws://127.0.0.1:{house.port}/api/v1/chat/ws", additional_headers={"Authorization": f"Bearer {key}"}) as socket:
        socket.send(json.dumps({"type": "send", "content": FAILS, "model": "gpt-4o-mini"}))
        while json.loads(socket.recv(timeout=30))["type"] != "error":
            pass

    asked = {"name": "t", "input": FAILS, "model": "gpt-4o-mini", "max_retries": 0}
    task = house.call("POST", "/api/v1/tasks/", asked, key=key)
    assert task.status == 201, task.body
    ran = house.call("POST", f"/api/v1/tasks/{task.json['id']}/run", {}, key=key, headers={"X-Request-ID": WORKER})
    assert ran.status in (200, 201, 202), ran.body

    (web,) = until(lambda: calls(house, request_id=WEB))
    (socket_line,) = until(lambda: calls(house, surface="ws"))
    worker = until(lambda: calls(house, request_id=WORKER))[0]
    for line in (web, socket_line, worker):
        assert line["user_id"] == me and len(line["call_id"]) == 36 and line["code"] == "provider_unavailable", line
    assert worker["task_id"] == task.json["id"]
    assert [line for line in lines(house) if line["event"] == "request" and line.get("request_id") == WEB and line.get("user_id") == me]
    closed = until(lambda: [line for line in lines(house) if line["event"] == "socket"])
    assert closed[0]["user_id"] == me and closed[0]["path"] == "/api/v1/chat/ws"
    assert socket_line["request_id"] not in (WEB, "", None)
    # The books know the same ids.
    booked = {str(row[0]) for row in house.query("SELECT call_id FROM billing_usagelog WHERE request_id IN (%s, %s)", WEB, WORKER)}
    assert {line["call_id"].replace("-", "") for line in (web, worker)} <= {call.replace("-", "") for call in booked}


def test_no_secret_and_no_content_stands_in_any_log(house: Live):
    house.call("POST", "/api/v1/auth/login", {"email": house.email, "password": PASSWORD}, key="")
    house.call("GET", f"/api/v1/auth/profile?api_key={house.key}", key="aia_" + "n" * 43)
    ticket = house.call("POST", "/api/v1/auth/ws-ticket", key=house.access).json["ticket"]
    with connect(f"ws://127.0.0.1:{house.port}/api/v1/chat/ws", subprotocols=["aiagents.v1", f"ticket.{ticket}"]):  # type: ignore[list-item]
        pass
    time.sleep(1)
    written = "".join(file.read_text() for file in [*(house.folder / "log").glob("aiagents.log*"), *house.folder.glob("*.log")])
    assert len(written) > 5_000
    secrets = [house.key, house.access, PASSWORD, ticket, VENDOR_KEY, house.env["SECRET_KEY"], "nobody may read", "n" * 43]
    for secret in secrets:
        assert secret not in written, secret[:12]


def test_console_and_file_say_the_same_in_json_and_the_file_rotates(house: Live):
    for number in range(150):
        house.call("GET", "/api/v1/auth/profile", headers={"X-Request-ID": f"rotation-{number:04}"})
    wanted = {f"rotation-{number:04}" for number in range(150)}
    in_files = [line["request_id"] for line in lines(house) if line.get("request_id") in wanted]
    assert sorted(in_files) == sorted(wanted), "no line is lost or doubled by two processes that rotate one file"
    assert len([file for file in (house.folder / "log").glob("aiagents.log*") if file.suffix != ".lock"]) > 1
    assert all(file.stat().st_size < 60_000 for file in (house.folder / "log").iterdir())
    console = [json.loads(line) for line in (house.folder / "web.log").read_text().splitlines() if line.startswith("{")]
    assert wanted <= {line.get("request_id") for line in console}


def test_the_processes_say_together_how_they_are(house: Live):
    """Goes on where the first test ended: its failed calls are counted here."""
    for _ in range(6):
        house.call("GET", "/v1/models")
    wanted = (
        'aiagents_requests_total{area="auth",status="200"}', 'aiagents_request_seconds_bucket{area="auth",le="0.1"}',
        'aiagents_cache_lookups_total{cache="principals",result="hit"}', 'aiagents_queue_depth{queue="tasks"}',
    )  # fmt: skip

    def said() -> bool:  # each process adds its counts to the common files every few seconds
        metrics = house.call("GET", "/metrics", key="").body.decode()
        failed = [line for line in metrics.splitlines() if line.startswith("aiagents_model_calls_total") and 'status="failed"' in line]
        # Of the web processes and the worker.
        return all(series in metrics for series in wanted) and any(float(line.split()[-1]) >= 3 for line in failed)

    until(said)
    assert house.manage("shell", "-c", "from aiagents.monitoring.tasks import heartbeat; heartbeat.delay()") is not None
    ready = until(lambda: _worker_up(house))
    assert {"database", "valkey", "worker", "beat", "disk", "memory", "providers"} <= set(ready["checks"])
    assert ready["checks"]["providers"]["vendors"]["google"] | {"latency_ms": None} == {
        "status": "idle", "latency_ms": None, "error_rate": 0.0, "samples": 0, "open": [], "simulated": True,
    }  # fmt: skip
    # Outcomes are each process's own until a breaker opens: one of the two has seen the failures.
    openai = until(lambda: _failing(house))
    assert openai["error_rate"] == 1.0 and openai["simulated"] is False

    assert int(house.manage("shell", "-v0", "-c", "from aiagents.monitoring import system; print(system.sample())").split()[-1]) >= 1
    rows = house.query("SELECT processes, valkey_ms, database_ms, cpu_percent FROM monitoring_systemmetric ORDER BY at DESC")
    processes, *measured = rows[0]
    assert processes == 2 and all(value is not None for value in measured)


def _failing(house: Live) -> Any:
    house.call("POST", "/api/v1/chat/send", {"content": FAILS, "model": "gpt-4o-mini"})
    found = house.call("GET", "/health/ready", key="").json["checks"]["providers"]
    openai = found["vendors"]["openai"]
    return openai if (found["status"], openai["status"]) in (("degraded", "degraded"), ("degraded", "down")) else None


def _worker_up(house: Live) -> Any:
    answer = house.call("GET", "/health/ready", key="")
    assert answer.status == 200, answer.body
    return answer.json if answer.json["checks"]["worker"]["queues"]["celery"] is not None else None


def test_an_admin_watches_all_processes_live(house: Live):
    house.manage(
        "shell", "-c",
        "from accounts.models import User; User.objects.create_superuser('boss@example.com', 'correct horse battery staple')",
    )  # fmt: skip
    signed_in = house.call("POST", "/api/v1/auth/login", {"email": "boss@example.com", "password": "correct horse battery staple"}, key="")
    access = signed_in.json["access"]
    url = f"ws://127.0.0.1:{house.port}/api/v1/admin/live"
    with connect(url, additional_headers={"Authorization": f"Bearer {access}"}) as socket:
        frames = [json.loads(socket.recv(timeout=10)) for _ in range(2)]
        assert frames[1]["processes"]["web"] == 2 and frames[1]["complete"] and frames[1]["open_sockets"] >= 1
        assert frames[1]["today"]["calls"] >= 3, "the web's, the socket's and the worker's"
        house.call("POST", "/api/v1/auth/logout-all", key=access)
        began = time.monotonic()
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                socket.recv(timeout=10)
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 4401 and time.monotonic() - began < 5


def test_beat_shows_that_each_queue_is_served_and_samples_the_minute(house: Live):
    house.query("DELETE FROM monitoring_systemmetric")
    house.spawn("beat", "-m", "celery", "-q", "-A", "aiagents", "beat", "--loglevel", "WARNING", "--pidfile=")
    checks = until(lambda: _all_served(house), 40)
    assert (checks["worker"]["status"], checks["beat"]["status"]) == ("ok", "ok")
    row = until(lambda: house.query("SELECT processes, queues FROM monitoring_systemmetric WHERE processes IS NOT NULL"), 90)
    assert row[0][0] == 2
    house.stop("beat", timeout=15)


def _all_served(house: Live) -> Any:
    checks = house.call("GET", "/health/ready", key="").json["checks"]
    return checks if None not in checks["worker"]["queues"].values() and checks["beat"]["status"] == "ok" else None
