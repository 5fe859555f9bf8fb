"""What OpenAI refuses at chat completions although the types are right, as one table."""

from __future__ import annotations

import re
from typing import Any

from agents.simulator.rules.openai_shared import (
    DESCRIPTION,
    DOCS,
    IMAGE,
    NAME,
    NOT_REASONING,
    REASONING,
    effort_fault,
    mentions_json,
    range_fault,
    samples,
    strict_fault,
    unsupported,
)
from agents.simulator.rules.rule import Obj, Rules, objects, refused
from agents.simulator.rules.shapes import Fault

RULES = Rules()
_MOST_TOOLS, _MOST_STOPS, _MOST_ID, _MOST_IDENTIFIER = 128, 4, 40, 64
_NEEDS_RESPONSES = re.compile(r"gpt-(5\.4|5\.[5-9]|6)")


def _messages(body: Obj) -> list[tuple[int, Obj]]:
    return list(objects(body.get("messages")))


def _functions(body: Obj) -> list[tuple[int, Obj]]:
    return [(number, tool["function"]) for number, tool in objects(body.get("tools")) if isinstance(tool.get("function"), dict)]


@RULES.add("at least one message", DESCRIPTION)
def _some(body: Obj) -> Fault | None:
    return None if body["messages"] else refused("Invalid 'messages': empty array. Expected an array with minimum length 1.", "messages")


@RULES.add("names of functions", DESCRIPTION)
def _names(body: Obj) -> Fault | None:
    for number, function in _functions(body):
        if not NAME.fullmatch(function["name"]):
            return refused("string does not match pattern. Expected '^[a-zA-Z0-9_-]{1,64}$'", "tools", number, "function", "name")
    for number, message in _messages(body):
        for at, call in objects(message.get("tool_calls")):
            if not NAME.fullmatch(call.get("function", {}).get("name", "x")):
                path = ("messages", number, "tool_calls", at, "function", "name")
                return refused("string does not match pattern. Expected '^[a-zA-Z0-9_-]{1,64}$'", *path)
    return None


@RULES.add("at most 128 tools", DOCS + "guides/function-calling")
def _most_tools(body: Obj) -> Fault | None:
    count = len(body.get("tools") or ())
    return refused(f"array too long. Expected maximum length {_MOST_TOOLS}, got {count}", "tools") if count > _MOST_TOOLS else None


@RULES.add("ids of tool calls", "https://github.com/BerriAI/litellm/issues/16195")
def _ids(body: Obj) -> Fault | None:
    for number, message in _messages(body):
        for at, call in objects(message.get("tool_calls")):
            if len(call["id"]) > _MOST_ID:
                return refused(f"string too long. Expected maximum length {_MOST_ID}", "messages", number, "tool_calls", at, "id")
        if len(message.get("tool_call_id") or "") > _MOST_ID:
            return refused(f"string too long. Expected maximum length {_MOST_ID}", "messages", number, "tool_call_id")
    return None


@RULES.add("results follow their calls", DOCS + "guides/function-calling")
def _pairs(body: Obj) -> Fault | None:
    waiting: set[str] = set()
    called = False
    for number, message in [*_messages(body), (len(body["messages"]), {"role": ""})]:
        if message.get("role") == "tool":
            if not called:
                why = "messages with role 'tool' must be a response to a preceeding message with 'tool_calls'."
                return refused(why, "messages", number, "role")
            waiting.discard(message["tool_call_id"])
            continue
        if waiting:
            why = "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. "
            return refused(f"{why}The following tool_call_ids did not have response messages: {', '.join(sorted(waiting))}", "messages")
        calls = [call["id"] for _, call in objects(message.get("tool_calls"))]
        waiting, called = set(calls), bool(calls)
    return None


@RULES.add("an answer has content or calls", DESCRIPTION)
def _content(body: Obj) -> Fault | None:
    for number, message in _messages(body):
        content = message.get("content")
        if isinstance(content, list) and not content:
            return refused("empty array. Expected an array with minimum length 1.", "messages", number, "content")
        if message.get("role") != "assistant" and content is None:
            return refused("expected a string, got null.", "messages", number, "content")
        if content is None and not any(message.get(name) for name in ("tool_calls", "function_call", "refusal", "audio")):
            return refused("expected a string, got null.", "messages", number, "content")
        if message.get("tool_calls") == []:
            return refused("empty array. Expected an array with minimum length 1.", "messages", number, "tool_calls")
    return None


@RULES.add("images are PNG, JPEG, GIF or WebP", DOCS + "guides/images-vision")
def _images(body: Obj) -> Fault | None:
    for number, message in _messages(body):
        for at, part in objects(message.get("content")):
            if part.get("type") == "image_url" and not IMAGE.match(part["image_url"]["url"]):
                return refused("You uploaded an unsupported image.", "messages", number, "content", at, "image_url")
            if part.get("type") == "image_url" and message.get("role") != "user":
                return refused("Image URLs are only allowed for messages with role 'user'.", "messages", number)
    return None


@RULES.add("at most four stop sequences", DESCRIPTION)
def _stops(body: Obj) -> Fault | None:
    stop = body.get("stop")
    if isinstance(stop, list) and len(stop) > _MOST_STOPS:
        return refused(f"array too long. Expected maximum length {_MOST_STOPS}", "stop")
    return None


@RULES.add("ranges of numbers", DESCRIPTION)
def _ranges(body: Obj) -> Fault | None:
    limits: tuple[tuple[str, float, float], ...] = (
        ("temperature", 0, 2), ("top_p", 0, 1), ("frequency_penalty", -2, 2), ("presence_penalty", -2, 2), ("top_logprobs", 0, 20),
        ("n", 1, 128), ("max_tokens", 1, 10**9), ("max_completion_tokens", 1, 10**9), ("seed", -(2**63), 2**63 - 1),
    )  # fmt: skip
    for name, low, high in limits:
        if fault := range_fault(body, name, low, high):
            return fault
    if len(body.get("safety_identifier") or "") > _MOST_IDENTIFIER:
        return refused(f"string too long. Expected maximum length {_MOST_IDENTIFIER}", "safety_identifier")
    return None


@RULES.add("no sampling of reasoning models", DOCS + "guides/latest-model", REASONING)
def _no_sampling(body: Obj) -> Fault | None:
    if samples(body["model"], body.get("reasoning_effort")):
        return None
    return unsupported(body, "temperature", "top_p", "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs", "logit_bias")


@RULES.add("max_completion_tokens of reasoning models", "https://github.com/aws-samples/bedrock-access-gateway/issues/237", REASONING)
def _max_tokens(body: Obj) -> Fault | None:
    if body.get("max_tokens") is None:
        return None
    return refused(
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.", "max_tokens"
    )


@RULES.add("no stop sequences", "https://github.com/huggingface/smolagents/issues/1671", re.compile(r"^(?:o3(?!-mini)|o4|gpt-(?:5|6))"))
def _no_stops(body: Obj) -> Fault | None:
    return unsupported(body, "stop")


@RULES.add("efforts of the generation", DOCS + "guides/reasoning")
def _effort(body: Obj) -> Fault | None:
    return effort_fault(body["model"], body.get("reasoning_effort"), "reasoning_effort")


@RULES.add("no effort without reasoning", DOCS + "guides/reasoning", NOT_REASONING)
def _no_effort(body: Obj) -> Fault | None:
    return unsupported(body, "reasoning_effort")


@RULES.add("function tools belong to Responses", "https://github.com/BerriAI/litellm/issues/34569", _NEEDS_RESPONSES)
def _needs_responses(body: Obj) -> Fault | None:
    model, effort = body["model"], body.get("reasoning_effort")
    found = _NEEDS_RESPONSES.match(model)
    # GPT-5.4 refuses them only with an effort (openai/openai-openapi#541).
    if not found or not body.get("tools") or effort == "none" or (found[1] == "5.4" and effort is None):
        return None
    why = f"Function tools with reasoning_effort are not supported for {model} in /v1/chat/completions. "
    return refused(f"{why}To use function tools, use /v1/responses or set reasoning_effort to 'none'.", "reasoning_effort")


@RULES.add("strict schemas", DOCS + "guides/structured-outputs")
def _strict(body: Obj) -> Fault | None:
    wanted = (body.get("response_format") or {}).get("json_schema") or {}
    if wanted and not NAME.fullmatch(wanted["name"]):
        return refused("string does not match pattern. Expected '^[a-zA-Z0-9_-]{1,64}$'", "response_format", "json_schema", "name")
    if wanted.get("strict") and (why := strict_fault(wanted.get("schema"))):
        return refused(f"Invalid schema for response_format '{wanted['name']}': {why}", "response_format")
    for number, function in _functions(body):
        if function.get("strict") and (why := strict_fault(function.get("parameters"))):
            return refused(f"Invalid schema for function '{function['name']}': {why}", "tools", number, "function", "parameters")
    return None


@RULES.add("a schema of parameters is an object", DOCS + "guides/function-calling")
def _parameters(body: Obj) -> Fault | None:
    for number, function in _functions(body):
        if "parameters" in function and function["parameters"].get("type") != "object":
            why = f"Invalid schema for function '{function['name']}': schema must be a JSON Schema of 'type: \"object\"'."
            return refused(why, "tools", number, "function", "parameters")
    return None


@RULES.add("the choice needs tools", DOCS + "guides/function-calling")
def _choice(body: Obj) -> Fault | None:
    choice = body.get("tool_choice")
    if choice is not None and not body.get("tools"):
        return refused("'tool_choice' is only allowed when 'tools' are specified.", "tool_choice")
    if body.get("parallel_tool_calls") is not None and not body.get("tools"):
        return refused("'parallel_tool_calls' is only allowed when 'tools' are specified.", "parallel_tool_calls")
    named = (choice.get("function") or {}).get("name") if isinstance(choice, dict) else None
    if named is not None and named not in {function["name"] for _, function in _functions(body)}:
        return refused(f"Tool choice '{named}' not found in 'tools' parameter.", "tool_choice")
    return None


@RULES.add("the word json", DOCS + "guides/structured-outputs#json-mode")
def _json_word(body: Obj) -> Fault | None:
    if (body.get("response_format") or {}).get("type") != "json_object" or mentions_json([_text(one) for _, one in _messages(body)]):
        return None
    why = "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'."
    return refused(why, "messages")


def _text(message: Obj) -> str:
    content: Any = message.get("content")
    return content if isinstance(content, str) else " ".join(str(part.get("text", "")) for _, part in objects(content))
