"""A refusal that is about a model's rules: told by code and parameter, sent once more in the other form, else another model."""

from __future__ import annotations

import json
from typing import Any

import pytest

from accounts import keys
from accounts.models import User
from agents.calls import service as calls
from agents.calls import whole
from agents.messages import ToolSpec
from agents.models import ModelRule
from agents.providers import model_rules
from agents.providers.errors import ProviderBadRequest, ProviderModelRule
from agents.providers.model_rules import Refusal
from agents.tests.conftest import ask
from agents.tests.scripted import Scripted, chat_stream, chat_whole, sse
from tests.kit.wire import ask as send
from tests.kit.wire import product

JSON = dict[str, Any]
both = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])


def openai(message: str, param: str | None = None, code: str | None = None) -> tuple[int, JSON]:
    return 400, {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}


def anthropic(message: str) -> tuple[int, JSON]:
    return 400, {"type": "error", "error": {"type": "invalid_request_error", "message": message}}


def google(message: str) -> tuple[int, JSON]:
    return 400, {"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}}


ONLY_DEFAULT = "Unsupported value: 'temperature' does not support 0.2 with this model. Only the default (1) value is supported."
OLD_LIMIT = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
FUNCTIONS = (
    "Function tools with reasoning_effort are not supported for gpt-5.6-terra in /v1/chat/completions. "
    "To use function tools, use /v1/responses or set reasoning_effort to 'none'."
)
ADAPTIVE = "adaptive thinking is not supported on this model"
BUDGET = '"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive" and "output_config.effort".'
MOST = "max_tokens: 64000 > 8192, which is the maximum allowed number of output tokens for claude-x"
RANGE = "The request has a maxOutputTokens value of 70000 but the supported range is from 1 (inclusive) to 65537 (exclusive)."
TOO_LARGE = "max_tokens is too large: 100000. This model supports at most 16384 completion tokens, whereas you provided 100000."

# Vendor, code, parameter and sentence of a refusal; a body; the rule and the body that follows. None: it cannot be written so.
REFUSALS: list[tuple[str, str, str, str, JSON, str, JSON | None]] = [
    ("openai", "unsupported_value", "temperature", ONLY_DEFAULT, {"temperature": 0.2, "x": 1}, "parameter", {"x": 1}),
    ("openai", "unsupported_value", "temperature", "Other words.", {"temperature": 0.2, "x": 1}, "parameter", {"x": 1}),
    ("openai", "unsupported_parameter", "reasoning.effort", "", {"reasoning": {"effort": "low"}}, "parameter", {}),
    ("openai", "unsupported_parameter", "text.verbosity", "", {"text": {"verbosity": "low", "format": 1}}, "parameter",
     {"text": {"format": 1}}),
    ("openai", "unsupported_parameter", "max_tokens", OLD_LIMIT, {"max_tokens": 9}, "parameter", {"max_completion_tokens": 9}),
    ("openai_compatible", "unsupported_parameter", "max_completion_tokens", "", {"max_completion_tokens": 9}, "parameter",
     {"max_tokens": 9}),
    ("openai", "unsupported_value", "response_format", "", {"response_format": {"type": "json_schema"}}, "parameter", None),
    ("openai", "unsupported_value", "messages[0].role", "", {"messages": []}, "parameter", None),
    ("openai", "", "max_tokens", TOO_LARGE, {"max_tokens": 100000}, "output_limit", {"max_tokens": 16384}),
    ("openai", "", "", FUNCTIONS, {}, "answers_at_responses", None),
    ("anthropic", "", "", ADAPTIVE, {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}, "max_tokens": 9000},
     "adaptive_thinking", {"thinking": {"type": "enabled", "budget_tokens": 4500}, "max_tokens": 9000}),
    ("anthropic", "", "", ADAPTIVE, {"thinking": {"type": "adaptive"}, "max_tokens": 900}, "adaptive_thinking", {"max_tokens": 900}),
    ("anthropic", "", "", BUDGET, {"thinking": {"type": "enabled", "budget_tokens": 1024}}, "thinking_budget",
     {"thinking": {"type": "adaptive"}}),
    ("anthropic", "", "", "thinking.type.disabled is not supported for this model.", {"thinking": {"type": "disabled"}},
     "thinking_off", {}),
    ("anthropic", "", "", "This model does not support the effort parameter.", {"output_config": {"effort": "low", "format": 1}}, "effort",
     {"output_config": {"format": 1}}),
    ("anthropic", "", "", "Thinking may not be enabled when tool_choice forces tool use.", {"thinking": {}, "a": 1},
     "forced_tool_and_thinking", {"a": 1}),
    ("anthropic", "", "", MOST, {"max_tokens": 64000}, "output_limit", {"max_tokens": 8192}),
    ("anthropic", "", "", "`temperature` is deprecated for this model.", {"temperature": 1, "top_k": 2, "a": 1}, "sampling", {"a": 1}),
    ("anthropic", "", "", "This model does not support assistant message prefill.", {"messages": []}, "prefill", None),
    ("google", "INVALID_ARGUMENT", "", "Budget 0 is invalid. This model only works in thinking mode.",
     {"generationConfig": {"thinkingConfig": {"thinkingBudget": 0}, "topP": 1}}, "thinking", {"generationConfig": {"topP": 1}}),
    ("google", "", "", "Penalty is not enabled for models/gemini-x", {"generationConfig": {"presencePenalty": 1}}, "penalty", {}),
    ("google", "", "", "Developer instruction is not enabled for models/gemma-3",
     {"systemInstruction": {"parts": [{"text": "a"}]}, "contents": [{"role": "user", "parts": [{"text": "b"}]}]}, "system_instruction",
     {"contents": [{"role": "user", "parts": [{"text": "a"}, {"text": "b"}]}]}),
    ("google", "", "", RANGE, {"generationConfig": {"maxOutputTokens": 70000}}, "output_limit",
     {"generationConfig": {"maxOutputTokens": 65536}}),
    ("google", "", "", "Function calling is not enabled for models/gemma-3", {"tools": []}, "capability", None),
]  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS, ids=[f"{number}-{case[5]}" for number, case in enumerate(REFUSALS)])
def test_a_rule_is_told_and_its_form_written(case):
    vendor, code, param, sentence, body, name, expected = case
    rule = model_rules.find(vendor, code, param, sentence)
    assert rule is not None and rule.name == name and rule.source
    before = json.dumps(body)
    fixed = rule.fix(body, Refusal(code, param, sentence)) if rule.fix is not None else None
    assert fixed == expected and json.dumps(body) == before


def test_every_rule_of_the_table_has_a_recorded_refusal():
    told = {id(model_rules.find(*case[:4])) for case in REFUSALS}
    assert [rule.name for rule in model_rules.RULES if id(rule) not in told] == []


@pytest.mark.parametrize(
    ("vendor", "code", "sentence"),
    [
        ("openai", "invalid_value", "Invalid value: 'x'."),
        ("openai", "content_policy_violation", "Your request was rejected: temperature is not supported."),
        ("anthropic", "", "messages.0.content: thinking about adaptive things"),
        ("google", "INVALID_ARGUMENT", "Request contains an invalid argument."),
        ("anthropic", "unsupported_value", "odd"),
    ],
)
def test_a_refusal_about_the_content_is_no_rule(vendor: str, code: str, sentence: str):
    assert model_rules.find(vendor, code, "", sentence) is None


RESPONSE: JSON = {
    "id": "r", "status": "completed", "usage": {"input_tokens": 3, "output_tokens": 2},
    "output": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi", "annotations": []}]}],
}  # fmt: skip
MESSAGE: JSON = {
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": "Hi"}],
    "stop_reason": "end_turn",
}
MESSAGE |= {"usage": {"input_tokens": 3, "output_tokens": 2}}
GEMINI: JSON = {"candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}]}
GEMINI |= {"usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2}}
MESSAGE_STREAM = sse(
    {"type": "message_start", "message": {**MESSAGE, "content": [], "stop_reason": None}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "Hi"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
    {"type": "message_stop"},
)
RESPONSE_STREAM = sse({"type": "response.output_text.delta", "delta": "Hi"}, {"type": "response.completed", "response": RESPONSE})
USAGE = {"prompt_tokens": 3, "completion_tokens": 2}
TOOL = ToolSpec("one")
# The refusal, the request, the answer whole and streamed, and what the second request must have and not have.
REPEATED = [
    ("gpt-4o-mini", openai(ONLY_DEFAULT, "temperature", "unsupported_value"), {"temperature": 0.2},
     (chat_whole({"content": "Hi"}, usage=USAGE), chat_stream({"content": "Hi"}, usage=USAGE)), "messages", "temperature", "parameter"),
    ("gpt-4o-mini", openai(FUNCTIONS), {"tools": (TOOL,)}, (RESPONSE, RESPONSE_STREAM), "input", "messages", "answers_at_responses"),
    ("claude-haiku-4-5", anthropic(BUDGET), {"reasoning_effort": "high", "max_output_tokens": 9000}, (MESSAGE, MESSAGE_STREAM), "thinking",
     "budget_tokens", "thinking_budget"),
    ("gemini-2.5-flash", google("Thinking level is not supported for this model."), {"reasoning_effort": "high"}, (GEMINI, sse(GEMINI)),
     "contents", "thinkingConfig", "thinking"),
]  # fmt: skip


@pytest.fixture
def key(ada: User) -> str:
    return keys.create(ada, name="t", scopes=["chat"])[1]


async def answered(request: Any, context: Any, streamed: bool) -> list[Any]:
    if streamed:
        return [event async for event in calls.stream(request, context)]
    return [(await whole.complete(request, context)).settled]


@both
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("case", REPEATED, ids=[case[6] for case in REPEATED])
async def test_the_request_is_sent_once_more_in_the_form_of_the_rule_and_staff_see_it(context, settings, case, streamed: bool):
    model, refusal, options, answers, has, has_not, rule = case
    async with Scripted(refusal, answers[streamed]).serve(settings) as vendor:
        events = await answered(ask("Hi", **options), context(model), streamed)
    first, second = (json.dumps(body) for body in vendor.requests)
    assert f'"{has_not}"' in first and f'"{has_not}"' not in second and f'"{has}"' in second
    assert (events[-1].model, events[-1].usage.input_tokens, events[-1].usage.output_tokens) == (model, 3, 2)
    row = await ModelRule.objects.aget()
    assert (row.model, row.rule, row.refusals, row.repeated) == (model, rule, 1, 1) and row.message


@both
@pytest.mark.django_db(transaction=True)
async def test_a_second_refusal_is_final_for_a_named_model(context, settings, streamed: bool):
    refusal = openai(ONLY_DEFAULT, "temperature", "unsupported_value")
    async with Scripted(refusal).serve(settings) as vendor:
        with pytest.raises(ProviderModelRule) as raised:
            await answered(ask("Hi", temperature=0.2), context("gpt-4o-mini"), streamed)
    assert len(vendor.requests) == 2
    assert (raised.value.status, raised.value.code, raised.value.details["rule"]) == (400, "provider_model_rule", "parameter")
    row = await ModelRule.objects.aget()
    assert (row.refusals, row.repeated) == (1, 0) or (row.refusals, row.repeated) == (2, 1)


@both
@pytest.mark.django_db(transaction=True)
async def test_auto_goes_on_to_the_next_candidate(context, settings, streamed: bool):
    refusal = openai("Unsupported value", "response_format", "unsupported_value")
    request = ask("Hi", response_format={"type": "json_object"})
    answer = chat_stream({"content": "Hi"}, usage=USAGE) if streamed else chat_whole({"content": "Hi"}, usage=USAGE)
    async with Scripted(refusal, answer).serve(settings) as vendor:
        events = await answered(request, context("gpt-4o-mini", fallbacks=("gpt-4o",)), streamed)
    assert events[-1].model == "gpt-4o" and len(vendor.requests) == 2
    assert [one["code"] for one in events[-1].route["tried"]] == ["provider_model_rule"]
    assert (await ModelRule.objects.aget()).model == "gpt-4o-mini"


@pytest.mark.django_db(transaction=True)
async def test_a_refusal_about_the_content_goes_to_no_other_model(context, settings):
    async with Scripted(openai("Invalid value: 'x'.", "messages", "invalid_value")).serve(settings) as vendor:
        with pytest.raises(ProviderBadRequest) as raised:
            await whole.complete(ask("Hi"), context("gpt-4o-mini", fallbacks=("gpt-4o",)))
    assert raised.value.code == "provider_bad_request" and len(vendor.requests) == 1
    assert not await ModelRule.objects.aexists()


@pytest.mark.django_db(transaction=True)
async def test_a_clients_own_body_is_not_changed(key: str, settings):
    body = {
        "model": "claude-haiku-4-5",
        "max_tokens": 2000,
        "messages": [{"role": "user", "content": "Hi"}],
        "thinking": {"type": "adaptive"},
    }
    async with Scripted(anthropic(ADAPTIVE)).serve(settings) as vendor:
        answer = await send(product, "POST", "/v1/messages", body, {}, key)
    assert answer.status == 400 and ADAPTIVE in answer.error["message"]
    assert len(vendor.requests) == 1
