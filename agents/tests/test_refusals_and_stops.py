"""A model's refusal, and the stop sequence that ended an answer, in the own words of each compatible API."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel

from agents.calls.whole import Completion
from agents.compatible.anthropic_messages import answer as messages_answer
from agents.compatible.openai_chat.answer import REFUSED
from agents.events import Completed, TextDelta
from agents.providers.anthropic.answer import MessageAnswer
from agents.providers.openai.answer import ChatAnswer
from agents.tests.scripted import MODELS, Scripted, anthropic_sdk, chat_stream, chat_whole, openai_sdk, settled, sse, started

JSON = dict[str, Any]
database = pytest.mark.django_db(transaction=True)
streamed_or_whole = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
NO = "I cannot help with that."


def message(text: str, reason: str, sequence: str | None = None, explanation: str | None = None) -> JSON:
    details = None if explanation is None else {"type": "refusal", "category": "cyber", "explanation": explanation}
    return {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude",
        "content": [{"type": "text", "text": text}] if text else [],
        "stop_reason": reason, "stop_sequence": sequence, "stop_details": details, "usage": {"input_tokens": 3, "output_tokens": 2},
    }  # fmt: skip


def message_stream(whole: JSON) -> bytes:
    blocks = []
    for index, block in enumerate(whole["content"]):
        blocks += [
            {"type": "content_block_start", "index": index, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": block["text"]}},
            {"type": "content_block_stop", "index": index},
        ]
    delta = {name: whole[name] for name in ("stop_reason", "stop_sequence", "stop_details")}
    return sse(
        {"type": "message_start", "message": {**whole, "content": [], "stop_reason": None}},
        *blocks,
        {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
    )


def vendor(kind: str, stream: bool, *, text: str = NO, explanation: str | None = None) -> Scripted:
    """A vendor whose model refuses."""
    if kind == "openai":
        pieces = {"refusal": text[:5]}, {"refusal": text[5:]}
        return Scripted(chat_stream(*pieces) if stream else chat_whole({"content": None, "refusal": text}))
    refusal = message(text, "refusal", explanation=explanation)
    return Scripted(message_stream(refusal) if stream else refusal)


class Trip(BaseModel):
    city: str


# --- refusals -------------------------------------------------------------------------------------


@database
@streamed_or_whole
async def test_openais_refusal_fills_the_refusal_and_the_sdks_parse_does_not_raise(caller, settings, stream: bool):
    question: Any = {"model": MODELS["openai"], "messages": [{"role": "user", "content": "hi"}]}
    async with vendor("openai", stream).serve(settings), openai_sdk(caller) as client:
        if stream:
            async with client.chat.completions.stream(**question, response_format=Trip) as events:
                choice = (await events.get_final_completion()).choices[0]
        else:
            choice = (await client.chat.completions.parse(**question, response_format=Trip)).choices[0]
    assert (choice.message.refusal, choice.finish_reason) == (NO, "stop") and not choice.message.content and choice.message.parsed is None


@database
@streamed_or_whole
@pytest.mark.parametrize("kind", ["openai", "anthropic"])
async def test_a_refusal_on_responses_is_a_part_of_a_completed_response(caller, settings, stream: bool, kind: str):
    async with vendor(kind, stream, text=NO if kind == "openai" else "", explanation=NO).serve(settings), openai_sdk(caller) as client:
        if stream:
            async with client.responses.stream(model=MODELS[kind], input="hi") as events:
                names = [event.type async for event in events]
                answer = await events.get_final_response()
            assert "response.refusal.delta" in names and "response.refusal.done" in names and names[-1] == "response.completed"
        else:
            answer = await client.responses.parse(model=MODELS[kind], input="hi", text_format=Trip)
            assert answer.output_parsed is None
    (item,) = answer.output
    assert [(part.type, part.refusal) for part in item.content] == [("refusal", NO)]  # type: ignore[union-attr]  # it is a message
    assert answer.status == "completed" and answer.incomplete_details is None


@database
@streamed_or_whole
@pytest.mark.parametrize("kind", ["openai", "anthropic"])
async def test_a_refusal_on_messages_has_that_stop_reason(caller, settings, stream: bool, kind: str):
    question: Any = {"model": MODELS[kind], "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]}
    async with vendor(kind, stream).serve(settings), anthropic_sdk(caller) as client:
        if stream:
            async with client.messages.stream(**question) as events:
                answer = await events.get_final_message()
        else:
            answer = await client.messages.create(**question)
    assert answer.stop_reason == "refusal" and answer.stop_sequence is None
    assert [block.text for block in answer.content] == [NO]  # type: ignore[union-attr]  # it is a text block


@database
@streamed_or_whole
@pytest.mark.parametrize(("explanation", "words"), [("Against the policy.", "Against the policy."), (None, REFUSED)])
async def test_anthropics_refusal_without_text_has_its_explanation_or_our_words_on_chat(caller, settings, stream, explanation, words):
    question: Any = {"model": MODELS["anthropic"], "messages": [{"role": "user", "content": "hi"}]}
    async with vendor("anthropic", stream, text="", explanation=explanation).serve(settings), openai_sdk(caller) as client:
        if stream:
            async with client.chat.completions.stream(**question) as events:
                choice = (await events.get_final_completion()).choices[0]
        else:
            choice = (await client.chat.completions.parse(**question, response_format=Trip)).choices[0]
    assert (choice.message.refusal, choice.finish_reason) == (words, "stop") and not choice.message.content


@database
async def test_anthropics_refusal_in_its_own_text_is_the_refusal_on_chat(caller, settings):
    async with vendor("anthropic", False).serve(settings), openai_sdk(caller) as client:
        answer = await client.chat.completions.create(model=MODELS["anthropic"], messages=[{"role": "user", "content": "hi"}])
    assert (answer.choices[0].message.content, answer.choices[0].message.refusal) == (None, NO)


@database
@streamed_or_whole
async def test_a_content_filter_is_no_refusal(caller, settings, stream: bool):
    chunk = {"candidates": [{"finishReason": "SAFETY"}], "usageMetadata": {"promptTokenCount": 3}}
    async with Scripted(sse(chunk) if stream else chunk).serve(settings), openai_sdk(caller) as client:
        answer = await client.responses.create(model=MODELS["google"], input="hi", stream=stream)
        if stream:
            answer = [event async for event in answer][-1].response
    assert answer.status == "incomplete" and answer.incomplete_details.reason == "content_filter"


@database
@streamed_or_whole
async def test_a_refusal_that_the_output_limit_cut_off_is_cut_off(caller, settings, stream: bool):
    body: Any = (
        chat_stream({"refusal": "I can"}, finish="length") if stream else chat_whole({"content": None, "refusal": "I can"}, "length")
    )
    async with Scripted(body).serve(settings), openai_sdk(caller) as client:
        answer: Any = await client.responses.create(model=MODELS["openai"], input="hi", stream=stream)
        if stream:
            answer = [event async for event in answer][-1].response
    assert answer.status == "incomplete" and answer.incomplete_details.reason == "max_output_tokens"


@database
@pytest.mark.parametrize("kind", ["openai", "anthropic", "google"])
async def test_a_refusal_that_a_client_sends_back_is_part_of_the_next_turn(caller, settings, kind: str):
    ended = {
        "openai": chat_whole({"content": "ok"}), "anthropic": message("ok", "end_turn"),
        "google": {"candidates": [{"content": {"parts": [{"text": "ok"}]}, "finishReason": "STOP"}]},
    }[kind]  # fmt: skip
    refusal = chat_whole({"content": None, "refusal": NO})
    async with Scripted(refusal, ended).serve(settings) as scripted, openai_sdk(caller) as client:
        messages: list[Any] = [{"role": "user", "content": "hi"}]
        answer = await client.chat.completions.create(model=MODELS["openai"], messages=messages)
        messages += [answer.choices[0].message.model_dump(), {"role": "user", "content": "why?"}]
        await client.chat.completions.create(model=MODELS[kind], messages=messages)
    assert NO in json.dumps(scripted.requests[1])


# --- stop sequences -------------------------------------------------------------------------------


@database
@streamed_or_whole
async def test_messages_names_the_stop_sequence_that_was_hit(caller, settings, stream: bool):
    found = message("One, two", "stop_sequence", "three")
    question: Any = {"max_tokens": 50, "messages": [{"role": "user", "content": "hi"}], "stop_sequences": ["three"]}
    async with Scripted(message_stream(found) if stream else found).serve(settings), anthropic_sdk(caller) as client:
        if stream:
            async with client.messages.stream(model=MODELS["anthropic"], **question) as events:
                answer = await events.get_final_message()
        else:
            answer = await client.messages.create(model=MODELS["anthropic"], **question)
    assert (answer.stop_reason, answer.stop_sequence) == ("stop_sequence", "three")


@database
@streamed_or_whole
@pytest.mark.parametrize("field", ["stop_reason", "matched_stop"])
@pytest.mark.parametrize(("value", "named"), [("three", True), ("four", False), (151643, False), (None, False)])
async def test_a_server_that_names_the_stop_sequence_is_believed_if_the_caller_sent_it(caller, settings, stream, field, value, named):
    choice = {"index": 0, "finish_reason": "stop", field: value}
    streamed, body = {"choices": [{**choice, "delta": {"content": "One"}}]}, {"choices": [{**choice, "message": {"content": "One"}}]}
    question: Any = {"max_tokens": 50, "messages": [{"role": "user", "content": "hi"}], "stop_sequences": ["three"]}
    async with Scripted(sse(streamed, "[DONE]") if stream else body).serve(settings), anthropic_sdk(caller) as client:
        if stream:
            async with client.messages.stream(model=MODELS["openai"], **question) as events:
                answer = await events.get_final_message()
        else:
            answer = await client.messages.create(model=MODELS["openai"], **question)
    assert (answer.stop_reason, answer.stop_sequence) == (("stop_sequence", "three") if named else ("end_turn", None))


@streamed_or_whole
def test_the_neutral_form_carries_the_sequence_and_the_refusal(stream: bool):
    def read(body: JSON) -> list[Any]:
        answer = MessageAnswer()
        if not stream:
            return answer.feed_whole(json.dumps(body).encode())
        return [*answer.feed([line[6:] for line in message_stream(body).split(b"\n") if line.startswith(b"data: ")]), *answer.end()]

    assert read(message("One", "stop_sequence", "two"))[-1].stop_sequence == "two"
    assert read(message("One", "end_turn"))[-1].stop_sequence == ""
    refused = read(message("", "refusal", explanation=NO))
    assert refused[0] == TextDelta(NO, refusal=True) and refused[-1].finish_reason == "content_filter"


@streamed_or_whole
def test_messages_writes_the_sequence_of_a_neutral_answer(stream: bool):
    ended = settled(finish_reason="stop", stop_sequence="two")
    if stream:
        out = messages_answer.Events(started(), 3).finish(ended)
        assert b'"stop_reason":"stop_sequence","stop_sequence":"two"' in out
    else:
        body = json.loads(messages_answer.whole(Completion((TextDelta("One"),), ended)))
        assert (body["stop_reason"], body["stop_sequence"]) == ("stop_sequence", "two")


def test_a_refusal_of_openai_ends_the_call_as_filtered():
    events = ChatAnswer(True).feed_whole(json.dumps(chat_whole({"content": None, "refusal": NO})).encode())
    assert events == [TextDelta(NO, refusal=True), Completed("content_filter", None)]
