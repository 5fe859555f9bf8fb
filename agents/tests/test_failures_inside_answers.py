"""A failure that a vendor tells inside an answer with status 200 is an error to the client, with the vendor's code and words."""

from __future__ import annotations

import json
import typing
from typing import Any

import anthropic
import openai
import pytest
from anthropic.types import StopReason
from google.genai import types as genai_types
from openai.types.chat.chat_completion import Choice

from agents.calls import whole
from agents.events import Completed, TextDelta, UsageReport
from agents.providers import errors
from agents.providers.anthropic.answer import FINISH as ANTHROPIC
from agents.providers.anthropic.answer import MessageAnswer
from agents.providers.google.answer import FINISH as GOOGLE
from agents.providers.google.answer import GeminiAnswer
from agents.providers.google.answer import read_embeddings as google_embeddings
from agents.providers.openai.answer import FINISH as OPENAI
from agents.providers.openai.answer import ChatAnswer
from agents.providers.openai.answer import read_embeddings as openai_embeddings
from agents.tests.conftest import ask
from agents.tests.scripted import MODELS, Scripted, anthropic_sdk, chat_whole, openai_sdk, sse
from billing.models import UsageLog

JSON = dict[str, Any]
WORDS = "the upstream model crashed"
ERROR = {"code": 502, "message": WORDS}
USAGE = {"prompt_tokens": 3, "completion_tokens": 2}


def openai_events(finish: str, text: str = "Hello", **more: Any) -> list[JSON]:
    return [{"choices": [{"delta": {"content": text}}]}, {"choices": [{"delta": {}, "finish_reason": finish}], **more}]


def anthropic_events(finish: str, text: str = "Hello", usage: JSON | None = None) -> list[JSON]:
    counted = {} if usage is None else {"usage": {"output_tokens": 2}}
    return [
        {"type": "message_start", "message": {"usage": {"input_tokens": 3}}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}},
        {"type": "message_delta", "delta": {"stop_reason": finish}, **counted},
        {"type": "message_stop"},
    ]


def google_events(finish: str, text: str = "Hello", usage: JSON | None = None, **more: Any) -> list[JSON]:
    counted = {} if usage is None else {"usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2}}
    candidate = {"content": {"parts": [{"text": text}] if text else []}, "finishReason": finish, **more}
    return [{"candidates": [candidate], **counted}]


def fed(answer: Any, events: list[JSON], *, done: bool = False) -> Any:
    found = answer.feed([*(json.dumps(event).encode() for event in events), *([b"[DONE]"] if done else [])])
    return [*found, *(answer.end() if answer.error is None else [])]


# --- errors beside choices, and finish reasons that are failures ------------------------------------


def body_of(error: Any, place: str, finish: str | None, *, streamed: bool) -> JSON:
    message = {"delta" if streamed else "message": {"content": "Hel"}}
    choice: JSON = {**message, "finish_reason": finish}
    if place == "choice":
        return {"choices": [{**choice, "error": error}]}
    return {"choices": [] if place == "empty" else [choice], "error": error}


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("place", ["top", "choice", "empty"])
@pytest.mark.parametrize("finish", ["error", "stop", None])
def test_an_error_beside_choices_has_the_vendors_code_and_words(streamed: bool, place: str, finish: str | None):
    body = json.dumps(body_of(ERROR, place, finish, streamed=streamed)).encode()
    answer = ChatAnswer(True)
    if streamed:
        assert answer.feed([body]) == ([] if place == "empty" else [TextDelta("Hel")])
        error = answer.error
    else:
        with pytest.raises(errors.ProviderError) as caught:
            answer.feed_whole(body)
        error = caught.value
    assert type(error) is errors.ProviderUnavailable and WORDS in error.message
    assert error.details["vendor_status"] == 502 and error.details["vendor_type"] == "502"


FAILURES = [
    *((ChatAnswer, openai_events, name) for name, found in OPENAI.items() if found == "error"),
    *((ChatAnswer, openai_events, name.upper()) for name in ("error", "abort")),
    *((GeminiAnswer, google_events, name) for name, found in GOOGLE.items() if found == "error"),
]


def parser(make: Any) -> Any:
    return make(True) if make is ChatAnswer else make()


@pytest.mark.parametrize(("make", "events", "finish"), FAILURES)
def test_a_finish_reason_that_is_a_failure_is_an_error(make: Any, events: Any, finish: str):
    answer = parser(make)
    fed(answer, events(finish, usage=USAGE), done=make is ChatAnswer)
    assert type(answer.error) is errors.ProviderBadResponse and answer.error.retryable
    assert finish.lower() in answer.error.message.lower() and answer.error.details["vendor_type"].lower() == finish.lower()


def test_geminis_own_words_about_a_malformed_call_are_in_the_error():
    answer = GeminiAnswer()
    fed(answer, google_events("MALFORMED_FUNCTION_CALL", "", finishMessage="Malformed function call: weather(city=)"))
    assert answer.error is not None and "weather(city=)" in answer.error.message


@pytest.mark.parametrize(
    ("make", "event"),
    [
        (lambda: ChatAnswer(True), {"choices": [], "error": {"code": "server_error", "message": WORDS}}),
        (lambda: ChatAnswer(True), {"object": "error", "message": WORDS, "code": 500}),
        (MessageAnswer, {"type": "error", "error": {"type": "api_error", "message": WORDS}}),
        (MessageAnswer, {"error": {"type": "api_error", "message": WORDS}}),
        (MessageAnswer, {"type": "message", "error": {"message": WORDS}, "content": []}),
        (GeminiAnswer, {"error": {"code": 500, "message": WORDS, "status": "INTERNAL"}}),
        (GeminiAnswer, {"error": WORDS}),
        (GeminiAnswer, {"candidates": [], "error": {"code": 503, "message": WORDS}}),
    ],
)
def test_an_error_object_at_any_vendor_is_an_error_with_its_words(make: Any, event: JSON):
    answer = make()
    answer.feed([json.dumps(event).encode()])
    with pytest.raises(errors.ProviderError) as caught:
        make().feed_whole(json.dumps(event).encode())
    for error in (answer.error, caught.value):
        assert error is not None and WORDS in error.message and error.code in ("provider_unavailable", "provider_overloaded")


@pytest.mark.parametrize(
    ("code", "expected"), [(429, "provider_rate_limited"), ("429", "provider_rate_limited"), ("503", "provider_overloaded")]
)
def test_a_status_in_the_code_decides_the_kind_of_the_error(code: Any, expected: str):
    answer = ChatAnswer(True)
    answer.feed([json.dumps({"choices": [], "error": {"code": code, "message": WORDS}}).encode()])
    assert answer.error is not None and answer.error.code == expected


@pytest.mark.parametrize("read", [openai_embeddings, google_embeddings])
def test_an_error_in_place_of_vectors_is_an_error_with_its_words_and_not_charged(read: Any):
    with pytest.raises(errors.ProviderRateLimited, match=WORDS) as caught:
        read(json.dumps({"error": {"code": 429, "message": WORDS}}).encode())
    assert not caught.value.answered


@pytest.mark.parametrize("status", [401, 402, 403])
def test_words_about_our_key_or_account_are_not_shown(status: int):
    answer = ChatAnswer(True)
    answer.feed([json.dumps({"choices": [], "error": {"code": status, "message": "account 4711"}}).encode()])
    assert answer.error is not None and "4711" not in answer.error.message


# --- the tables -----------------------------------------------------------------------------------


def literals(annotation: Any) -> set[str]:
    return {one for part in (annotation, *typing.get_args(annotation)) for one in typing.get_args(part) if isinstance(one, str)}


def test_the_tables_name_every_finish_reason_of_the_installed_sdks():
    assert literals(Choice.model_fields["finish_reason"].annotation) <= OPENAI.keys()
    assert set(typing.get_args(StopReason)) == ANTHROPIC.keys()
    assert {reason.value for reason in genai_types.FinishReason} - {"FINISH_REASON_UNSPECIFIED"} == GOOGLE.keys()


UNKNOWN = [(ChatAnswer, openai_events), (MessageAnswer, anthropic_events), (GeminiAnswer, google_events)]


@pytest.mark.parametrize(("make", "events"), UNKNOWN)
def test_an_unknown_reason_ends_only_an_answer_that_is_complete_otherwise(make: Any, events: Any):
    complete = fed(parser(make), events("a_new_reason", usage=USAGE), done=True)
    assert isinstance(complete[-1], Completed) and complete[-1].finish_reason == "stop" and complete[-1].usage
    incomplete = {"without usage": (events("a_new_reason"), True), "without text": (events("a_new_reason", "", usage=USAGE), True)}
    if make is ChatAnswer:
        incomplete["without the closing mark"] = (events("a_new_reason", usage=USAGE), False)
    if make is MessageAnswer:
        incomplete["without the closing mark"] = (events("a_new_reason", usage=USAGE)[:-1], False)
    for case, (body, done) in incomplete.items():
        with pytest.raises(errors.ProviderError):
            fed(parser(make), body, done=done)
            pytest.fail(case)


def test_an_unknown_reason_after_a_call_that_is_not_whole_is_an_error():
    torn = {"choices": [{"delta": {"tool_calls": [{"id": "a", "function": {"name": "f", "arguments": '{"a":'}}]}}]}
    answer = ChatAnswer(True)
    fed(answer, [torn, *openai_events("a_new_reason", usage=USAGE)], done=True)
    assert type(answer.error) is errors.ProviderBadResponse


@pytest.mark.parametrize("finish", ["", None])
def test_an_empty_reason_with_the_closing_mark_is_a_normal_end(finish: str | None):
    events = openai_events("stop", usage=USAGE) if finish is None else openai_events("", usage=USAGE)
    events[0]["choices"][0]["finish_reason"] = finish
    assert fed(ChatAnswer(True), events, done=True)[-1].finish_reason == "stop"


# --- to the client, through our APIs ----------------------------------------------------------------

database = pytest.mark.django_db(transaction=True)
ANSWERS = {
    "openai": (
        sse(*openai_events("error", error=ERROR), "[DONE]"),
        chat_whole({"content": "Hello"}, "error", error=ERROR, usage=USAGE),
    ),
    "google": (
        sse(*google_events("UNEXPECTED_TOOL_CALL", usage=USAGE)),
        google_events("UNEXPECTED_TOOL_CALL", usage=USAGE)[0],
    ),
}


@database
@pytest.mark.parametrize("kind", ANSWERS)
@pytest.mark.parametrize("stream", [True, False])
async def test_no_client_takes_a_failure_for_an_answer(caller, settings, kind: str, stream: bool):
    streamed, whole_body = ANSWERS[kind]
    question: Any = {"model": MODELS[kind], "messages": [{"role": "user", "content": "hi"}]}
    async with Scripted(streamed if stream else whole_body).serve(settings), openai_sdk(caller) as one, anthropic_sdk(caller) as other:
        with pytest.raises(openai.APIError):
            await read(await one.chat.completions.create(**question, stream=stream))
        with pytest.raises(anthropic.APIError):
            await read(await other.messages.create(**question, max_tokens=50, stream=stream))
        try:
            events = await read(await one.responses.create(model=MODELS[kind], input="hi", stream=stream))
        except openai.APIError:
            return
        assert events[-1].type == "response.failed"  # this SDK yields the failure as an event


async def read(answer: Any) -> list[Any]:
    return [event async for event in answer] if hasattr(answer, "__aiter__") else []


@database
async def test_what_a_failed_whole_answer_reports_as_used_is_charged_and_no_other_model_is_asked(context, settings):
    async with Scripted(chat_whole({"content": "Hello"}, "error", error=ERROR, usage=USAGE)).serve(settings) as vendor:
        with pytest.raises(errors.ProviderUnavailable):
            await whole.complete(ask("hi"), context())
    row = await UsageLog.objects.aget()
    assert len(vendor.requests) == 1
    assert (row.status, row.input_tokens, row.output_tokens) == ("failed", 3, 2)


def test_the_usage_beside_an_error_in_a_stream_is_kept():
    answer = ChatAnswer(True)
    found = answer.feed([json.dumps(openai_events("error", usage=USAGE)[1]).encode()])
    assert [type(one) for one in found] == [UsageReport] and answer.error is not None
