"""OpenAI's models that want the Responses endpoint: what they get, how their answers are read, and every wire before them."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from openai.types.responses import ResponseFunctionToolCall, ResponseReasoningItem, response_create_params
from pydantic import TypeAdapter

from accounts import keys
from agents.events import Completed, ReasoningDelta, TextDelta, ToolCall, UsageReport
from agents.messages import CompletionRequest, File, Image, Message, Reasoning, Text, ToolOutput, ToolSpec, ToolUse
from agents.providers.base import Target
from agents.providers.errors import ProviderError
from agents.providers.openai import responses
from agents.providers.openai.responses_answer import ResponseAnswer
from agents.simulator import Simulator
from agents.simulator.seals import seal
from agents.tests.vendors import KEY, ask, hear
from billing.catalogue import snapshot as catalogue
from billing.pricing import Usage
from tests.kit import wire

pytestmark = pytest.mark.django_db
MODEL = "gpt-5.6-luna"
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = ToolSpec("weather", "The weather", WEATHER)
TARGET = Target("openai", MODEL, "http://127.0.0.1", KEY, 1000, endpoint="responses", temperature=False)
PDF, CALL = File("application/pdf", "aGk=", "a.pdf"), ToolUse("call_1", "weather", '{"city":"Oslo"}')
LOOP = CompletionRequest(
    (
        Message("user", (Text("Look"), Image("image/png", "aGk="), PDF, File("text/plain", "aGk=", "b.txt"))),
        Message("assistant", (Reasoning("", "openai:rs_1:c2Vj", "openai"), Text("I ask."), CALL)),
        Message("tool", (ToolOutput("call_1", "weather", "rain"),)),
        Message("assistant", (Reasoning("", "c2ln", "anthropic"), Text("Rain."))),
        Message("user", (Text("And now?"),)),
    ),
    system="Be brief.",
    tools=(TOOL,),
    tool_choice="weather",
    parallel_tool_calls=False,
    stop=("END",),
    seed=1,
    reasoning_effort="low",
    response_format={"type": "json_schema", "name": "shape", "schema": WEATHER, "strict": True},
    extra={"user": "u", "verbosity": "low", "presence_penalty": 1.0, "prompt_cache_key": "k"},
)  # fmt: skip


def sent(request: CompletionRequest, target: Target = TARGET) -> dict[str, Any]:
    return json.loads(json.dumps(responses.body(request, target, stream=False)))


def test_the_request_is_what_openais_types_say():
    body = sent(LOOP)
    taken = TypeAdapter(response_create_params.ResponseCreateParamsNonStreaming).validate_python(deepcopy(body))
    assert set(taken) == set(body)


def test_thinking_stands_before_the_call_that_it_led_to_and_other_vendors_thinking_stays_away():
    items = sent(LOOP)["input"]
    assert [item["type"] for item in items] == [
        "message", "reasoning", "message", "function_call", "function_call_output", "message", "message",
    ]  # fmt: skip
    assert items[1] == {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "c2Vj"}
    assert [part["type"] for part in items[0]["content"]] == ["input_text", "input_image", "input_file", "input_text"]
    assert items[2] == {"type": "message", "role": "assistant", "content": "I ask."}


def test_nothing_is_stored_and_what_the_endpoint_has_no_field_for_is_not_sent():
    body = sent(LOOP)
    assert body["store"] is False and body["include"] == ["reasoning.encrypted_content"]
    assert not {"stop", "seed", "presence_penalty", "temperature", "messages"} & set(body)
    assert body["text"]["verbosity"] == "low" and body["text"]["format"]["strict"] is True and body["user"] == "u"
    assert body["tools"][0]["strict"] is False  # the endpoint's own default is true


# --- answers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("whole", [False, True])
async def test_text_calls_thinking_and_usage_are_read(whole: bool):
    async with Simulator() as sim:
        target = Target("openai", MODEL, sim.openai_url, KEY, 1000, endpoint="responses", temperature=False)
        text = await hear("openai", ask("Name three rivers", reasoning_effort="low"), target, whole=whole)
        called = await hear("openai", ask("[[call weather {}]] Oslo", tools=(TOOL,)), target, whole=whole)
        assert {request.path for request in sim.requests} == {"/v1/responses"}
    assert text.text and text.reasoning and text.signature == f"openai:rs_sim:{seal(text.reasoning)}"
    assert text.end.finish_reason == "stop" and text.end.usage.input_tokens and text.end.usage.reasoning_tokens
    assert [call.name for call in called.calls] == ["weather"] and called.end.finish_reason == "tool_calls"


@pytest.mark.parametrize("whole", [False, True])
async def test_a_limit_ends_with_length(whole: bool):
    async with Simulator() as sim:
        target = Target("openai", MODEL, sim.openai_url, KEY, 16, endpoint="responses")
        heard = await hear("openai", ask("[[sim:chunks=200]] Hello", max_output_tokens=16), target, whole=whole)
    assert heard.end.finish_reason == "length"


USAGE = {
    "input_tokens": 100, "input_tokens_details": {"cached_tokens": 40, "cache_write_tokens": 10}, "output_tokens": 30,
    "output_tokens_details": {"reasoning_tokens": 20}, "total_tokens": 130,
}  # fmt: skip
ENDED = {"status": "completed", "output": [], "usage": USAGE}


def stream(*events: dict[str, Any]) -> ResponseAnswer:
    answer = ResponseAnswer()
    answer.heard = answer.feed([json.dumps(event).encode() for event in events])
    return answer


def test_a_refusal_is_text_that_says_so_and_the_usage_is_the_vendors():
    answer = stream(
        {"type": "response.created", "response": {}},
        {"type": "response.refusal.delta", "delta": "I will not."},
        {"type": "response.of_next_week", "x": 1},
        {"type": "response.completed", "response": ENDED},
    )
    assert [event for event in answer.heard if isinstance(event, TextDelta)] == [TextDelta("I will not.", refusal=True)]
    [end] = [event for event in answer.end() if isinstance(event, Completed)]
    assert end.usage == Usage(input_tokens=100, output_tokens=30, cached_input_tokens=40, cache_write_tokens=10, reasoning_tokens=20)


FAILURES = [
    {"type": "response.failed", "response": {"status": "failed", "error": {"code": "server_error", "message": "broke"}, "usage": USAGE}},
    {"type": "error", "code": "rate_limit_exceeded", "message": "broke"},
    {"type": "error", "error": {"code": "server_error", "message": "broke"}},
]


@pytest.mark.parametrize("event", FAILURES, ids=range(3))
def test_a_failure_inside_a_stream_is_an_error_with_the_vendors_words(event: dict[str, Any]):
    answer = stream({"type": "response.output_text.delta", "delta": "a"}, event)
    assert isinstance(answer.error, ProviderError) and "broke" in answer.error.message


def test_a_stream_that_ends_early_is_cut_off():
    answer = stream({"type": "response.output_text.delta", "delta": "a"})
    with pytest.raises(ProviderError):
        answer.end()


# --- the wires before it ---------------------------------------------------------------------------


@pytest.fixture
def key(user, models) -> str:
    return keys.create(user, name="t", scopes=["chat"])[1]


BODIES = {
    "/v1/chat/completions": {
        "messages": [{"role": "user", "content": "[[call weather {}]] Oslo"}],
        "tools": [{"type": "function", "function": {"name": "weather", "parameters": WEATHER}}],
    },
    "/v1/responses": {
        "input": "[[call weather {}]] Oslo", "tools": [{"type": "function", "name": "weather", "parameters": WEATHER, "strict": False}],
    },
    "/v1/messages": {
        "messages": [{"role": "user", "content": "[[call weather {}]] Oslo"}], "max_tokens": 500,
        "tools": [{"name": "weather", "input_schema": WEATHER}],
    },
}  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", BODIES)
async def test_function_tools_of_todays_models_work_on_every_wire(key, vendor, path: str, stream: bool):
    async with vendor() as sim:
        for model in ("gpt-5.4", MODEL, "gpt-6-luna"):
            for effort in ({}, {"reasoning_effort": "low"}) if path == "/v1/chat/completions" else ({},):
                answer = await wire.ask(wire.product, "POST", path, {**BODIES[path], "model": model, "stream": stream, **effort}, {}, key)
                assert answer.status == 200, answer.body
                assert b"weather" in answer.body and b'"error"' not in answer.body.replace(b'"error":null', b"")
        assert {request.path for request in sim.requests} == {"/v1/responses"}


THINKS = {
    "include": ["reasoning.encrypted_content"], "reasoning": {"effort": "low"}, "store": False,
    "tools": BODIES["/v1/responses"]["tools"],
}  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", [MODEL, "claude-opus-5"])
async def test_thinking_comes_back_to_its_vendor_within_a_tool_loop(key, vendor, model: str, stream: bool):
    asked = {"role": "user", "content": "[[call weather {}]] Oslo"}
    async with vendor() as sim:
        answer = await wire.ask(
            wire.product, "POST", "/v1/responses", {**THINKS, "model": model, "input": [asked], "stream": stream}, {}, key
        )
        assert answer.status == 200, answer.body
        events = [json.loads(line[6:]) for line in answer.body.decode().splitlines() if line.startswith("data: {")]
        output = events[-1]["response"]["output"] if stream else answer.json["output"]
        assert [item["type"] for item in output] == ["reasoning", "function_call"], output
        for item, kind in zip(output, (ResponseReasoningItem, ResponseFunctionToolCall), strict=True):
            kind.model_validate(item)
        result = {"type": "function_call_output", "call_id": output[1]["call_id"], "output": "rain"}
        again = await wire.ask(
            wire.product, "POST", "/v1/responses", {**THINKS, "model": model, "input": [asked, *output, result]}, {}, key
        )
        assert again.status == 200, again.body
        thought, seen = "".join(part["text"] for part in output[0]["summary"]), json.dumps(sim.requests[-1].body)
    assert thought and seal(thought) in seen


@pytest.mark.parametrize("include", [5, "x", {}, [{}], None])
async def test_an_odd_include_is_no_error_of_ours(key, vendor, include: Any):
    async with vendor():
        answer = await wire.ask(wire.product, "POST", "/v1/responses", {"model": MODEL, "input": "Hello", "include": include}, {}, key)
    assert answer.status in (200, 400)


def test_the_catalogue_says_which_models_want_it(models):
    wanted = {slug for slug, card in catalogue.load().cards.items() if card.endpoint == "responses"}
    assert {"gpt-5.4", "gpt-5.6-terra", "gpt-6.2-astra"} <= wanted and not {"gpt-4o", "o3", "gpt-5-mini"} & wanted


async def test_the_simulator_refuses_what_openai_refuses_and_the_call_is_repeated_as_openai_asks():
    async with Simulator() as sim:
        await hear("openai", ask("Oslo", tools=(TOOL,)), Target("openai", MODEL, sim.openai_url, KEY, 1000))
        first, second = sim.requests
        assert first.path.endswith("/chat/completions") and second.path.endswith("/responses") and second.body["tools"]


def test_events_carry_no_type_that_these_tests_do_not_know():
    kinds = (TextDelta, ReasoningDelta, ToolCall, UsageReport, Completed)
    answer = stream({"type": "response.output_text.delta", "delta": "a"}, {"type": "response.completed", "response": ENDED})
    assert all(isinstance(event, kinds) for event in [*answer.heard, *answer.end()])
