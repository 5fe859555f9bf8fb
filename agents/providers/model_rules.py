"""What a model does not take: refusals of vendors that are about the model's rules, and the form that each rule asks for.

A code and a parameter tell a rule where the vendor sends them. The patterns are for vendors that send only a sentence:
this table is the one place where sentences of vendors are read for that. A request is sent once more in the changed form.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Body = Mapping[str, Any]

# Parameters without which a request has the same meaning: they are also left out for models that are known not to take them.
_OPTIONAL = frozenset({
    "temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty", "logit_bias", "stop", "seed", "verbosity", "text.verbosity",
    "reasoning_effort", "reasoning", "reasoning.effort", "reasoning.summary", "parallel_tool_calls", "prompt_cache_key",
    "prompt_cache_retention", "safety_identifier", "user",
})  # fmt: skip
_LIMITS = ("max_completion_tokens", "max_tokens", "max_output_tokens")
# Tokens of thinking for a model that takes a budget, at most half of the output limit; the API's least is 1,024.
_BUDGET, _LEAST_BUDGET = 8192, 1024


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a vendor answered: its code, the parameter that it names, and its sentence."""

    code: str
    param: str
    sentence: str


Fix = Callable[[Body, Refusal], Body | None]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `codes` or `pattern` tells it. `fix` returns the body in the form that the rule asks for, None if it cannot.

    `endpoint`: the model answers at that endpoint of the vendor only. `source`: where the refusal was read.
    """

    name: str
    vendors: tuple[str, ...]
    source: str
    codes: frozenset[str] = frozenset()
    pattern: re.Pattern[str] | None = None
    fix: Fix | None = None
    endpoint: str = ""


def find(vendor: str, code: str, param: str, sentence: str) -> Rule | None:
    """Return the rule that a refused request broke; None if the refusal is about something else."""
    for rule in RULES:
        if vendor in rule.vendors and (code in rule.codes or (rule.pattern is not None and rule.pattern.search(sentence))):
            return rule
    return None


def _without(*paths: str) -> Fix:
    def fix(body: Body, refusal: Refusal) -> Body | None:
        out = body
        for path in paths:
            out = _removed(out, path.split("."))
        return out if out != body else None

    return fix


def _removed(body: Body, path: list[str]) -> Body:
    """Return the body without a value, and without an object that held nothing else."""
    name, *rest = path
    if name not in body:
        return body
    if not rest:
        return {key: value for key, value in body.items() if key != name}
    inner = body[name]
    if not isinstance(inner, Mapping):
        return body
    left = _removed(dict(inner), rest)
    return {**body, name: left} if left else {key: value for key, value in body.items() if key != name}


def _parameter(body: Body, refusal: Refusal) -> Body | None:
    """Leave the named parameter out if the request means the same without it; write an output limit under its newer name."""
    if refusal.param == "max_tokens" and "max_tokens" in body:
        return {**_removed(body, ["max_tokens"]), "max_completion_tokens": body["max_tokens"]}
    if refusal.param == "max_completion_tokens" and refusal.param in body:
        return {**_removed(body, [refusal.param]), "max_tokens": body[refusal.param]}
    return _without(refusal.param)(body, refusal) if refusal.param in _OPTIONAL else None


def _limit(body: Body, refusal: Refusal) -> Body | None:
    """Lower the output limit to the one that the sentence names."""
    numbers = [int(found) for found in re.findall(r"\d+", refusal.sentence[:500])]
    for name in _LIMITS:
        smaller = [number for number in numbers if 0 < number < body.get(name, 0)] if isinstance(body.get(name), int) else []
        if smaller:
            return {**body, name: max(smaller)}
    return None


def _gemini_limit(body: Body, refusal: Refusal) -> Body | None:
    """Lower the output limit into the range that the sentence names; its end is exclusive."""
    config = body.get("generationConfig") or {}
    numbers = [int(found) for found in re.findall(r"\d+", refusal.sentence[:500])]
    smaller = [number for number in numbers if 1 < number < (config.get("maxOutputTokens") or 0)]
    return {**body, "generationConfig": {**config, "maxOutputTokens": max(smaller) - 1}} if smaller else None


def _budget(body: Body, refusal: Refusal) -> Body | None:
    """Write adaptive thinking as a budget."""
    limit = body.get("max_tokens")
    budget = min(_BUDGET, limit // 2) if isinstance(limit, int) else 0
    without = _removed(body, ["output_config", "effort"])
    if budget < _LEAST_BUDGET:
        return _removed(without, ["thinking"])
    return {**without, "thinking": {"type": "enabled", "budget_tokens": budget}}


def _adaptive(body: Body, refusal: Refusal) -> Body | None:
    return {**body, "thinking": {"type": "adaptive"}}


def _system_in_front(body: Body, refusal: Refusal) -> Body | None:
    """Write Gemini's system instruction as the beginning of the first message."""
    parts = (body.get("systemInstruction") or {}).get("parts")
    contents = body.get("contents")
    if not parts or not contents:
        return None
    first = {**contents[0], "parts": [*parts, *contents[0].get("parts", [])]}
    return {**_removed(body, ["systemInstruction"]), "contents": [first, *contents[1:]]}


_CHAT, _CLAUDE, _GEMINI = ("openai", "openai_compatible"), ("anthropic",), ("google",)


RULES: tuple[Rule, ...] = (
    Rule(
        "answers_at_responses", ("openai",), "BerriAI/litellm#34569, openai/openai-openapi#541",
        pattern=re.compile(r"not supported .{0,200}in /v1/chat/completions|only supported in v1/responses", re.I), endpoint="responses",
    ),
    Rule(
        "output_limit", _CHAT, "community.openai.com, max_tokens is too large",
        pattern=re.compile(r"max_(?:completion_|output_)?tokens is too large|supports at most \d+ completion tokens", re.I), fix=_limit,
    ),
    Rule(
        "parameter", _CHAT, "QwenLM/qwen-code#921, BeehiveInnovations/pal-mcp-server#78",
        codes=frozenset({"unsupported_parameter", "unsupported_value"}), fix=_parameter,
    ),
    Rule(
        "adaptive_thinking", _CLAUDE, "docker/docker-agent#3362",
        pattern=re.compile(r"adaptive thinking is not supported", re.I), fix=_budget,
    ),
    Rule(
        "thinking_budget", _CLAUDE, "Sylinko/Everywhere#410, handochan/aelix-ai#258",
        pattern=re.compile(r"thinking\.type\.enabled\W{0,3} is not supported", re.I), fix=_adaptive,
    ),
    Rule(
        "thinking_off", _CLAUDE, "platform.claude.com, thinking troubleshooting",
        pattern=re.compile(r"thinking\.type\.(?:disabled|between_tools)\W{0,3} is not supported", re.I), fix=_without("thinking"),
    ),
    Rule(
        "effort", _CLAUDE, "platform.claude.com, effort", pattern=re.compile(r"does not support the effort parameter", re.I),
        fix=_without("output_config.effort"),
    ),
    Rule(
        "forced_tool_and_thinking", _CLAUDE, "platform.claude.com, extended thinking with tool use",
        pattern=re.compile(r"thinking may not be enabled when tool_choice forces", re.I), fix=_without("thinking", "output_config.effort"),
    ),
    Rule(
        "output_limit", _CLAUDE, "platform.claude.com, errors",
        pattern=re.compile(r"max_tokens: \d+ > \d+, which is the maximum allowed number of output tokens", re.I), fix=_limit,
    ),
    Rule(
        "sampling", _CLAUDE, "platform.claude.com, migration to Opus 4.7",
        pattern=re.compile(r"(?:temperature|top_p|top_k)\W{1,3}(?:is deprecated|is not supported|and \W?top_p\W? cannot both)", re.I),
        fix=_without("temperature", "top_p", "top_k"),
    ),
    Rule("prefill", _CLAUDE, "vercel/ai#12296", pattern=re.compile(r"does not support assistant message prefill", re.I)),
    Rule(
        "thinking", _GEMINI, "vercel/ai#8027, earendil-works/pi#3460, RooCodeInc/Roo-Code#4399",
        pattern=re.compile(
            r"only works in thinking mode|thinking budget .{0,40}is invalid|thinking can't be disabled"
            r"|thinking[ _](?:level|budget)\W? is not supported|does not support setting thinking_budget",
            re.I,
        ),
        fix=_without("generationConfig.thinkingConfig"),
    ),
    Rule(
        "penalty", _GEMINI, "google-gemini/cookbook, errors of generateContent", pattern=re.compile(r"penalty is not enabled for", re.I),
        fix=_without("generationConfig.presencePenalty", "generationConfig.frequencyPenalty"),
    ),
    Rule(
        "system_instruction", _GEMINI, "google-gemini/deprecated-generative-ai-python#328",
        pattern=re.compile(r"(?:developer|system) instruction is not (?:enabled|supported)", re.I), fix=_system_in_front,
    ),
    Rule(
        "output_limit", _GEMINI, "Google, error of maxOutputTokens",
        pattern=re.compile(r"max_?output_?tokens.{0,200}supported range is from", re.I), fix=_gemini_limit,
    ),
    Rule(
        "capability", _GEMINI, "Google, errors of generateContent",
        pattern=re.compile(r"(?:json mode|function calling|(?:image|audio|video) input(?: modality)?) is not (?:enabled|supported)", re.I),
    ),
)  # fmt: skip
