"""A second client of a running server notices nothing of a hostile one: neither of bodies of any content nor of frames.

The processor time of the web process is what decides here, since it does not hang on what else the machine does; the delay that the
second client sees is bounded as well, in the measure of what it saw before. The figures for documents come from
`python -m benchmarks --parts hostile`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import psutil
import pytest

from tests.kit.hostile.second_client import SecondClient, flooding, post
from tests.kit.hostile.shapes import SHAPES
from tests.kit.servers.live import Live, launch
from tests.kit.valid_bodies import asked

pytestmark = pytest.mark.long
BODY, FRAME = 12 * 1024 * 1024, 255 * 1024


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    installation = launch(tmp_path_factory.mktemp("hostile"), os.environ.get("PYTEST_XDIST_WORKER", "") + "h")
    yield installation
    installation.close()


def usual(product: Live) -> float:
    """The 99th percentile without another client, in seconds."""
    with SecondClient(product.port) as client:
        time.sleep(1)  # the time that is measured
    return client.percentile(0.99)


def cpu(product: Live) -> float:
    found = psutil.Process(product.processes["web"].pid)
    return sum(sum(one.cpu_times()[:2]) for one in (found, *found.children(recursive=True)))


def holds(client: SecondClient, before: float) -> None:
    assert len(client.seconds) > 20
    assert client.percentile(0.99) < max(0.1, 10 * before), f"p99 {client.percentile(0.99):.3f} s, before {before:.3f} s"


def test_the_largest_bodies_of_every_shape(product: Live):
    """To an endpoint that takes 12 MiB, as a user; and to one that takes 16 KiB, without a credential."""
    before, began = usual(product), cpu(product)
    with SecondClient(product.port) as client:
        for name, shape in SHAPES.items():
            body = shape(BODY)
            for path, token in (("/v1/chat/completions", product.key), ("/api/v1/chat/send", product.key), ("/api/v1/auth/login", "")):
                status = post(product.port, "POST", path, body, token)
                assert 400 <= status < 500, f"{path} answered {status} to {name}"
                assert token or status == 413
    holds(client, before)
    each = (cpu(product) - began) / (3 * len(SHAPES))
    assert each < 0.4, f"{each:.2f} s of processor for one request"


def test_every_endpoint_that_reads_a_body(product: Live):
    before = usual(product)
    with SecondClient(product.port) as client:
        for method, path in asked():
            for name in ("empty lists in a list", "text of brackets and quotes", "one key again and again"):
                status = post(product.port, method, path, SHAPES[name](1024 * 1024), product.access)
                assert 400 <= status < 500, f"{method} {path} answered {status} to {name}"
    holds(client, before)


def test_frames_of_every_shape_from_five_sockets(product: Live):
    before, began = usual(product), cpu(product)
    with SecondClient(product.port) as client, flooding(product.port, product.key, _frames(), 5) as sent:
        time.sleep(5)  # the time that is measured
    holds(client, before)
    assert sent[0] > 50
    each = (cpu(product) - began) / sent[0]
    assert each < 0.1, f"{each:.3f} s of processor for one frame"


def _frames() -> list[bytes]:
    return [frame for shape in SHAPES.values() if (frame := shape(FRAME)).isascii() and b"\x00" not in frame]
