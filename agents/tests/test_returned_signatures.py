"""What a vendor wants back in the next turn comes back through an unchanged client: signed thinking, signed calls, ids."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from anthropic.lib.streaming._messages import accumulate_event

from agents.calls.whole import Completion, Parts
from agents.compatible import call_ids
from agents.compatible.anthropic_messages import answer as messages_answer
from agents.compatible.anthropic_messages import request as messages_request
from agents.events import ReasoningDelta, TextDelta, ToolCall
from agents.messages import REDACTED, CompletionRequest, Message, Reasoning, Text, ToolOutput, ToolUse
from agents.providers import provider
from agents.providers.anthropic.answer import MessageAnswer
from agents.providers.base import Target
from agents.providers.openai import responses
from agents.tests.scripted import MODELS, Scripted, anthropic_sdk, chat_whole, openai_sdk, settled, sse, started
from agents.tests.vendors import KEY

JSON = dict[str, Any]
database = pytest.mark.django_db(transaction=True)
streamed_or_whole = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
SIGNATURE = "EpwCCpkCAb4+9vsm/Yz0" * 60 + "=="
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}


# --- Gemini's signature through a tool loop -------------------------------------------------------


def gemini(*parts: JSON) -> JSON:
    return {
        "candidates": [{"content": {"role": "model", "parts": list(parts)}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2},
    }


PARALLEL = gemini(
    {"functionCall": {"name": "weather", "args": {"city": "Oslo"}}, "thoughtSignature": SIGNATURE},
    {"functionCall": {"name": "weather", "args": {"city": "Rome"}}},
)
LAST = gemini({"text": "12 degrees"})


def google_vendor(stream: bool) -> Scripted:
    return Scripted(*((sse(body) for body in (PARALLEL, LAST)) if stream else (PARALLEL, LAST)))


def signed_turn(request: JSON) -> list[Any]:
    turn = next(content for content in request["contents"] if content["role"] == "model")
    return [(part["functionCall"]["args"]["city"], part.get("thoughtSignature")) for part in turn["parts"]]


async def chat_loop(caller: Any, model: str, stream: bool, *, rebuilt: bool) -> None:
    tools: Any = [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}]
    messages: list[Any] = [{"role": "user", "content": "weather?"}]
    async with openai_sdk(caller) as client:
        if stream:
            async with client.chat.completions.stream(model=model, messages=messages, tools=tools) as events:
                message = (await events.get_final_completion()).choices[0].message
        else:
            message = (await client.chat.completions.create(model=model, messages=messages, tools=tools)).choices[0].message
        calls = message.tool_calls or []
        if rebuilt:  # as libraries do that keep only what OpenAI's API has
            again: Any = [
                {"id": one.id, "type": "function", "function": {"name": one.function.name, "arguments": one.function.arguments}}
                for one in calls
            ]
            messages.append({"role": "assistant", "content": None, "tool_calls": again})
        else:
            sent = message.model_dump(exclude_none=True, exclude={"parsed", "refusal"})
            for one in sent["tool_calls"]:
                one["function"].pop("parsed_arguments", None)
            messages.append(sent)
        messages += [{"role": "tool", "tool_call_id": one.id, "content": "12"} for one in calls]
        assert (await client.chat.completions.create(model=model, messages=messages, tools=tools, stream=stream)) is not None


async def responses_loop(caller: Any, model: str, stream: bool) -> None:
    tools: Any = [{"type": "function", "name": "weather", "parameters": SCHEMA, "strict": False}]
    given: list[Any] = [{"role": "user", "content": "weather?"}]
    async with openai_sdk(caller) as client:
        if stream:
            async with client.responses.stream(model=model, input=given, tools=tools) as events:
                answer = await events.get_final_response()
        else:
            answer = await client.responses.create(model=model, input=given, tools=tools)
        calls = [item for item in answer.output if item.type == "function_call"]
        given += [item.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for item in answer.output]
        given += [{"type": "function_call_output", "call_id": call.call_id, "output": "12"} for call in calls]
        await client.responses.create(model=model, input=given, tools=tools, stream=stream)


async def messages_loop(caller: Any, model: str, stream: bool) -> None:
    question: Any = {"model": model, "max_tokens": 100, "tools": [{"name": "weather", "input_schema": SCHEMA}]}
    messages: list[Any] = [{"role": "user", "content": "weather?"}]
    async with anthropic_sdk(caller) as client:
        if stream:
            async with client.messages.stream(**question, messages=messages) as events:
                answer = await events.get_final_message()
        else:
            answer = await client.messages.create(**question, messages=messages)
        uses = [block for block in answer.content if block.type == "tool_use"]
        messages.append({"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in answer.content]})
        results = [{"type": "tool_result", "tool_use_id": use.id, "content": "12"} for use in uses]
        messages.append({"role": "user", "content": results})
        await client.messages.create(**question, messages=messages, stream=stream)


LOOPS = {
    "chat": lambda *given: chat_loop(*given, rebuilt=False),
    "chat, rebuilt": lambda *given: chat_loop(*given, rebuilt=True),
    "responses": responses_loop,
    "messages": messages_loop,
}


@database
@streamed_or_whole
@pytest.mark.parametrize("api", LOOPS)
async def test_geminis_signature_comes_back_in_the_second_step_of_a_tool_loop(caller, settings, api: str, stream: bool):
    async with google_vendor(stream).serve(settings) as vendor:
        await LOOPS[api](caller, MODELS["google"], stream)
    second = vendor.requests[1]
    assert signed_turn(second) == [("Oslo", SIGNATURE), ("Rome", None)]
    assert "__sig_" not in json.dumps(second)
    results = [part["functionResponse"] for content in second["contents"] for part in content["parts"] if "functionResponse" in part]
    assert [one["name"] for one in results] == ["weather", "weather"]


@database
async def test_the_signature_stands_where_googles_own_openai_api_has_it_too(caller, settings):
    async with google_vendor(False).serve(settings), openai_sdk(caller) as client:
        answer = await client.chat.completions.create(model=MODELS["google"], messages=[{"role": "user", "content": "weather?"}])
    one, other = answer.choices[0].message.tool_calls or []
    assert one.extra_content == {"google": {"thought_signature": SIGNATURE}}  # type: ignore[union-attr]  # not in OpenAI's types
    assert re.fullmatch(r"[a-zA-Z0-9_-]+", one.id) and "__sig_" not in other.id


def payload(kind: str, request: CompletionRequest, target: Target) -> JSON:
    adapter: Any = provider(kind)
    return adapter.payload(request, target, stream=False)


def google_body(model: str, *messages: Message) -> JSON:
    target = Target("google", model, "http://127.0.0.1/v1beta", KEY, 1000)
    return payload("google", CompletionRequest((Message("user", (Text("hi"),)), *messages)), target)


@pytest.mark.parametrize(
    ("model", "skipped"),
    [
        ("gemini-2.5-flash", False),
        ("gemini-1.5-pro", False),
        ("gemini-3-pro-preview", True),
        ("gemini-3.5-flash", True),
        ("gemini-10-pro", True),
        ("gemini-flash-latest", True),
    ],
)
def test_calls_of_another_models_history_have_googles_own_mark(model: str, skipped: bool):
    turn = Message("assistant", (ToolUse("a", "weather", '{"city":"Oslo"}'), ToolUse("b", "weather", '{"city":"Rome"}')))
    mark = "skip_thought_signature_validator" if skipped else None
    assert signed_turn(google_body(model, turn)) == [("Oslo", mark), ("Rome", None)]
    signed = Message("assistant", (ToolUse("a", "weather", '{"city":"Oslo"}', SIGNATURE), ToolUse("b", "weather", '{"city":"Rome"}')))
    assert signed_turn(google_body(model, signed)) == [("Oslo", SIGNATURE), ("Rome", None)]


def test_google_through_its_openai_api_gets_its_signature_and_no_other_server_does():
    turn = Message("assistant", (ToolUse("a", "weather", "{}", SIGNATURE),))
    request = CompletionRequest((Message("user", (Text("hi"),)), turn))
    for base_url, expected in (("https://generativelanguage.googleapis.com/v1beta/openai", True), ("https://api.mistral.ai/v1", False)):
        body = payload("openai_compatible", request, Target("x", "m", base_url, KEY, 100))
        assert ("extra_content" in body["messages"][1]["tool_calls"][0]) is expected


@pytest.mark.parametrize("signature", ["", "c2ln", "a+b/c==", "ünï", "x" * 20_000])
def test_an_id_carries_any_signature_and_gives_it_back(signature: str):
    joined = call_ids.join("call_1", signature)
    assert call_ids.split(joined) == ("call_1", signature)
    assert re.fullmatch(r"[a-zA-Z0-9_-]+", joined)


@pytest.mark.parametrize("length", [8, 64, 200, -4, -1])
def test_an_id_that_a_client_cut_off_gives_no_part_of_a_signature(length: int):
    cut = call_ids.join("call_1", SIGNATURE)[:length]
    assert call_ids.split(cut) == (cut, "")


@pytest.mark.parametrize("foreign", ["call_1", "functions.read:0", "a__sig_!!", "__sig_YWJj", "a__sig_x"])
def test_an_id_that_carries_no_signature_stays_as_it_is(foreign: str):
    assert call_ids.split(foreign) == (foreign, "")


# --- Anthropic's blocks through the neutral form --------------------------------------------------

BLOCKS: list[JSON] = [
    {"type": "thinking", "thinking": "First, ", "signature": "s1"},
    {"type": "redacted_thinking", "data": "zzz"},
    {"type": "text", "text": "Let me look."},
    {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo"}},
    {"type": "thinking", "thinking": "second", "signature": "s2"},
    {"type": "thinking", "thinking": "third", "signature": "s3"},
    {"type": "text", "text": "And"},
    {"type": "tool_use", "id": "toolu_2", "name": "weather", "input": {}},
]
MESSAGE = {"type": "message", "content": BLOCKS, "stop_reason": "tool_use", "usage": {"input_tokens": 3, "output_tokens": 2}}


def neutral() -> list[Any]:
    events = MessageAnswer().feed_whole(json.dumps(MESSAGE).encode())
    return [one for one in events if isinstance(one, TextDelta | ReasoningDelta | ToolCall)]


def test_a_whole_message_keeps_signatures_and_the_order_of_blocks():
    parts = Parts()
    for event in neutral():
        parts.add(event)
    body = json.loads(messages_answer.whole(Completion(parts.all(), settled(finish_reason="tool_calls"))))
    assert body["content"] == BLOCKS and body["stop_reason"] == "tool_use"


def test_a_streamed_message_keeps_signatures_and_the_order_of_blocks():
    ended = settled(finish_reason="tool_calls")
    writer = messages_answer.Events(started(), 3)
    raw = b"".join([writer.opening(), *(writer.event(event) for event in neutral()), writer.finish(ended)])
    message: Any = None
    arguments: dict[int, bytes] = {}
    for line in raw.split(b"\n"):
        if line.startswith(b"data: ") and b'"ping"' not in line:
            message = accumulate_event(event=json.loads(line[6:]), current_snapshot=message, json_bufs=arguments)
    assert [block.model_dump(exclude_none=True) for block in message.content] == BLOCKS


def test_redacted_thinking_that_a_client_returns_goes_back_to_anthropic():
    body = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": BLOCKS}]}
    parts = messages_request.read(body).request.messages[1].parts
    assert parts[0] == Reasoning("First, ", "s1", "anthropic") and parts[1] == Reasoning("", REDACTED + "zzz", "anthropic")
    target = Target("anthropic", "claude", "http://127.0.0.1", KEY, 100)
    sent = payload("anthropic", messages_request.read(body).request, target)
    assert sent["messages"][1]["content"] == BLOCKS


# --- ids of the other vendor ----------------------------------------------------------------------

RULES = {
    "openai at Responses": ("http://127.0.0.1/v1", r".{1,64}"),
    "anthropic": ("http://127.0.0.1", r"[a-zA-Z0-9_-]+"),
    "openai": ("http://127.0.0.1/v1", r".{1,40}"),
    "openai_compatible": ("https://api.mistral.ai/v1", r"[a-zA-Z0-9]{9}"),
}
IDS = ["functions.read:0", "call_1", "é", "x" * 41, "y" * 65, "a b", "toolu_01", "D681PevKs", "__sig_", "call\n2"]


def ids_of(kind: str, *messages: Message) -> tuple[list[str], list[str]]:
    """The ids of the calls and of the results in the body that is sent."""
    target = Target(kind, "m", RULES[kind][0], KEY, 100)
    if kind == "openai at Responses":
        request = CompletionRequest((Message("user", (Text("hi"),)), *messages))
        items = responses.body(request, target, stream=False)["input"]
        uses = [item["call_id"] for item in items if item["type"] == "function_call"]
        return uses, [item["call_id"] for item in items if item["type"] == "function_call_output"]
    body = payload(kind, CompletionRequest((Message("user", (Text("hi"),)), *messages)), target)
    if kind == "anthropic":
        blocks = [block for message in body["messages"] for block in message["content"]]
        uses = [block["id"] for block in blocks if block["type"] == "tool_use"]
        return uses, [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
    uses = [call["id"] for message in body["messages"] for call in message.get("tool_calls") or ()]
    return uses, [message["tool_call_id"] for message in body["messages"] if message["role"] == "tool"]


@pytest.mark.parametrize("kind", RULES)
def test_ids_fit_the_vendors_rule_and_results_keep_theirs(kind: str):
    calls = Message("assistant", tuple(ToolUse(one, "f", "{}") for one in IDS))
    results = Message("tool", tuple(ToolOutput(one, "f", "x") for one in reversed(IDS)))
    uses, returned = ids_of(kind, calls, results)
    assert uses == returned[::-1] and len(set(uses)) == len(IDS)
    pattern = re.compile(RULES[kind][1], re.S)
    assert all(pattern.fullmatch(one) for one in uses)
    assert all(one == given for one, given in zip(uses, IDS, strict=True) if pattern.fullmatch(given))
    assert ids_of(kind, calls, results) == (uses, returned)  # the same in the next request: the vendor's cache holds


def test_an_id_that_comes_again_in_a_later_turn_is_another_one_for_anthropic():
    turn = [Message("assistant", (ToolUse("0", "f", "{}"),)), Message("tool", (ToolOutput("0", "f", "x"),))]
    uses, returned = ids_of("anthropic", *turn, *turn, *turn)
    assert uses == returned and uses[0] == "0" and len(set(uses)) == 3


def test_two_calls_of_one_turn_with_one_id_get_their_results_in_order():
    uses, returned = ids_of(
        "anthropic",
        Message("assistant", (ToolUse("0", "f", "{}"), ToolUse("0", "g", "{}"))),
        Message("tool", (ToolOutput("0", "f", "x"), ToolOutput("0", "g", "y"))),
    )
    assert uses == returned and len(set(uses)) == 2


@database
@pytest.mark.parametrize("kind", ["openai", "google"])
async def test_a_session_on_messages_that_another_vendor_began_can_be_continued_by_claude_itself(caller, settings, kind: str):
    call = {"id": "functions.read:0", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    began = PARALLEL if kind == "google" else chat_whole({"content": None, "tool_calls": [call]})
    done = {"type": "message", "content": [{"type": "text", "text": "ok"}], "stop_reason": "end_turn"}
    question: Any = {"max_tokens": 100, "tools": [{"name": "weather", "input_schema": SCHEMA}]}
    messages: list[Any] = [{"role": "user", "content": "weather?"}]
    async with Scripted(began, done).serve(settings) as vendor, anthropic_sdk(caller) as client:
        answer = await client.messages.create(model=MODELS[kind], messages=messages, **question)
        uses = [block for block in answer.content if block.type == "tool_use"]
        messages.append({"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in answer.content]})
        results = [{"type": "tool_result", "tool_use_id": use.id, "content": "12", "cache_control": {"type": "ephemeral"}} for use in uses]
        messages.append({"role": "user", "content": results})
        await client.messages.create(model=MODELS["anthropic"], messages=messages, **question)
    sent = vendor.requests[1]["messages"]
    made, returned = [block["id"] for block in sent[1]["content"]], [block["tool_use_id"] for block in sent[2]["content"]]
    assert made == returned and all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", one) and "__sig_" not in one for one in made)
    assert all(block["cache_control"] == {"type": "ephemeral"} for block in sent[2]["content"])  # passed through


@pytest.mark.parametrize("signature", ["", "openai:rs_1:abc"])
def test_thinking_that_another_vendor_wrote_is_left_out_of_a_body_for_claude_itself(signature: str):
    foreign = {"type": "thinking", "thinking": "hm", "signature": signature}
    own = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
    hello = {"role": "user", "content": "hi"}
    turns = [[foreign, {"type": "text", "text": "a"}], [foreign], [own, foreign, {"type": "redacted_thinking", "data": "z"}]]
    messages = [one for turn in turns for one in (hello, {"role": "assistant", "content": turn})]
    native = messages_request.read({"model": "m", "max_tokens": 5, "messages": messages}).request.native
    assert native is not None
    kept = [message["content"] for message in native.body["messages"] if message["role"] == "assistant"]
    assert kept == [[{"type": "text", "text": "a"}], [own, {"type": "redacted_thinking", "data": "z"}]]


@database
async def test_an_openai_answer_with_foreign_ids_can_be_continued_by_claude(caller, settings):
    call = {"id": "functions.read:0", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    asked = chat_whole({"content": None, "tool_calls": [call]})
    done = {"type": "message", "content": [{"type": "text", "text": "ok"}], "stop_reason": "end_turn"}
    async with Scripted(asked, done).serve(settings) as vendor, openai_sdk(caller) as client:
        messages: list[Any] = [{"role": "user", "content": "hi"}]
        message = (await client.chat.completions.create(model=MODELS["openai"], messages=messages)).choices[0].message
        (made,) = message.tool_calls or []
        messages += [message.model_dump(exclude_none=True), {"role": "tool", "tool_call_id": made.id, "content": "x"}]
        await client.chat.completions.create(model=MODELS["anthropic"], messages=messages)
    use, result = vendor.requests[1]["messages"][1]["content"][0], vendor.requests[1]["messages"][2]["content"][0]
    assert re.fullmatch(r"[a-zA-Z0-9_-]+", use["id"]) and use["id"] == result["tool_use_id"]
