"""One listening socket for one or several processes, and a parent that restarts those that die."""

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
# A process that lived for fewer seconds than this is restarted with growing delays, up to BACKOFF_MAX seconds.
STEADY_SECONDS = 10
SEND_BUFFER_BYTES = 256 * 1024
BACKOFF_MAX = 15.0


class PortTaken(Exception):
    """The address cannot be listened on, mostly because another program does; the message is for the operator."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises PortTaken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        # SO_REUSEADDR, set by create_server on POSIX, lets a restarted server use the port at once; two still cannot listen.
        listener = socket.create_server((host, port), family=family, backlog=1024)
    except OSError as exc:
        raise PortTaken(f"Cannot listen on {host}:{port}: {exc.strerror or exc}. Is it taken? Choose another with PORT=….") from exc
    # Each connection inherits this: it bounds the kernel's buffer for a slow client, otherwise some megabytes.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    return listener


def adopt(descriptor: int) -> socket.socket:
    """The listening socket that the parent opened."""
    return socket.socket(fileno=descriptor)


class Supervisor:
    """Keeps `count` processes of `command` running on one socket until it gets a signal."""

    def __init__(self, command: Sequence[str], listener: socket.socket, count: int, grace: float) -> None:
        self._command = [*command, "--fd", str(listener.fileno()), "--processes", "1"]
        self._fd = listener.fileno()
        self._grace = grace
        self._stopping = False
        self._children: dict[int, subprocess.Popen | None] = dict.fromkeys(range(count))
        self._started = dict.fromkeys(range(count), 0.0)
        self._not_before = dict.fromkeys(range(count), 0.0)
        self._delay = dict.fromkeys(range(count), 0.5)

    def run(self) -> int:
        """Block until SIGTERM or SIGINT, then let all children drain at the same time. Returns the exit status."""
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
        wait = self._delay[slot] = 0.5 if lived > STEADY_SECONDS else min(self._delay[slot] * 2, BACKOFF_MAX)
        self._children[slot] = None
        self._not_before[slot] = time.monotonic() + (0 if lived > STEADY_SECONDS else wait)
        log.error("web process %d died (exit %s) after %.0f s; starting another", child.pid, child.returncode, lived)

    def _signalled(self, *_: object) -> None:
        if self._stopping:  # the second signal: do not wait
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
    """Start a child in a new session, so that Ctrl-C reaches only its parent.

    When its parent is killed it gets the signal `orphaned` (Linux). The kernel watches the calling *thread*, so call this
    from the main thread.
    """

    def watch_parent() -> None:
        if _libc is not None:
            _libc.prctl(_PR_SET_PDEATHSIG, orphaned)

    return subprocess.Popen(command, start_new_session=True, preexec_fn=watch_parent, **options)


_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1


def own_command() -> list[str]:
    """The command that starts a child of this program."""
    return [sys.executable, "-m", "aiagents.server"]
