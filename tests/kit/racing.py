"""Work that several threads begin in the same moment, each on a database connection of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from django.db import connections


def at_once(count: int, work: Callable[[int], Any]) -> list[Any]:
    """The results of `count` threads that call `work(number)` in the same moment. An exception is the result of its thread.

    Needs a test with real transactions. A thread that is not done after a minute fails the test.
    """
    answers: list[Any] = [None] * count
    gate = threading.Barrier(count)

    def run(number: int) -> None:
        try:
            connections["default"].ensure_connection()
            gate.wait(30)
            answers[number] = work(number)
        except Exception as exc:
            answers[number] = exc
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    return answers
