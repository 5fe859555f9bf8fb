"""Other people's servers, on loopback: each answers as its test says, byte for byte."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

# Loopback like the others, but the tests call it public.
PUBLIC = "127.0.0.9"


@dataclass
class Server:
    host: str
    port: int = 0
    requests: list[bytes] = field(default_factory=list)
    sent: int = 0

    def url(self, path: str = "/", host: str = "") -> str:
        return f"http://{host or self.host}:{self.port}{path}"

    def headers(self, index: int = -1) -> dict[str, str]:
        lines = self.requests[index].decode("latin-1").split("\r\n\r\n")[0].split("\r\n")[1:]
        return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


Script = Callable[[Server, bytes, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(script: Script | bytes, host: str = PUBLIC, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """A server that reads one request of each connection, then does what the script does."""
    found = Server(host)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
            request = head + (await reader.readexactly(length) if length else b"")
            found.requests.append(request)
            if isinstance(script, bytes):
                writer.write(script)
                await writer.drain()
            else:
                await script(found, request, writer)
        with suppress(ConnectionError):
            writer.close()

    server = await asyncio.start_server(handle, host, 0, limit=1024 * 1024, ssl=tls)
    found.port = server.sockets[0].getsockname()[1]
    async with server:
        yield found


def reply(body: bytes = b"hello", status: str = "200 OK", kind: str = "text/plain", *more: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *more, "", ""]
    return "\r\n".join(lines).encode() + body


def redirect(to: str, status: str = "302 Found", *more: str) -> bytes:
    return reply(b"", status, "text/plain", f"Location: {to}", *more)


class Names:
    """A resolver of the test's own. A list of lists answers anew at each look-up."""

    def __init__(self) -> None:
        self.known: dict[str, list[list[str]]] = {}
        self.asked: list[str] = []
        self._real = socket.getaddrinfo

    def add(self, name: str, *answers: list[str]) -> None:
        self.known[name] = list(answers)

    def look_up(self, host: str, port: int, *args: object, **kwargs: object) -> list[tuple]:
        self.asked.append(host)
        if host not in self.known:
            return self._real(host, port, *args, **kwargs)
        answers = self.known[host]
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        if not found:
            raise socket.gaierror("no such name")
        return [(socket.AF_INET6 if ":" in one else socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in found]
