"""Thinking is asked for, and switched off, in the form that the model's generation takes."""

from __future__ import annotations

from typing import Any

import pytest

from accounts import keys
from accounts.models import User
from agents.messages import CompletionRequest, Message, Reasoning, ToolOutput, ToolUse
from agents.simulator.seals import seal
from agents.tests.vendors import WEATHER, ask, sent
from agents.tests.wires import CHAT, MESSAGES, RESPONSES, body_of, exchange

HELLO = [{"role": "user", "content": "Hello"}]
BUDGET = (
    "claude-haiku-4-5",
    "claude-haiku-4-5-20251001",
    "claude-sonnet-4-5",
    "claude-opus-4-1-20250805",
    "claude-sonnet-4-20250514",
    "claude-3-7-sonnet",
)
ADAPTIVE = (
    "claude-opus-4-6",
    "claude-sonnet-4-6",
    "claude-opus-4-8",
    "claude-sonnet-5",
    "claude-opus-5",
    "claude-haiku-5-5",
    "claude-sonnet-5-5",
)
OFF: dict[str, Any] = {
    "claude-haiku-4-5": None, "claude-sonnet-4-6": None, "claude-opus-4-8": None, "claude-sonnet-5": {"type": "disabled"},
    "claude-opus-5": {"type": "disabled"}, "claude-haiku-5-5": {"type": "disabled"}, "claude-sonnet-5-5": {"type": "between_tools"},
}  # fmt: skip
ALWAYS = ("claude-opus-5-5", "claude-fable-5-2")
each_forced = pytest.mark.parametrize(("choice", "named"), [("required", "a tool"), ("weather", "the tool weather")])


@pytest.fixture
def key(ada: User) -> str:
    return keys.create(ada, name="t", scopes=["chat"])[1]


@pytest.mark.parametrize("model", BUDGET)
@pytest.mark.parametrize("effort", ["minimal", "low", "medium", "high", "xhigh", "max"])
async def test_claude_before_4_6_gets_a_budget_below_its_limit(model: str, effort: str):
    body = await sent("anthropic", ask("Hi", reasoning_effort=effort), model=model, max_output_tokens=20_000)
    assert body["thinking"]["type"] == "enabled" and "output_config" not in body
    assert 1024 <= body["thinking"]["budget_tokens"] < body["max_tokens"]
    little = await sent("anthropic", ask("Hi", reasoning_effort=effort), model=model, max_output_tokens=1500)
    assert "thinking" not in little


@pytest.mark.parametrize("model", ADAPTIVE)
async def test_later_claude_gets_an_effort(model: str):
    body = await sent("anthropic", ask("Hi", reasoning_effort="medium"), model=model)
    assert body["thinking"] == {"type": "adaptive"} and body["output_config"] == {"effort": "medium"}
    assert "thinking" not in await sent("anthropic", ask("Hi"), model=model)


async def test_an_effort_that_a_generation_lacks_becomes_the_next_lower_one():
    for model, effort in (("claude-sonnet-4-6", "high"), ("claude-opus-4-8", "xhigh"), ("claude-opus-5", "xhigh")):
        body = await sent("anthropic", ask("Hi", reasoning_effort="xhigh"), model=model)
        assert body["output_config"] == {"effort": effort}


@pytest.mark.parametrize(("model", "off"), OFF.items())
async def test_thinking_off_and_a_forced_tool_switch_it_off_where_the_model_thinks_by_itself(model: str, off: Any):
    body = await sent("anthropic", ask("Hi", reasoning_effort="none"), model=model)
    assert body.get("thinking") == off and "output_config" not in body
    for effort in (None, "high"):
        forced = ask("Hi", reasoning_effort=effort, tools=(WEATHER,), tool_choice="required")
        body = await sent("anthropic", forced, model=model)
        assert body.get("thinking") == off and body["tool_choice"] == {"type": "any"}


@pytest.mark.parametrize("model", ALWAYS)
async def test_a_model_that_always_thinks_gets_its_least_effort(model: str):
    body = await sent("anthropic", ask("Hi", reasoning_effort="none"), model=model)
    assert "thinking" not in body and body["output_config"] == {"effort": "low"}


@pytest.mark.parametrize("model", ALWAYS)
@each_forced
async def test_a_model_that_always_thinks_is_told_in_words_to_call(model: str, choice: str, named: str):
    body = await sent("anthropic", ask("Hi", system="Be brief.", tools=(WEATHER,), tool_choice=choice), model=model)
    assert "tool_choice" not in body and body["system"] == f"Be brief.\n\nYou must call {named}."


async def test_a_budget_is_left_out_behind_a_call_without_signed_thinking():
    def request(*before: Any) -> CompletionRequest:
        result = Message("tool", (ToolOutput("c1", "weather", "cold"),))
        first = ask("Hi", reasoning_effort="high", tools=(WEATHER,))
        call = Message("assistant", (*before, ToolUse("c1", "weather", "{}")))
        return CompletionRequest((*first.messages, call, result), tools=first.tools, reasoning_effort="high")

    options = {"model": "claude-haiku-4-5", "max_output_tokens": 20_000}
    assert "thinking" not in await sent("anthropic", request(), **options)
    assert "thinking" in await sent("anthropic", request(Reasoning("hm", seal("hm"), "anthropic")), **options)
    assert "thinking" in await sent("anthropic", request(), model="claude-sonnet-5")


@pytest.mark.parametrize(
    ("model", "config"),
    [
        ("gemini-2.5-flash", {"thinkingBudget": 0, "includeThoughts": False}),
        ("gemini-2.5-pro", {"thinkingBudget": 128, "includeThoughts": False}),
        ("gemini-3.8-flash", {"thinkingLevel": "LOW", "includeThoughts": False}),
        ("gemini-3.5-flash-lite", {"thinkingLevel": "MINIMAL", "includeThoughts": False}),
        ("gemini-3.1-pro-preview", {"thinkingLevel": "LOW", "includeThoughts": False}),
    ],
)
async def test_gemini_thinks_as_little_as_it_can_when_thinking_is_off(model: str, config: dict[str, Any]):
    body = await sent("google", ask("Hi", reasoning_effort="none"), model=model)
    assert body["generationConfig"]["thinkingConfig"] == config


@pytest.mark.parametrize(("model", "effort"), [("o3", "low"), ("o3-mini", "low"), ("gpt-5-mini", "minimal"), ("gpt-5.4", "none")])
async def test_openais_models_that_cannot_stop_get_their_least_effort(model: str, effort: str):
    assert (await sent("openai", ask("Hi", reasoning_effort="none"), model=model))["reasoning_effort"] == effort


@pytest.mark.parametrize(
    ("path", "off"),
    [(CHAT, {"reasoning_effort": "none"}), (RESPONSES, {"reasoning": {"effort": "none"}}), (MESSAGES, {"thinking": {"type": "disabled"}})],
)
async def test_each_wire_switches_thinking_off(vendor, key: str, path: str, off: dict[str, Any]):
    async with vendor() as sim:
        claude = await exchange(sim, key, path, body_of(path, "claude-sonnet-5", HELLO, **off))
        assert claude.body["thinking"] == {"type": "disabled"}
        gemini = await exchange(sim, key, path, body_of(path, "gemini-2.5-flash", HELLO, **off))
        assert gemini.body["generationConfig"]["thinkingConfig"]["thinkingBudget"] == 0


async def test_thinking_off_wins_over_an_effort_for_the_answer(vendor, key: str):
    more = {"thinking": {"type": "disabled"}, "output_config": {"effort": "high"}}
    async with vendor() as sim:
        gemini = await exchange(sim, key, MESSAGES, body_of(MESSAGES, "gemini-2.5-flash", HELLO, **more))
    assert gemini.body["generationConfig"]["thinkingConfig"]["thinkingBudget"] == 0
