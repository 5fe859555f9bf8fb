"""An installation on a PostgreSQL and a Valkey of its own, which can be stopped or hung, and traffic on every surface meanwhile."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from aiagents.local import embedded
from tests.kit.servers.live import Live, launch

MODEL = "gpt-4o-mini"
SCOPES = ["chat", "agents", "tasks", "billing", "read"]
# What an answer may be while a part is away: its own, or a clear "not now".
FINE = frozenset({200, 201, 202, 204, 503})
# Seconds between two requests of a surface. A sign-in is dear.
PACE = {"page": 1.0}


@dataclass
class Servers:
    """The two servers of one installation. `stop` ends them as an operator would; `hang` is a machine that stands still."""

    folder: Path

    def start(self) -> dict[str, str]:
        return {"DATABASE_URL": embedded.start_postgres(self.folder), "REDIS_URL": self.start_valkey()}

    def start_valkey(self) -> str:
        return embedded.start_valkey(self.folder)

    @contextlib.contextmanager
    def away(self, name: str, how: str) -> Iterator[None]:
        """`name` (`postgres` or `valkey`) is gone inside this block: stopped or hung."""
        frozen = self._processes(name) if how == "hang" else []
        if how == "stop":
            (embedded.stop_postgres if name == "postgres" else embedded.stop_valkey)(self.folder)
        for process in frozen:
            process.suspend()
        try:
            yield
        finally:
            for process in frozen:
                process.resume()
            if how == "stop":
                (embedded.start_postgres if name == "postgres" else embedded.start_valkey)(self.folder)

    def end(self) -> None:
        embedded.remove(self.folder)

    def _processes(self, name: str) -> list[psutil.Process]:
        file = self.folder / ("postgres/postmaster.pid" if name == "postgres" else "valkey/valkey.pid")
        head = psutil.Process(int(file.read_text().split()[0]))
        return [head, *head.children(recursive=True)]


@dataclass(frozen=True)
class Seen:
    """One request of the traffic: when it began and ended (seconds since the traffic did), its status, and what it said."""

    surface: str
    began: float
    ended: float
    status: int
    said: Any

    def __str__(self) -> str:
        return f"{self.surface} {self.began:.1f}-{self.ended:.1f}: {self.status} {str(self.said)[:300]}"


@dataclass
class Traffic:
    """Callers on every surface, each in its thread, until told to stop. `messages`: turns that were acknowledged, with their ends."""

    live: Live
    task_id: str
    seen: list[Seen] = field(default_factory=list)
    # message id -> the terminal event as it was told, None for a stream that broke
    messages: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    zero: float = field(default_factory=time.monotonic)

    def __enter__(self) -> Traffic:
        for surface in (self.rest, self.sse, self.socket, self.wire, self.wire_stream, self.tasks, self.lists, self.page):
            thread = threading.Thread(target=self._loop, args=(surface,), daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a caller hangs"

    def now(self) -> float:
        return time.monotonic() - self.zero

    def works_again(self, since: float, seconds: float) -> float:
        """Wait until every surface has answered well since `since`; the seconds that the last of them took."""
        wanted = {"rest", "sse", "socket", "wire", "wire_stream", "tasks", "lists", "page"}
        while True:
            well = {one.surface: one.ended for one in reversed(self.seen) if one.began >= since and one.status in (200, 202)}
            if wanted <= set(well):
                return max(well.values()) - since
            assert self.now() - since < seconds, f"does not work again: {wanted - set(well)}\n" + "\n".join(map(str, self.seen[-20:]))
            time.sleep(0.1)

    def between(self, begin: float, end: float) -> list[Seen]:
        return [one for one in self.seen if one.began < end and one.ended > begin]

    def _loop(self, surface: Callable[[], tuple[int, Any]]) -> None:
        while not self._stop.is_set():
            began = self.now()
            try:
                status, said = surface()
            except Exception as exc:  # a cut connection, a time-out: what no caller should see
                status, said = 0, f"{type(exc).__name__}: {exc}"
            self.seen.append(Seen(surface.__name__, began, self.now(), status, said))
            time.sleep(PACE.get(surface.__name__, 0.3))

    # --- surfaces: (status, what was said) --------------------------------------------------------

    def rest(self) -> tuple[int, Any]:
        answer = self.live.call("POST", "/api/v1/chat/send", {"content": "Hello", "model": MODEL})
        if answer.status == 200:
            self.messages[answer.json["message"]["id"]] = answer.json["message"]
        return answer.status, answer.json

    def sse(self, content: str = "[[sim:chunks=6,pace=50]] Hello") -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.live.port, timeout=60)
        headers = {"Authorization": f"Bearer {self.live.key}", "Content-Type": "application/json", "Accept": "text/event-stream"}
        try:
            connection.request("POST", "/api/v1/chat/stream", json.dumps({"content": content, "model": MODEL}), headers)
            answer = connection.getresponse()
            if answer.status != 200:
                return answer.status, json.loads(answer.read())
            events = parse_events(answer.read().decode())
        finally:
            connection.close()
        return self._ended([(kind, data) for _, kind, data in events])

    def socket(self) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.live.key}"}
        try:
            with connect(f"ws://127.0.0.1:{self.live.port}/api/v1/chat/ws", additional_headers=headers, open_timeout=30) as socket:
                frame = {"type": "send", "ref": "1", "content": "[[sim:chunks=6,pace=50]] Hello", "model": MODEL}
                socket.send(json.dumps(frame))
                events = []
                while not events or events[-1]["type"] not in ("message.end", "error"):
                    events.append(json.loads(socket.recv(timeout=60)))
        except InvalidStatus as exc:
            return exc.response.status_code, json.loads(exc.response.body or b"{}")
        except ConnectionClosed as exc:
            code = exc.rcvd.code if exc.rcvd else 1006
            return (503 if code == 4503 else code), f"closed {code}"
        if events[0]["type"] == "error":
            return self._status_of(events[0]["error"]), events[0]
        return self._ended([(event["type"], event) for event in events[1:]])

    def wire(self, stream: bool = False) -> tuple[int, Any]:
        body = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}], "stream": stream}
        answer = self.live.call("POST", "/v1/chat/completions", body)
        if answer.status == 200 and stream:
            text = answer.body.decode()
            if "data: [DONE]" not in text:
                return (503 if '"error"' in text else 0), text[-500:]
            return 200, None
        return answer.status, answer.json

    def wire_stream(self) -> tuple[int, Any]:
        return self.wire(stream=True)

    def tasks(self) -> tuple[int, Any]:
        answer = self.live.call("POST", f"/api/v1/tasks/{self.task_id}/run", {})
        if answer.status in (200, 201, 202):
            self.runs.append(answer.json["id"])
        if answer.status == 409 or (answer.status == 429 and answer.json["error"]["code"] != "rate_limited"):
            return 200, answer.json  # its queue is full: an answer like another
        return 200 if answer.status in (201, 202) else answer.status, answer.json

    def lists(self) -> tuple[int, Any]:
        answer = self.live.call("GET", "/api/v1/chat/conversations?page_size=1")
        return answer.status, answer.json

    def page(self) -> tuple[int, Any]:
        """The sign-in, as a page does it: throttled by counters in Valkey, checked in the database."""
        from tests.kit.servers.live import PASSWORD

        answer = self.live.call("POST", "/api/v1/auth/login", {"email": self.live.email, "password": PASSWORD}, key="")
        return answer.status, answer.json

    def _ended(self, events: list[tuple[str, Any]]) -> tuple[int, Any]:
        message_id = next((data["message_id"] for kind, data in events if kind == "message.start"), None)
        if message_id is None:
            return 0, events
        kind, data = events[-1]
        self.messages[message_id] = data if kind in ("message.end", "error") else None
        if kind == "message.end":
            return 200, None
        return (self._status_of(data["error"]), data) if kind == "error" else (0, "the stream broke")

    @staticmethod
    def _status_of(error: dict[str, Any]) -> int:
        return 503 if error["type"] in ("unavailable", "provider_error") else 500 if error["type"] == "internal_error" else 400


def parse_events(text: str) -> list[tuple[int, str, Any]]:
    """(seq, type, data) of every event of an SSE body."""
    found = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line and not line.startswith(":"))
        if "data" in lines:
            found.append((int(lines.get("id", -1)), lines.get("event", ""), json.loads(lines["data"])))
    return found


@contextlib.contextmanager
def installation(folder: Path, **settings: str) -> Iterator[tuple[Live, Servers]]:
    """A whole product on servers of its own: web, worker, keeper, beat, simulator."""
    servers = Servers(folder / "servers")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in servers.start().items():
            patch.setenv(name, value)
        live = launch(folder, **settings)
        patch.setenv("DATABASE_URL", live.env["DATABASE_URL"])
    stack = contextlib.ExitStack()
    try:
        celery = ("-m", "celery", "-q", "-A", "aiagents")
        quiet = ("--loglevel", "WARNING", "--without-gossip", "--without-mingle")
        commands = {
            "worker": (*celery, "worker", "-n", "worker@%h", "-Q", "celery,tasks", "-c", "2", *quiet),
            "keeper": (*celery, "worker", "-n", "keeper@%h", "-Q", "housekeeping", "-P", "solo", *quiet),
            "beat": (*celery, "beat", "--loglevel", "WARNING", "--pidfile="),
        }
        stack.enter_context(_supervised(live, commands))
        live.access, live.key = live.new_user("traffic@example.com", scopes=SCOPES)
        live.email = "traffic@example.com"
        yield live, servers
    finally:
        stack.close()
        with contextlib.suppress(Exception):
            live.stop("beat", signal.SIGKILL)
        for name in list(live.processes):
            with contextlib.suppress(Exception):
                live.stop(name)
        servers.end()


@contextlib.contextmanager
def _supervised(live: Live, commands: dict[str, tuple[str, ...]]) -> Iterator[None]:
    """Start these, and again what ends, as `manage.py up` and a container's runtime do: Celery gives up where an acknowledgement fails."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.2):
            for name, command in commands.items():
                if name not in live.processes or live.processes[name].poll() is not None:
                    live.spawn(name, *command)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(20)


def seconds_away(default: float) -> float:
    """How long a server is away: briefly in the suite, `OUTAGE_SECONDS=20` for the whole proof."""
    return float(os.environ.get("OUTAGE_SECONDS") or default)
