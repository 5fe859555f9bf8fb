"""The usage of OpenAI's answers in the dialects of compatible servers, as ours: totals that include their parts."""

from __future__ import annotations

from typing import Any

from agents.providers.answer import counted, part_of, whole_number
from billing.pricing import Usage


def usage_of(usage: Any) -> Usage | None:
    """Return the usage, or None if neither input nor output was reported.

    OpenAI's totals include their parts, and so do most dialects. Where `total_tokens` is more than input and output, the
    parts that add up to it stand beside them: reasoning (xAI), cached input, or both. A rest that no part explains counts as
    reasoning (Gemini's thoughts), so the vendor's own total is what is charged.
    """
    if not isinstance(usage, dict):
        return None
    read, written = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    prompt, output = whole_number(usage.get("prompt_tokens")), whole_number(usage.get("completion_tokens"))
    cached = _first((read, "cached_tokens"), (usage, "cached_tokens"), (usage, "prompt_cache_hit_tokens"))  # Moonshot, DeepSeek
    stored = _first((read, "cache_write_tokens"), (read, "cache_creation_input_tokens"))
    split = usage.get("cache_creation") or (read.get("cache_creation_token_details") if isinstance(read, dict) else None)
    long = part_of(split, "ephemeral_1h_input_tokens")  # gateways in front of Claude
    reasoning = _first((written, "reasoning_tokens"), (usage, "reasoning_tokens"))
    if None not in (prompt, output, cached, stored, reasoning):
        total = whole_number(usage.get("total_tokens"))
        prompt, output, reasoning = _with_parts_beside(prompt, output, cached, reasoning, total)  # type: ignore[arg-type]  # none is None
    return counted(
        prompt, output, cached_input_tokens=cached, cache_write_tokens=stored, cache_write_1h_tokens=long, reasoning_tokens=reasoning
    )


def _with_parts_beside(prompt: int, output: int, cached: int, reasoning: int, total: int | None) -> tuple[int, int, int]:
    """Return input, output and reasoning tokens, with the parts that the vendor counts beside its totals added to them."""
    rest = 0 if total is None else total - prompt - output
    if rest > 0:
        if rest == cached != reasoning:
            return prompt + cached, output, reasoning
        if reasoning and cached and rest == cached + reasoning:
            return prompt + cached, output + reasoning, reasoning
        return prompt, output + rest, reasoning if reasoning >= rest else reasoning + rest
    if reasoning > output:  # a part is never larger than its whole
        return prompt, output + reasoning, reasoning
    return prompt, output, reasoning


def _first(*places: tuple[Any, str]) -> int | None:
    """Return the first of these counts that is not 0; None if one of them cannot be read, 0 if all are absent."""
    for counts, name in places:
        if (found := part_of(counts, name)) != 0:
            return found
    return 0
