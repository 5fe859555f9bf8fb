"""Record which product files one request enters, and where a call returns into a file that it had left.

Used by tests/test_message_walk.py, which prints the list: `pytest tests/test_message_walk.py -n 0 -s`.

`core` and `server` are left out, and so are the vendor simulator and the tests. A context variable marks the request:
tasks and threads that it starts carry the mark, other work of the process and of earlier requests does not. They also
carry the files that led to them, so that a callback out of a task counts as a return.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("aiagents", "accounts", "billing", "agents", "chat", "tasks")
APART = ("aiagents/core/", "aiagents/server/", "agents/simulator/")
# The walk that the running work belongs to, and the files that led to its task.
_led_here: ContextVar[tuple[Walk, tuple[str, ...]] | None] = ContextVar("led_here", default=None)
_names: dict[CodeType, str] = {}


def product_file(code: CodeType) -> str:
    """The path from the repository's root, or "" for a file that does not count."""
    name = _names.get(code)
    if name is None:
        path = Path(code.co_filename)
        name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else ""
        if not name.startswith(tuple(f"{package}/" for package in PACKAGES)) or name.startswith(APART) or "/tests/" in name:
            name = ""
        _names[code] = name
    return name


class Walk:
    """`files` in the order in which they were entered; `returns` as (from file, into file) with the first function entered."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.returns: dict[tuple[str, str], str] = {}

    def hook(self, frame: FrameType, event: str, _argument: Any) -> None:
        if event != "call":
            return
        entered = product_file(frame.f_code)
        mark = _led_here.get() if entered else None
        if mark is None or mark[0] is not self:
            return
        self.files.setdefault(entered, frame.f_code.co_qualname)
        way = files_above(frame.f_back, mark[1])
        if way and way[-1] != entered and entered in way:
            self.returns.setdefault((way[-1], entered), frame.f_code.co_qualname)


def files_above(frame: FrameType | None, led_here: tuple[str, ...]) -> tuple[str, ...]:
    """The product files on the way to `frame`, outermost first; the same file twice in a row counts once."""
    inner: list[str] = []
    while frame is not None:
        name = product_file(frame.f_code)
        if name and (not inner or inner[-1] != name):
            inner.append(name)
        frame = frame.f_back
    inner.reverse()
    if led_here and inner and led_here[-1] == inner[0]:
        inner = inner[1:]
    return (*led_here, *inner)


@contextmanager
def recording() -> Iterator[Callable[[Any], Any]]:
    """Yields `(walk, run)`: what `run(coroutine)` and all that it starts enter on this thread and on new ones is in `walk`."""
    walk, loop = Walk(), asyncio.get_running_loop()

    def task(loop: asyncio.AbstractEventLoop, coroutine: Any, *, context: Any = None, **options: Any) -> asyncio.Task[Any]:
        context = context or copy_context()
        mark = context.get(_led_here)
        if mark is not None:
            context.run(_led_here.set, (mark[0], files_above(sys._getframe(1), mark[1])))
        return asyncio.Task(coroutine, loop=loop, context=context, **options)

    async def run(coroutine: Any) -> Any:
        context = copy_context()
        context.run(_led_here.set, (walk, ()))
        return await loop.create_task(coroutine, context=context)

    loop.set_task_factory(task)
    threading.setprofile(walk.hook)
    sys.setprofile(walk.hook)
    try:
        yield walk, run
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
        loop.set_task_factory(None)
