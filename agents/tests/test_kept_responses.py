"""Answers of `/v1/responses` are kept for a while for their user: later requests name them, and no vendor is asked for them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from accounts import keys
from accounts.models import User
from agents.compatible.openai_responses import kept
from agents.tests.scripted import openai_sdk
from agents.tests.wires import RESPONSES, exchange
from aiagents.core.db.calls import in_db
from aiagents.core.ids import uuid7
from aiagents.core.valkey import clients as valkey
from aiagents.core.valkey.owned_values import OwnedValues
from tests.kit.waiting import until
from tests.kit.wire import Answer, ask, product

# A model of each vendor; the last one's requests pass through.
MODELS = ("gpt-4o-mini", "claude-sonnet-5", "gemini-2.5-flash", "gpt-6.1-sol")
SHELL = {"type": "function", "name": "shell", "parameters": {"type": "object", "properties": {}}}
FIRST = "Remember the word kestrel"
streamed_or_whole = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


@pytest.fixture
def key(ada: User) -> str:
    return keys.create(ada, name="t", scopes=["chat"])[1]


@pytest.fixture
def other_key(eve: User) -> str:
    return keys.create(eve, name="t", scopes=["chat"])[1]


def response_of(answer: Answer) -> dict[str, Any]:
    """The response, or the one that ends a stream."""
    assert answer.status == 200, answer.body
    if answer.body.lstrip()[:1] == b"{":
        return answer.json
    return [json.loads(line[5:]) for line in answer.body.splitlines() if line.startswith(b"data:")][-1]["response"]


async def first_answer(sim: Any, key: str, model: str, stream: bool = False, **more: Any) -> dict[str, Any]:
    return response_of((await exchange(sim, key, RESPONSES, {"model": model, "input": FIRST, "stream": stream, **more})).answer)


def referring(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """The second turn as the AI SDK sends it: earlier answers as references."""
    references = [{"type": "item_reference", "id": item["id"]} for item in answer["output"]]
    return [{"role": "user", "content": [{"type": "input_text", "text": FIRST}]}, *references, {"role": "user", "content": "Go on"}]


@streamed_or_whole
@pytest.mark.parametrize("model", MODELS)
async def test_the_second_turn_refers_to_the_items_of_the_first(vendor, key: str, model: str, stream: bool):
    async with vendor() as sim:
        first = await first_answer(sim, key, model, stream)
        text = first["output"][-1]["content"][0]["text"]
        seen = await exchange(sim, key, RESPONSES, {"model": model, "input": referring(first), "stream": stream})
    sent = seen.text
    assert json.dumps(text)[1:-1] in sent and sent.index("kestrel") < sent.index("Go on")
    assert "item_reference" not in sent and "previous_response_id" not in sent


@streamed_or_whole
@pytest.mark.parametrize("model", MODELS)
async def test_a_previous_response_brings_the_whole_conversation_before_it(vendor, key: str, model: str, stream: bool):
    async with vendor() as sim:
        first = await first_answer(sim, key, model, stream, instructions="Only for the first turn")
        body = {"model": model, "input": "Second", "previous_response_id": first["id"], "stream": stream}
        second = response_of((await exchange(sim, key, RESPONSES, body)).answer)
        third = await exchange(sim, key, RESPONSES, body | {"input": "Third", "previous_response_id": second["id"]})
    said = [one["output"][-1]["content"][0]["text"] for one in (first, second)]
    texts = [FIRST, said[0], "Second", said[1], "Third"]
    at = 0
    for text in texts:
        at = third.text.find(json.dumps(text)[1:-1], at) + 1
        assert at, (text, third.text)
    assert "previous_response_id" not in third.body and "Only for the first turn" not in third.text


@streamed_or_whole
async def test_signed_thinking_goes_back_although_the_client_never_saw_the_signature(vendor, key: str, stream: bool):
    more = {"tools": [SHELL], "reasoning": {"effort": "high"}, "input": "[[call shell {}]] Look"}
    async with vendor() as sim:
        first = await first_answer(sim, key, "claude-sonnet-5", stream, **more)
        assert "encrypted_content" not in json.dumps(first)
        call = first["output"][-1]
        result = {"type": "function_call_output", "call_id": call["call_id"], "output": "nothing"}
        body = {**more, "model": "claude-sonnet-5", "input": [result], "previous_response_id": first["id"], "stream": stream}
        seen = await exchange(sim, key, RESPONSES, body)
        references = [{"role": "user", "content": "Look"}, *({"type": "item_reference", "id": item["id"]} for item in first["output"])]
        again = await exchange(sim, key, RESPONSES, body | {"input": [*references, result], "previous_response_id": None})
    for sent in (seen.body, again.body):
        turn = next(message for message in sent["messages"] if message["role"] == "assistant")["content"]
        assert [block["type"] for block in turn] == ["thinking", "tool_use"] and turn[0]["signature"]


async def test_counting_counts_what_a_request_refers_to(vendor, key: str):
    async with vendor() as sim:
        first = await first_answer(sim, key, "gpt-4o-mini")
        counts = []
        for more in ({}, {"previous_response_id": first["id"]}):
            answer = await ask(product, "POST", "/v1/responses/input_tokens", {"model": "gpt-4o-mini", "input": "Go on", **more}, {}, key)
            counts.append(answer.json["input_tokens"])
    assert counts[1] > counts[0] + 10


async def test_an_unknown_reference_is_answered_as_openai_does(vendor, key: str, other_key: str):
    async with vendor() as sim:
        first = await first_answer(sim, key, "gpt-4o-mini")
        requests = len(sim.requests)
        for caller, id, item in ((key, "resp_unknown", "msg_unknown"), (other_key, first["id"], first["output"][0]["id"])):
            body = {"model": "gpt-4o-mini", "input": "Hi", "previous_response_id": id}
            refused = (await exchange(sim, caller, RESPONSES, body)).answer
            assert (refused.status, refused.error["code"], refused.error["param"], refused.error["type"]) == (
                400, "previous_response_not_found", "previous_response_id", "invalid_request_error",
            )  # fmt: skip
            for reference in ({"type": "item_reference", "id": item}, {"id": item}):
                refused = (await exchange(sim, caller, RESPONSES, {"model": "gpt-4o-mini", "input": [reference]})).answer
                assert (refused.status, refused.error["param"]) == (404, "input") and item in refused.error["message"]
            for method in ("GET", "DELETE"):
                refused = await ask(product, method, f"/v1/responses/{id}", None, {}, caller)
                assert (refused.status, refused.error["type"]) == (404, "invalid_request_error")
        assert len(sim.requests) == requests
        assert (await ask(product, "GET", f"/v1/responses/{first['id']}", None, {}, key)).status == 200


@streamed_or_whole
@pytest.mark.parametrize("model", ["gpt-4o-mini", "gpt-6.1-sol"])
async def test_nothing_is_kept_of_an_answer_that_the_client_does_not_store(vendor, key: str, model: str, stream: bool):
    async with vendor() as sim:
        first = await first_answer(sim, key, model, stream, store=False)
        assert first["store"] is False
    assert not [name async for name in valkey.client().scan_iter("responses*")]
    assert (await ask(product, "GET", f"/v1/responses/{first['id']}", None, {}, key)).status == 404


@pytest.mark.django_db(transaction=True)
async def test_openais_client_retrieves_and_deletes_an_answer(vendor, caller):
    async with vendor(), openai_sdk(caller) as client:
        for model in MODELS[::3]:
            made = await client.responses.create(model=model, input=FIRST, include=["reasoning.encrypted_content"])
            found = await client.responses.retrieve(made.id)
            assert found.to_dict() == made.to_dict() and found.output_text
            next_one = await client.responses.create(model=model, input="More", previous_response_id=made.id)
            assert next_one.output_text
            await client.responses.delete(made.id)
            for gone in (
                client.responses.retrieve(made.id),
                client.responses.create(model=model, input="x", previous_response_id=next_one.id),
            ):
                with pytest.raises(Exception, match="not found"):
                    await gone


@streamed_or_whole
async def test_while_valkey_is_away_answers_go_out_and_references_get_a_clear_error(vendor, key: str, settings, stream: bool):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    before = dict(valkey.clients_by_loop)
    valkey.clients_by_loop.clear()
    try:
        async with vendor() as sim:
            first = await first_answer(sim, key, "gpt-4o-mini", stream)
            refused = (await exchange(sim, key, RESPONSES, {"model": "gpt-4o-mini", "input": referring(first)})).answer
            assert (refused.status, refused.error["code"]) == (503, "unavailable")
            assert (await ask(product, "GET", f"/v1/responses/{first['id']}", None, {}, key)).status == 503
    finally:
        valkey.clients_by_loop.clear()
        valkey.clients_by_loop.update(before)


async def test_an_installation_that_keeps_nothing_refuses_references_by_name(vendor, key: str, settings):
    settings.RESPONSES_KEPT_SECONDS = 0
    async with vendor() as sim:
        first = await first_answer(sim, key, "gpt-4o-mini")
        assert first["store"] is False
        for body, param in (({"previous_response_id": first["id"]}, "previous_response_id"), ({"input": referring(first)}, "input[1].id")):
            refused = (await exchange(sim, key, RESPONSES, {"model": "gpt-4o-mini", "input": "Hi"} | body)).answer
            assert (refused.status, refused.error["param"]) == (400, param)
        assert (await ask(product, "GET", f"/v1/responses/{first['id']}", None, {}, key)).status == 404


async def test_one_large_answer_named_many_times_is_refused_before_it_is_joined(vendor, key: str, settings):
    settings.MAX_PROMPT_CHARACTERS = 100_000
    async with vendor() as sim:
        first = await first_answer(sim, key, "gpt-4o-mini")
        requests = len(sim.requests)
        reference = {"type": "item_reference", "id": first["output"][0]["id"]}
        refused = (await exchange(sim, key, RESPONSES, {"model": "gpt-4o-mini", "input": [reference] * 5000})).answer
        assert (refused.status, refused.error["code"]) == (413, "prompt_too_large")
        settings.MAX_PROMPT_CHARACTERS = 10**9
        refused = (await exchange(sim, key, RESPONSES, {"model": "gpt-4o-mini", "input": [reference] * 10_000})).answer
        assert refused.status == 413 and len(sim.requests) == requests


@pytest.mark.parametrize("item", ["item:msg_1", {"type": "item_reference"}, {"type": "item_reference", "id": 5}, 7, None])
async def test_an_item_that_only_looks_like_a_reference_is_an_invalid_item(vendor, key: str, item: Any):
    async with vendor() as sim:
        first = await first_answer(sim, key, "gpt-4o-mini")
        body = {"model": "gpt-4o-mini", "input": [item, {"role": "user", "content": "Hi"}], "previous_response_id": first["id"]}
        refused = (await exchange(sim, key, RESPONSES, body)).answer
    assert refused.status == 400 and refused.error["param"].startswith("input[")


@pytest.mark.django_db(transaction=True)
async def test_what_is_kept_goes_with_its_user(vendor, models):
    user = await in_db(lambda: User.objects.create_user("gone@example.com", "correct horse battery staple"))
    key = (await in_db(lambda: keys.create(user, name="t", scopes=["chat"])))[1]
    async with vendor() as sim:
        await first_answer(sim, key, "gpt-4o-mini")
    assert await valkey.client().exists(f"responses:{user.pk}")
    await in_db(lambda: kept.forget(user.pk))
    assert not await valkey.client().exists(f"responses:{user.pk}", f"responses:{user.pk}:used")
    assert await valkey.client().hgetall("responses:bytes") == {b"": b"0"}


# --- the store ------------------------------------------------------------------------------------

VALUES = OwnedValues("test-values", 60, 2000, 4000)


async def test_each_owner_has_a_share_and_loses_what_was_used_least_recently():
    owner = str(uuid7())
    for number in range(6):
        assert await VALUES.keep(owner, {f"v{number}": b"x" * 272})  # 400 bytes with what belongs to it
        if number == 3:
            assert await VALUES.read(owner, ["v0", "missing"]) == {"v0": b"x" * 272}
    assert sorted(await VALUES.read(owner, [f"v{number}" for number in range(6)])) == ["v0", "v2", "v3", "v4", "v5"]
    assert await valkey.client().hget("test-values:bytes", owner) == b"2000"
    assert not await VALUES.keep(owner, {"large": b"x" * 2000})
    await VALUES.keep(owner, {"v5": b"y"})
    await VALUES.drop(owner, ["v0", "missing"])
    assert await valkey.client().hgetall("test-values:bytes") == {owner.encode(): b"1329", b"": b"1329"}


async def test_all_owners_together_are_bounded_and_the_one_that_was_away_longest_loses():
    owners = [str(uuid7()) for _ in range(5)]
    for owner in owners:
        await VALUES.keep(owner, {"v": b"x" * 872})
        await VALUES.read(owners[0], ["v"])
    left = [owner for owner in owners if await VALUES.read(owner, ["v"])]
    assert left == [owners[0], *owners[3:]] or left == [owners[0], *owners[2:]]
    assert int(await valkey.client().hget("test-values:bytes", "")) == 1000 * len(left) <= 4000
    assert not await VALUES.read(str(uuid7()), ["v"])


async def test_values_end_some_time_after_their_last_use():
    short = OwnedValues("test-short", 1, 2000, 4000)
    await short.keep("a", {"v": b"x"})

    async def gone() -> bool:
        return not await valkey.client().exists("test-short:a")

    await until(gone)
    await short.keep("a", {"w": b"x"})
    assert await short.read("a", ["v", "w"]) == {"w": b"x"}
    assert await valkey.client().hget("test-short:bytes", "a") == b"129"
