"""Marks for the cache in chat completions, as clients write them that know Claude: they reach Claude, and no vendor that refuses them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic.types import message_create_params
from pydantic import TypeAdapter

from agents.compatible.openai_chat import request as chat
from agents.tests.vendors import sent
from aiagents.core.errors import InvalidRequest

MARK = {"type": "ephemeral"}
LONG = {"type": "ephemeral", "ttl": "1h"}


def body(**marks: Any) -> dict[str, Any]:
    """A chat completion with these marks: `system`, `tools`, `tool_function`, `user`, `message`."""

    def marked(name: str) -> dict[str, Any]:
        return {"cache_control": marks[name]} if name in marks else {}

    function = {"name": "look", "parameters": {"type": "object", "properties": {}}, **marked("tool_function")}
    return {
        "model": "m",
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "Be brief.", **marked("system")}]},
            {"role": "user", "content": [{"type": "text", "text": "Hello", **marked("user")}], **marked("message")},
        ],
        "tools": [{"type": "function", "function": function, **marked("tools")}],
    }


async def to_claude(**marks: Any) -> dict[str, Any]:
    found = await sent("anthropic", chat.read(body(**marks)).request, model="claude-sonnet-5")
    TypeAdapter(message_create_params.MessageCreateParamsStreaming).validate_python(found)
    return found


@pytest.mark.parametrize("mark", [MARK, LONG], ids=["5m", "1h"])
@pytest.mark.parametrize("place", ["system", "tools", "tool_function", "user", "message"])
async def test_a_mark_reaches_claude_on_the_part_that_the_client_marked(place: str, mark: dict[str, str]):
    found = await to_claude(**{place: mark})
    part = {"tool_function": "tools", "user": "conversation", "message": "conversation"}.get(place, place)
    assert found.get("cache_control") == (mark if part == "conversation" else None)
    assert found["system"] == ([{"type": "text", "text": "Be brief.", "cache_control": mark}] if part == "system" else "Be brief.")
    assert found["tools"][-1].get("cache_control") == (mark if part == "tools" else None)


async def test_without_a_mark_nothing_is_cached():
    assert "cache_control" not in json.dumps(await to_claude())


async def test_openai_never_sees_a_mark_and_the_rest_of_the_body_as_it_came():
    marks = dict.fromkeys(("system", "tools", "tool_function", "user", "message"), MARK)
    found = await sent("openai", chat.read(body(**marks)).request, model="gpt-4o-mini")
    assert found["messages"] == body()["messages"] and found["tools"] == body()["tools"]


@pytest.mark.parametrize("vendor", ["openai_compatible", "google"])
async def test_no_other_vendor_refuses_a_marked_body(vendor: str):
    assert "Hello" in json.dumps(await sent(vendor, chat.read(body(system=MARK, user=MARK)).request))


def test_a_duration_without_a_price_is_refused_by_name():
    with pytest.raises(InvalidRequest) as refused:
        chat.read(body(user={"type": "ephemeral", "ttl": "3h"}))
    assert refused.value.param == "cache_control.ttl"


def test_long_marks_are_held_at_their_price():
    assert chat.read(body(system=LONG)).request.priced.long_writes and not chat.read(body(system=MARK)).request.priced.long_writes
