"""What OpenAI refuses at Responses although the types are right, as one table."""

from __future__ import annotations

import re

from agents.simulator.rules.openai_shared import (
    DESCRIPTION,
    DOCS,
    IMAGE,
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
from agents.simulator.seals import is_seal

RULES = Rules()
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_LEAST_OUTPUT, _MOST_ID, _MOST_IDENTIFIER = 16, 64, 64
_PAIRS = {"function_call": "function_call_output", "custom_tool_call": "custom_tool_call_output"}


def _items(body: Obj) -> list[tuple[int, Obj]]:
    return list(objects(body.get("input")))


def _functions(body: Obj) -> list[tuple[int, Obj]]:
    return [(number, tool) for number, tool in objects(body.get("tools")) if tool.get("type") == "function"]


@RULES.add("some input", DOCS + "api-reference/responses")
def _some(body: Obj) -> Fault | None:
    if any(body.get(name) for name in ("input", "prompt", "conversation", "previous_response_id")):
        return None
    return refused("One of 'input' or 'previous_response_id' or 'prompt' or 'conversation' must be provided.", "input")


@RULES.add("names of functions", DESCRIPTION)
def _names(body: Obj) -> Fault | None:
    found = [(("tools", number, "name"), tool["name"]) for number, tool in _functions(body)]
    found += [(("input", number, "name"), item["name"]) for number, item in _items(body) if item.get("type") == "function_call"]
    for path, name in found:
        if not _NAME.fullmatch(name):
            return refused("string does not match pattern. Expected '^[a-zA-Z0-9_-]+$', at most 128 characters", *path)
    return None


@RULES.add("ids of tool calls", DESCRIPTION)
def _ids(body: Obj) -> Fault | None:
    for number, item in _items(body):
        if "call_id" in item and not 1 <= len(item["call_id"] or "x") <= _MOST_ID:
            return refused(f"string too long. Expected minimum length 1 and maximum length {_MOST_ID}", "input", number, "call_id")
    return None


@RULES.add("calls and results come in pairs", "https://github.com/continuedev/continue/issues/10092")
def _pairs(body: Obj) -> Fault | None:
    if body.get("previous_response_id") or body.get("conversation"):
        return None
    for call, output in _PAIRS.items():
        calls = {item["call_id"]: None for _, item in _items(body) if item.get("type") == call}
        outputs = {item["call_id"]: None for _, item in _items(body) if item.get("type") == output}
        for missing in (one for one in calls if one not in outputs):
            return refused(f"No tool output found for function call {missing}.", "input")
        for unknown in (one for one in outputs if one not in calls):
            return refused(f"No tool call found for function call output with call_id {unknown}.", "input")
    return None


@RULES.add("reasoning comes back encrypted and unchanged", DOCS + "guides/reasoning#encrypted-reasoning-items")
def _reasoning(body: Obj) -> Fault | None:
    items = _items(body)
    for number, item in items:
        if item.get("type") not in ("reasoning", "compaction"):
            continue
        encrypted = item.get("encrypted_content")
        if not encrypted:
            why = "Items are not persisted when `store` is set to false. Try again with `store` set to true, or remove this item."
            return refused(f"Item with id '{item.get('id')}' not found. {why}", "input")
        if not is_seal(encrypted):
            return refused("The encrypted content could not be verified. Reason: Encrypted content could not be decrypted.", "input")
        if item["type"] == "reasoning" and number == items[-1][0]:
            return refused(f"Item '{item.get('id')}' of type 'reasoning' was provided without its required following item.", "input")
    return None


@RULES.add("nothing is referred to that was not stored", DOCS + "guides/conversation-state")
def _references(body: Obj) -> Fault | None:
    for number, item in _items(body):
        if item.get("type") == "item_reference":
            return refused(f"Item with id '{item['id']}' not found.", "input", number)
    if body.get("previous_response_id"):
        return refused(f"Previous response with id '{body['previous_response_id']}' not found.", "previous_response_id")
    return None


@RULES.add("images are PNG, JPEG, GIF or WebP", DOCS + "guides/images-vision")
def _images(body: Obj) -> Fault | None:
    for number, item in _items(body):
        for field in ("content", "output"):
            for at, part in objects(item.get(field)):
                if part.get("type") == "input_image" and part.get("image_url") and not IMAGE.match(part["image_url"]):
                    return refused("The image data you provided does not represent a valid image.", "input", number, field, at)
    return None


@RULES.add("an answer is not said again as input", DOCS + "api-reference/responses")
def _roles(body: Obj) -> Fault | None:
    for number, item in _items(body):
        for at, part in objects(item.get("content")):
            if item.get("role") == "assistant" and str(part.get("type")).startswith("input_"):
                why = f"Invalid value: '{part['type']}'. Supported values are: 'output_text' and 'refusal'."
                return refused(why, "input", number, "content", at)
    return None


@RULES.add("ranges of numbers", DESCRIPTION)
def _ranges(body: Obj) -> Fault | None:
    limits: tuple[tuple[str, float, float], ...] = (
        ("temperature", 0, 2), ("top_p", 0, 1), ("top_logprobs", 0, 20), ("max_output_tokens", _LEAST_OUTPUT, 10**9),
    )  # fmt: skip
    for name, low, high in limits:
        if fault := range_fault(body, name, low, high):
            return fault
    if len(body.get("safety_identifier") or "") > _MOST_IDENTIFIER:
        return refused(f"string too long. Expected maximum length {_MOST_IDENTIFIER}", "safety_identifier")
    return None


@RULES.add("no sampling of reasoning models", DOCS + "guides/latest-model", REASONING)
def _no_sampling(body: Obj) -> Fault | None:
    if samples(body["model"], (body.get("reasoning") or {}).get("effort")):
        return None
    return unsupported(body, "temperature", "top_p", "top_logprobs")


@RULES.add("efforts of the generation", DOCS + "guides/reasoning")
def _effort(body: Obj) -> Fault | None:
    return effort_fault(body["model"], (body.get("reasoning") or {}).get("effort"), "reasoning", "effort")


@RULES.add("no effort without reasoning", DOCS + "guides/reasoning", NOT_REASONING)
def _no_effort(body: Obj) -> Fault | None:
    if (body.get("reasoning") or {}).get("effort"):
        return refused("Unsupported parameter: 'reasoning.effort' is not supported with this model.", "reasoning", "effort")
    if "reasoning.encrypted_content" in (body.get("include") or ()):
        return refused("Encrypted content is not supported with this model.", "include")
    return None


@RULES.add("strict schemas", DOCS + "guides/structured-outputs")
def _strict(body: Obj) -> Fault | None:
    wanted = (body.get("text") or {}).get("format") or {}
    if wanted.get("strict") and (why := strict_fault(wanted.get("schema"))):
        return refused(f"Invalid schema for response_format '{wanted['name']}': {why}", "text", "format", "schema")
    for number, tool in _functions(body):
        if tool.get("strict") and (why := strict_fault(tool.get("parameters"))):
            return refused(f"Invalid schema for function '{tool['name']}': {why}", "tools", number, "parameters")
    return None


@RULES.add("a schema of parameters is an object", DOCS + "guides/function-calling")
def _parameters(body: Obj) -> Fault | None:
    for number, tool in _functions(body):
        if tool.get("parameters") is not None and tool["parameters"].get("type") != "object":
            why = f"Invalid schema for function '{tool['name']}': schema must be a JSON Schema of 'type: \"object\"'."
            return refused(why, "tools", number, "parameters")
    return None


@RULES.add("the choice is an offered tool", DOCS + "guides/function-calling")
def _choice(body: Obj) -> Fault | None:
    choice = body.get("tool_choice")
    offered = {tool["name"] for _, tool in _functions(body)}
    if isinstance(choice, dict) and choice.get("type") == "function" and choice["name"] not in offered:
        return refused(f"Tool choice 'function' named '{choice['name']}' not found in 'tools' parameter.", "tool_choice")
    if choice == "required" and not body.get("tools") and not any(item.get("type") == "additional_tools" for _, item in _items(body)):
        return refused("Tool choice 'required' must be specified with 'tools' parameter.", "tool_choice")
    return None


@RULES.add("the word json", DOCS + "guides/structured-outputs#json-mode")
def _json_word(body: Obj) -> Fault | None:
    if ((body.get("text") or {}).get("format") or {}).get("type") != "json_object":
        return None
    texts = [body["input"]] if isinstance(body.get("input"), str) else []
    for _, item in _items(body):
        content = item.get("content")
        texts += [content] if isinstance(content, str) else [str(part.get("text", "")) for _, part in objects(content)]
    if mentions_json(texts):
        return None
    return refused("Response input messages must contain the word 'json' in some form to use 'text.format' of type 'json_object'.", "input")
