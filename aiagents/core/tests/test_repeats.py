"""A failure that repeats is written a few times a minute, with how often it was left out; nothing else is held back."""

from __future__ import annotations

import errno
import json
import logging
import logging.handlers
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from django.db import OperationalError

from aiagents.core import storage
from aiagents.core.logs import formatting as our_logging
from aiagents.core.logs import repeats
from aiagents.core.logs.repeats import MOST, SECONDS, Repeats


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def written(clock: Clock) -> Iterator[list[logging.LogRecord]]:
    """What two handlers with the same filter wrote, the second's lines only."""
    found: list[logging.LogRecord] = []
    shared = Repeats(storage.is_full, clock)
    first, second = logging.handlers.BufferingHandler(10**6), logging.handlers.BufferingHandler(10**6)
    second.buffer = found
    for handler in (first, second):
        handler.addFilter(shared)
        logging.getLogger("test.repeats").addHandler(handler)
    logging.getLogger("test.repeats").setLevel(logging.DEBUG)
    yield found
    assert len(first.buffer) == len(found), "both handlers write the same"
    for handler in (first, second):
        logging.getLogger("test.repeats").removeHandler(handler)


log = logging.getLogger("test.repeats")


def test_a_failure_that_repeats_is_written_a_few_times_and_its_number_later(written: list[Any], clock: Clock):
    for number in range(8400):
        log.error("the database failed a request: %s", number)
    assert len(written) == MOST
    clock.now += SECONDS
    log.error("the database failed a request: again")
    log.error("the database failed a request: %s", "again")
    assert len(written) == MOST + 2
    assert written[-1].left_out == 8400 - MOST
    clock.now += SECONDS
    log.error("the database failed a request: %s", "once more")
    assert not hasattr(written[-1], "left_out")


def test_of_a_full_disk_one_line_a_minute_is_written(written: list[Any], clock: Clock):
    for second in range(180):
        clock.now = 1000.0 + second
        try:
            try:
                raise OSError(errno.ENOSPC, "No space left on device")
            except OSError as exc:
                raise RuntimeError("a sweep failed") from exc
        except RuntimeError:
            log.exception("a sweep failed")
    assert len(written) == 3


def test_other_kinds_other_errors_and_what_is_no_failure_are_not_held_back(written: list[Any]):
    for number in range(MOST + 3):
        log.info("fine")
        log.error(f"kind {number}")
        logging.getLogger("test.repeats.other").error("the same")
    assert sum(record.msg == "fine" for record in written) == MOST + 3
    assert sum(record.msg.startswith("kind") for record in written) == MOST + 3
    assert sum(record.msg == "the same" for record in written) == MOST


@pytest.mark.parametrize("cause", [OperationalError("connection refused\nIs it running?"), redis.ConnectionError("Error 111")])
def test_a_server_that_is_away_is_one_line_and_a_fault_of_ours_a_traceback(cause: Exception):
    def line(exc: Exception) -> str:
        try:
            raise exc
        except Exception:
            record = log.makeRecord("test.repeats", logging.ERROR, __file__, 1, "a sweep failed", (), sys.exc_info())
        return our_logging.fields_of(record)["exception"]

    assert "\n" not in line(cause) and type(cause).__name__ in line(cause)
    assert "Traceback" in line(ValueError("ours"))


def test_the_access_log_is_whole_and_memory_is_bounded(clock: Clock):
    shared = Repeats(clock=clock)
    for number in range(3 * repeats.MOST_KINDS):
        record = logging.makeLogRecord({"name": "aiagents.access", "levelno": logging.ERROR, "msg": "request"})
        assert shared.filter(record)
        shared.filter(logging.makeLogRecord({"name": "any", "levelno": logging.ERROR, "msg": f"made of {number}"}))
    assert len(shared._windows) <= repeats.MOST_KINDS


def test_the_products_own_handlers_hold_back(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    root = logging.getLogger()
    before = list(root.handlers)
    try:
        our_logging.configure({"level": "INFO", "format": "json", "file": str(tmp_path / "log")})
        for _ in range(50):
            logging.getLogger("test.own").warning("again and again")
        lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
        assert len([line for line in lines if line["event"] == "again and again"]) == MOST
    finally:
        for handler in [one for one in root.handlers if one not in before]:
            root.removeHandler(handler)
        from django.conf import settings

        our_logging.configure(settings.LOGGING)
