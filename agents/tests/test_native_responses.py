"""`/v1/responses` with a model that OpenAI serves at Responses: the vendor gets the body as it came, the client the answer."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest
from openai.types.responses import Response

from accounts import keys
from agents.calls import running as running_calls
from agents.simulator.seals import seal
from billing import pricing
from billing.catalogue import snapshot as catalogue
from billing.models import UsageLog
from billing.pricing import Usage
from tests.kit.wire import Answer, ask, product

pytestmark = pytest.mark.django_db
MODEL = "gpt-6.1-sol"
ENCRYPTED = seal("a thought")
PATCH = {"type": "custom", "name": "apply_patch", "description": "Edits files", "format": {"type": "text"}}
SHELL = {"type": "function", "name": "shell", "parameters": {"type": "object", "properties": {}}, "strict": False}
# What a coding agent sends.
RICH: dict[str, Any] = {
    "model": MODEL,
    "instructions": "You are a coding agent.",
    "input": [
        {"type": "additional_tools", "role": "developer", "tools": [PATCH]},
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Be brief."}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Fix it"}]},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": ENCRYPTED},
        {"type": "custom_tool_call", "call_id": "call_1", "name": "apply_patch", "input": "*** Begin Patch"},
        {"type": "custom_tool_call_output", "call_id": "call_1", "output": "Done"},
    ],
    "tools": [SHELL, PATCH],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "reasoning": {"effort": "low", "context": "all_turns"},
    "include": ["reasoning.encrypted_content"],
    "text": {"verbosity": "low"},
    "prompt_cache_key": "k",
    "client_metadata": {"x": "y"},
    "store": False,
}


@pytest.fixture
def key(user, models) -> str:
    return keys.create(user, name="t", scopes=["chat"])[1]


async def send(body: Any, key: str) -> Answer:
    return await ask(product, "POST", "/v1/responses", body, {}, key)


@pytest.mark.parametrize("stream", [False, True])
async def test_openai_gets_the_body_as_it_came(key, vendor, stream: bool):
    async with vendor(future=True) as sim:
        answer = await send({**RICH, "stream": stream, "a_field_of_next_week": [1]}, key)
        assert answer.status == 200, answer.body
        seen = sim.requests[-1]
    assert seen.path == "/v1/responses"
    assert seen.body == {**RICH, "stream": stream, "a_field_of_next_week": [1]}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("text", ["Name three rivers", "[[sim:chunks=30]] Hi", "[[call shell {}]] Hi", "[[sim:usage=missing]] Hi"])
async def test_the_answer_comes_back_as_it_came(key, vendor, stream: bool, text: str):
    body = {**RICH, "input": text, "stream": stream, "max_output_tokens": 500}
    async with vendor() as sim:
        answer = await send(body, key)
        async with aiohttp.ClientSession() as session, session.post(f"{sim.openai_url}/responses", json=body) as direct:
            assert answer.body == await direct.read()


async def test_what_the_vendor_counted_is_charged(key, vendor):
    for stream in (False, True):
        async with vendor():
            answer = await send({**RICH, "stream": stream}, key)
    events = [json.loads(line[6:]) for line in answer.body.decode().splitlines() if line.startswith("data: ")]
    found = Response.model_validate(events[-1]["response"]).usage
    usage = Usage(
        input_tokens=found.input_tokens, output_tokens=found.output_tokens, cached_input_tokens=found.input_tokens_details.cached_tokens
    )
    await running_calls.finish_settlements()
    rows = [row async for row in UsageLog.objects.all()]
    cards = await catalogue.current()
    assert len(rows) == 2 and {row.cost_usd for row in rows} == {pricing.cost(cards.cards[MODEL].rates, usage)}


async def test_another_model_name_in_the_metadata_stays(key, vendor):
    async with vendor():
        answer = await send({**RICH, "model": "gpt-6.1-sol", "input": "Hi", "metadata": {"model": "mine"}}, key)
    assert answer.json["metadata"] == {"model": "mine"} and answer.json["model"] == MODEL


async def test_thinking_that_was_sealed_goes_back_as_openai_made_it_and_another_vendors_does_not(key, vendor):
    ours = {"type": "reasoning", "id": "rs_ours", "summary": [], "encrypted_content": f"openai:rs_9:{ENCRYPTED}"}
    theirs = {"type": "reasoning", "id": "rs_theirs", "summary": [], "encrypted_content": "anthropic:c2ln"}
    async with vendor() as sim:
        answer = await send({**RICH, "input": [RICH["input"][2], ours, theirs, RICH["input"][2]]}, key)
        assert answer.status == 200, answer.body
        sent = sim.requests[-1].body["input"]
    assert sent[1:-1] == [{**ours, "id": "rs_9", "encrypted_content": ENCRYPTED}]


SEARCH = {"type": "web_search", "search_context_size": "low"}


@pytest.mark.parametrize("stream", [False, True])
async def test_an_offered_web_search_reaches_openai_and_no_other_vendor(key, vendor, stream: bool):
    body = {"input": "Hi", "tools": [SEARCH, SHELL], "stream": stream}
    for model, taken in ((MODEL, True), ("claude-sonnet-5", False), ("gpt-4o", False), ("gemini-2.5-flash", False)):
        async with vendor() as sim:
            answer = await send({**body, "model": model}, key)
            assert answer.status == 200, answer.body
            assert ("web_search" in json.dumps(sim.requests[-1].body)) is taken
            assert answer.headers.get("x-aiagents-dropped-tools") == (None if taken else "web_search")


@pytest.mark.parametrize("stream", [False, True])
async def test_an_offered_tool_without_a_price_is_taken_out_of_the_offer_and_noted(key, vendor, stream: bool):
    interpreter = {"type": "code_interpreter", "container": {"type": "auto"}}
    added = {"type": "additional_tools", "role": "developer", "tools": [PATCH, {"type": "image_generation"}]}
    namespace = {"type": "namespace", "name": "n", "description": "d", "tools": [interpreter, SHELL]}
    body = {"model": MODEL, "input": [added, RICH["input"][2]], "tools": [interpreter, SEARCH, namespace], "stream": stream}
    async with vendor() as sim:
        answer = await send(body, key)
        assert answer.status == 200, answer.body
        seen = sim.requests[-1].body
    assert answer.headers["x-aiagents-dropped-tools"] == "code_interpreter, image_generation"
    assert seen["tools"] == [SEARCH, {**namespace, "tools": [SHELL]}] and seen["input"][0] == {**added, "tools": [PATCH]}


async def test_a_tools_own_parameter_may_be_called_file_id(key, vendor):
    own = {**SHELL, "parameters": {"type": "object", "properties": {"file_id": {"type": "string"}}}}
    async with vendor():
        answer = await send({"model": MODEL, "input": [{**RICH["input"][0], "tools": [own]}, RICH["input"][2]]}, key)
    assert answer.status == 200, answer.body


PICTURE = {"type": "input_image", "image_url": "data:image/png;base64,aGk="}
REFUSED = [
    ({"previous_response_id": "resp_1"}, "previous_response_id"),
    ({"conversation": "conv_1"}, "conversation"),
    ({"prompt": {"id": "pmpt_1"}}, "prompt"),
    ({"background": True}, "background"),
    ({"service_tier": "scale"}, "service_tier"),
    ({"tools": [{"type": "image_generation"}], "tool_choice": {"type": "image_generation"}}, "tool_choice"),
    ({"tools": [{"type": "code_interpreter", "container": "cntr_1"}]}, "tools[0].container"),
    ({"tools": [{"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["f"]}}]}, "tools[0].container.file_ids"),
    ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input"),
    ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "file_1"}]}]}, "input[0].content[0].file_id"),
    *(({"tools": [{"type": kind}]}, "tools[0].type") for kind in ("file_search", "mcp")),
    ({"input": [{"type": "additional_tools", "role": "developer", "tools": [{"type": "mcp"}]}]}, "input[0].tools[0].type"),
    ({"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "file_search"}]}]}, "tools[0].tools[0].type"),
    ({"input": [{"type": "computer_call_output", "call_id": "c", "output": {"file_id": "file_1"}}]}, "input[0].output.file_id"),
    ({"input": [{"type": "custom_tool_call_output", "call_id": "c", "output": [{"file_id": "f"}]}]}, "input[0].output[0].file_id"),
    ({"input": [{"role": "user", "content": [{**PICTURE, "file_id": "file_1"}]}]}, "input[0].content[0].file_id"),
    ({"tools": [{"type": "shell", "environment": {"type": "container_auto"}}]}, "tools[0].type"),
]


@pytest.mark.parametrize(("change", "param"), REFUSED, ids=[f"{param}-{number}" for number, (_, param) in enumerate(REFUSED)])
async def test_what_is_another_users_or_has_no_price_reaches_no_vendor(key, vendor, change: dict[str, Any], param: str):
    async with vendor() as sim:
        answer = await send({"model": MODEL, "input": "Hi"} | change, key)
        assert answer.status == (404 if param == "input" else 400) and answer.error["param"] == param, answer.body
        assert not sim.requests


@pytest.mark.parametrize("change", [{"tools": [PATCH]}, {"max_tool_calls": 2}, {"input": RICH["input"]}], ids=range(3))
async def test_other_models_refuse_by_name_what_only_openai_takes_and_auto_goes_there(key, vendor, change: dict[str, Any]):
    async with vendor() as sim:
        for model in ("claude-sonnet-5", "gemini-2.5-flash", "gpt-4o"):
            answer = await send({"input": "Hi"} | change | {"model": model}, key)
            assert answer.status == 400 and answer.error["param"], answer.body
        assert not sim.requests
        chosen = await send({"input": "Hi"} | change | {"model": "auto:best"}, key)
        assert chosen.status == 200, chosen.body
        assert sim.requests[-1].path == "/v1/responses"
