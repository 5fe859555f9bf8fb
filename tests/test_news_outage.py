"""News while Valkey is away: work goes on, sockets stay, and a client that may have missed news gets `news.lost`."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.servers.live import Live, launch
from tests.kit.servers.news import NewsSocket
from tests.kit.servers.outage import Servers

pytestmark = pytest.mark.long
# Seconds that a request may take while Valkey is away: rate limits wait for it as well, news do not.
PATIENCE = 5.0


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Live, Servers]]:
    folder: Path = tmp_path_factory.mktemp("news-outage")
    servers = Servers(folder / "servers")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REDIS_URL", servers.start_valkey())
        live = launch(folder, os.environ.get("PYTEST_XDIST_WORKER", "") + "o")
    try:
        yield live, servers
    finally:
        live.close()
        servers.end()


@pytest.mark.parametrize("how", ["stop", "hang"])
def test_an_outage_of_the_layer_costs_news_and_nothing_else(product: tuple[Live, Servers], how: str):
    live, servers = product
    with NewsSocket(live, live.access) as socket:
        socket.joined()
        with servers.away("valkey", how):
            for number in range(3):
                begun = time.monotonic()
                made = live.call("POST", "/api/v1/chat/conversations", {"title": f"Away {number}"}, key=live.access)
                assert made.status == 201 and time.monotonic() - begun < PATIENCE, made.body
            socket.answers()
            # One wait of the layer for messages lasts up to ten seconds where nothing answers.
            time.sleep(12 if how == "hang" else 2)  # the outage
        socket.answers()
        socket.until("news.lost", None, 30)
        # What was done meanwhile is there for who reads again, and news arrive again.
        listed = live.call("GET", "/api/v1/chat/conversations", key=live.access).json["results"]
        assert {f"Away {number}" for number in range(3)} <= {one["title"] for one in listed}
        socket.joined()
    assert "Traceback" not in (live.folder / "web.log").read_text()
