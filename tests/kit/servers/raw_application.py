"""An ASGI application without Django, that misbehaves on demand. Its state is read at /state."""

from __future__ import annotations

import asyncio
import json
import os
import time

from aiagents.core import draining

state = {
    "sent": 0,
    "received": 0,
    "gone_after": None,
    "cancelled": 0,
    "held": 0,
    "left": 0,
    "loud_left": 0,
    "drained": 0,
    "pid": os.getpid(),
}
CHUNK = b"x" * 65536


@draining.on_drain
async def _noted(seconds: float) -> None:
    state["drained"] = seconds


async def application(scope, receive, send):
    if scope["type"] == "websocket":
        await {"/echo": echo, "/deaf": deaf, "/loud": loud, "/broken": broken, "/refused": refused}[scope["path"]](receive, send)
        return
    name = scope["path"].strip("/").replace("-", "_")
    await globals()[f"http_{name}"](scope, receive, send)


async def answer(send, value, status=200):
    body = json.dumps(value).encode()
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


async def http_state(scope, receive, send):
    await answer(send, state)


async def http_body(scope, receive, send):
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message["body"]), message["more_body"]
    await answer(send, {"size": size, "root_path": scope["root_path"], "headers": [name.decode() for name, _ in scope["headers"]]})


async def http_endless(scope, receive, send):
    state["sent"] = 0
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    try:
        while True:
            await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
            state["sent"] += len(CHUNK)
            await asyncio.sleep(0)
    except asyncio.CancelledError:
        state["cancelled"] += 1
        raise


async def http_crash(scope, receive, send):
    raise RuntimeError("before the answer")


async def http_crash_late(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})
    raise RuntimeError("in the answer")


async def http_silent(scope, receive, send):
    return


async def http_waiting(scope, receive, send):
    """Notes how long after its client left it is told."""
    state["gone_after"] = None
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"%f" % time.time(), "more_body": True})
    message = await receive()
    state["gone_after"] = time.time()
    assert message["type"] == "http.disconnect"


async def http_held(scope, receive, send):
    """Answers nothing until its client leaves; counts both."""
    state["held"] += 1
    while (await receive())["type"] != "http.disconnect":
        pass
    state["left"] += 1


async def http_slow(scope, receive, send):
    """Ends by itself after so many seconds."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"begin ", "more_body": True})
    try:
        await asyncio.sleep(float(scope["query_string"] or b"1"))
    except asyncio.CancelledError:
        await send({"type": "http.response.body", "body": b"cut"})
        raise
    await send({"type": "http.response.body", "body": b"end"})


async def http_die(scope, receive, send):
    os._exit(3)


async def echo(receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": str(len(message.get("text") or message["bytes"]))})


async def deaf(receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    await asyncio.sleep(60)


async def loud(receive, send):
    state["sent"] = 0
    await receive()
    await send({"type": "websocket.accept"})

    async def many():
        while True:
            await send({"type": "websocket.send", "bytes": CHUNK})
            state["sent"] += len(CHUNK)
            await asyncio.sleep(0)

    tasks = [asyncio.create_task(many()) for _ in range(4)]
    while (await receive())["type"] != "websocket.disconnect":
        pass
    state["loud_left"] += 1
    for task in tasks:
        task.cancel()


async def broken(receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    raise RuntimeError("in the consumer")


async def refused(receive, send):
    await receive()
    await send({"type": "websocket.close"})
