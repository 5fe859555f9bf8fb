"""`/v1/chat/completions` with a model at that endpoint: the vendor gets the body as it came, the client the answer."""

from __future__ import annotations

import json
import re
from typing import Any

import aiohttp
import pytest
from openai.types.chat import ChatCompletion

from accounts import keys
from agents.calls import running as running_calls
from agents.tests.scripted import compatible_server
from aiagents.core.db.calls import in_db
from billing import pricing
from billing.catalogue import snapshot as catalogue
from billing.models import AIModel, UsageLog
from billing.pricing import Usage
from tests.kit.wire import Answer, ask, product

pytestmark = pytest.mark.django_db
PATH, MODEL = "/v1/chat/completions", "gpt-4o-mini"
SHELL = {"type": "function", "function": {"name": "shell", "parameters": {"type": "object", "properties": {}}, "strict": False}}
GRAMMAR = {"type": "custom", "custom": {"name": "patch", "description": "Edits", "format": {"type": "text"}}}
CHOSEN = {"type": "function", "function": {"name": "shell"}}
HI = [{"role": "user", "content": "Hi"}]
RICH: dict[str, Any] = {
    "model": MODEL,
    "messages": [
        {"role": "developer", "content": "Be brief.", "name": "rules"},
        {"role": "user", "content": [{"type": "text", "text": "Fix it"}], "name": "ada"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "custom", "custom": {"name": "patch", "input": "+"}}]},
        {"role": "tool", "tool_call_id": "c1", "content": "Done"},
        {"role": "system", "content": "In place."},
        {"role": "user", "content": "Go on"},
    ],
    "tools": [SHELL, GRAMMAR],
    "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [CHOSEN]}},
    "logprobs": True,
    "top_logprobs": 2,
    "prediction": {"type": "content", "content": "x"},
    "temperature": 0.5,
    "stop": ["END"],
    "metadata": {"model": "mine"},
}  # fmt: skip


@pytest.fixture
def key(user, models) -> str:
    return keys.create(user, name="t", scopes=["chat"])[1]


async def send(body: Any, key: str) -> Answer:
    return await ask(product, "POST", PATH, body, {}, key)


def models_in(answer: Answer) -> set[str]:
    """The model that the answer, or each of its chunks, names."""
    return {name.decode() for name in re.findall(rb'"model": ?"([^"]*)"', answer.body)}


@pytest.mark.parametrize("stream", [False, True])
async def test_openai_gets_the_body_as_it_came(key, vendor, stream: bool):
    body = {**RICH, "stream": stream, "a_field_of_next_week": [1]}
    async with vendor(future=True) as sim:
        answer = await send(body | {"fallbacks": ["gpt-4o"], "max_cost_usd": "1"}, key)
        assert answer.status == 200, answer.body
        seen = sim.requests[-1]
    assert seen.path == PATH
    assert seen.body == body | ({"stream_options": {"include_usage": True}} if stream else {})


TEXTS = [
    "Name three rivers",
    '[[sim:chunks=30]] Say "quoted" \\ and ü',
    "[[call shell {}]] Hi",
    "[[sim:usage=missing]] Hi",
    "[[sim:future]] Hi",
]


@pytest.mark.parametrize("asks", [None, False, True])
@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
async def test_the_chunks_come_back_as_they_came_without_a_usage_that_only_we_asked_for(key, vendor, text: str, asks: bool | None):
    options = {} if asks is None else {"stream_options": {"include_usage": asks}}
    body = {"model": MODEL, "messages": [{"role": "user", "content": text}], "tools": [SHELL], "stream": True, **options}
    async with vendor() as sim:
        answer = await send(body, key)
        async with aiohttp.ClientSession() as session, session.post(f"{sim.openai_url}/chat/completions", json=body) as direct:
            assert answer.body == await direct.read()
        assert sim.requests[0].body["stream_options"]["include_usage"] is True
    await running_calls.finish_settlements()
    row = await UsageLog.objects.aget()
    assert row.output_tokens > 0 and row.estimated == ("usage=missing" in text)


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
async def test_a_whole_answer_comes_back_as_it_came(key, vendor, text: str):
    body = {"model": MODEL, "messages": [{"role": "user", "content": text}], "tools": [SHELL]}
    async with vendor() as sim:
        answer = await send(body, key)
        async with aiohttp.ClientSession() as session, session.post(f"{sim.openai_url}/chat/completions", json=body) as direct:
            assert answer.body == await direct.read()
    assert answer.headers["x-aiagents-model"] == MODEL and "x-aiagents-cost-usd" in answer.headers


async def test_what_the_vendor_counted_is_charged(key, vendor):
    async with vendor():
        found = ChatCompletion.model_validate((await send({"model": MODEL, "messages": HI}, key)).json).usage
        await send({"model": MODEL, "messages": HI, "stream": True}, key)
    await running_calls.finish_settlements()
    assert found is not None and found.prompt_tokens_details is not None
    usage = Usage(found.prompt_tokens, found.prompt_tokens_details.cached_tokens or 0, 0, found.completion_tokens)
    rows = [row async for row in UsageLog.objects.all()]
    rates = (await catalogue.current()).cards[MODEL].rates
    assert rates is not None and len(rows) == 2 and {row.cost_usd for row in rows} == {pricing.cost(rates, usage)}


async def test_the_answer_names_the_model_as_our_catalogue_does(key, vendor):
    def rename() -> None:
        AIModel.objects.filter(slug=MODEL).update(vendor_model="gpt-4o-mini-2024-07-18")
        catalogue.invalidate()

    await in_db(rename)
    async with vendor() as sim:
        for stream in (False, True):
            answer = await send({"model": MODEL, "messages": HI, "stream": stream}, key)
            assert sim.requests[-1].body["model"] == "gpt-4o-mini-2024-07-18"
            assert models_in(answer) == {MODEL}


async def test_a_reasoning_model_gets_no_field_that_it_would_refuse(key, vendor):
    body = {"model": "o3", "messages": HI, "max_tokens": 500, "temperature": 0.3, "stop": ["x"], "reasoning_effort": "none", "store": True}
    async with vendor() as sim:
        answer = await send(body | {"metadata": {"a": "b"}}, key)
        assert answer.status == 200, answer.body
        assert sim.requests[-1].body == {
            "model": "o3", "messages": HI, "max_completion_tokens": 500, "reasoning_effort": "low", "store": False,
        }  # fmt: skip


async def test_an_answer_of_another_vendor_goes_back_without_its_own_fields(key, vendor):
    call = {"id": "toolu_" + "x" * 60, "type": "function", "function": {"name": "shell", "arguments": "{}"}}
    shown = {**call, "index": 0, "function": {**call["function"], "parsed_arguments": {}}}
    turn = {"role": "assistant", "content": None, "tool_calls": [shown], "reasoning_content": "hm", "annotations": [], "refusal": None}
    result = {"role": "tool", "tool_call_id": call["id"], "content": "ok"}
    async with vendor() as sim:
        answer = await send({"model": MODEL, "messages": [*HI, turn, result], "tools": [SHELL]}, key)
        assert answer.status == 200, answer.body
        _, sent, back = sim.requests[-1].body["messages"]
    assert sent["tool_calls"] == [{**call, "id": back["tool_call_id"]}] and len(back["tool_call_id"]) <= 40
    assert sent.keys() == {"role", "content", "tool_calls", "refusal"}


async def test_a_field_that_the_vendor_refuses_is_named_to_the_client(key, vendor):
    async with vendor():
        answer = await send({"model": MODEL, "messages": HI, "a_field_of_next_week": 1}, key)
    assert (answer.status, answer.error["param"]) == (400, "a_field_of_next_week")


async def test_a_jpeg_by_another_name_is_read_as_one(key, vendor):
    part = {"type": "image_url", "image_url": {"url": "data:image/jpg;base64,/9j/4AAQSkZJRgABAQ==", "detail": "low"}}
    async with vendor() as sim:
        answer = await send({"model": MODEL, "messages": [{"role": "user", "content": [part]}]}, key)
        assert answer.status == 200, answer.body
        sent = sim.requests[-1].body["messages"][0]["content"][0]["image_url"]
    assert sent == {"url": "data:image/jpeg;base64,/9j/4AAQSkZJRgABAQ==", "detail": "low"}


REFUSED = [
    ({"web_search_options": {}}, "web_search_options"),
    ({"search_parameters": {"mode": "on"}}, "search_parameters"),
    ({"plugins": [{"id": "web"}]}, "plugins"),
    ({"models": ["openai/o1-pro"]}, "models"),
    ({"audio": {"voice": "a"}, "modalities": ["audio"]}, "audio"),
    ({"modalities": ["text", "audio"]}, "modalities"),
    ({"service_tier": "flex"}, "service_tier"),
    ({"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]}, "messages[0].audio"),
    ({"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]}, "messages[0].content[0].type"),
    ({"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]}, "messages[0].content[0].file_id"),
    ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
    ({"n": 2, "logprobs": True}, "logprobs"),
    ({"n": 2, "a_field_of_next_week": 1}, "a_field_of_next_week"),
]


@pytest.mark.parametrize(("change", "param"), REFUSED, ids=[f"{param}-{number}" for number, (_, param) in enumerate(REFUSED)])
async def test_what_has_no_price_or_is_another_users_reaches_no_vendor(key, vendor, change: dict[str, Any], param: str):
    async with vendor() as sim:
        answer = await send({"model": MODEL, "messages": HI} | change, key)
        assert answer.status == 400 and answer.error["param"] == param, answer.body
        assert not sim.requests


ONLY = [
    {"logprobs": True}, {"tools": [GRAMMAR]}, {"a_field_of_next_week": 1}, {"tool_choice": RICH["tool_choice"], "tools": [SHELL]},
    {"prediction": RICH["prediction"]},
]  # fmt: skip


@pytest.mark.parametrize("change", ONLY, ids=range(len(ONLY)))
async def test_other_models_refuse_by_name_what_only_this_endpoint_takes_and_auto_goes_there(key, vendor, change: dict[str, Any]):
    async with vendor(future=True) as sim:
        for model in ("claude-sonnet-5", "gemini-2.5-flash", "gpt-6.1-sol"):
            answer = await send({"model": model, "messages": HI} | change, key)
            assert answer.status == 400 and answer.error["param"], answer.body
        assert not sim.requests
        chosen = await send({"model": "auto", "messages": HI} | change, key)
        assert chosen.status == 200, chosen.body
        assert sim.requests[-1].path == PATH and all(sim.requests[-1].body[name] == value for name, value in change.items())


async def test_several_choices_are_still_calls_of_their_own(key, vendor):
    async with vendor() as sim:
        answer = await send({"model": MODEL, "messages": HI, "n": 2}, key)
        assert len(answer.json["choices"]) == 2 and len(sim.requests) == 2
        assert all("n" not in seen.body for seen in sim.requests)


async def test_before_the_first_token_another_vendor_still_answers(key, vendor):
    body = {"model": MODEL, "messages": [{"role": "user", "content": "[[sim@gpt-4o-mini:500]] Hi"}], "fallbacks": ["claude-haiku-4-5"]}
    async with vendor():
        for stream in (False, True):
            answer = await send(body | {"stream": stream}, key)
            assert answer.status == 200 and b'"model":"claude-haiku-4-5"' in answer.body


async def test_an_answer_that_breaks_off_is_an_error_and_its_tool_call_is_charged_by_estimate(key, vendor):
    arguments = json.dumps({"text": "y" * 400})
    body = {"model": MODEL, "messages": [{"role": "user", "content": f"[[sim:die:6]] [[call shell {arguments}]] Hi"}], "tools": [SHELL]}
    async with vendor():
        answer = await send(body | {"stream": True}, key)
    await running_calls.finish_settlements()
    row = await UsageLog.objects.aget()
    assert b'"error"' in answer.body and b'"tool_calls"' in answer.body and b"[DONE]" not in answer.body
    assert row.estimated and row.output_tokens > 0


@pytest.mark.parametrize("passes", [False, True])
async def test_a_compatible_server_gets_the_body_as_it_came_where_staff_say_so(key, vendor, passes: bool):
    turn = {"role": "assistant", "content": "a", "reasoning_content": "because"}
    body = {"model": "own", "messages": [*HI, turn, *HI], "max_tokens": 90, "min_p": 0.1, "chat_template_kwargs": {"thinking": False}}

    async with vendor(future=True) as sim:
        await in_db(lambda: compatible_server(sim.openai_url, passes_through=passes))
        for stream in (False, True):
            answer = await send(body | {"stream": stream}, key)
            if not passes:
                assert (answer.status, answer.error["param"]) == (400, "min_p")
                continue
            assert answer.status == 200, answer.body
            options = {"stream_options": {"include_usage": True}} if stream else {}
            assert sim.requests[-1].body == body | {"model": "org/own-7b", "stream": stream} | options
            assert models_in(answer) == {"own"}
        chosen = await send(body | {"model": "auto"}, key)
        assert chosen.status == 200 and sim.requests[-1].body["min_p"] == 0.1
