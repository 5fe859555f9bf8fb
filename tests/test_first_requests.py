"""What first requests need is loaded before a server answers and before a worker takes work: no request waits for an import.

`python -m benchmarks.first` measures how long the first requests after a start hold the event loop.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kit.servers.live import Live, launch
from tests.kit.servers.server_process import wait_for

pytestmark = pytest.mark.long
MODELS = ("gpt-4o-mini", "claude-haiku-4-5", "gemini-2.5-flash", "auto")
# Microseconds of imports that one first request may wait for.
MOST = 50_000
_LINE = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """An installation whose processes, from their next start on, write down every import."""
    live = launch(tmp_path_factory.mktemp("fresh"), os.environ.get("PYTEST_XDIST_WORKER", "") + "f")
    live.env["PYTHONPROFILEIMPORTTIME"] = "1"
    live.access, live.key = live.new_user("first@example.com", scopes=["chat", "agents", "tasks", "billing", "read"])
    yield live
    live.close()


def imported(log: Path, ask: Callable[[], object]) -> dict[str, int]:
    """What the process behind this log imported while it was asked: module and microseconds of its own."""
    before = log.stat().st_size
    ask()
    with log.open("rb") as file:
        file.seek(before)
        return {name: int(time) for time, name in _LINE.findall(file.read().decode(errors="replace"))}


def vendors_sdks(modules: dict[str, int]) -> list[str]:
    return [name for name in modules if name.split(".")[0] in ("openai", "anthropic", "google")]


def test_no_first_request_of_a_server_waits_for_an_import(fresh: Live):
    fresh.stop()
    fresh.start()
    log = fresh.folder / "web.log"
    known = {model["id"] for model in fresh.call("GET", "/v1/models").json["data"]} | {"auto"}
    agent = fresh.call("POST", "/api/v1/agents/", {"name": "First", "model": MODELS[0], "system_prompt": "Answer."}).json["id"]
    asked: list[tuple[str, str, dict]] = [
        ("POST", "/api/v1/chat/send", {"content": "Hello", "model": model}) for model in MODELS if model in known
    ]
    asked += [("POST", "/v1/chat/completions", {"model": m, "messages": [{"role": "user", "content": "Hi"}]}) for m in MODELS if m in known]
    asked += [("POST", f"/api/v1/agents/{agent}/run", {"input": "Hello"})]
    for method, path, body in asked:
        found = imported(log, lambda method=method, path=path, body=body: _ask(fresh, method, path, body))
        assert not vendors_sdks(found), (path, body, vendors_sdks(found))
        assert sum(found.values()) < MOST, (path, body, found)


def _ask(live: Live, method: str, path: str, body: dict) -> None:
    answer = live.call(method, path, body)
    assert answer.status == 200, answer.body


def test_no_first_run_of_a_worker_waits_for_an_sdk(fresh: Live):
    celery = ("-m", "celery", "-q", "-A", "aiagents", "worker", "-n", "worker@%h", "-Q", "celery,tasks", "-c", "1")
    fresh.spawn("worker", *celery, "--loglevel", "WARNING", "--without-gossip", "--without-mingle")
    log = fresh.folder / "worker.log"
    assert wait_for(lambda: "ready." in log.read_text(errors="replace"), 90), log.read_text(errors="replace")[-2000:]

    def run() -> None:
        task = fresh.call("POST", "/api/v1/tasks/", {"name": "first", "input": "Hello", "model": MODELS[0]}).json
        started = fresh.call("POST", f"/api/v1/tasks/{task['id']}/run", {})
        assert started.status in (200, 201, 202), started.body

        def ended() -> bool:
            rows = fresh.query("SELECT status FROM tasks_taskrun WHERE id = %s", started.json["id"])
            return rows[0][0] in ("succeeded", "failed")

        assert wait_for(ended, 60)
        assert fresh.query("SELECT status FROM tasks_taskrun WHERE id = %s", started.json["id"])[0][0] == "succeeded"

    assert not vendors_sdks(imported(log, run))
    fresh.stop("worker")
