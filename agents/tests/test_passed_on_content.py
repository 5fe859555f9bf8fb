"""The compatible APIs store no content, so they pass on what a database could not hold, in any number of messages."""

from __future__ import annotations

import json
from typing import Any

import pytest

from accounts import keys
from accounts.models import User
from agents.definitions.authoring import create
from agents.models import Agent
from agents.tests.wires import CHAT, MESSAGES, MODELS, PATHS, RESPONSES, body_of, exchange
from tests.kit.valid_bodies import TURN
from tests.kit.wire import ask, product

BINARY, HUGE = "ELF\x00\x01", 123456789012345678901234
ARGUMENTS = json.dumps({"offset": HUGE, "note": BINARY})
each_wire = pytest.mark.parametrize("path", PATHS)
each_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
CALLS: dict[str, list[dict[str, Any]]] = {
    CHAT: [
        {"role": "user", "content": BINARY},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "read", "arguments": ARGUMENTS}}],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": BINARY},
    ],
    MESSAGES: [
        {"role": "user", "content": BINARY},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "call_1", "name": "read", "input": json.loads(ARGUMENTS)}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": BINARY}]},
    ],
    RESPONSES: [
        {"role": "user", "content": BINARY},
        {"type": "function_call", "call_id": "call_1", "name": "read", "arguments": ARGUMENTS},
        {"type": "function_call_output", "call_id": "call_1", "output": BINARY},
    ],
}


@pytest.fixture
def key(ada: User) -> str:
    return keys.create(ada, name="t", scopes=["chat", "agents"])[1]


@pytest.fixture
def helper(ada: User) -> Agent:
    return create(ada, {"name": "Helper", "system_prompt": "Help.", "model": "gpt-4o-mini"})


@each_wire
@each_model
async def test_nul_and_integers_of_any_size_reach_the_vendor(vendor, key: str, path: str, model: str):
    async with vendor() as sim:
        seen = await exchange(sim, key, path, body_of(path, model, CALLS[path]))
    whole = seen.text.replace("\\\\u0000", "\\u0000")  # OpenAI's arguments are JSON inside JSON
    assert whole.count("\\u0000") == 3
    assert str(HUGE) in whole


@each_wire
async def test_an_agent_stores_its_prompt_so_nul_is_refused(vendor, helper: Agent, key: str, path: str):
    async with vendor() as sim:
        seen = await exchange(sim, key, path, body_of(path, "agent:helper", [{"role": "user", "content": BINARY}]))
        assert (await exchange(sim, key, path, body_of(path, "agent:helper", [{"role": "user", "content": "Hi"}]))).answer.status == 200
    assert seen.answer.status == 400 and seen.answer.error["code"] == "invalid_text" and not seen.sent


@each_wire
@pytest.mark.parametrize("model", ["agent:a\x00", "\x00", "gpt-4o-mini\x00"])
async def test_a_models_name_holds_no_nul(vendor, key: str, path: str, model: str):
    async with vendor() as sim:
        seen = await exchange(sim, key, path, body_of(path, model, [{"role": "user", "content": "Hi"}]))
    assert seen.answer.status == 400 and seen.answer.error["param"] == "model"


@each_wire
async def test_half_a_surrogate_pair_is_no_text_anywhere(vendor, key: str, path: str):
    raw = json.dumps(body_of(path, "gpt-4o-mini", [{"role": "user", "content": "\ud83d"}])).encode()
    async with vendor() as sim:
        seen = await exchange(sim, key, path, raw, **{"content-type": "application/json"})
    assert seen.answer.status == 400 and seen.answer.error["code"] == "invalid_text"


async def test_the_chat_stores_its_messages_and_goes_on_refusing_nul(models: None, key: str):
    answer = await ask(product, "POST", "/api/v1/chat/send", {**TURN, "content": BINARY}, {}, key)
    assert answer.status == 400 and answer.error["code"] == "invalid_text"


@each_wire
async def test_thousands_of_messages_are_one_request(vendor, key: str, path: str):
    messages = [{"role": ("user", "assistant")[number % 2], "content": f"{number}."} for number in range(10_001)]
    async with vendor() as sim:
        seen = await exchange(sim, key, path, body_of(path, "gpt-4o-mini", messages))
    assert len(seen.body["messages"]) == 10_001


@each_wire
async def test_hundreds_of_blocks_are_one_message(vendor, key: str, path: str):
    kind = "input_text" if path == RESPONSES else "text"
    blocks = [{"type": kind, "text": f"{number}."} for number in range(2_000)]
    async with vendor() as sim:
        seen = await exchange(sim, key, path, body_of(path, "claude-sonnet-5", [{"role": "user", "content": blocks}]))
    assert len(seen.body["messages"][0]["content"]) == 2_000


@each_wire
async def test_a_body_is_bounded_by_its_values(vendor, key: str, path: str, settings: Any):
    body = b'{"model":"gpt-4o-mini","max_tokens":1,"%b":[%b]}' % (PATHS[path].encode(), b",".join([b"{}"] * settings.MAX_PROMPT_VALUES))
    async with vendor() as sim:
        seen = await exchange(sim, key, path, body, **{"content-type": "application/json"})
    assert seen.answer.status == 413 and seen.answer.error["code"] == "too_many_values"
