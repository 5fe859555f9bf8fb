"""One listening socket, one or several processes on it, and a parent that replaces those that die."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

log = logging.getLogger(__name__)
# A process that lived shorter than this many seconds is replaced with growing patience, up to BACKOFF_MAX seconds.
STEADY_SECONDS = 10
SEND_BUFFER_BYTES = 256 * 1024
BACKOFF_MAX = 15.0


class PortTaken(Exception):
    """Somebody else listens on this address."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; `PortTaken` with a sentence for the operator."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        # SO_REUSEADDR, set by create_server on POSIX, lets a restart have the port at once; it does not let two listen.
        listener = socket.create_server((host, port), family=family, backlog=1024)
    except OSError as exc:
        raise PortTaken(f"Cannot listen on {host}:{port}: {exc.strerror or exc}. Is it taken? Choose another with PORT=….") from exc
    # Inherited by each connection: what the kernel keeps for a client that reads slowly, instead of some megabytes.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    return listener


def adopt(descriptor: int) -> socket.socket:
    """The listening socket that the parent opened."""
    return socket.socket(fileno=descriptor)


class Supervisor:
    """Keeps `count` processes running `command` on one socket until it is told to stop."""

    def __init__(self, command: Sequence[str], listener: socket.socket, count: int, grace: float) -> None:
        self._command = [*command, "--fd", str(listener.fileno()), "--processes", "1"]
        self._fd = listener.fileno()
        self._grace = grace
        self._stopping = False
        self._children: dict[int, subprocess.Popen | None] = dict.fromkeys(range(count))
        self._started = dict.fromkeys(range(count), 0.0)
        self._not_before = dict.fromkeys(range(count), 0.0)
        self._patience = dict.fromkeys(range(count), 0.5)

    def run(self) -> int:
        """Blocks until SIGTERM or SIGINT; then the children drain, all at once. The exit status."""
        for sign in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sign, self._signalled)
        while not self._stopping:
            for slot, child in self._children.items():
                if child is not None and child.poll() is not None:
                    self._died(slot, child)
                if self._children[slot] is None and time.monotonic() >= self._not_before[slot]:
                    self._children[slot] = spawn(self._command, pass_fds=[self._fd])
                    self._started[slot] = time.monotonic()
            time.sleep(0.2)
        return self._end()

    def _died(self, slot: int, child: subprocess.Popen) -> None:
        lived = time.monotonic() - self._started[slot]
        wait = self._patience[slot] = 0.5 if lived > STEADY_SECONDS else min(self._patience[slot] * 2, BACKOFF_MAX)
        self._children[slot] = None
        self._not_before[slot] = time.monotonic() + (0 if lived > STEADY_SECONDS else wait)
        log.error("web process %d died (exit %s) after %.0f s; starting another", child.pid, child.returncode, lived)

    def _signalled(self, *_: object) -> None:
        if self._stopping:  # the second one: no more patience
            self._grace = 0
        self._stopping = True

    def _end(self) -> int:
        children = [child for child in self._children.values() if child is not None]
        for child in children:
            _signal(child, signal.SIGTERM)
        begun = time.monotonic()
        while any(child.poll() is None for child in children) and time.monotonic() - begun < self._grace:
            time.sleep(0.05)
        for child in children:
            if child.poll() is None:
                _signal(child, signal.SIGKILL)
            child.wait()
        return 0


def _signal(child: subprocess.Popen, sign: signal.Signals) -> None:
    if child.poll() is None:
        os.kill(child.pid, sign)


def spawn(command: Sequence[str], orphaned: signal.Signals = signal.SIGTERM, **options: Any) -> subprocess.Popen:
    """A child in a session of its own (Ctrl-C reaches only its parent) that gets the signal `orphaned` when its parent is killed.

    The kernel (Linux) watches the *thread* that calls this: call it from the main thread.
    """

    def watch_parent() -> None:
        if _libc is not None:
            _libc.prctl(_PR_SET_PDEATHSIG, orphaned)

    return subprocess.Popen(command, start_new_session=True, preexec_fn=watch_parent, **options)


_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1


def own_command() -> list[str]:
    """How a child of this very program is started."""
    return [sys.executable, "-m", "aiagents.server"]
