"""The web process dies in mid-stream; the reader leaves in mid-stream. Nothing is lost, and it is paid once."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from decimal import Decimal

import pytest

from tests.kit.servers.live import Live, launch
from tests.kit.servers.streams import open_stream, read_events
from tests.kit.waiting import wait_for

pytestmark = pytest.mark.long
SLOW = "[[sim:chunks=100,pace=60]] Tell me a long story"


@pytest.fixture
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """An installation of its own: killing the shared one would kill other tests' calls. After each test its invariants hold."""
    installation = launch(tmp_path_factory.mktemp("mortal"), os.environ.get("PYTEST_XDIST_WORKER", "") + "k")
    try:
        yield installation
        installation.invariants_hold()
    finally:
        installation.close()


def message_row(live: Live, message_id: str) -> tuple[str, str]:
    return live.query("SELECT status, content FROM chat_message WHERE id = %s", message_id)[0]


def wait_for_status(live: Live, message_id: str, status: str, seconds: float) -> tuple[str, str]:
    wait_for(lambda: message_row(live, message_id)[0] == status, seconds, every=0.3)
    return message_row(live, message_id)


def test_kill_nine_in_mid_stream_keeps_the_question_the_text_and_the_books(mortal: Live):
    response = open_stream(mortal, SLOW)
    events = read_events(response, 40)
    start = events[0][1]
    seen = "".join(data["text"] for name, data in events if name == "content.delta")
    assert wait_for(lambda: message_row(mortal, start["message_id"])[1].startswith(seen)), "a second's text is kept"
    mortal.kill()
    question = message_row(mortal, start["user_message_id"])
    assert question == ("complete", SLOW)
    mortal.start()
    status, text = wait_for_status(mortal, start["message_id"], "interrupted", 30)
    assert status == "interrupted"
    assert text.startswith(seen) and seen, "what a reader saw before the crash is kept"
    told = mortal.call("GET", f"/api/v1/chat/stream/{start['message_id']}", headers={"Accept": "text/event-stream"})
    assert told.status == 200
    assert b"event: error" in told.body and b"interrupted" in told.body
    assert wait_for(lambda: not mortal.query("SELECT 1 FROM billing_hold WHERE status = 'open'"), every=0.3)
    rows = mortal.query(
        "SELECT cost_usd, estimated, status, output_tokens FROM billing_usagelog WHERE message_id = %s", start["message_id"]
    )
    assert len(rows) == 1
    assert Decimal(str(rows[0][0])) > 0 and rows[0][1] and rows[0][2] == "interrupted" and rows[0][3] > 0
    total = Decimal(str(mortal.query("SELECT SUM(cost_usd) FROM billing_usagelog")[0][0]))
    for spent, held in mortal.query(
        "SELECT spent_usd, held_usd FROM billing_budgetwindow w JOIN billing_budget b ON b.id = w.budget_id "
        "WHERE b.scope IN ('system', 'user')"
    ):
        assert (Decimal(str(spent)), Decimal(str(held))) == (total, Decimal(0))


def test_closing_the_reader_in_mid_stream_completes_the_answer(live: Live):
    response = open_stream(live, "[[sim:chunks=30,pace=40]] Tell me a story")
    events = read_events(response, 5)
    start = events[0][1]
    response.close()
    status, text = wait_for_status(live, start["message_id"], "complete", 20)
    assert status == "complete"
    replay = live.call("GET", f"/api/v1/chat/stream/{start['message_id']}", headers={"Accept": "text/event-stream"}).body.decode()
    deltas = [json.loads(block.split("data: ", 1)[1])["text"] for block in replay.split("\n\n") if "event: content.delta\n" in block]
    assert "".join(deltas) == text
    assert live.query("SELECT count(*) FROM billing_usagelog WHERE message_id = %s AND purpose = 'chat'", start["message_id"])[0][0] == 1


def test_sigterm_keeps_what_does_not_end_in_time(mortal: Live):
    mortal.stop()
    mortal.env["DRAIN_SECONDS"] = "1"
    mortal.start()
    response = open_stream(mortal, SLOW)
    start = read_events(response, 20)[0][1]
    began = time.monotonic()
    mortal.stop()
    assert time.monotonic() - began < 15
    status, text = message_row(mortal, start["message_id"])
    assert status == "interrupted" and text
    rows = mortal.query("SELECT cost_usd FROM billing_usagelog WHERE message_id = %s", start["message_id"])
    assert len(rows) == 1 and Decimal(str(rows[0][0])) > 0
    assert mortal.query("SELECT count(*) FROM billing_hold WHERE status = 'open'")[0][0] == 0
