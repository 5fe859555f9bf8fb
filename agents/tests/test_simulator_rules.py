"""The simulator refuses what the vendors refuse: what is not of their SDKs' types, and what breaks a rule of a model."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from google.genai import errors as google_errors
from google.genai import types as google_types

from agents.simulator import Simulator
from agents.simulator.rules import refusal, requests, rules_of
from agents.simulator.rules.requests import Request
from agents.simulator.rules.rule import Rule
from agents.simulator.rules.shapes import check_of
from agents.simulator.seals import seal, signature

JSON = dict[str, Any]
NEW, OLD = "2026-10-21", "2023-06-01"
PNG = "aGk="
FUNCTION = {"name": "weather", "parameters": {"type": "object", "properties": {}}}
TOOL = {"name": "weather", "input_schema": {"type": "object", "properties": {}}}
STRICT_OPEN = {"type": "object", "properties": {"a": {"type": "string"}}}
CLOSED = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
CALL = {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}]}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "12"}
USE = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}
USED = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "12"}
GEMINI_CALL = {"name": "weather", "args": {"city": "Oslo"}}
GEMINI_RESULT = {"role": "user", "parts": [{"functionResponse": {"name": "weather", "response": {"result": "12"}}}]}

BASES: Mapping[str, JSON] = {
    "chat": {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]},
    "responses": {"model": "gpt-5.4", "input": [{"role": "user", "content": "hi"}]},
    "messages": {"model": "claude-haiku-4-5", "max_tokens": 4000, "messages": [{"role": "user", "content": "hi"}]},
    "gemini": {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]},
}


def said(*messages: JSON) -> JSON:
    return {"messages": [{"role": "user", "content": "hi"}, *messages]}


def item(*items: JSON) -> JSON:
    return {"input": [{"role": "user", "content": "hi"}, *items]}


def parts(*turns: JSON) -> JSON:
    return {"contents": [{"role": "user", "parts": [{"text": "hi"}]}, *turns]}


def blocks(*content: JSON, role: str = "assistant") -> JSON:
    return {"role": role, "content": list(content)}


def config(**more: Any) -> JSON:
    return {"generationConfig": more}


def text(words: str, **more: Any) -> JSON:
    return {"type": "text", "text": words, **more}


MARK = {"cache_control": {"type": "ephemeral"}}
LOOP = said(blocks(USE), blocks(USED, role="user"))
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": seal("hm")}
CALLED = {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "12"}
REASONED = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": seal("hm")}
SIGNED = {"role": "model", "parts": [{"functionCall": GEMINI_CALL, "thoughtSignature": signature(GEMINI_CALL)}]}
DECLARED = {"tools": [{"functionDeclarations": [{"name": "weather", "parametersJsonSchema": {"type": "object"}}]}]}
FUNCTIONS = {"tools": [{"type": "function", "function": FUNCTION}]}
FLAT = {"tools": [{"type": "function", "strict": False, **FUNCTION}]}
TOOLS = {"tools": [TOOL]}

# By API and rule: a change of the base that the rule refuses, and the nearest one that the vendor takes.
EXAMPLES: Mapping[str, Mapping[str, tuple[JSON, JSON]]] = {
    "chat": {
        "at least one message": ({"messages": []}, {}),
        "names of functions": ({"tools": [{"type": "function", "function": {**FUNCTION, "name": "a b"}}]}, FUNCTIONS),
        "at most 128 tools": ({"tools": FUNCTIONS["tools"] * 129}, {"tools": FUNCTIONS["tools"] * 128}),
        "ids of tool calls": (said({**CALL, "tool_calls": [{**CALL["tool_calls"][0], "id": "c" * 41}]}), said(CALL, RESULT)),
        "results follow their calls": (said(CALL, {"role": "user", "content": "and?"}), said(CALL, RESULT, said()["messages"][0])),
        "an answer has content or calls": (said({"role": "assistant", "content": None}), said({"role": "assistant", "content": ""})),
        "images are PNG, JPEG, GIF or WebP": (
            said({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/bmp;base64,aGk="}}]}),
            said({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}]}),
        ),
        "at most four stop sequences": ({"stop": list("abcde")}, {"stop": list("abcd")}),
        "ranges of numbers": ({"temperature": 2.1}, {"temperature": 2}),
        "no sampling of reasoning models": ({"model": "o3", "temperature": 0.5}, {"model": "o3", "temperature": 1}),
        "max_completion_tokens of reasoning models": ({"model": "o3", "max_tokens": 5}, {"model": "o3", "max_completion_tokens": 5}),
        "no stop sequences": ({"model": "gpt-5-mini", "stop": "x"}, {"model": "o3-mini", "stop": "x"}),
        "efforts of the generation": ({"model": "o3", "reasoning_effort": "none"}, {"model": "gpt-5.4", "reasoning_effort": "none"}),
        "no effort without reasoning": ({"reasoning_effort": "low"}, {"model": "o3", "reasoning_effort": "low"}),
        "function tools belong to Responses": ({"model": "gpt-6-luna", **FUNCTIONS}, {"model": "gpt-5.4", **FUNCTIONS}),
        "strict schemas": (
            {"tools": [{"type": "function", "function": {**FUNCTION, "parameters": STRICT_OPEN, "strict": True}}]},
            {"tools": [{"type": "function", "function": {**FUNCTION, "parameters": CLOSED, "strict": True}}]},
        ),
        "a schema of parameters is an object": (
            {"tools": [{"type": "function", "function": {"name": "weather", "parameters": {"type": "string"}}}]}, FUNCTIONS,
        ),
        "the choice needs tools": ({"tool_choice": "auto"}, {"tool_choice": "auto", **FUNCTIONS}),
        "the word json": (
            {"response_format": {"type": "json_object"}},
            {"response_format": {"type": "json_object"}, **said({"role": "user", "content": "as JSON"})},
        ),
    },
    "responses": {
        "some input": ({"input": []}, {}),
        "names of functions": ({"tools": [{**FLAT["tools"][0], "name": "a b"}]}, FLAT),
        "ids of tool calls": (item({**CALLED, "call_id": "c" * 65}, {**OUTPUT, "call_id": "c" * 65}), item(CALLED, OUTPUT)),
        "calls and results come in pairs": (item(CALLED), item(CALLED, OUTPUT)),
        "reasoning comes back encrypted and unchanged": (
            item({**REASONED, "encrypted_content": "c2ln"}, CALLED, OUTPUT), item(REASONED, CALLED, OUTPUT),
        ),
        "nothing is referred to that was not stored": (item({"type": "item_reference", "id": "msg_1"}), {}),
        "images are PNG, JPEG, GIF or WebP": (
            item({"role": "user", "content": [{"type": "input_image", "detail": "auto", "image_url": "data:image/bmp;base64,aGk="}]}),
            item({"role": "user", "content": [{"type": "input_image", "detail": "auto", "image_url": "data:image/png;base64,aGk="}]}),
        ),
        "an answer is not said again as input": (
            item({"role": "assistant", "content": [{"type": "input_text", "text": "a"}]}), item({"role": "assistant", "content": "a"}),
        ),
        "ranges of numbers": ({"max_output_tokens": 15}, {"max_output_tokens": 16}),
        "no sampling of reasoning models": ({"model": "gpt-6-luna", "temperature": 0.5}, {"temperature": 0.5}),
        "efforts of the generation": ({"model": "o3", "reasoning": {"effort": "none"}}, {"reasoning": {"effort": "none"}}),
        "no effort without reasoning": ({"model": "gpt-4o", "reasoning": {"effort": "low"}}, {"reasoning": {"effort": "low"}}),
        "strict schemas": (
            {"tools": [{**FLAT["tools"][0], "parameters": STRICT_OPEN, "strict": True}]},
            {"tools": [{**FLAT["tools"][0], "parameters": CLOSED, "strict": True}]},
        ),
        "a schema of parameters is an object": ({"tools": [{**FLAT["tools"][0], "parameters": {"type": "string"}}]}, FLAT),
        "the choice is an offered tool": ({"tool_choice": {"type": "function", "name": "x"}, **FLAT}, {"tool_choice": "required", **FLAT}),
        "the word json": (
            {"text": {"format": {"type": "json_object"}}, "instructions": "As JSON."},
            {"text": {"format": {"type": "json_object"}}, "input": "as JSON"},
        ),
    },
    "messages": {
        "messages are not empty": ({"messages": [{"role": "assistant", "content": "a"}]}, {}),
        "text is not blank": (said(blocks(text(" "), role="user")), said(blocks(text("a"), role="user"))),
        "names of tools": ({"tools": [{**TOOL, "name": "a.b"}]}, TOOLS),
        "ids of tool calls": (said(blocks({**USE, "id": "a:0"}), blocks({**USED, "tool_use_id": "a:0"}, role="user")), LOOP),
        "results follow their calls": (said(blocks(USE), blocks(text("and?"), role="user")), LOOP),
        "thinking comes back unchanged": (
            said(blocks({**THOUGHT, "thinking": "changed"}, USE), blocks(USED, role="user")),
            said(blocks(THOUGHT, USE), blocks(USED, role="user")),
        ),
        "the last message is the user's": ({"model": "claude-opus-5", **said(blocks(text("So")))}, said(blocks(text("So")))),
        "a prefill ends without white space": (said(blocks(text("So "))), said(blocks(text("So")))),
        "at most four cache marks": (
            {"system": [text("a", **MARK)] * 5}, {"system": [text("a", **MARK)] * 3, **MARK},
        ),
        "the output limit of the model": ({"max_tokens": 64_001}, {"max_tokens": 64_000}),
        "stop sequences are not blank": ({"stop_sequences": ["\n"]}, {"stop_sequences": ["\nEND"]}),
        "sampling values": ({"temperature": 1.5}, {"temperature": 1}),
        "one of temperature and top_p": ({"temperature": 1, "top_p": 0.5}, {"top_p": 0.5}),
        "no sampling": ({"model": "claude-opus-5", "temperature": 1}, {"temperature": 0.3}),
        "a budget of thinking": (
            {"thinking": {"type": "enabled", "budget_tokens": 4000}}, {"thinking": {"type": "enabled", "budget_tokens": 3999}},
        ),
        "no adaptive thinking": ({"thinking": {"type": "adaptive"}}, {"model": "claude-opus-4-6", "thinking": {"type": "adaptive"}}),
        "no budget": (
            {"model": "claude-opus-4-7", "thinking": {"type": "enabled", "budget_tokens": 1024}},
            {"model": "claude-opus-4-6", "thinking": {"type": "enabled", "budget_tokens": 1024}},
        ),
        "thinking cannot be off": (
            {"model": "claude-opus-5-5", "thinking": {"type": "disabled"}}, {"model": "claude-opus-5", "thinking": {"type": "disabled"}},
        ),
        "no effort": ({"output_config": {"effort": "low"}}, {"model": "claude-opus-4-6", "output_config": {"effort": "low"}}),
        "no effort xhigh": (
            {"model": "claude-opus-4-6", "output_config": {"effort": "xhigh"}},
            {"model": "claude-opus-4-7", "output_config": {"effort": "xhigh"}},
        ),
        "no forced tool while thinking": (
            {"thinking": {"type": "enabled", "budget_tokens": 1024}, "tool_choice": {"type": "any"}, **TOOLS},
            {"thinking": {"type": "enabled", "budget_tokens": 1024}, "tool_choice": {"type": "auto"}, **TOOLS},
        ),
        "the choice is an offered tool": (
            {"tool_choice": {"type": "tool", "name": "x"}, **TOOLS}, {"tool_choice": {"type": "any"}, **TOOLS},
        ),
        "an input schema is an object": ({"tools": [{**TOOL, "input_schema": {"type": "string"}}]}, TOOLS),
        "schemas of strict output": (
            {"output_config": {"format": {"type": "json_schema", "schema": STRICT_OPEN}}},
            {"output_config": {"format": {"type": "json_schema", "schema": CLOSED}}},
        ),
    },
    "gemini": {
        "contents are not empty": ({"contents": [{"role": "user", "parts": []}]}, {}),
        "names of functions": ({"tools": [{"functionDeclarations": [{"name": "1weather"}]}]}, DECLARED),
        "results follow their calls": (parts(SIGNED, {"role": "user", "parts": [{"text": "?"}]}), parts(SIGNED, GEMINI_RESULT)),
        "calls come back with their signature": (
            {"model": "gemini-3.8-flash", **parts({"role": "model", "parts": [{"functionCall": GEMINI_CALL}]}, GEMINI_RESULT)},
            {"model": "gemini-2.5-flash", **parts({"role": "model", "parts": [{"functionCall": GEMINI_CALL}]}, GEMINI_RESULT)},
        ),
        "signatures are unchanged": (
            parts({"role": "model", "parts": [{"functionCall": GEMINI_CALL, "thoughtSignature": "c2ln"}]}, GEMINI_RESULT),
            parts(SIGNED, GEMINI_RESULT),
        ),
        "media types": (
            parts({"role": "user", "parts": [{"inlineData": {"mimeType": "image/gif", "data": PNG}}]}),
            parts({"role": "user", "parts": [{"inlineData": {"mimeType": "image/png", "data": PNG}}]}),
        ),
        "media in results": (
            {"model": "gemini-2.5-flash", **parts(SIGNED, {"role": "user", "parts": [{"functionResponse": {
                "name": "weather", "response": {}, "parts": [{"inlineData": {"mimeType": "image/png", "data": PNG}}]}}]})},
            parts(SIGNED, GEMINI_RESULT),
        ),
        "at most five stop sequences": (config(stopSequences=list("abcdef")), config(stopSequences=list("abcde"))),
        "ranges of numbers": (config(seed=2**31), config(seed=2**31 - 1)),
        "a level of thinking": (
            {"model": "gemini-2.5-flash", **config(thinkingConfig={"thinkingLevel": "LOW"})},
            {"model": "gemini-3.8-flash", **config(thinkingConfig={"thinkingLevel": "LOW"})},
        ),
        "no thinking before Gemini 2.5": (
            {"model": "gemini-1.5-pro", **config(thinkingConfig={"thinkingBudget": 512})},
            {"model": "gemini-2.5-pro", **config(thinkingConfig={"thinkingBudget": 512})},
        ),
        "a budget of thinking": (
            {"model": "gemini-2.5-pro", **config(thinkingConfig={"thinkingBudget": 40_000})},
            {"model": "gemini-2.5-pro", **config(thinkingConfig={"thinkingBudget": -1})},
        ),
        "Gemini 2.5 Pro always thinks": (
            {"model": "gemini-2.5-pro", **config(thinkingConfig={"thinkingBudget": 0})},
            {"model": "gemini-2.5-flash", **config(thinkingConfig={"thinkingBudget": 0})},
        ),
        "a budget of Flash": (
            {"model": "gemini-2.5-flash", **config(thinkingConfig={"thinkingBudget": 30_000})},
            {"model": "gemini-2.5-pro", **config(thinkingConfig={"thinkingBudget": 30_000})},
        ),
        "the large models have no level MINIMAL": (
            {"model": "gemini-4-argon", **config(thinkingConfig={"thinkingLevel": "MINIMAL"})},
            {"model": "gemini-3.5-flash-lite", **config(thinkingConfig={"thinkingLevel": "MINIMAL"})},
        ),
        "Flash of 3.7 and 3.8 has no level MINIMAL": (
            {"model": "gemini-3.8-flash", **config(thinkingConfig={"thinkingLevel": "MINIMAL"})},
            {"model": "gemini-3.8-flash", **config(thinkingConfig={"thinkingLevel": "LOW"})},
        ),
        "a level or a budget": (
            {"model": "gemini-3.8-flash", **config(thinkingConfig={"thinkingLevel": "LOW", "thinkingBudget": 1})},
            {"model": "gemini-3.8-flash", **config(thinkingConfig={"thinkingBudget": 1})},
        ),
        "JSON or functions": (
            {"model": "gemini-2.5-flash", **DECLARED, **config(responseMimeType="application/json")},
            {"model": "gemini-3.8-flash", **DECLARED, **config(responseMimeType="application/json")},
        ),
        "a schema needs its media type": (
            config(responseJsonSchema=CLOSED), config(responseJsonSchema=CLOSED, responseMimeType="application/json"),
        ),
        "the choice is a declared function": (
            {"toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["x"]}}, **DECLARED},
            {"toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["weather"]}}, **DECLARED},
        ),
    },
}  # fmt: skip
ALL = [(api, rule) for api in BASES for rule in rules_of(api)]


def checked(api: str, change: JSON) -> str:
    """The reason of the refusal of a changed base; empty if the vendor takes it."""
    body = copy.deepcopy(BASES[api] | change)
    model = str(body.get("model", ""))
    if api == "gemini":
        body.pop("model", None)
    found = refusal(Request(api, OLD if api == "messages" else ""), model, body)
    return found.reason if found else ""


@pytest.mark.parametrize(("api", "rule"), ALL, ids=[f"{api}: {rule.name}" for api, rule in ALL])
def test_each_rule_refuses_its_example_and_takes_the_nearest_one_that_is_right(api: str, rule: Rule):
    refused, taken = EXAMPLES[api][rule.name]
    assert rule.source.startswith("https://")
    body = copy.deepcopy(BASES[api] | refused)
    assert rule.of_model(str(body.get("model", ""))) and rule.find(body), rule.name
    assert checked(api, refused) and not checked(api, taken), checked(api, taken)


def test_no_example_is_left_without_its_rule():
    assert {(api, name) for api, table in EXAMPLES.items() for name in table} == {(api, rule.name) for api, rule in ALL}


# --- types -----------------------------------------------------------------------------------------

WRONG: list[tuple[str, JSON, str]] = [
    ("chat", {"hologram": 1}, "hologram"),
    ("chat", {"messages": [{"role": "user", "content": "a", "mood": "x"}]}, "messages.0.mood"),
    ("chat", {"messages": [{"role": "wizard", "content": "a"}]}, "messages.0.role"),
    ("chat", {"messages": [{"role": "tool", "content": "a"}]}, "messages.0.tool_call_id"),
    ("chat", {"n": "2"}, "n"),
    ("chat", {"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
    ("responses", {"input": [{"role": "user", "content": [{"type": "input_text", "text": 5}]}]}, "input.0.content.0.text"),
    ("responses", {"tools": [{"type": "zip"}]}, "tools.0.type"),
    ("responses", {"reasoning": {"effort": "much"}}, "reasoning.effort"),
    ("messages", {"max_tokens": True}, "max_tokens"),
    ("messages", {"messages": [{"role": "user", "content": [{"type": "text", "text": "a", "mood": 1}]}]}, "messages.0.content.0.mood"),
    ("messages", {"context_management": {"edits": []}}, "context_management"),
    ("messages", {"stop_sequences": None}, "stop_sequences"),
    ("gemini", {"contents": [{"role": "user", "parts": [{"text": "a", "mood": 1}]}]}, "contents.0.parts.0.mood"),
    ("gemini", {"generationConfig": {"maxTokens": 1}}, "generationConfig.maxTokens"),
    ("gemini", {"generationConfig": {"mediaResolution": "HUGE"}}, "generationConfig.mediaResolution"),
]


@pytest.mark.parametrize(("api", "change", "path"), WRONG, ids=[f"{api} {path}" for api, _, path in WRONG])
def test_what_the_sdks_types_do_not_have_is_refused_by_its_place(api: str, change: JSON, path: str):
    assert checked(api, change).startswith(f"{path}: ")


def test_fields_and_nulls_that_real_clients_send_are_taken():
    assert not checked("responses", {"client_metadata": {"a": "b"}})
    assert not checked("responses", item({"type": "reasoning", "summary": [], "encrypted_content": seal("x")}, CALLED, OUTPUT))
    assert not checked("chat", {"seed": None, "tools": None})


def test_sampling_hangs_on_the_version_that_the_client_sends():
    body = {**BASES["messages"], "temperature": 0.5}
    assert refusal(Request("messages", OLD), "claude-haiku-4-5", body) is None
    for version in (NEW, ""):
        found = refusal(Request("messages", version), "claude-haiku-4-5", body)
        assert found and found.reason.startswith("temperature: ")


def test_a_beta_brings_its_fields():
    body = {**BASES["messages"], "context_management": {"edits": []}}
    assert refusal(Request("messages", NEW), "m", body) and not refusal(Request("messages", NEW, beta=True), "m", body)


def test_the_switch_for_the_future_lets_unknown_fields_through_wherever_they_stand_and_nothing_else():
    body = {**BASES["messages"], "x": 1, "messages": [{"role": "user", "content": [{"type": "text", "text": "a", "y": {"z": 1}}]}]}
    kept = copy.deepcopy(body)
    assert refusal(Request("messages", NEW), "m", body) and not refusal(Request("messages", NEW), "m", body, future=True)
    assert body == kept and refusal(Request("messages", NEW), "m", {**body, "max_tokens": "1"}, future=True)


def test_a_type_that_no_json_has_is_refused():
    assert check_of(bytes)("-_8=") is None and check_of(bytes)("no base64") and check_of(open)(1)


@pytest.mark.parametrize("api", BASES)
def test_the_fields_are_those_of_the_locked_sdk(api: str):
    assert set(BASES[api]) - {"model"} <= requests.fields(Request(api))


# --- over HTTP -------------------------------------------------------------------------------------


async def test_the_sdks_get_the_refusal_as_their_own_error():
    async with Simulator() as sim:
        async with openai.AsyncOpenAI(api_key="k", base_url=sim.openai_url, max_retries=0) as chat:
            with pytest.raises(openai.BadRequestError) as refused:
                await chat.chat.completions.create(**BASES["chat"], extra_body={"hologram": 1})
            assert (refused.value.param, refused.value.code) == ("hologram", "unknown_parameter")
        async with anthropic.AsyncAnthropic(api_key="k", base_url=sim.url, max_retries=0) as messages:
            with pytest.raises(anthropic.BadRequestError, match="Extra inputs are not permitted"):
                await messages.messages.create(**BASES["messages"], extra_body={"top_k": 1})
            assert await messages.messages.create(**BASES["messages"], extra_headers={"anthropic-version": OLD}, extra_body={"top_k": 1})
            with pytest.raises(anthropic.BadRequestError):
                await messages.messages.count_tokens(model="m", messages=[], extra_body={"x": 1})
        gemini = genai.Client(api_key="k", http_options=google_types.HttpOptions(base_url=sim.url)).aio.models
        with pytest.raises(google_errors.ClientError, match="Unsupported MIME type"):
            picture = google_types.Part.from_bytes(data=b"hi", mime_type="image/gif")
            await gemini.generate_content(model="gemini-2.5-flash", contents=[picture])
        assert [bool(seen.extra.get("refused")) for seen in sim.requests] == [True, True, False, True, True]


async def test_the_check_can_be_switched_off():
    async with Simulator(strict=False) as sim, openai.AsyncOpenAI(api_key="k", base_url=sim.openai_url, max_retries=0) as client:
        assert await client.chat.completions.create(**BASES["chat"], extra_body={"hologram": 1})
