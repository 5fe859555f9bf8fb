"""Images and documents in the results of tools reach the vendor, in the vendor's own form."""

from __future__ import annotations

from typing import Any

import pytest

from accounts import keys
from accounts.models import User
from agents.messages import CompletionRequest, Image, Message, Text, ToolOutput, characters, estimate_input
from agents.tests.wires import CHAT, MESSAGES, PATHS, RESPONSES, body_of, exchange
from tests.kit.valid_bodies import PNG

PDF = "JVBERi0xLjc="
URL = f"data:image/png;base64,{PNG}"


@pytest.fixture
def key(ada: User) -> str:
    return keys.create(ada, name="t", scopes=["chat"])[1]


def conversation(path: str, kinds: tuple[str, ...]) -> list[dict[str, Any]]:
    """A tool call whose result has these parts, and a second result of text only."""
    parts = [PARTS[path][kind] for kind in kinds]
    if path == CHAT:
        calls = [{"id": f"c{n}", "type": "function", "function": {"name": "look", "arguments": "{}"}} for n in (1, 2)]
        return [
            {"role": "user", "content": "Look"},
            {"role": "assistant", "content": None, "tool_calls": calls},
            {"role": "tool", "tool_call_id": "c1", "content": parts},
            {"role": "tool", "tool_call_id": "c2", "content": "nothing"},
        ]
    if path == MESSAGES:
        uses = [{"type": "tool_use", "id": f"c{n}", "name": "look", "input": {}} for n in (1, 2)]
        results = [
            {"type": "tool_result", "tool_use_id": "c1", "content": parts},
            {"type": "tool_result", "tool_use_id": "c2", "content": "nothing"},
        ]
        return [{"role": "user", "content": "Look"}, {"role": "assistant", "content": uses}, {"role": "user", "content": results}]
    return [
        {"role": "user", "content": "Look"},
        *({"type": "function_call", "call_id": f"c{n}", "name": "look", "arguments": "{}"} for n in (1, 2)),
        {"type": "function_call_output", "call_id": "c1", "output": parts},
        {"type": "function_call_output", "call_id": "c2", "output": "nothing"},
    ]


PARTS: dict[str, dict[str, dict[str, Any]]] = {
    CHAT: {
        "text": {"type": "text", "text": "A screenshot"},
        "image": {"type": "image_url", "image_url": {"url": URL}},
        "file": {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PDF}", "filename": "a.pdf"}},
    },
    MESSAGES: {
        "text": {"type": "text", "text": "A screenshot"},
        "image": {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
        "file": {"type": "document", "title": "a.pdf", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}},
    },
    RESPONSES: {
        "text": {"type": "input_text", "text": "A screenshot"},
        "image": {"type": "input_image", "image_url": URL},
        "file": {"type": "input_file", "file_data": f"data:application/pdf;base64,{PDF}", "filename": "a.pdf"},
    },
}
KINDS = [("text", "image"), ("image",), ("file",), ("image", "text", "file")]
each = pytest.mark.parametrize("kinds", KINDS, ids="+".join)
each_wire = pytest.mark.parametrize("path", PATHS)


@each_wire
@each
async def test_claude_gets_them_inside_the_result(vendor, key: str, path: str, kinds: tuple[str, ...]):
    async with vendor() as sim:
        sent = (await exchange(sim, key, path, body_of(path, "claude-sonnet-5", conversation(path, kinds)))).body
    first, second = sent["messages"][-1]["content"]
    names = {"text": "text", "image": "image", "file": "document"}
    assert [block["type"] for block in first["content"]] == [names[kind] for kind in kinds]
    assert second["content"] == "nothing"


@each_wire
@each
async def test_openais_chat_gets_them_in_a_message_behind_all_results(vendor, key: str, path: str, kinds: tuple[str, ...]):
    async with vendor() as sim:
        sent = (await exchange(sim, key, path, body_of(path, "gpt-4o-mini", conversation(path, kinds)))).body["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "tool", "tool", "user"]
    assert sent[2]["content"] and isinstance(sent[2]["content"], str)
    names = {"image": "image_url", "file": "file"}
    assert [part["type"] for part in sent[4]["content"]] == ["text", *(names[kind] for kind in kinds if kind != "text")]


@each_wire
@each
async def test_openais_responses_gets_them_inside_the_result(vendor, key: str, path: str, kinds: tuple[str, ...]):
    async with vendor() as sim:
        sent = (await exchange(sim, key, path, body_of(path, "gpt-5.6-luna", conversation(path, kinds)))).body["input"]
    first, second = (item["output"] for item in sent if item.get("type") == "function_call_output")
    names = {"text": "input_text", "image": "input_image", "file": "input_file"}
    assert [part["type"] for part in first] == [names[kind] for kind in kinds]
    assert second == "nothing"


@each_wire
@each
@pytest.mark.parametrize("model", ["gemini-2.5-flash", "gemini-3.8-flash"])
async def test_gemini_gets_them_with_the_result(vendor, key: str, path: str, model: str, kinds: tuple[str, ...]):
    async with vendor() as sim:
        sent = (await exchange(sim, key, path, body_of(path, model, conversation(path, kinds)))).body
    parts = sent["contents"][-1]["parts"]
    media = [PNG if kind == "image" else PDF for kind in kinds if kind != "text"]
    inside = parts[0]["functionResponse"].get("parts", [])
    assert [one["inlineData"]["data"] for one in (inside or parts[1:-1])] == media
    assert bool(inside) is (model == "gemini-3.8-flash")


@each_wire
async def test_a_model_without_vision_refuses_an_image_in_a_result(vendor, key: str, path: str):
    async with vendor() as sim:
        seen = await exchange(sim, key, path, body_of(path, "o3-mini", conversation(path, ("image",))))
    assert seen.answer.status == 400 and "vision" in seen.answer.error["message"] and not seen.sent


@each_wire
async def test_a_part_that_no_vendor_takes_is_refused_by_name(vendor, key: str, path: str):
    messages = conversation(path, ("text",))
    for item in messages:
        for field in ("content", "output"):
            if isinstance(item.get(field), list) and path != MESSAGES:
                item[field] = [{"type": "tool_reference", "tool_name": "x"}]
    if path == MESSAGES:
        messages[2]["content"][0]["content"] = [{"type": "tool_reference", "tool_name": "x"}]
    async with vendor() as sim:
        seen = await exchange(sim, key, path, body_of(path, "gpt-4o-mini", messages))
    assert seen.answer.status == 400 and "tool_reference" in seen.answer.error["message"]


def test_the_size_and_the_estimate_count_what_a_result_holds():
    def request(*parts: Any) -> CompletionRequest:
        return CompletionRequest((Message("tool", (ToolOutput.of("c", "look", parts),)),))

    plain, full = request(Text("a")), request(Text("a"), Image("image/png", "x" * 1000))
    assert characters(full) >= characters(plain) + 1000
    assert estimate_input(full) > estimate_input(plain) + 1000
    assert full.needs() == {"vision"} and plain.needs() == frozenset()
