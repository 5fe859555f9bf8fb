"""Every request model: what it refuses, what that costs, and that the OpenAPI document agrees. A new model is found by itself."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Iterator
from functools import cache
from typing import Any, get_args

import jsonschema
import pytest
from pydantic import ValidationError
from pydantic_core.core_schema import ErrorType

from agents.api.run_request import RunRequest
from aiagents import endpoints
from aiagents.core import validation
from aiagents.core.drf import request_models
from aiagents.core.drf.schema import EVERYWHERE, REFUSALS
from aiagents.core.errors import InvalidRequest
from aiagents.core.validation import MOST_ERRORS, RequestModel, names, parse
from chat import content_parts, turn_request
from chat.api import frames
from tasks.api.fields import TaskSchedule
from tests.kit.hostile import corpus
from tests.kit.hostile.answers import openapi_document
from tests.kit.hostile.shapes import SHAPES
from tests.kit.valid_bodies import FRAMES, PNG, RANDOM_ID, TURN

Model = type[RequestModel]
MODELS: list[Model] = sorted(
    {model for model in request_models.every() if "tests" not in model.__module__.split(".")}, key=lambda model: model.__name__
)
SETTINGS = {name: TURN[name] for name in ("model", "goal", "system_prompt", "temperature", "max_output_tokens")} | {"agent_id": RANDOM_ID}
OPTIONS = {**SETTINGS, "max_cost_usd": "0.5", "fallbacks": ["gpt-4o-mini"]}
_FRAMES = FRAMES[endpoints.CHAT_SOCKET]
SAMPLES: dict[Model, dict[str, Any]] = {
    content_parts.TextPart: {"type": "text", "text": "Hello"},
    content_parts.ImageUrlPart: {"type": "image", "url": "https://example.com/a.png"},
    content_parts.ImageDataPart: {"type": "image", "media_type": "image/png", "data": PNG},
    content_parts.FilePart: {"type": "file", "media_type": "text/plain", "name": "a.txt", "data": "aGk="},
    turn_request.ConversationSettings: SETTINGS,
    turn_request.StoredOptions: OPTIONS,
    turn_request.TurnOptions: {**OPTIONS, "metadata": {"a": [1]}},
    turn_request.RegenerateRequest: {**OPTIONS, "metadata": {"a": [1]}, "continue": True},
    turn_request.EditRequest: {**TURN, "agent_id": RANDOM_ID},
    turn_request.SendRequest: {**TURN, "agent_id": RANDOM_ID, "conversation_id": RANDOM_ID, "parent_id": RANDOM_ID},
    frames.AuthFrame: _FRAMES["auth"],
    frames.Frame: {"ref": "r"},
    frames.SendFrame: {**_FRAMES["send"], "agent_id": RANDOM_ID},
    frames.CancelFrame: _FRAMES["cancel"],
    frames.ResumeFrame: _FRAMES["resume"],
    frames.PingFrame: _FRAMES["ping"],
    TaskSchedule: {"type": "interval", "every_seconds": 3600, "at": None, "cron": "", "time_zone": "UTC"},
    RunRequest: {"input": "Hello", "stream": False, "max_cost_usd": "0.5"},
}
# Seconds of processor time for any wrong value of 8 MiB, its errors included: twice what the slowest takes on an idle machine.
# Errors without a limit took 4 to 14.
MOST_SECONDS = 0.6
# Inside a value that is refused: no error may repeat it.
MARK = "hostile-marker"


def refusal(model: Model, value: Any) -> InvalidRequest | None:
    try:
        parse(model, value)
    except InvalidRequest as refused:
        return refused
    return None


def check(what: str, refused: InvalidRequest) -> None:
    """The error's shape, and that its sentences are ours."""
    shown = f"{what}: {refused.message} {refused.details}"
    assert (refused.status, refused.type, refused.code) == (400, "invalid_request", "invalid_request"), shown
    assert refused.param == next(iter(refused.details)) and refused.message.startswith(f"{refused.param}"), shown
    assert 0 < sum(len(sentences) for sentences in refused.details.values()) <= MOST_ERRORS, shown
    text = json.dumps(refused.body("r"))
    assert len(text) < 8000 and not corpus.LEAKS.search(text.encode()), shown
    assert "Not valid." not in text and MARK not in text and "Input should" not in text, shown


def bodies(model: Model) -> Iterator[tuple[str, Any]]:
    """The sample with each of its nodes replaced, and every hostile value in each field."""
    yield from corpus.nested(SAMPLES[model])
    for field in names(model):
        for what, raw in corpus.VALUES.items():
            yield f"{field}: {what}", {**SAMPLES[model], field: json.loads(raw)}


def test_every_model_has_a_sample_with_all_its_fields():
    assert set(MODELS) == set(SAMPLES), "a request model without a sample"
    for model, sample in SAMPLES.items():
        assert set(sample) == names(model), model.__name__
        assert refusal(model, sample) is None, model.__name__


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_refusal_is_in_our_own_sentences(model: Model):
    for what, body in bodies(model):
        if (refused := refusal(model, body)) is not None:
            check(f"{model.__name__} with {what}", refused)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_errors_never_repeat_a_value(model: Model):
    for field in names(model):
        for value in (MARK * 300, {MARK: MARK}, [MARK * 300], [[MARK]], {"type": MARK}, {"type": "text", "text": [MARK]}):
            if (refused := refusal(model, {**SAMPLES[model], field: value})) is not None:
                check(f"{model.__name__}.{field}", refused)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_unknown_fields_are_refused_by_name_and_at_most_twenty_of_them(model: Model):
    refused = refusal(model, {**SAMPLES[model], "unknown": 1})
    assert refused is not None and refused.param == "unknown" and refused.details == {"unknown": ["Unknown field."]}
    refused = refusal(model, {**SAMPLES[model], **{f"unknown {number}": 1 for number in range(1000)}})
    assert refused is not None and len(refused.details) == MOST_ERRORS
    long = refusal(model, {**SAMPLES[model], "x" * 100_000: 1})
    assert long is not None and long.param == "x" * 100


def large() -> Iterator[tuple[str, Any]]:
    """Values of about 8 MiB as JSON."""
    for what, one in {
        "numbers": 0, "nulls": None, "texts": "", "lists": [], "objects": {}, "unknown parts": {"type": MARK},
        "wrong parts": {"type": "text"}, "long texts": "x" * 1000, "fractions": 0.5, "models": "gpt-4o",
    }.items():  # fmt: skip
        yield f"list of {what}", [one] * (8 * 1024 * 1024 // (len(json.dumps(one)) + 1))
    yield "text", "x" * 8 * 1024 * 1024
    yield "blank text", " " * 8 * 1024 * 1024
    yield "text of two bytes", "é" * 4 * 1024 * 1024
    yield "object", {f"{number:07d}": 0 for number in range(700_000)}
    yield "number", 10**4000
    for kind in ("text", "image", "file"):
        yield f"{kind} part with unknown fields", [{"type": kind, **{f"{number:07d}": 0 for number in range(200_000)}}]
        yield f"list of {kind} parts with unknown fields", [{"type": kind, **{f"{n}": 0 for n in range(15)}}] * 60_000


@cache
def large_values() -> dict[str, Any]:
    return dict(large())


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_a_large_wrong_value_costs_little_in_every_field(model: Model):
    for field in names(model):
        for what, value in large_values().items():
            body = {**SAMPLES[model], field: value}
            refused, took = _timed(model, body)
            assert took < MOST_SECONDS, f"{model.__name__}.{field} with {what} took {took:.2f} s"
            if refused is not None:
                check(f"{model.__name__}.{field} with {what}", refused)
    refused, took = _timed(model, large_values()["object"])
    assert took < MOST_SECONDS and refused is not None and len(refused.details) <= MOST_ERRORS


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_pydantic_never_makes_more_errors_than_there_are_fields(model: Model):
    """Errors are made before they are counted: a list that goes on after its first wrong item makes one of each."""
    for field in names(model):
        for what, value in large_values().items():
            body = {**SAMPLES[model], field: value}
            try:
                model.model_validate(body)
            except ValidationError as refused:
                assert refused.error_count() <= MOST_ERRORS, f"{model.__name__}.{field} with {what}: {refused.error_count()} errors"


def _timed(model: Model, body: Any) -> tuple[InvalidRequest | None, float]:
    """The refusal, and the processor time that it took; of a slow one the least of three tries."""
    best = float("inf")
    for _ in range(3):
        began = time.process_time()
        refused = refusal(model, body)
        best = min(best, time.process_time() - began)
        if best < 0.01:
            break
    return refused, best


@pytest.mark.parametrize("name", SHAPES)
def test_every_hostile_shape_is_refused_by_every_model(name: str):
    try:
        body = json.loads(SHAPES[name](512 * 1024))
    except (ValueError, RecursionError):
        return  # the parser refuses it
    for model in MODELS:
        refused, took = _timed(model, body)
        assert took < MOST_SECONDS and refused is not None, model.__name__
        check(f"{model.__name__} with {name}", refused)


# --- the OpenAPI document -----------------------------------------------------------------------


def documented() -> dict[str, dict[str, Any]]:
    return openapi_document()["components"]["schemas"]


def bases(model: Model) -> set[Model]:
    return {base for base in model.__mro__ if base in MODELS and base is not model}


def test_the_document_has_every_model_that_is_read_and_its_fields():
    """A model that is only a base of others needs no place of its own."""
    inherited = set().union(*(bases(model) for model in MODELS)) - {
        turn_request.EditRequest, turn_request.ConversationSettings, turn_request.SendRequest,
    }  # fmt: skip
    for model in set(MODELS) - inherited:
        schema = documented()[model.__name__]
        assert set(schema["properties"]) == names(model), model.__name__
        required = {field.alias or name for name, field in model.model_fields.items() if field.is_required()}
        assert set(schema.get("required", [])) == required and schema["additionalProperties"] is False, model.__name__


def test_every_operation_refers_to_its_model():
    refer = {}
    for endpoint in endpoints.HTTP:
        if endpoint.template.startswith("/api/v1/") and (body := endpoint.operation.get("requestBody")):
            refer[endpoint.template] = body["content"]["application/json"]["schema"].get("$ref", "").rpartition("/")[2]
    chat = "/api/v1/chat/"
    assert refer == {
        f"{chat}send": "SendRequest", f"{chat}stream": "SendRequest", f"{chat}route": "SendRequest",
        f"{chat}messages/{{id}}/regenerate": "RegenerateRequest", f"{chat}messages/{{id}}/edit": "EditRequest",
        "/api/v1/agents/{id}/run": "RunRequest",
    }  # fmt: skip


# Why a value that fits the schema may be refused beyond that, for models that no operation with `x-refusals` reads.
BEYOND = {
    "ImageUrlPart": {"url"}, "ImageDataPart": {"body"}, "FilePart": {"body"}, "AuthFrame": set(), "Frame": set(),
    "ConversationSettings": set(),
}  # fmt: skip


def reasons(model: Model) -> set[str]:
    found = {*EVERYWHERE, *BEYOND.get(model.__name__, ())}
    for methods in openapi_document()["paths"].values():
        for operation in methods.values():
            schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
            names_it = schema.get("$ref", "").rpartition("/")[2]
            if names_it == model.__name__ or (names_it == "SendRequest" and model is frames.SendFrame):
                found |= set(operation.get(REFUSALS, {}))
    return found


@pytest.mark.parametrize("model", [model for model in MODELS if model.__name__ in documented()], ids=lambda model: model.__name__)
def test_the_schema_and_the_model_accept_the_same(model: Model):
    schema = {**request_models.reference(model), "components": copy.deepcopy(openapi_document()["components"])}
    validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker(["uuid"]))
    beyond = reasons(model)
    for what, body in bodies(model):
        if "100,000 in a list" in what or _beyond_numbers(body):  # jsonschema needs seconds for the list
            continue
        refused, fits = refusal(model, body), validator.is_valid(body)
        if fits and refused is not None:
            assert refused.param in beyond, f"{model.__name__} refuses {what}, which fits the document: {refused.message}"
        assert fits or refused is not None or _written_otherwise(body), f"{model.__name__} accepts {what}, which the document excludes"


def _beyond_numbers(body: Any) -> bool:
    """jsonschema cannot compare integers of hundreds of digits with fractions."""
    return any(isinstance(value, int) and abs(value) > 1e300 for value in (body.values() if isinstance(body, dict) else ()))


def _written_otherwise(body: Any) -> bool:
    """A UUID or an amount in a form that is accepted but not documented."""
    return isinstance(body, dict) and "e" in str(body.get("max_cost_usd", ""))


def test_two_models_of_one_name_are_refused():
    one = type("Twice", (RequestModel,), {"__module__": "tests.one", "__annotations__": {"a": int}})
    two = type("Twice", (RequestModel,), {"__module__": "tests.two", "__annotations__": {"b": str}})
    with pytest.raises(ValueError, match="Twice"):
        request_models.components([one, two])


def test_the_table_of_sentences_has_no_type_that_pydantic_does_not_make():
    assert set(validation.SENTENCES) <= set(get_args(ErrorType))
