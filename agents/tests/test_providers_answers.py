"""What the adapters make of good answers: real SDKs, the simulator's wires, streamed and whole."""

from __future__ import annotations

import json

import pytest

from agents.events import TextDelta
from agents.messages import CompletionRequest, Message, Reasoning, Text, ToolOutput, ToolUse
from agents.providers import provider
from agents.providers.errors import NotConfigured, ProviderTruncated
from agents.simulator import Simulator
from agents.tests.vendors import KINDS, VENDORS, WEATHER, ask, hear, target

pytestmark = pytest.mark.parametrize("whole", [False, True], ids=["stream", "whole"])


@pytest.mark.parametrize("kind", KINDS)
async def test_it_answers_with_text_usage_and_a_reason(kind: str, whole: bool):
    async with Simulator() as sim:
        heard = await hear(kind, ask("Tell me about rivers"), target(sim, kind), whole=whole)
    assert "simulated" in heard.text.lower() and "rivers" in heard.text
    assert heard.end.finish_reason == "stop"
    assert heard.end.usage is not None and heard.end.usage == heard.reports[-1].usage
    assert heard.end.usage.output_tokens == -(-len(heard.text.encode()) // 4)
    assert 0 < heard.end.usage.input_tokens < 40


@pytest.mark.parametrize("kind", KINDS)
async def test_streamed_and_whole_are_the_same_answer(kind: str, whole: bool):
    async with Simulator() as sim:
        one = await hear(kind, ask("Write some code"), target(sim, kind), whole=whole)
        other = await hear(kind, ask("Write some code"), target(sim, kind), whole=not whole)
    assert one.text == other.text and one.end == other.end


@pytest.mark.parametrize("kind", KINDS)
async def test_a_tool_is_called_and_its_result_goes_back(kind: str, whole: bool):
    question = Message("user", (Text("Use the tool: weather in Bergen"),))
    async with Simulator() as sim:
        where = target(sim, kind)
        first = await hear(kind, CompletionRequest((question,), tools=(WEATHER,)), where, whole=whole)
        (call,) = first.calls
        assert first.end.finish_reason == "tool_calls"
        assert (call.name, json.loads(call.arguments)) == ("weather", {"city": "Bergen"})
        said = Message("assistant", (ToolUse(call.call_id, call.name, call.arguments, call.signature),))
        result = Message("tool", (ToolOutput(call.call_id, call.name, "12 degrees"),))
        second = await hear(kind, CompletionRequest((question, said, result), tools=(WEATHER,)), where, whole=whole)
    assert "12 degrees" in second.text
    assert second.end.finish_reason == "stop" and not second.calls


@pytest.mark.parametrize("kind", KINDS)
async def test_several_tool_calls_arrive_whole_and_in_order(kind: str, whole: bool):
    async with Simulator() as sim:
        heard = await hear(kind, ask("[[sim:tools=3]] weather in Oslo", tools=(WEATHER,)), target(sim, kind), whole=whole)
    assert len({call.call_id for call in heard.calls}) == 3
    assert all(json.loads(call.arguments) == {"city": "Oslo"} for call in heard.calls)


@pytest.mark.parametrize(
    ("kind", "effort"), [("openai", "low"), ("openai_compatible", "high"), ("anthropic", "minimal"), ("google", "low"), ("google", "max")]
)
async def test_reasoning_comes_before_the_text_and_is_part_of_the_output(kind: str, effort: str, whole: bool):
    async with Simulator() as sim:
        heard = await hear(kind, ask("Think", reasoning_effort=effort), target(sim, kind), whole=whole)
    assert heard.reasoning.startswith("Let me see")
    kinds = [type(event) for event in heard if isinstance(event, TextDelta) or hasattr(event, "signature")]
    assert kinds.index(TextDelta) == len(kinds) - kinds.count(TextDelta)
    usage = heard.end.usage
    assert usage and usage.output_tokens == -(-len(heard.reasoning) // 4) + -(-len(heard.text.encode()) // 4)
    if kind != "anthropic":  # it does not tell the parts
        assert usage.reasoning_tokens == -(-len(heard.reasoning) // 4)


async def test_anthropic_gets_its_signed_thinking_back_unchanged(whole: bool):
    question = Message("user", (Text("[[sim:think]] Use the tool: weather in Oslo"),))
    async with Simulator() as sim:
        where = target(sim, "anthropic")
        heard = await hear("anthropic", CompletionRequest((question,), tools=(WEATHER,)), where, whole=whole)
        thought = Reasoning(heard.reasoning, heard.signature, "anthropic")
        foreign = Reasoning("not Anthropic's", "xyz", "google")
        (call,) = heard.calls
        said = Message("assistant", (foreign, thought, ToolUse(call.call_id, call.name, call.arguments)))
        result = Message("tool", (ToolOutput(call.call_id, call.name, "boom", is_error=True),))
        await hear("anthropic", CompletionRequest((question, said, result), tools=(WEATHER,)), where, whole=whole)
        sent = sim.requests[-1].body["messages"]
    assert heard.signature
    assert sent[1]["content"][0] == {"type": "thinking", "thinking": heard.reasoning, "signature": heard.signature}
    assert sent[1]["content"][1] == {"type": "tool_use", "id": call.call_id, "name": "weather", "input": {"city": "Oslo"}}
    assert sent[2]["content"] == [{"type": "tool_result", "tool_use_id": call.call_id, "content": "boom", "is_error": True}]


async def test_gemini_gets_its_thought_signature_and_call_id_back(whole: bool):
    question = Message("user", (Text("Use the tool: weather in Oslo"),))
    async with Simulator() as sim:
        where = target(sim, "google")
        (call,) = (await hear("google", CompletionRequest((question,), tools=(WEATHER,)), where, whole=whole)).calls
        assert call.signature
        own = ToolUse("aia_call_1", "weather", "{}")
        said = Message("assistant", (ToolUse(call.call_id, call.name, call.arguments, call.signature), own))
        result = Message("tool", (ToolOutput(call.call_id, call.name, "12"), ToolOutput("aia_call_1", "weather", "no", is_error=True)))
        await hear("google", CompletionRequest((question, said, result), tools=(WEATHER,)), where, whole=whole)
        contents = sim.requests[-1].body["contents"]
    assert contents[1]["parts"] == [
        {"functionCall": {"name": "weather", "args": {"city": "Oslo"}, "id": call.call_id}, "thoughtSignature": call.signature},
        {"functionCall": {"name": "weather", "args": {}}},
    ]
    assert contents[2]["parts"] == [
        {"functionResponse": {"name": "weather", "response": {"result": "12"}, "id": call.call_id}},
        {"functionResponse": {"name": "weather", "response": {"error": "no"}}},  # an id that we made is not theirs
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("directive", "options", "reason"),
    [
        ("ok", {"max_output_tokens": 5}, "length"),
        ("ok", {"stop": ("You wrote",)}, "stop"),
        ("filter", {}, "content_filter"),
        ("blank", {}, "stop"),
        ("future", {}, "stop"),
        ("comments", {}, "stop"),
        ("crlf", {}, "stop"),
    ],
)
async def test_endings_have_one_vocabulary(kind: str, whole: bool, directive: str, options: dict, reason: str):
    async with Simulator() as sim:
        heard = await hear(kind, ask(f"[[sim:{directive}]] Hello", **options), target(sim, kind), whole=whole)
    assert heard.end.finish_reason == reason
    if "max_output_tokens" in options:
        assert heard.end.usage and heard.end.usage.output_tokens == 5 and len(heard.text) == 20
    if "stop" in options:
        assert heard.text and "You wrote" not in heard.text
    assert bool(heard.text) is (directive not in ("filter", "blank"))


@pytest.mark.parametrize("kind", KINDS)
async def test_json_comes_as_json(kind: str, whole: bool):
    schema = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}
    schema |= {"required": ["city", "days"], "additionalProperties": False}
    wanted = {"type": "json_schema", "name": "trip", "schema": schema, "strict": True}
    async with Simulator() as sim:
        heard = await hear(kind, ask("A trip to Rome for 3 days", response_format=wanted), target(sim, kind), whole=whole)
        assert json.loads(heard.text) == {"city": "Rome", "days": 3}
        plain = await hear(kind, ask("Anything, as JSON", response_format={"type": "json_object"}), target(sim, kind), whole=whole)
        if kind == "anthropic":  # it has no such mode: the wish goes into the system prompt
            assert "JSON object" in sim.requests[-1].body["system"]
        else:
            assert isinstance(json.loads(plain.text), dict)


@pytest.mark.parametrize("kind", VENDORS)
async def test_a_missing_finish_reason_is_a_cut_unless_the_connection_is_known_for_it(kind: str, whole: bool):
    async with Simulator() as sim:
        with pytest.raises(ProviderTruncated):
            await hear(kind, ask("[[sim:sleepless]] hi"), target(sim, kind), whole=whole)
        if kind == "openai":
            heard = await hear(
                "openai_compatible",
                ask("[[sim:sleepless]] hi"),
                target(sim, "openai_compatible", requires_finish_reason=False),
                whole=whole,
            )
            assert heard.end.finish_reason == "stop" and heard.text
            called = await hear(
                "openai_compatible",
                ask("[[sim:sleepless,tool]] hi", tools=(WEATHER,)),
                target(sim, "openai_compatible", requires_finish_reason=False),
                whole=whole,
            )
            assert called.end.finish_reason == "tool_calls" and called.calls


async def test_an_unknown_kind_is_not_configured(whole: bool):
    with pytest.raises(NotConfigured):
        provider("nobody")
