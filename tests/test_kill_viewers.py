"""The web process dies while many watch: what they had seen stands, but for a bounded number of last events, and message.rewind is sent."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
import redis
from django.conf import settings

from tests.kit.servers.live import Live, launch
from tests.kit.servers.streams import open_stream
from tests.kit.waiting import wait_for

pytestmark = pytest.mark.long
VIEWERS = 12
FAST = "[[sim:chunks=4000,pace=2]] Tell me a very long story"


@pytest.fixture
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    installation = launch(tmp_path_factory.mktemp("mortal-viewers"), os.environ.get("PYTEST_XDIST_WORKER", "") + "v")
    yield installation
    installation.close()


@dataclass
class Viewer:
    """What one reader of a stream has seen: texts by seq, as a client would keep them."""

    events: list[tuple[int, str, Any]] = field(default_factory=list)

    def read(self, response: http.client.HTTPResponse) -> None:
        """Read to the end, also to an end that is a broken connection."""
        seq, kind = -1, ""
        try:
            while line := response.readline().decode():
                name, _, value = line.rstrip("\n").partition(": ")
                if name == "id":
                    seq = int(value)
                elif name == "event":
                    kind = value
                elif name == "data":
                    self.events.append((seq, kind, json.loads(value)))
        except (OSError, http.client.HTTPException):
            return

    @property
    def last(self) -> int:
        return self.events[-1][0]

    @property
    def text(self) -> str:
        return text_of(self.events)


def text_of(events: list[tuple[int, str, Any]]) -> str:
    return "".join(data["text"] for _, kind, data in events if kind == "content.delta")


def reattach(live: Live, message_id: str, after: int) -> list[tuple[int, str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", live.port, timeout=90)
    headers = {"Authorization": f"Bearer {live.key}", "Accept": "text/event-stream", "Last-Event-ID": str(after)}
    connection.request("GET", f"/api/v1/chat/stream/{message_id}", headers=headers)
    again = Viewer()
    again.read(connection.getresponse())
    return again.events


def freeze_ahead_of_the_log(live: Live, viewers: list[Viewer]) -> None:
    """Stop the web process in a moment in which some viewer has seen an event that the log does not hold yet."""
    process = live.processes["web"].pid
    deadline = time.monotonic() + 30
    with redis.Redis.from_url(live.env["REDIS_URL"]) as valkey:
        while True:
            assert time.monotonic() < deadline, "no viewer was ever ahead of the log"
            os.killpg(process, signal.SIGSTOP)
            seen = [-1] * len(viewers)
            while seen != (seen := [one.last for one in viewers]):  # what is still in their sockets
                time.sleep(0.05)  # it is read until it no longer changes
            if any(one.last > logged(valkey, one.events[0][2]["message_id"]) for one in viewers):
                return
            os.killpg(process, signal.SIGCONT)
            time.sleep(random.uniform(0.005, 0.05))  # any moment


def logged(valkey: redis.Redis, message_id: str) -> int:
    """The seq of the last event that the log of a turn holds."""
    last: Any = valkey.xrevrange(f"chat:turn:{message_id}", count=1)
    return int(last[0][0].split(b"-")[0]) - 1 if last else -1


def test_kill_nine_takes_back_no_more_than_the_bound_and_every_viewer_is_rewound_to_what_stands(mortal: Live) -> None:
    viewers = [Viewer() for _ in range(VIEWERS)]
    threads = [threading.Thread(target=one.read, args=(open_stream(mortal, FAST),)) for one in viewers]
    for thread in threads:
        thread.start()
    assert wait_for(lambda: min(len(one.events) for one in viewers) >= 150, 60), [len(one.events) for one in viewers]
    freeze_ahead_of_the_log(mortal, viewers)
    mortal.kill()
    for thread in threads:
        thread.join(30)
    mortal.start()
    with ThreadPoolExecutor(VIEWERS) as pool:
        again = list(pool.map(lambda one: reattach(mortal, one.events[0][2]["message_id"], one.last), viewers))
    rewound = 0
    for one, events in zip(viewers, again, strict=True):
        stored = mortal.query("SELECT status, content FROM chat_message WHERE id = %s", one.events[0][2]["message_id"])[0]
        kept = one.text
        if events[0][1] == "message.rewind":
            rewound += 1
            stands, data = events[0][0], events[0][2]
            assert data["seq"] == stands < one.last
            assert one.last - stands <= settings.TURN_LOG_MOST_AHEAD
            assert text_of([event for event in one.events if event[0] <= stands]) == kept[: data["length"]]
            kept = kept[: data["length"]]
        assert "message.rewind" not in [kind for _, kind, _ in events[1:]]
        assert events[-1][1] == "error" and events[-1][2]["error"]["code"] == "interrupted"
        # The row may have followed further than the log had; the end brings the whole then.
        assert stored[0] == "interrupted" and stored[1].startswith(kept + text_of(events)) and kept
        assert events[-1][2]["message"]["content"] == stored[1]
    assert rewound, "no viewer was ahead of the log: the test saw nothing"
