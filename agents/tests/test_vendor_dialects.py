"""Answers in the dialects of servers with OpenAI's API: parallel calls, arguments as objects, content as blocks."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agents.events import ReasoningDelta, TextDelta, ToolCall
from agents.providers.anthropic.answer import MessageAnswer
from agents.providers.errors import ProviderBadResponse
from agents.providers.openai.answer import ChatAnswer
from agents.tests.scripted import Scripted, chat_stream, chat_whole, compatible_server, openai_sdk
from aiagents.core.db.calls import in_db
from billing.pricing import Usage

JSON = dict[str, Any]


def call(call_id: str | None = None, index: int | None = None, arguments: Any = "", name: str | None = "weather") -> JSON:
    found = {"id": call_id, "index": index, "function": {"name": name, "arguments": arguments}}
    return {key: value for key, value in found.items() if value is not None}


def streamed(*deltas: JSON, finish: str = "tool_calls") -> list[tuple[str, str, Any]]:
    answer = ChatAnswer(True)
    events = []
    for delta in deltas:
        events += answer.feed([json.dumps({"choices": [{"delta": delta}]}).encode()])
    events += answer.feed([json.dumps({"choices": [{"delta": {}, "finish_reason": finish}]}).encode(), b"[DONE]"])
    assert answer.error is None
    assert answer.end()[-1].finish_reason == "tool_calls"
    return [(one.call_id, one.name, json.loads(one.arguments)) for one in events]


PARIS, ROME = '{"c":"Paris"}', '{"c":"Rome"}'
BOTH = [("a", "weather", {"c": "Paris"}), ("b", "weather", {"c": "Rome"})]


@pytest.mark.parametrize("index", [0, None, 3])
def test_two_calls_with_the_same_index_or_none_are_two_calls(index: int | None):
    one, two = call("a", index, PARIS), call("b", index, ROME)
    assert streamed({"tool_calls": [one]}, {"tool_calls": [two]}) == BOTH
    assert streamed({"tool_calls": [one, two]}) == BOTH


@pytest.mark.parametrize("index", [0, None])
def test_fragments_of_two_calls_with_one_index_go_where_their_id_says(index: int | None):
    begun = [call("a", index, '{"c":'), call("b", index, '{"c":')]
    more = [call("a", index, '"Paris"}', None), call("b", index, '"Rome"}', None)]
    assert streamed({"tool_calls": begun}, {"tool_calls": more}) == BOTH
    assert streamed(*({"tool_calls": [one]} for one in (begun[0], more[0], begun[1], more[1]))) == BOTH
    later = [call(None, index, '"Paris"}', None), call(None, index, '"Rome"}', None)]
    assert streamed(*({"tool_calls": [one]} for one in (begun[0], later[0], begun[1], later[1]))) == BOTH


@pytest.mark.parametrize("index", [0, None])
def test_calls_without_ids_are_told_apart_when_the_last_one_is_whole(index: int | None):
    found = streamed({"tool_calls": [call(None, index, PARIS)]}, {"tool_calls": [call(None, index, ROME)]})
    assert [one[1:] for one in found] == [one[1:] for one in BOTH] and len({one[0] for one in found}) == 2


@pytest.mark.parametrize("call_id", ["a", None])
@pytest.mark.parametrize("index", [0, None])
def test_a_name_repeated_in_each_fragment_is_one_call(call_id: str | None, index: int | None):
    pieces = ['{"c":', ' "Paris', '"}', ""]
    found = streamed(*({"tool_calls": [call(call_id, index, piece)]} for piece in pieces))
    assert [one[1:] for one in found] == [BOTH[0][1:]]


def test_a_new_id_for_each_fragment_without_a_name_is_one_call():
    found = streamed({"tool_calls": [call("a", 0, '{"c":')]}, {"tool_calls": [call("b", 0, '"Paris"}', None)]})
    assert found == BOTH[:1]


@pytest.mark.parametrize("index", [0, None])
def test_two_calls_with_one_id_are_two_calls_with_ids_of_their_own(index: int | None):
    one, two = call("a", index, PARIS), call("a", index, ROME)
    whole = ChatAnswer(True).feed_whole(json.dumps(chat_whole({"content": None, "tool_calls": [one, two]}, "tool_calls")).encode())
    for found in (
        streamed({"tool_calls": [one]}, {"tool_calls": [two]}),
        [(c.call_id, c.name, json.loads(c.arguments)) for c in whole[:-1]],
    ):
        assert [one[1:] for one in found] == [one[1:] for one in BOTH] and len({one[0] for one in found}) == 2


@pytest.mark.parametrize("call_id", ["a", None])
def test_a_call_that_is_sent_once_more_is_one_call(call_id: str | None):
    found = streamed({"tool_calls": [call(call_id, 0, PARIS)]}, {"tool_calls": [call(call_id, 0, PARIS)]})
    assert [one[1:] for one in found] == [BOTH[0][1:]]


def test_a_whole_answer_may_call_a_tool_twice_with_the_same_arguments():
    body = chat_whole({"content": None, "tool_calls": [call(None, None, PARIS), call(None, None, PARIS)]}, "tool_calls")
    assert len(ChatAnswer(True).feed_whole(json.dumps(body).encode())) == 3


def test_interleaved_calls_keep_their_indexes():
    one, two = [call("a", 0, '{"c":'), call("b", 1, '{"c":')], [call(None, 0, '"Paris"}', None), call(None, 1, '"Rome"}', None)]
    assert streamed({"tool_calls": one}, {"tool_calls": two}) == BOTH


@pytest.mark.parametrize("arguments", [{"c": "Paris"}, {}])
def test_arguments_that_are_an_object_are_passed_on_as_text(arguments: JSON):
    assert streamed({"tool_calls": [call("a", 0, arguments)]}) == [("a", "weather", arguments)]
    answer = ChatAnswer(True)
    events = answer.feed_whole(json.dumps(chat_whole({"content": None, "tool_calls": [call("a", None, arguments)]}, "tool_calls")).encode())
    assert json.loads(events[0].arguments) == arguments


def test_anthropics_tool_call_without_the_end_of_its_block_is_a_call():
    answer = MessageAnswer()
    events = answer.feed(
        [
            b'{"type":"message_start","message":{"usage":{"input_tokens":3,"output_tokens":1}}}',
            b'{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"a","name":"weather","input":{}}}',
            b'{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\\"c\\":1}"}}',
            b'{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":1}}',
            b'{"type":"message_stop"}',
        ]
    )
    assert [(one.name, one.arguments) for one in events if isinstance(one, ToolCall)] == [("weather", '{"c":1}')]
    assert answer.end()[-1].usage == Usage(3, 0, 0, 1, 0)


BLOCKS = [
    {"type": "thinking", "thinking": [{"type": "text", "text": "Let me "}, {"type": "text", "text": "see."}]},
    {"type": "text", "text": "Hello"},
    {"type": "reference", "reference_ids": [1]},
    {"type": "text", "text": " there"},
]


def test_content_that_is_a_list_of_blocks_is_text_and_reasoning():
    whole = ChatAnswer(True).feed_whole(json.dumps(chat_whole({"content": BLOCKS})).encode())
    assert whole[:-1] == [ReasoningDelta("Let me see."), TextDelta("Hello there")]
    answer = ChatAnswer(True)
    events = [one for block in BLOCKS for one in answer.feed([json.dumps({"choices": [{"delta": {"content": [block]}}]}).encode()])]
    assert answer.error is None
    assert events == [ReasoningDelta("Let me see."), TextDelta("Hello"), TextDelta(" there")]


STRANGE = [7, True, {"type": "text"}, {"a": 1}, [7], [None], [{"type": "text"}], [{"type": "text", "text": 7}], [{"type": "thinking"}]]
FIELDS = ["content", "reasoning_content", "reasoning", "refusal", "tool_calls"]


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", STRANGE, ids=repr)
def test_what_cannot_be_read_is_a_bad_response_of_the_vendor(field: str, value: Any):
    answer = ChatAnswer(False)
    for event in ({"delta": {field: value}}, {"delta": {}, "finish_reason": "stop"}):
        if answer.error is None:
            answer.feed([json.dumps({"choices": [event]}).encode()])
    assert type(answer.error) is ProviderBadResponse
    with pytest.raises(ProviderBadResponse):
        ChatAnswer(False).feed_whole(json.dumps(chat_whole({field: value})).encode())


@pytest.mark.parametrize("delta", [{"tool_calls": [{"index": "x", "function": {"name": "f"}}, {"index": 1, "function": {"name": "g"}}]}])
def test_what_is_seen_to_be_unreadable_only_at_the_end_is_a_bad_response_too(delta: JSON):
    answer = ChatAnswer(False)
    answer.feed([json.dumps({"choices": [{"delta": delta}]}).encode()])
    with pytest.raises(ProviderBadResponse):
        answer.end()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("stream", [False, True])
async def test_the_client_gets_mistrals_blocks_as_text_and_reasoning(caller, settings, stream: bool):
    body = chat_stream(*({"content": [block]} for block in BLOCKS)) if stream else chat_whole({"content": BLOCKS})
    async with Scripted(body).serve(settings), openai_sdk(caller) as client:
        await in_db(lambda: compatible_server(f"{settings.SIMULATOR_URL}/v1"))
        asked: Any = {"model": "own", "messages": [{"role": "user", "content": "hi"}]}
        if stream:
            chunks = [chunk async for chunk in await client.chat.completions.create(stream=True, **asked)]
            text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
            thought = "".join(getattr(chunk.choices[0].delta, "reasoning_content", "") for chunk in chunks)
        else:
            message = (await client.chat.completions.create(**asked)).choices[0].message
            text, thought = message.content or "", message.reasoning_content  # type: ignore[attr-defined]  # not in OpenAI's types
    assert (text, thought) == ("Hello there", "Let me see.")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("stream", [False, True])
async def test_the_client_gets_an_honest_error_for_content_that_cannot_be_read(caller, settings, stream: bool):
    import openai

    body = chat_stream({"content": [{"type": "text"}]}) if stream else chat_whole({"content": [{"type": "text"}]})
    async with Scripted(body).serve(settings), openai_sdk(caller) as client:
        with pytest.raises(openai.APIStatusError) as refused:
            await client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}], stream=stream)
    assert refused.value.status_code in (502, 503) and "provider_bad_response" in json.dumps(refused.value.body)
