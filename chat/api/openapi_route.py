"""The explanation of a route as the OpenAPI document shows it: what `POST chat/route` answers and messages keep as `route`."""

from __future__ import annotations

from typing import Any

from agents.routing.candidates import GOALS
from agents.routing.removal import Code

JSON = dict[str, Any]


def _string(description: str, **more: Any) -> JSON:
    return {"type": "string", "description": description, **more}


def _usd(description: str) -> JSON:
    return _string(f"US dollars: {description}", format="decimal")


def _number(description: str, **more: Any) -> JSON:
    return {"type": "number", "description": description, **more}


_CANDIDATE: JSON = {
    "type": "object",
    "required": ["model", "provider", "estimated_cost_usd", "removed", "removed_code"],
    "properties": {
        "model": _string("model id"),
        "provider": _string("the model's vendor"),
        "quality": _number("the catalogue's quality, moved by people's votes", minimum=0, maximum=100),
        "probability": _number("chance that the answer is good enough: logistic((quality - need) / spread)", minimum=0, maximum=1),
        "good_enough": {"type": "boolean", "description": "probability reaches `weights.good_enough`"},
        "value_usd": {
            **_usd("weights.value_usd x probability - estimated_cost_usd - weights.second_usd x expected_seconds; null: not weighed"),
            "type": ["string", "null"],
        },
        "feedback": {"type": ["object", "null"], "description": "people's votes: `up`, `down`, `adjustment` of the quality"},
        "estimated_cost_usd": {**_usd("at the price of the input's tier; at the ceiling for an unknown price"), "type": ["string", "null"]},
        "price_known": {"type": "boolean"},
        "expected_seconds": _number("time of an answer of usual length"),
        "removed": {"type": ["string", "null"], "description": "why the model is no candidate; null for a candidate"},
        "removed_code": {"type": ["string", "null"], "enum": [*(code.value for code in Code), None], "description": "the same as a code"},
    },
}
ROUTE: JSON = {
    "type": "object",
    "required": ["requested", "goal", "chosen", "reason", "candidates", "baseline"],
    "properties": {
        "requested": _string("the model that was asked for, `auto` included"),
        "goal": _string(f"{', '.join(GOALS)}; empty for embeddings"),
        "chosen": _string("id of the first candidate"),
        "reason": _string("why it is the first, made from its numbers"),
        "difficulty": {
            **_number("of the request, estimated from its text; null where a model was named", minimum=0, maximum=1),
            "type": ["number", "null"],
        },
        "need": _number("quality that the request needs: 35 + 65 x difficulty, 0.5 where none was estimated"),
        "weights": {
            "type": "object",
            "description": "the settings of the rule for this goal",
            "properties": {
                "value_usd": {**_usd("what a good answer is worth; null for fastest and best"), "type": ["string", "null"]},
                "second_usd": {**_usd("what a second of waiting costs; null for fastest and best"), "type": ["string", "null"]},
                "spread": _number("points of quality"),
                "good_enough": _number("least probability of a model of the first choice"),
            },
        },
        "sticky": {"type": ["string", "null"], "description": "model that wrote before in the conversation"},
        "cached_tokens": {"type": "integer", "description": "input tokens that this model reported as cached then"},
        "candidates": {"type": "array", "items": _CANDIDATE, "description": "the candidates in their order, then the removed models"},
        "output_limit": {
            "type": ["object", "null"],
            "description": "our own limit of the answer, where money pays for less than the model and the request allow",
            "required": ["tokens", "limited_by"],
            "properties": {"tokens": {"type": "integer"}, "limited_by": {"type": "string", "enum": ["budget", "max_cost_usd", "setting"]}},
        },
        "dropped_tools": {
            "type": "array",
            "items": _string(""),
            "description": "offered tools of a vendor that the model was not offered, because it has no price for them",
        },
        "baseline": {"type": ["object", "null"], "description": "what the baseline model would cost, and what choosing saves"},
        "history": {
            "type": "object",
            "description": "the messages above that the request holds, and those that did not fit in it",
            "required": ["messages_sent", "messages_dropped"],
            "properties": {"messages_sent": {"type": "integer"}, "messages_dropped": {"type": "integer"}},
        },
        "input_tokens": {"type": "integer", "description": "estimate of the input's tokens for the chosen model (`POST chat/route` alone)"},
    },
}
