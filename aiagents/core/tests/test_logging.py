"""One JSON line for each event, with its ids, without secrets, whatever happens."""

from __future__ import annotations

import io
import json
import logging
import multiprocessing
import time
from pathlib import Path
from typing import Any

import pytest

from aiagents.core.logs import context, redact
from aiagents.core.logs.file import SharedFileHandler
from aiagents.core.logs.formatting import ConsoleFormatter, JSONFormatter, QuietStreamHandler


@pytest.fixture
def lines():
    """The lines that a logger of this test writes, parsed."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JSONFormatter())
    logger = logging.getLogger("test.lines")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)

    def read() -> list[dict[str, Any]]:
        return [json.loads(line) for line in stream.getvalue().splitlines()]

    yield read
    logger.removeHandler(handler)


log = logging.getLogger("test.lines")


@pytest.mark.parametrize(
    "text",
    ["two\nlines", "\r\n", "\u2028 \x85 \x0b", "\x1b[31mred", '{"level":"error"}', "\ud800", "%s %d", "\x00", "🜁" * 5],
    ids=range(9),  # a lone surrogate cannot stand in a test's name when several processes share the work
)
def test_any_text_is_one_line_of_json(lines: Any, text: str):
    log.info(text)
    log.info("with %r", text)
    assert len(lines()) == 2 and lines()[0]["event"] == text


def test_ids_of_the_request_stand_on_every_line(lines: Any):
    tokens = [context.request_id.set("req-12345"), context.user_id.set("u-1"), context.call_id.set("c-1")]
    log.info("hello", extra={"amount": 3})
    log.warning("structured", extra={"fields": {"size": 5}})
    for variable, token in zip((context.request_id, context.user_id, context.call_id), tokens, strict=True):
        variable.reset(token)
    first, second = lines()
    assert (first["request_id"], first["user_id"], first["call_id"], first["amount"]) == ("req-12345", "u-1", "c-1", 3)
    assert (second["event"], second["size"], second["request_id"], second["level"]) == ("structured", 5, "req-12345", "warning")


SECRETS = [
    ("aia_Zm9vYmFyYmF6cXV4", "key aia_Zm9vYmFyYmF6cXV4 was used"),
    ("sk-proj-abc123def456", "vendor said: bad key sk-proj-abc123def456."),
    ("AIzaSyA1234567890abc", "url?key=AIzaSyA1234567890abc"),
    ("eyJhbGciOi.eyJzdWIiOi.c2lnbmF0", "token eyJhbGciOi.eyJzdWIiOi.c2lnbmF0"),
    ("abcdef123456", "Authorization: Bearer abcdef123456"),
    ("abcdef123456", "{'authorization': 'Token abcdef123456'}"),
    ("dXNlcjpwYXNz", "authorization=Basic dXNlcjpwYXNz"),
    ("abcdef123456", "GET /x?api_key=abcdef123456&y=1"),
    ("hunter two", '{"password": "hunter two", "a": 1}'),
    ("hunter two", r"{\"password\": \"hunter two\", \"a\": 1}"),
    ("hunter2", "password='hunter2'"),
    ("hunter2", "new_password=hunter2&old=1"),
    ("s3ss10n", "Cookie: theme=dark; session=s3ss10n"),
    ("hunter2", "postgres://app:hunter2@db/x"),
    ("abcdefgh", "Sec-WebSocket-Protocol: aiagents.v1, ticket.abcdefgh"),
    ("xyz789", "x-api-key: xyz789"),
    ("xyz789", "refresh_token=xyz789"),
    ("xyz789", "GET /x?t%6fken=xyz789&y=1"),
    ("xyz789", "GET /x?%74%6f%6b%65%6e=xyz789"),
    ("xyz789", "GET /x?%2574oken=xyz789"),
    ("xyz789", "GET /x?y=1;api%5Fkey=xyz789"),
    ("xyz789", "Referer: https://a.example/?next=%2Fx%3Ftoken%3Dxyz789"),
    ("xyz789", "next=%2Fx%3Ft%6fken%3Dxyz789"),
]


@pytest.mark.parametrize(("secret", "text"), SECRETS)
def test_secrets_are_hidden_wherever_they_stand(lines: Any, secret: str, text: str):
    log.info(text)
    log.info("formatted %s", text)
    log.info("field", extra={"fields": {"note": text, "nested": {"list": [text]}}})
    try:
        raise ValueError(text)
    except ValueError:
        log.exception("raised")
    for line in lines():
        assert secret not in json.dumps(line), line


def test_fields_named_like_secrets_are_hidden_and_counts_are_not(lines: Any):
    log.info(
        "x",
        extra={"fields": {"password": "p", "api_key": "k", "headers": {"Cookie": "c"}, "input_tokens": 5, "max_tokens": 9, "token": ""}},
    )
    (line,) = lines()
    assert line["password"] == line["api_key"] == line["headers"]["Cookie"] == redact.HIDDEN
    assert (line["input_tokens"], line["max_tokens"], line["token"]) == (5, 9, "")


@pytest.mark.parametrize(
    "text",
    ["a-" * 50_000 + "token", "eyJ-" * 25_000, 'token="' + "\\" * 100_000, "bearer " * 15_000, "://a:" * 20_000, "password='" * 10_000],
)
def test_hiding_takes_little_time_on_hostile_text(text: str):
    begun = time.thread_time()
    redact.text(text)
    assert time.thread_time() - begun < 0.4


def test_nothing_that_is_logged_raises(lines: Any):
    class Rude:
        def __str__(self) -> str:
            raise RuntimeError("no")

        __repr__ = __str__

    log.info("%s", Rude())
    log.info("too few %s %s", 1)
    log.info("field", extra={"fields": {"x": Rude(), "big": 2**80, "set": {1}, "bytes": b"\xff"}})
    assert len(lines()) == 3
    for formatter in (JSONFormatter(), ConsoleFormatter()):
        formatter.format(logging.makeLogRecord({"msg": Rude(), "name": "x", "levelname": "INFO"}))


FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="this system has no device that is always full")


@needs_full
def test_a_full_disk_loses_lines_and_nothing_else(monkeypatch: Any, capfd: Any, tmp_path: Path):
    """The device refuses each write with ENOSPC, as a full disk does."""
    monkeypatch.setattr(logging, "raiseExceptions", True)  # logging's own way: print a traceback of each
    console, shared, other = QuietStreamHandler(), SharedFileHandler(FULL), logging.FileHandler(tmp_path / "other")
    console.setStream(FULL.open("w"))
    with pytest.raises(OSError, match="No space"):
        console.stream.write("x") and console.stream.flush()
    logger = logging.Logger("full")
    for handler in (console, shared, other):
        logger.addHandler(handler)
    for number in range(3):
        logger.error("line %d", number)
    assert shared.stream is not None  # it tried
    assert (tmp_path / "other").read_text().splitlines() == ["line 0", "line 1", "line 2"]
    assert capfd.readouterr() == ("", "")


@needs_full
def test_a_log_file_goes_on_after_a_full_disk_was_cleared(monkeypatch: Any, tmp_path: Path):
    """The operator deletes the log to make room, while the rest of a line waits to be written into it."""
    shared = SharedFileHandler(tmp_path / "log")
    with monkeypatch.context() as full:
        full.setattr(shared, "_open", lambda: FULL.open("w"))
        shared.handle(logging.makeLogRecord({"msg": "lost"}))
    shared.handle(logging.makeLogRecord({"msg": "lost too, perhaps"}))
    shared.handle(logging.makeLogRecord({"msg": "written"}))
    assert (tmp_path / "log").read_text().splitlines()[-1] == "written"


def _write(path: str, mark: int) -> None:
    handler = SharedFileHandler(path, max_bytes=20_000, kept=50)
    handler.setFormatter(JSONFormatter())
    for number in range(500):
        handler.handle(logging.makeLogRecord({"msg": f"{mark}:{number}", "name": "x"}))


def test_several_processes_rotate_one_file_without_losing_a_line(tmp_path: Path):
    path = str(tmp_path / "logs" / "aiagents.log")
    workers = [multiprocessing.get_context("fork").Process(target=_write, args=(path, mark)) for mark in range(3)]
    [worker.start() for worker in workers]
    [worker.join() for worker in workers]
    found = [
        json.loads(line)["event"]
        for file in (tmp_path / "logs").glob("aiagents.log*")
        if file.suffix != ".lock"
        for line in file.read_text().splitlines()
    ]
    assert sorted(found) == sorted(f"{mark}:{number}" for mark in range(3) for number in range(500))
    assert len(list((tmp_path / "logs").iterdir())) > 5


def test_a_tasks_request_id_is_that_of_the_request_that_started_it():
    from types import SimpleNamespace

    from aiagents import celery

    headers: dict[str, Any] = {}
    token = context.request_id.set("req-of-the-web")
    celery.send_request_id(headers=headers)
    context.request_id.reset(token)
    request = SimpleNamespace(is_eager=False, headers=headers)
    celery.receive_request_id(task_id="t-1", task=SimpleNamespace(request=request))
    assert (context.request_id.get(), context.task_id.get()) == ("req-of-the-web", "t-1")
    celery.forget_request_id(task=SimpleNamespace(request=request))
    assert context.request_id.get() == context.task_id.get() == ""
    celery.receive_request_id(task_id="t-2", task=SimpleNamespace(request=SimpleNamespace(is_eager=False, headers=None)))
    assert len(context.request_id.get()) == 32
    celery.forget_request_id(task=SimpleNamespace(request=request))
