"""Fixtures of the ledger's tests."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.db import connections

from aiagents.lib import db

THREADS = 20


@pytest.fixture
def db_threads(settings: Any) -> Iterator[None]:
    """Database work of async code on real threads, as in production."""
    settings.DB_THREADS = THREADS
    settings.CATALOGUE_CHECK_SECONDS = 60
    db._pool = ThreadPoolExecutor(THREADS)
    yield
    pool, db._pool = db._pool, None
    together = Barrier(THREADS)  # so that every thread closes its own connection
    for done in [pool.submit(lambda: (together.wait(10), connections.close_all())) for _ in range(THREADS)]:
        done.result()
    pool.shutdown()
