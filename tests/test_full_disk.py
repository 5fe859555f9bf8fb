"""A disk without room: nothing is killed by it, what needs no room goes on, and all is well again once there is room.

`pytest tests/test_full_disk.py -s` is the whole proof, and prints what callers saw. It needs the right to mount a tmpfs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aiagents.core import storage
from aiagents.local import embedded
from aiagents.local.disk_reserve import SETTLED_SECONDS, Reserve
from tests.kit.servers.installation import Installation
from tests.kit.servers.outage import parse_events
from tests.kit.servers.server_process import ROOT, wait_for
from tests.kit.servers.small_disk import fill, small_disk

_COUNTING = """
from aiagents.core.metrics import counters as metrics
from aiagents.core.metrics import counting
from aiagents.core.metrics import files as metric_files

for number in range(400):
    counting.request(f"/api/v1/chat/{number}", 200 + number, 0.01)
    metrics.CALLS.labels("openai", f"model-{number}", "ok").inc()
    metrics.flush()
print("written" if metric_files.write() else "kept", metrics.exposition().count(b"model-"))
"""


@pytest.fixture
def metrics_disk() -> Iterator[Path]:
    with small_disk("64k") as folder:
        yield folder


def count(folder: Path) -> str:
    env = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(folder)}
    done = subprocess.run([sys.executable, "-c", _COUNTING], env=env, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stderr[-2000:]}"
    return done.stdout


def test_a_full_disk_takes_metrics_and_not_the_process_that_counts(metrics_disk: Path):
    filler = fill(metrics_disk)
    assert count(metrics_disk).startswith("kept")
    filler.unlink()
    # Now there is room for some of it: the disk becomes full under files that exist and grow.
    assert count(metrics_disk).startswith("kept")


def test_dead_processes_sums_are_kept_when_there_is_no_room_to_merge_them(metrics_disk: Path):
    code = "from aiagents.core.metrics import counters as metrics; metrics.REPLAYS.inc(3)"
    env = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(metrics_disk)}
    subprocess.run([sys.executable, "-c", code], check=True, env=env, cwd=ROOT)
    filler = fill(metrics_disk)
    show = "from aiagents.core.metrics import counters as metrics; print(metrics.exposition().decode())"
    for _ in range(2):
        shown = subprocess.run([sys.executable, "-c", show], check=True, env=env, cwd=ROOT, capture_output=True, text=True).stdout
        assert "aiagents_replays_total 3.0" in shown
    filler.unlink()
    shown = subprocess.run([sys.executable, "-c", show], check=True, env=env, cwd=ROOT, capture_output=True, text=True).stdout
    assert "aiagents_replays_total 3.0" in shown
    assert (metrics_disk / "counter_gone.db").exists()


# --- a whole installation, its databases on the full disk -----------------------------------------

CHILDREN = ("web", "worker", "keeper", "beat", "simulator")
# Seconds that the disk stays full: briefly in the suite, FULL_SECONDS=40 for the whole proof.
FULL_SECONDS = float(os.environ.get("FULL_SECONDS") or 12)


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    with small_disk("400m") as folder:
        made = Installation(folder)
        made.env |= {"LOGIN_LIMIT_IP": "1000/m", "LOGIN_LIMIT_ACCOUNT": "1000/m", "RATE_LIMIT_REQUESTS": "100000"}
        try:
            made.start(120)
            yield made
        finally:
            if made.process is not None and made.process.poll() is None:
                made.stop()
            embedded.remove(made.data)


def stream(installation: Installation, key: str, content: str) -> list[tuple[int, str, Any]]:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", installation.port, timeout=90)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", "Accept": "text/event-stream"}
    connection.request("POST", "/api/v1/chat/stream", json.dumps({"content": content, "model": "gpt-4o-mini"}), headers)
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    return parse_events(answer.read().decode())


@pytest.mark.long
def test_a_full_disk_kills_nothing_and_sign_in_and_reading_go_on(installation: Installation):
    assert wait_for(lambda: installation.status() in ("ok", "degraded"), 60), installation.call("/health/ready")
    key = next(line for line in installation.lines if "API key" in line).split()[-1]
    person = ("full@example.com", "a-long-enough-secret")
    assert installation.call("/api/v1/auth/register", dict(zip(("email", "password"), person, strict=True)))[0] == 201
    assert installation.call("/api/v1/chat/send", {"content": "Hello", "model": "gpt-4o-mini"}, key)[0] == 200
    pids = {name: installation.child(name).pid for name in CHILDREN}
    events: list[tuple[int, str, Any]] = []
    running = threading.Thread(
        target=lambda: events.extend(stream(installation, key, f"[[sim:chunks={round((FULL_SECONDS + 4) * 10)},pace=100]] A story"))
    )

    def conversations() -> int:
        return len(installation.call("/api/v1/chat/conversations", key=key)[1]["results"])

    before = conversations()
    running.start()
    assert wait_for(lambda: conversations() > before), "the turn does not begin"

    filler = fill(installation.data)
    full_since, lines_before = time.monotonic(), len(installation.lines)
    assert wait_for(lambda: installation.said("the disk is full"), 10), installation.lines[-20:]
    seen: dict[str, Counter[int]] = {"sign-in": Counter(), "reading": Counter(), "new turn": Counter(), "wire": Counter()}
    while time.monotonic() - full_since < FULL_SECONDS:
        seen["sign-in"][installation.login(*person)] += 1
        seen["reading"][installation.call("/api/v1/chat/conversations", key=key)[0]] += 1
        status, body = installation.call("/api/v1/chat/send", {"content": "Hello", "model": "gpt-4o-mini"}, key)
        seen["new turn"][status] += 1
        assert status != 503 or body["error"]["code"] in ("storage_full", "unavailable"), body
        wire = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}
        seen["wire"][installation.call("/v1/chat/completions", wire, key)[0]] += 1
        time.sleep(0.3)  # the pace of the clients
    lines = installation.lines[lines_before:]
    assert wait_for(lambda: installation.call("/health/ready")[1]["checks"]["disk"]["status"] == "down", 5)
    checks = installation.call("/health/ready")[1]["checks"]
    print({name: dict(counts) for name, counts in seen.items()}, f"{len(lines)} lines in {FULL_SECONDS:.0f} s", checks["disk"])
    assert {name: installation.child(name).pid for name in CHILDREN} == pids, "a process died:\n" + "\n".join(lines[-50:])
    assert set(seen["sign-in"]) == set(seen["reading"]) == {200}, seen
    assert set(seen["new turn"]) == set(seen["wire"]) == {503}, seen
    assert checks["disk"]["status"] == "down"
    events_only = [line for line in lines if "logger=aiagents.access" not in line]
    assert len(events_only) < 30, "\n".join(events_only)

    running.join(60)
    assert events[-1][1] == "message.end", events[-1]
    assert [seq for seq, _, _ in events] == list(range(len(events)))
    filler.unlink()
    assert wait_for(lambda: installation.said("the disk has free space again"), 15)
    assert wait_for(lambda: installation.call("/api/v1/chat/send", {"content": "Hi", "model": "gpt-4o-mini"}, key)[0] == 200, 30)
    assert installation.login(*person) == 200
    text = "".join(data["text"] for _, kind, data in events if kind == "content.delta")
    start = events[0][2]
    kept = installation.call(f"/api/v1/chat/conversations/{start['conversation_id']}/messages", key=key)[1]["results"]
    assert [message["content"] for message in kept if message["id"] == start["message_id"]] == [text]
    installation.manage("invariants")


def test_the_reserve_is_given_back_piece_by_piece_and_taken_again():
    with small_disk("300m") as folder:
        reserve = Reserve(folder)
        reserve.tick()
        wanted = storage.disk_space(folder).wanted
        assert storage.disk_space(folder).held == pytest.approx(wanted, rel=0.01) and not storage.disk_space(folder).low
        fill(folder, "first")
        for piece in (1, 2, 3):
            before = storage.disk_space(folder).held
            reserve.tick()
            assert storage.disk_space(folder).held == before, "whatever fills the disk meets its end first"
            time.sleep(SETTLED_SECONDS + 0.05)  # the reserve may be given up a step at a time
            reserve.tick()
            assert storage.disk_space(folder).held < before or before == 0
            assert storage.disk_space(folder).low
            fill(folder, f"more-{piece}")
        assert storage.disk_space(folder).held == 0 and not (folder / storage.RESERVE).exists()
        for path in [*folder.glob("more-*"), folder / "first"]:
            path.unlink()
        reserve.tick()
        assert storage.disk_space(folder).held == pytest.approx(wanted, rel=0.01) and not storage.disk_space(folder).low
