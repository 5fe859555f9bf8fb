"""What counts as a full disk, whichever program reports it, and which answer it leads to."""

from __future__ import annotations

import errno
import sqlite3
from typing import Any

import psycopg
import pytest
import redis
from django.db import OperationalError

from aiagents.core import storage
from aiagents.core.db.calls import in_db
from aiagents.core.drf.errors import error_of
from aiagents.core.errors import Unavailable
from aiagents.core.storage import MIB, DiskSpace, StorageFull


def sqlite_full() -> sqlite3.OperationalError:
    exc = sqlite3.OperationalError("database or disk is full")
    exc.sqlite_errorcode = 13
    return exc


FULL = [
    psycopg.errors.DiskFull("could not extend file: No space left on device"),
    sqlite_full(),
    redis.ResponseError("MISCONF Errors writing to the AOF file: No space left on device"),
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EDQUOT, "Disk quota exceeded"),
]
OTHER = [
    psycopg.OperationalError("connection refused"),
    sqlite3.OperationalError("database is locked"),
    redis.ResponseError("ERR unknown command"),
    OSError(errno.ECONNREFUSED, "Connection refused"),
    ValueError("No space left on device"),
]


def wrapped(cause: Exception) -> OperationalError:
    exc = OperationalError(str(cause))
    exc.__cause__ = cause
    return exc


@pytest.mark.parametrize("exc", FULL, ids=repr)
def test_each_of_the_stores_can_say_that_its_disk_is_full(exc: Exception):
    assert storage.is_full(exc) and storage.is_full(wrapped(exc))


@pytest.mark.parametrize("exc", OTHER, ids=repr)
def test_nothing_else_is_taken_for_it(exc: Exception):
    assert not storage.is_full(exc) and not storage.is_full(wrapped(exc))


def test_a_database_without_room_is_storage_full_and_one_that_is_away_is_not():
    full, away = error_of(wrapped(FULL[0])), error_of(wrapped(OTHER[0]))
    assert isinstance(full, StorageFull) and (full.status, full.code, full.retry_after) == (503, "storage_full", storage.RETRY_AFTER)
    assert isinstance(away, Unavailable) and away.code == "unavailable"


@pytest.mark.django_db(transaction=True)
async def test_the_same_from_async_code(db_threads: None):
    def fails(exc: Exception) -> None:
        raise wrapped(exc)

    with pytest.raises(StorageFull):
        await in_db(fails, FULL[0])
    with pytest.raises(Unavailable) as caught:
        await in_db(fails, OTHER[0])
    assert not isinstance(caught.value, StorageFull)


@pytest.mark.parametrize(
    ("free", "held", "low"),
    [(1000, 64, False), (64, 64, False), (63, 64, True), (0, 64, True), (24, 40, True), (127, 0, True), (128, 0, False)],
)
def test_new_work_is_refused_below_the_reserve_and_as_much_again(free: int, held: int, low: bool):
    assert DiskSpace(free * MIB, held * MIB, 64 * MIB).low is low


def test_only_a_disk_that_holds_the_databases_is_guarded(settings: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(storage, "disk_space", lambda folder: DiskSpace(0, 0, 64 * MIB))
    for embedded in (False, True):
        monkeypatch.setattr(storage, "last_look", (-storage.FRESH, False))
        settings.EMBEDDED_POSTGRES = embedded
        settings.EMBEDDED_VALKEY = False
        assert storage.low() is embedded
    with pytest.raises(StorageFull):
        storage.refuse_if_low()
