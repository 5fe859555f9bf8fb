"""Threads for blocking work: one while one is enough, never more than allowed, and nothing is lost on the way."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator

import pytest

from aiagents.core.db.threads import Threads
from tests.kit.waiting import until

mark: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="")


@pytest.fixture
def threads() -> Iterator[Threads]:
    made = Threads(3, "test")
    yield made
    made.end(lambda: None)  # may be called twice


async def test_what_is_returned_raised_and_set_in_the_context_arrives(threads: Threads):
    mark.set("mine")
    assert await threads.run(lambda: (mark.get(), threading.current_thread().name)) == ("mine", "test-1")
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda: 1 // 0)
    with pytest.raises(SystemExit):  # not only what is an Exception: the thread lives on
        await threads.run(sys.exit)
    assert await threads.run(lambda: threading.current_thread().name) == "test-1"


async def test_a_quiet_process_keeps_to_one_thread_even_after_a_busy_time(threads: Threads):
    together = threading.Barrier(3)
    await asyncio.gather(*[threads.run(lambda: together.wait(10)) for _ in range(3)])
    names = {await threads.run(lambda: threading.current_thread().name) for _ in range(20)}
    assert len(names) == 1


async def test_never_more_than_allowed(threads: Threads):
    now, most, lock, together = 0, 0, threading.Lock(), threading.Barrier(3)

    def work(number: int) -> int:
        nonlocal now, most
        with lock:
            now, most = now + 1, max(most, now + 1)
        if number < 3:
            together.wait(10)
        time.sleep(0.001)  # work
        with lock:
            now -= 1
        return number

    assert await asyncio.gather(*[threads.run(lambda n=n: work(n)) for n in range(60)]) == list(range(60))
    assert most == 3


async def test_first_come_first_served():
    threads, order = Threads(1, "test"), []
    await asyncio.gather(*[threads.run(lambda n=n: order.append(n)) for n in range(60)])
    threads.end(lambda: None)
    assert order == list(range(60))


async def test_cancelled_while_it_waits_it_does_not_run_and_cancelled_while_it_runs_it_ends(threads: Threads):
    together, gate, ran = threading.Barrier(4), threading.Event(), []

    def work(number: int) -> None:
        together.wait(10)
        gate.wait(10)
        ran.append(number)

    running = [asyncio.create_task(threads.run(lambda n=n: work(n))) for n in range(3)]
    waiting = asyncio.create_task(threads.run(lambda: ran.append("waiting")))
    await asyncio.to_thread(together.wait, 10)
    for task in (running[0], waiting):
        task.cancel()
    gate.set()
    found = await asyncio.gather(*running, waiting, return_exceptions=True)
    assert [isinstance(one, asyncio.CancelledError) for one in found] == [True, False, False, True]
    threads.end(lambda: None)
    assert sorted(ran) == [0, 1, 2]


def test_several_loops_share_them_and_a_loop_that_is_gone_harms_nobody(threads: Threads):
    gate = threading.Event()

    async def leave_behind() -> None:
        asyncio.get_running_loop().call_soon(asyncio.create_task(threads.run(lambda: gate.wait(10))).cancel)
        await asyncio.sleep(0.05)  # the loop ends after the cancellation and before the work

    async def ask(number: int) -> int:
        return await threads.run(lambda: number)

    asyncio.run(leave_behind())
    gate.set()
    found: list[int] = []
    loops = [threading.Thread(target=lambda n=n: found.append(asyncio.run(ask(n)))) for n in range(20)]
    for one in loops:
        one.start()
    for one in loops:
        one.join(10)
    assert sorted(found) == list(range(20))


def test_at_the_end_each_thread_does_the_last_thing_once():
    threads, last, together = Threads(3, "test"), [], threading.Barrier(3)

    async def all_of_them() -> None:
        await asyncio.gather(*[threads.run(lambda: together.wait(10)) for _ in range(3)])

    asyncio.run(all_of_them())
    threads.end(lambda: last.append(threading.current_thread().name))
    assert sorted(last) == ["test-1", "test-2", "test-3"]


def test_a_process_that_ends_lets_running_work_finish():
    script = """
import asyncio, time
from aiagents.core.db.threads import Threads
threads = Threads(2, "test")
async def main():
    asyncio.create_task(threads.run(lambda: (time.sleep(0.5), print("whole", flush=True))))
    await asyncio.sleep(0.1)
asyncio.run(main())
"""
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30).stdout == "whole\n"


async def test_nothing_that_was_carried_is_left_for_the_collector(threads: Threads):
    class Large:
        pass

    def fail() -> None:
        raise LookupError(Large())

    gc.collect()
    gc.disable()
    try:
        seen = weakref.ref(await threads.run(Large))
        with contextlib.suppress(LookupError):
            await threads.run(fail)
        await threads.run(lambda: None)
        await until(lambda: seen() is None)
        assert not [one for one in gc.get_objects() if type(one) is Large]
    finally:
        gc.enable()
