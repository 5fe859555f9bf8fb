"""docs/fields.md has a row for every field of the locked SDKs' requests, and each cell is what happens to that field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from accounts import keys
from agents.simulator import Simulator
from agents.simulator.rules import requests
from agents.simulator.rules.requests import Request
from agents.tests.wires import CHAT, MESSAGES, RESPONSES, exchange

pytestmark = pytest.mark.django_db
DOCUMENT = Path(__file__).parents[2] / "docs" / "fields.md"
# The columns of the tables. The first two are OpenAI's models at its two endpoints.
MODELS = ("gpt-4o", "gpt-5.4", "claude-haiku-4-5", "gemini-2.5-flash")
ROUTES: dict[str, tuple[Request, ...]] = {
    CHAT: (Request("chat"),),
    RESPONSES: (Request("responses"),),
    MESSAGES: (Request("messages"), Request("messages", beta=True)),
}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
HELLO = [{"role": "user", "content": "Hello"}]
BASES: dict[str, dict[str, Any]] = {
    CHAT: {"messages": HELLO, "tools": [{"type": "function", "function": {"name": "t", "parameters": SCHEMA}}]},
    RESPONSES: {"input": HELLO, "tools": [{"type": "function", "name": "t", "parameters": SCHEMA, "strict": False}]},
    MESSAGES: {"messages": HELLO, "max_tokens": 4000, "tools": [{"name": "t", "input_schema": SCHEMA}]},
}
TEXT = {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True}}
# A value of each field that the vendor takes and that is not its default.
SHARED: dict[str, Any] = {
    "metadata": {"a": "b"}, "parallel_tool_calls": False, "prompt_cache_key": "k", "prompt_cache_options": {"mode": "implicit"},
    "prompt_cache_retention": "24h", "safety_identifier": "s", "service_tier": "flex", "store": True, "stream": True, "temperature": 0.5,
    "tool_choice": "required", "top_logprobs": 2, "top_p": 0.5, "user": "u", "moderation": {"model": "omni-moderation-latest"},
}  # fmt: skip
SAMPLES: dict[str, dict[str, Any]] = {
    CHAT: SHARED | {
        "messages": [{"role": "user", "content": "Good day"}], "tools": [], "audio": {"format": "wav", "voice": "alloy"},
        "frequency_penalty": 0.5, "function_call": "auto", "functions": [{"name": "f"}], "logit_bias": {"1": 5}, "logprobs": True,
        "max_completion_tokens": 500, "max_tokens": 500, "modalities": ["text", "audio"], "n": 2,
        "prediction": {"type": "content", "content": "x"}, "presence_penalty": 0.5, "reasoning_effort": "low",
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}}, "seed": 7,
        "stop": ["END"],
        "stream_options": {"include_usage": True}, "verbosity": "low", "web_search_options": {},
    },
    RESPONSES: SHARED | {
        "input": [{"role": "user", "content": "Good day"}], "tools": [], "access_programs": {}, "background": True,
        "background_options": {}, "context_management": [{"type": "compaction"}], "conversation": "conv_1", "image": {},
        "include": ["reasoning.encrypted_content"], "instructions": "Be brief.", "max_output_tokens": 500, "max_tool_calls": 2,
        "previous_response_id": "resp_1", "prompt": {"id": "pmpt_1"}, "reasoning": {"effort": "low"},
        "stream_options": {"include_obfuscation": False}, "text": TEXT, "truncation": "auto",
    },
    MESSAGES: {
        "messages": [{"role": "user", "content": "Good day"}], "max_tokens": 500, "tools": [],
        "cache_control": {"type": "ephemeral"}, "container": "container_1", "diagnostics": {"previous_message_id": "msg_1"},
        "inference_geo": "us",
        "metadata": {"user_id": "u"}, "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
        "service_tier": "standard_only",
        "speed": "fast", "stop_sequences": ["END"], "stream": True, "system": "Be brief.",
        "thinking": {"type": "enabled", "budget_tokens": 1024}, "tool_choice": {"type": "any"}, "user_profile_id": "up_1",
        "workspace_id": "w_1", "billing_policy": {}, "compaction": {"type": "summarize"}, "context_management": {"edits": []},
        "fallback_credit_token": "x", "fallbacks": "default", "mcp_servers": [{"type": "url", "url": "https://a.example", "name": "a"}],
        "thread": {"type": "create"},
    },
}  # fmt: skip


def fields(route: str) -> set[str]:
    """Every field of the SDK's request, apart from the model's name, on which all else hangs."""
    return set().union(*(requests.fields(request) for request in ROUTES[route]), {"stream"}) - {"model"}


def table(route: str) -> dict[str, list[str]]:
    """The rows of the document for a route: the field's cells, the reason last."""
    section = DOCUMENT.read_text().split(f"## `{route}`\n", 1)[1].split("\n## ", 1)[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("| `")]
    return {row[0].strip("`"): row[1:] for row in rows}


@pytest.fixture
def key(user, models) -> str:
    return keys.create(user, name="t", scopes=["chat"])[1]


async def outcome(sim: Simulator, key: str, route: str, model: str, field: str, before: str) -> str:
    """What happens to a field: `refused`, `passed`, `translated`, or `no effect`."""
    value = SAMPLES[route][field]
    headers = {"anthropic-beta": "all-of-them"} if route == MESSAGES else {}
    made = await exchange(sim, key, route, {"model": model, **BASES[route], field: value}, **headers)
    if made.answer.status == 400:
        assert str(made.answer.error["param"]).split(".")[0].split("[")[0] == field and not made.sent, made.answer.body
        return "refused"
    assert made.answer.status == 200, (field, made.answer.body)
    sent = [(seen.path, seen.body) for seen in list(sim.requests)[-len(made.sent) :]]
    if all(field in body and body[field] == value for _, body in sent) and f'"{field}": {json.dumps(value)}' not in before:
        return "passed"
    return "no effect" if json.dumps(sent) == before else "translated"


async def baseline(sim: Simulator, key: str, route: str, model: str) -> str:
    headers = {"anthropic-beta": "all-of-them"} if route == MESSAGES else {}
    made = await exchange(sim, key, route, {"model": model, **BASES[route]}, **headers)
    assert made.answer.status == 200, made.answer.body
    return json.dumps([(sim.requests[-1].path, made.body)])


@pytest.mark.parametrize("route", ROUTES)
def test_every_field_of_the_locked_sdk_has_a_row_and_no_row_is_of_a_field_that_is_gone(route: str):
    assert set(table(route)) == fields(route) == set(SAMPLES[route]), "write a row in docs/fields.md and a sample here"
    for field, (*cells, reason) in table(route).items():
        assert set(cells) <= {"refused", "passed", "translated", "no effect"}, field
        assert reason or not {"refused", "no effect"} & set(cells), f"say why for {field}"


@pytest.mark.parametrize("column", range(len(MODELS)), ids=MODELS)
@pytest.mark.parametrize("route", ROUTES)
async def test_what_the_document_says_of_a_field_is_what_happens_to_it(key, vendor, route: str, column: int):
    wrong = []
    async with vendor() as sim:
        before = await baseline(sim, key, route, MODELS[column])
        for field, cells in table(route).items():
            found = await outcome(sim, key, route, MODELS[column], field, before)
            if found != cells[column]:
                wrong.append(f"{field}: the document says {cells[column]}, but it is {found}")
    assert not wrong, "\n".join(wrong)
