"""The same turn through every carrier: the same text, one UsageLog each, the same cost."""

from __future__ import annotations

import json
from decimal import Decimal

from websockets.sync.client import connect

from tests.kit.servers.live import Live

MODEL = "gpt-4o-mini"
TEXT = "Name three rivers"


def over_rest(live: Live) -> tuple[str, str]:
    answer = live.call("POST", "/api/v1/chat/send", {"content": TEXT, "model": MODEL})
    assert answer.status == 200, answer.body
    return answer.json["message"]["content"], answer.json["message"]["id"]


def over_sse(live: Live) -> tuple[str, str]:
    answer = live.call("POST", "/api/v1/chat/stream", {"content": TEXT, "model": MODEL}, headers={"Accept": "text/event-stream"})
    assert answer.status == 200 and answer.headers["content-type"].startswith("text/event-stream"), answer.body
    events = [
        dict(line.split(": ", 1) for line in block.split("\n") if ": " in line and line[0] != ":")
        for block in answer.body.decode().split("\n\n")
        if block.strip()
    ]
    events = [event for event in events if "event" in event]
    assert [int(event["id"]) for event in events] == list(range(len(events)))
    assert events[0]["event"] == "message.start" and events[-1]["event"] == "message.end"
    text = "".join(json.loads(event["data"])["text"] for event in events if event["event"] == "content.delta")
    end = json.loads(events[-1]["data"])
    assert end["content"] == text
    return text, end["id"]


def over_websocket(live: Live) -> tuple[str, str]:
    with connect(live.url.replace("http", "ws") + "/api/v1/chat/ws", additional_headers={"Authorization": f"Bearer {live.key}"}) as socket:
        socket.send(json.dumps({"type": "send", "ref": "r1", "content": TEXT, "model": MODEL}))
        frames = []
        while not frames or frames[-1]["type"] not in ("message.end", "error"):
            frames.append(json.loads(socket.recv(timeout=20)))
    ack = next(frame for frame in frames if frame["type"] == "ack")
    assert ack["ref"] == "r1"
    events = [frame for frame in frames if "seq" in frame]
    assert [frame["seq"] for frame in events] == list(range(len(events)))
    return "".join(frame["text"] for frame in events if frame["type"] == "content.delta"), events[-1]["id"]


def over_openai_wire(live: Live) -> tuple[str, str]:
    answer = live.call("POST", "/v1/chat/completions", {"model": MODEL, "messages": [{"role": "user", "content": TEXT}]})
    assert answer.status == 200, answer.body
    # The answer passes through with the vendor's id.
    return answer.json["choices"][0]["message"]["content"], answer.headers["x-request-id"]


def test_one_path_through_every_carrier(live: Live):
    costs, texts = set(), set()
    for carrier, column in (
        (over_rest, "message_id"),
        (over_sse, "message_id"),
        (over_websocket, "message_id"),
        (over_openai_wire, "request_id"),
    ):
        text, key = carrier(live)
        rows = live.query(f"SELECT cost_usd, status FROM billing_usagelog WHERE {column} = %s AND purpose <> 'title'", key)
        assert len(rows) == 1, (carrier.__name__, rows)
        texts.add(text)
        costs.add(Decimal(str(rows[0][0])))
    assert len(texts) == 1 and texts.pop()
    assert len(costs) == 1 and costs.pop() > 0
