"""A plugin over the whole suite: every secret that a test makes is remembered, and no log line and no answer may show it.

Passwords, API keys, tokens and vendors' keys are planted where the product makes or takes them; logs are read as our
formatter writes them. A key may be shown by the call that makes it, tokens by the calls that hand them out: see SHOWN_BY.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from aiagents.core.logs.formatting import JSONFormatter

# Which paths may show a secret of a kind, in their answers; with a star at the end all paths that begin so.
SHOWN_BY: dict[str, tuple[str, ...]] = {
    "API key": ("/api/v1/auth/api-keys",),
    "webhook's secret": ("/api/v1/tasks/*",),
    "token": ("/api/v1/auth/register", "/api/v1/auth/login", "/api/v1/auth/refresh", "/api/v1/auth/password"),
}
# Shorter ones would be found by chance.
SHORTEST = 10


@dataclass
class Canaries:
    planted: dict[str, str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    answers: list[tuple[str, bytes]] = field(default_factory=list)

    def plant(self, kind: str, secret: Any) -> None:
        if isinstance(secret, str) and len(secret) >= SHORTEST:
            self.planted.setdefault(secret, kind)

    def found(self) -> list[str]:
        """Where secrets came to light, in words."""
        log = "\n".join(self.lines)
        said = [f"a {kind} stands in the log: …{_around(log, secret)}…" for secret, kind in self.planted.items() if secret in log]
        for path, body in self.answers:
            for secret, kind in self.planted.items():
                if not _may_show(path, kind) and secret.encode() in body:
                    said.append(f"a {kind} stands in an answer of {path}")
        return said


def _may_show(path: str, kind: str) -> bool:
    return any(path == one or (one.endswith("*") and path.startswith(one[:-1])) for one in SHOWN_BY.get(kind, ()))


def _around(text: str, secret: str) -> str:
    at = text.index(secret)
    return text[max(0, at - 120) : at] + "SECRET" + text[at + len(secret) : at + len(secret) + 40]


class _Reader(logging.Handler):
    """Reads what our formatter would write."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self._lines = lines
        self.setFormatter(JSONFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(self.format(record))


@pytest.fixture(autouse=True)
def canaries(monkeypatch: pytest.MonkeyPatch) -> Iterator[Canaries]:
    """The secrets of this test; searched for when it ends."""
    seen = Canaries()
    _watch_makers(monkeypatch, seen)
    _watch_answers(monkeypatch, seen)
    reader = _Reader(seen.lines)
    logging.getLogger().addHandler(reader)
    yield seen
    logging.getLogger().removeHandler(reader)
    if said := seen.found():
        pytest.fail("; ".join(said[:5]), pytrace=False)


def _watch_makers(monkeypatch: pytest.MonkeyPatch, seen: Canaries) -> None:
    from accounts import keys
    from accounts.models import User
    from accounts.sign_in import tokens
    from agents import secrets
    from tasks import webhooks

    def password(result: Any, user: Any, raw: Any = None, *_: Any, **__: Any) -> None:
        seen.plant("password", raw)

    def key(result: Any, *_: Any, **__: Any) -> None:
        seen.plant("API key", result[1])

    def pair(result: Any, *_: Any, **__: Any) -> None:
        seen.plant("token", result.access)
        seen.plant("token", result.refresh)

    def vendor_key(result: Any, text: Any = None, *_: Any, **__: Any) -> None:
        seen.plant("vendor's key", text)

    def signing_key(result: Any, *_: Any, **__: Any) -> None:
        seen.plant("webhook's secret", result)

    watched = (
        (User, "set_password", password),
        (keys, "create", key),
        (tokens, "sign_in", pair),
        (tokens, "rotate", pair),
        (webhooks, "new_secret", signing_key),
        (secrets, "encrypt", vendor_key),
    )
    for owner, name, note in watched:
        monkeypatch.setattr(owner, name, _noted(getattr(owner, name), note))


def _watch_answers(monkeypatch: pytest.MonkeyPatch, seen: Canaries) -> None:
    from aiagents.core.http import exchange as asgi_answer
    from aiagents.core.http import middleware, stream

    def django(response: Any, request: Any, *_: Any, **__: Any) -> None:
        if not response.streaming:
            seen.answers.append((request.path, response.content))

    def body(_: Any, exchange: Any, answer: Any) -> None:
        seen.answers.append((exchange._request.path, getattr(answer, "body", b"")))

    def part(_: Any, writer: Any, chunk: bytes) -> None:
        seen.answers.append(("a stream", chunk))

    monkeypatch.setattr(middleware, "end_request", _noted(middleware.end_request, django))
    monkeypatch.setattr(asgi_answer.Exchange, "send", _noted(asgi_answer.Exchange.send, body))
    monkeypatch.setattr(stream.Writer, "put", _noted(stream.Writer.put, part))


def _noted(function: Callable[..., Any], note: Callable[..., None]) -> Callable[..., Any]:
    def called(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        note(result, *args, **kwargs)
        return result

    return called
