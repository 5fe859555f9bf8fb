"""Valkey, then PostgreSQL, away under traffic on every surface: clear answers, nothing lost, exact money, and all is well by itself.

`OUTAGE_SECONDS=20 pytest tests/test_outage.py -s` is the whole proof, and prints what callers saw.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from tests.kit.servers import outage
from tests.kit.servers.live import Live
from tests.kit.servers.outage import FINE, Seen, Servers, Traffic
from tests.kit.waiting import wait_for

pytestmark = pytest.mark.long
# Seconds a caller may wait for an answer while a part is away, beside the answer's own length.
PATIENCE = 15.0
RECOVERY_SECONDS = 40.0
PROMISED = {
    # What still answers 200 while it is away; the rest may say 503.
    ("valkey", "stop"): {"rest", "sse", "socket", "wire", "wire_stream", "lists", "page"},
    ("valkey", "hang"): {"rest", "sse", "socket", "wire", "wire_stream", "lists", "page"},
    ("postgres", "stop"): set(),
    ("postgres", "hang"): set(),
}


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Live, Servers]]:
    with outage.installation(tmp_path_factory.mktemp("outage")) as found:
        yield found


@pytest.mark.parametrize(("server", "how"), list(PROMISED), ids=lambda value: value)
def test_it_comes_through_an_outage(product: tuple[Live, Servers], server: str, how: str):
    live, servers = product
    seconds = outage.seconds_away(3.0)
    task = live.call("POST", "/api/v1/tasks/", {"name": "steady", "input": "Hello", "model": outage.MODEL})
    assert task.status == 201, task.body
    with Traffic(live, task.json["id"]) as traffic:
        traffic.works_again(0.0, 30)
        in_flight = _long_turn(traffic, seconds)
        began = traffic.now()
        with servers.away(server, how):
            time.sleep(seconds)  # the outage
        back = traffic.now()
        recovered = traffic.works_again(back, RECOVERY_SECONDS)
        traffic.stop()
        told = in_flight()

    during = traffic.between(began, back)
    _print(server, how, back - began, during, recovered)
    # A database that stands still holds whoever has asked it; one that is away is known to be.
    patience = seconds + PATIENCE if (server, how) == ("postgres", "hang") else PATIENCE
    odd = [one for one in traffic.seen if one.status not in FINE]
    assert not odd, "\n".join(map(str, odd))
    for one in during:
        if one.status == 503:
            assert _clear(one.said), one
        assert one.ended - one.began < patience, f"{one} waited {one.ended - one.began:.1f} s"
    missing = PROMISED[server, how] - {one.surface for one in during if one.status == 200}
    assert not missing, f"{missing} did not work while {server} was away\n" + "\n".join(map(str, during))
    _turn_is_whole(live, told)
    _nothing_is_lost(live, traffic)
    _books_are_right(live)


def _long_turn(traffic: Traffic, seconds: float) -> Any:
    """Start a turn that outlasts the outage and wait until it writes; the function returned gives its events."""
    found: dict[str, Any] = {}
    chunks = round((seconds + 6) / 0.1)

    def run() -> None:
        found["answer"] = traffic.live.call(
            "POST", "/api/v1/chat/stream", {"content": f"[[sim:chunks={chunks},pace=100]] A story", "model": outage.MODEL}
        )

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    writes = (
        "SELECT 1 FROM chat_message answer JOIN chat_message question ON answer.parent_id = question.id"
        " WHERE question.content LIKE '%%A story' AND answer.status = 'streaming' AND answer.content <> ''"
    )
    assert wait_for(lambda: traffic.live.query(writes)), "the turn does not write"

    def events() -> list[tuple[int, str, Any]]:
        thread.join(60)
        assert not thread.is_alive(), "the turn in flight never ended"
        assert found["answer"].status == 200, found["answer"].body
        return outage.parse_events(found["answer"].body.decode())

    return events


def _clear(said: Any) -> bool:
    """The contract's error object (or OpenAI's on its wire), with a sentence."""
    if not isinstance(said, dict):
        return isinstance(said, str) and ("closed" in said or '"error"' in said)
    error = said.get("error", said)
    return bool(error.get("message")) and bool(error.get("type"))


def _turn_is_whole(live: Live, events: list[tuple[int, str, Any]]) -> None:
    """Its reader saw all of it, in order, and the row has the same text."""
    assert [seq for seq, _, _ in events] == list(range(len(events)))
    assert events[-1][1] == "message.end", events[-1]
    text = "".join(data["text"] for _, kind, data in events if kind == "content.delta")
    message_id = events[0][2]["message_id"]
    row = _wait(
        lambda: live.query("SELECT status, content FROM chat_message WHERE id = %s", message_id)[0], lambda row: row[0] == "complete"
    )
    assert row == ("complete", text)


def _nothing_is_lost(live: Live, traffic: Traffic) -> None:
    for message_id, ended in traffic.messages.items():
        row = _wait(
            lambda message_id=message_id: live.query("SELECT status, content FROM chat_message WHERE id = %s", message_id)[0],
            lambda row: row[0] not in ("queued", "streaming"),
        )
        if ended is not None and "content" in ended:
            assert row == ("complete", ended["content"]), (message_id, row)
        logs = live.query(
            "SELECT count(*), count(DISTINCT call_id) FROM billing_usagelog WHERE message_id = %s AND purpose = 'chat'", message_id
        )
        if row[0] == "complete":
            assert logs[0] == (1, 1), (message_id, logs)
    for run_id in traffic.runs:
        run = _wait(
            lambda run_id=run_id: live.query("SELECT status FROM tasks_taskrun WHERE id = %s", run_id)[0],
            lambda row: row[0] in ("succeeded", "failed", "cancelled"),
            60,
        )
        assert run[0] == "succeeded", (run_id, live.query("SELECT status, error FROM tasks_taskrun WHERE id = %s", run_id))


def _books_are_right(live: Live) -> None:
    """Every hold is closed and what was spent is what was logged; `manage.py invariants` finds nothing."""
    held = _wait(lambda: live.query("SELECT count(*) FROM billing_hold WHERE status = 'open'")[0][0], lambda count: count == 0, 60)
    assert held == 0
    total = Decimal(str(live.query("SELECT COALESCE(SUM(cost_usd), 0) FROM billing_usagelog")[0][0]))
    system = live.query(
        "SELECT SUM(w.spent_usd), SUM(w.held_usd) FROM billing_budgetwindow w JOIN billing_budget b ON b.id = w.budget_id "
        "WHERE b.scope = 'user'"
    )[0]
    assert (Decimal(str(system[0])), Decimal(str(system[1]))) == (total, Decimal(0))
    twice = live.query("SELECT call_id FROM billing_usagelog GROUP BY call_id HAVING count(*) > 1")
    assert not twice
    assert "violation" not in live.manage("invariants").lower()


def _wait(look: Any, enough: Any, seconds: float = 30) -> Any:
    wait_for(lambda: enough(look()), seconds, every=0.2)
    return look()


def _print(server: str, how: str, seconds: float, during: list[Seen], recovered: float) -> None:
    """One line a surface, for the proof by hand (`-s`)."""
    print(f"\n{server} {how} for {seconds:.1f} s; every surface answered well again {recovered:.1f} s after its return")
    for surface in sorted({one.surface for one in during}):
        mine = [one for one in during if one.surface == surface]
        longest = max(one.ended - one.began for one in mine)
        print(f"  {surface:<12} {dict(Counter(one.status for one in mine))} longest {longest:.1f} s")
