"""What both of OpenAI's APIs refuse alike, by model, and helpers for their rules. Source of each rule: where it is added."""

from __future__ import annotations

import re
from typing import Any

from agents.simulator.rules.rule import Obj, refused
from agents.simulator.rules.shapes import Fault

DOCS = "https://developers.openai.com/api/docs/"
# OpenAI's published description of its API, https://github.com/openai/openai-openapi, 2.3.0.
DESCRIPTION = "https://github.com/openai/openai-openapi"
REASONING = re.compile(r"^(?:o\d|gpt-(?:5|6))(?!.*-chat)")
NOT_REASONING = re.compile(r"^gpt-(?:3\.5|4)")
IMAGE = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,|https://")
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_THINKS_ON_REQUEST = re.compile(r"^gpt-5\.[1-5](?!\d)")
# The efforts of each generation, by the first pattern that fits.
_EFFORTS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"^o\d"), "low medium high"),
    (re.compile(r"^gpt-5(?:-|$)"), "minimal low medium high"),
    (re.compile(r"^gpt-5\.1"), "none low medium high"),
    (re.compile(r"^gpt-5\.[2-5]"), "none low medium high xhigh"),
    (re.compile(r"^gpt-(?:5\.[6-9]|6)"), "none minimal low medium high xhigh max"),
)


def samples(model: str, effort: Any) -> bool:
    """Return whether a reasoning model takes sampling: without reasoning, which is the default of GPT-5.1 to 5.5."""
    return effort == "none" or (effort is None and _THINKS_ON_REQUEST.search(model) is not None)


def effort_fault(model: str, effort: Any, *path: str | int) -> Fault | None:
    """Return the fault of an effort that the model does not have."""
    if effort is None:
        return None
    allowed = next((names.split() for pattern, names in _EFFORTS if pattern.search(model)), None)
    if allowed is None or effort in allowed:
        return None
    return refused(f"Unsupported value: '{effort}' is not supported with the '{model}' model. Supported values are: {allowed}.", *path)


def range_fault(body: Obj, name: str, low: float, high: float) -> Fault | None:
    value = body.get(name)
    if value is not None and not low <= value <= high:
        return refused(f"Invalid '{name}': expected a value from {low:g} to {high:g}, but got {value} instead.", name)
    return None


def unsupported(body: Obj, *names: str) -> Fault | None:
    """Return the fault of the first of these fields that the body has, for models that do not take them."""
    for name in names:
        # The defaults are taken.
        if body.get(name) is not None and body[name] not in {"temperature": (1,), "top_p": (1,)}.get(name, (0,)):
            return refused(f"Unsupported parameter: '{name}' is not supported with this model.", name)
    return None


def strict_fault(schema: Any) -> str:
    """Return why a schema is no strict one; empty if it is."""
    if not isinstance(schema, dict):
        return ""
    if schema.get("type") == "object" or "properties" in schema:
        if schema.get("additionalProperties") is not False:
            return "'additionalProperties' is required to be supplied and to be false."
        if missing := sorted(set(schema.get("properties") or {}) - set(schema.get("required") or ())):
            return f"'required' is required to be supplied and to be an array including every key in properties. Missing '{missing[0]}'."
    if bad := schema.keys() & {"allOf", "not", "dependentRequired", "dependentSchemas", "if", "then", "else", "oneOf"}:
        return f"'{min(bad)}' is not permitted."
    inner = [*(schema.get("properties") or {}).values(), *(schema.get("$defs") or {}).values(), schema.get("items")]
    return next((why for one in (*inner, *(schema.get("anyOf") or ())) if (why := strict_fault(one))), "")


def mentions_json(texts: list[str]) -> bool:
    return any("json" in text.lower() for text in texts)
