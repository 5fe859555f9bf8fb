"""The effect of a hostile client on another one: `/health` during the most expensive bodies and frames that the server reads.

python -m benchmarks --parts hostile
"""

from __future__ import annotations

import time
from typing import Any

from benchmarks.harness.installation import Installation
from benchmarks.harness.meter import Span
from benchmarks.harness.tables import markdown, number
from tests.kit.hostile.second_client import SecondClient, flooding, post
from tests.kit.hostile.shapes import SHAPES
from tests.kit.valid_bodies import asked

BODY, FRAME = 12 * 1024 * 1024, 255 * 1024
SOCKETS = 5


def take(installed: Installation, seconds: float = 10) -> dict[str, Any]:
    """The other client's latency alone and under each kind of attack, and the most expensive single shape."""
    live = installed.live
    rows = [_row("no other client", installed, lambda: time.sleep(seconds), 0)]
    for path, token in (("/v1/chat/completions", live.key), ("/api/v1/chat/send", live.key), ("/api/v1/auth/login", "")):
        bodies = [shape(BODY) for shape in SHAPES.values()]

        def attack(path: str = path, token: str = token, bodies: list[bytes] = bodies) -> None:
            for body in bodies:
                post(live.port, "POST", path, body, token)

        rows.append(_row(f"{path}, 12 MiB of each of {len(bodies)} shapes", installed, attack, len(bodies)))
    rows.append(_endpoints(installed))
    frames = [frame for shape in SHAPES.values() if (frame := shape(FRAME)).isascii() and b"\x00" not in frame]
    with SecondClient(live.port) as client, Span(web=installed.web) as span, flooding(live.port, live.key, frames, SOCKETS) as sent:
        time.sleep(seconds)
    rows.append(_figures(f"{SOCKETS} sockets, 255 KiB in each frame", client, span, sent[0]))
    return {"rows": rows, "shapes": _shapes(installed)}


def _endpoints(installed: Installation) -> dict[str, Any]:
    """1 MiB of three shapes to every endpoint that reads a body: most of them read 16 KiB of it."""
    names = ("empty lists in a list", "text of brackets and quotes", "one key again and again")
    requests = [(method, path, SHAPES[name](1024 * 1024)) for method, path in asked() for name in names]

    def attack() -> None:
        for method, path, body in requests:
            post(installed.live.port, method, path, body, installed.live.access)

    return _row("every endpoint, 1 MiB of 3 shapes", installed, attack, len(requests))


def _shapes(installed: Installation) -> list[dict[str, Any]]:
    """Each shape alone, at the endpoint that reads all of it."""
    rows = []
    for name, shape in SHAPES.items():
        body = shape(BODY)
        rows.append(
            _row(name, installed, lambda body=body: post(installed.live.port, "POST", "/v1/chat/completions", body, installed.live.key), 1)
        )
    return sorted(rows, key=lambda row: -row["cpu_ms"])[:5]


def _row(what: str, installed: Installation, attack: Any, count: int) -> dict[str, Any]:
    with SecondClient(installed.live.port) as client, Span(web=installed.web) as span:
        attack()
    return _figures(what, client, span, count)


def _figures(what: str, client: SecondClient, span: Span, count: int) -> dict[str, Any]:
    return {
        "what": what,
        "answers": len(client.seconds),
        "p50_ms": client.percentile(0.5) * 1000,
        "p99_ms": client.percentile(0.99) * 1000,
        "max_ms": max(client.seconds) * 1000,
        "cpu_ms": span.cpu["web"] * 1000 / count if count else float("nan"),
    }


def table(found: dict[str, Any]) -> str:
    heads = ("beside", "answers to /health", "p50 ms", "p99 ms", "longest ms", "web CPU ms of one request or frame")
    return "\n\n".join(
        [
            markdown(heads, map(_cells, found["rows"])),
            "The five shapes that cost most, 12 MiB of each, one request:",
            markdown(heads, map(_cells, found["shapes"])),
        ]
    )


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["what"], f"{row['answers']:,}", number(row["p50_ms"]), number(row["p99_ms"]), number(row["max_ms"]), number(row["cpu_ms"]),
    )  # fmt: skip
