"""What vendors report beside the counts of text tokens: media, calls of their tools, and the way of processing.

Every count above 0 that stands in no table here is kept under its name in the vendor's usage. It has no price, so it is
charged at the ceiling and flagged (billing/pricing.py, `applied`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from math import ceil, inf
from typing import Any

from agents.providers.answer import whole_number
from billing.pricing import Pairs, Usage

_MOST_NAMES, _MOST_DEPTH = 20, 4
_ODD = re.compile(r"[^A-Za-z0-9_.-]")
# Values that stand for the standard price.
_STANDARD = frozenset({"", "standard", "default", "global", "not_available"})

# Counts of Anthropic's usage that are tokens of the totals, or free (web fetches). Source: the SDK's BetaUsage.
_ANTHROPIC = frozenset({
    "input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens_details", "iterations",
    "cache_creation.ephemeral_5m_input_tokens", "cache_creation.ephemeral_1h_input_tokens", "server_tool_use.web_fetch_requests",
})  # fmt: skip
# Counts of OpenAI's usage that are tokens of the totals. Sources: the SDK's CompletionUsage and ResponseUsage.
_OPENAI = frozenset({
    "input_tokens", "output_tokens", "prompt_tokens", "completion_tokens", "total_tokens",
    *(
        f"{side}_tokens_details.{name}_tokens"
        for side in ("input", "output", "prompt", "completion")
        for name in ("cached", "cache_write", "reasoning", "text", "audio", "image", "accepted_prediction", "rejected_prediction")
    ),
    "input_tokens_details.cache_write_tokens_details", "prompt_tokens_details.cache_write_tokens_details",
})  # fmt: skip
# Counts of Gemini's usage that are tokens of the totals. Source: the SDK's GenerateContentResponseUsageMetadata.
_GOOGLE = frozenset({
    "promptTokenCount", "candidatesTokenCount", "totalTokenCount", "thoughtsTokenCount", "cachedContentTokenCount",
    "toolUsePromptTokenCount",
})  # fmt: skip
# What compatible servers report beside OpenAI's counts and what costs nothing more: other names of counts of the totals,
# costs, speeds and times. Sources: the API references of xAI, DeepSeek, Moonshot, Mistral, Groq, OpenRouter, Perplexity.
_COMPATIBLE = _OPENAI | {
    "cached_tokens", "reasoning_tokens", "prompt_cache_hit_tokens", "prompt_cache_miss_tokens", "num_cached_tokens",
    "cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation", "cost", "cost_details", "cost_in_usd_ticks",
    "prompt_tokens_details.cache_creation_input_tokens", "prompt_tokens_details.cache_creation_token_details",
    "prompt_tokens_details.video_tokens", "completion_tokens_details.image_tokens",
}  # fmt: skip
_NO_COUNT = re.compile(r"(?:time|_ms|seconds|duration|latency|per_second|_cost|_usd)$")
# Gemini's kinds of content with a price of their own.
_KINDS = {"AUDIO": "audio", "IMAGE": "image", "VIDEO": "video"}


def of_anthropic(usage: Usage, counts: Mapping[str, Any]) -> Usage:
    """Return the usage with the tool calls and the way of processing of Anthropic's usage object."""
    batch = counts.get("service_tier") == "batch"
    mode = _mode(
        processing="batch" if batch else None, service_tier="standard" if batch else counts.get("service_tier"),
        speed=counts.get("speed"), inference_geo=counts.get("inference_geo"),
    )  # fmt: skip
    names = {"server_tool_use.web_search_requests": "web_search"}
    return replace(usage, mode=mode, units=_units(counts, _ANTHROPIC, names))


def of_response(usage: Usage, response: Mapping[str, Any]) -> Usage:
    """Return the usage with the media, tool calls and service tier of a response of OpenAI."""
    counts, tools = response["usage"], response.get("tool_usage")
    units = dict(_units(counts, _OPENAI))
    if isinstance(tools, Mapping):
        units |= dict(_units({"tool_usage": tools}, (), {"tool_usage.web_search.num_requests": "web_search"}))
    elif searches := sum(map(_is_search, response.get("output") or ())):
        units["web_search"] = searches
    return replace(usage, mode=_mode(service_tier=response.get("service_tier")), units=tuple(units.items()), media=_media(counts))


def of_chat(usage: Usage, counts: Mapping[str, Any], tier: object) -> Usage:
    """Return the usage with the media of a chat completion, and what it counts under names that are in no table.

    `tier` is OpenAI's service tier, None for a compatible server, whose tiers are others.
    """
    units = tuple((name, count) for name, count in _units(counts, _COMPATIBLE) if not _NO_COUNT.search(name))
    return replace(usage, mode=_mode(service_tier=tier), units=units, media=_media(counts))


def of_google(usage: Usage, metadata: Mapping[str, Any]) -> Usage:
    """Return the usage with the media of Gemini's usage. It splits each total by the kind of content."""
    cached, prompt = _kinds(metadata, "cacheTokensDetails"), _kinds(metadata, "promptTokensDetails", "toolUsePromptTokensDetails")
    media = [(f"input_{kind}", count - cached.get(kind, 0)) for kind, count in prompt.items()]
    media += [(f"cached_{kind}", count) for kind, count in cached.items()]
    media += [(f"output_{kind}", count) for kind, count in _kinds(metadata, "candidatesTokensDetails").items()]
    return replace(usage, units=_units(metadata, _GOOGLE), media=tuple((name, count) for name, count in media if count > 0))


def _mode(**values: object) -> str | None:
    """Return the way of processing (Usage.mode) of these fields. None: the vendor reports none of them."""
    reported = {name: str(value) for name, value in values.items() if isinstance(value, str) and value != "auto"}
    if not reported:
        return None
    return "+".join(sorted(f"{name}={_ODD.sub('_', value)[:30]}" for name, value in reported.items() if value not in _STANDARD))


def _units(counts: object, known: Collection[str], names: Mapping[str, str] | None = None) -> Pairs:
    """Return the counts that are not in `known`, by the names of our prices (`names`) or by their own."""
    found: dict[str, int] = {}
    for name, count in _numbers(counts, known, ""):
        found[(names or {}).get(name) or _ODD.sub("_", name)[:100]] = count
        if len(found) == _MOST_NAMES:
            break
    return tuple(found.items())


def _numbers(value: object, known: Collection[str], at: str) -> Iterator[tuple[str, int]]:
    if not isinstance(value, Mapping) or at.count(".") > _MOST_DEPTH:
        return
    for name, one in value.items():
        path = f"{at}{name}"
        if path in known:
            continue
        if isinstance(one, float) and 0 < one < inf:
            yield path, ceil(min(one, 2**31))
        elif count := whole_number(one):
            yield path, count
        yield from _numbers(one, known, path + ".")


def _media(counts: object) -> Pairs:
    """Return the audio and image tokens of OpenAI's usage, by the names of our prices."""
    found = []
    for side, places in (("input", ("input", "prompt")), ("output", ("output", "completion"))):
        for place in places:
            details = counts.get(f"{place}_tokens_details") if isinstance(counts, Mapping) else None
            for kind in ("audio", "image"):
                if isinstance(details, Mapping) and (count := whole_number(details.get(f"{kind}_tokens"))):
                    found.append((f"{side}_{kind}", count))
    return tuple(found)


def _kinds(metadata: Mapping[str, Any], *fields: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for field in fields:
        for one in metadata.get(field) or ():
            kind = _KINDS.get(str(one.get("modality"))) if isinstance(one, Mapping) else None
            if kind and (count := whole_number(one.get("tokenCount"))):
                found[kind] = found.get(kind, 0) + count
    return found


def _is_search(item: Any) -> bool:
    """Return whether an output item is a web search that OpenAI charges for: opening a page is free."""
    if not isinstance(item, Mapping) or item.get("type") != "web_search_call":
        return False
    action = item.get("action")
    return not isinstance(action, Mapping) or action.get("type", "search") == "search"
