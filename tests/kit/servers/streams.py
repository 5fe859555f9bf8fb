"""Streams of an installation, read event by event."""

from __future__ import annotations

import http.client
import json

from tests.kit.servers.live import Live


def open_stream(live: Live, content: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", live.port, timeout=30)
    headers = {"Authorization": f"Bearer {live.key}", "Content-Type": "application/json", "Accept": "text/event-stream"}
    connection.request("POST", "/api/v1/chat/stream", json.dumps({"content": content, "model": "gpt-4o-mini"}), headers)
    return connection.getresponse()


def read_events(response: http.client.HTTPResponse, most: int) -> list[tuple[str, dict]]:
    found: list[tuple[str, dict]] = []
    name = ""
    while len(found) < most:
        line = response.readline().decode().rstrip("\n")
        if line.startswith("event: "):
            name = line[7:]
        elif line.startswith("data: "):
            found.append((name, json.loads(line[6:])))
        elif not line and response.isclosed():
            break
    return found
