"""What Anthropic refuses although the types are right, as one table."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from agents.simulator.rules.rule import Obj, Rules, objects, refused
from agents.simulator.rules.shapes import Fault
from agents.simulator.seals import seal

RULES = Rules()
_DOCS = "https://platform.claude.com/docs/en/"
# Generations by the vendor's names of models.
_BUDGET_ONLY = re.compile(r"claude-(?:[123]|instant)|claude-\w+-4(?:-[015])?(?:-\d{8})?$")
_FROM_4_6 = re.compile(r"claude-[a-z]+-4-[6-9](?!\d)|claude-[a-z]+-[5-9]|claude-(?:fable|mythos)")
_FROM_4_7 = re.compile(r"claude-[a-z]+-4-[7-9](?!\d)|claude-[a-z]+-[5-9]|claude-(?:fable|mythos)")
_ALWAYS_THINK = re.compile(r"claude-(?:fable|mythos)|claude-opus-5-5")
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_ID = re.compile(r"[a-zA-Z0-9_-]+")
_MOST_MARKS = 4
_LEAST_BUDGET = 1024
# Limits of the output, by the models page.
_LIMITS = (
    (re.compile(r"claude-3-(?:opus|sonnet|haiku)"), 4096),
    (re.compile(r"claude-3-5"), 8192),
    (re.compile(r"claude-\w+-4-1|claude-opus-4(?:-0|-\d{8}|$)"), 32_000),
    (re.compile(r"claude-(?:haiku|sonnet)-4-[56]|claude-opus-4-5|claude-sonnet-4(?:-0|-\d{8}|$)"), 64_000),
    (re.compile(r"claude-"), 128_000),
)
_SCHEMA_KEYS = frozenset({
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "maxItems", "uniqueItems",
    "minProperties", "maxProperties", "patternProperties", "not", "if", "then", "else", "dependentRequired", "dependentSchemas",
})  # fmt: skip


def _turns(body: Obj) -> Iterator[tuple[int, str, list[Obj]]]:
    """Yield position, role and blocks of each message that is not a system message."""
    for number, message in objects(body.get("messages")):
        content = message.get("content")
        if message.get("role") != "system":
            blocks = [one for _, one in objects(content)] if isinstance(content, list) else [{"type": "text", "text": content}]
            yield number, str(message.get("role")), blocks


def _thinks(body: Obj) -> bool:
    return (body.get("thinking") or {}).get("type") in ("enabled", "adaptive")


@RULES.add("messages are not empty", _DOCS + "api/messages")
def _messages(body: Obj) -> Fault | None:
    turns = list(_turns(body))
    if not turns:
        return refused("at least one message is required", "messages")
    if turns[0][1] != "user":
        return refused('first message must use the "user" role', "messages")
    for number, role, blocks in turns:
        if not blocks or blocks == [{"type": "text", "text": ""}]:
            if number == turns[-1][0] and role == "assistant":
                continue
            return refused("all messages must have non-empty content except for the optional final assistant message", "messages", number)
    return None


@RULES.add("text is not blank", "https://github.com/anthropics/claude-code/issues/23390")
def _blank(body: Obj) -> Fault | None:
    for number, _, blocks in _turns(body):
        for at, block in enumerate(blocks):
            if block.get("type") == "text" and not block["text"].strip():
                return refused("text content blocks must contain non-whitespace text", "messages", number, "content", at)
    return None


@RULES.add("names of tools", _DOCS + "agents-and-tools/tool-use/define-tools")
def _names(body: Obj) -> Fault | None:
    seen = set()
    for number, tool in objects(body.get("tools")):
        name = tool.get("name")
        if tool.get("type") in (None, "custom") and not _NAME.fullmatch(str(name)):
            return refused("String should match pattern '^[a-zA-Z0-9_-]{1,128}$'", "tools", number, "custom", "name")
        if name is not None and name in seen:
            return refused("Tool names must be unique.", "tools")
        seen.add(name)
    return None


@RULES.add("ids of tool calls", "https://github.com/maximhq/bifrost/issues/5097")
def _ids(body: Obj) -> Fault | None:
    seen = set()
    for number, _, blocks in _turns(body):
        for at, block in enumerate(blocks):
            kind = block.get("type")
            key = {"tool_use": "id", "tool_result": "tool_use_id"}.get(str(kind))
            if key is None:
                continue
            if not _ID.fullmatch(block[key]):
                return refused("String should match pattern '^[a-zA-Z0-9_-]+$'", "messages", number, "content", at, str(kind), key)
            if kind == "tool_use" and block[key] in seen:
                return refused("`tool_use` ids must be unique", "messages", number, "content", at)
            seen |= {block[key]} if kind == "tool_use" else set()
    return None


@RULES.add("results follow their calls", _DOCS + "agents-and-tools/tool-use/handle-tool-calls")
def _pairs(body: Obj) -> Fault | None:
    joined: list[tuple[int, str, list[Obj]]] = []
    for number, role, blocks in _turns(body):  # the vendor joins messages of one role
        if joined and joined[-1][1] == role:
            joined[-1][2].extend(blocks)
        else:
            joined.append((number, role, list(blocks)))
    calls: set[str] = set()
    for number, role, blocks in [*joined, (len(joined), "user", [])]:
        results = [block for block in blocks if block.get("type") == "tool_result"] if role == "user" else []
        found = {block["tool_use_id"] for block in results}
        if missing := calls - found:
            why = f"`tool_use` ids were found without `tool_result` blocks immediately after: {', '.join(sorted(missing))}"
            return refused(why, "messages", number - 1)
        if unknown := found - calls:
            why = f"unexpected `tool_use_id` found in `tool_result` blocks: {', '.join(sorted(unknown))}"
            return refused(why, "messages", number, "content", 0)
        if results and any(block.get("type") == "tool_result" for block in blocks[len(results) :]):
            return refused("`tool_result` blocks must come first in the message", "messages", number)
        calls = {block["id"] for block in blocks if block.get("type") == "tool_use"} if role == "assistant" else set()
    return None


@RULES.add("thinking comes back unchanged", _DOCS + "build-with-claude/extended-thinking")
def _signatures(body: Obj) -> Fault | None:
    for number, _, blocks in _turns(body):
        for at, block in enumerate(blocks):
            if block.get("type") == "thinking" and block["signature"] != seal(block["thinking"]):
                return refused("Invalid `signature` in `thinking` block", "messages", number, "content", at)
    return None


@RULES.add("the last message is the user's", _DOCS + "api/errors#prefill-not-supported", _FROM_4_6)
def _prefill(body: Obj) -> Fault | None:
    last = list(_turns(body))[-1:]
    if last and last[0][1] == "assistant":
        return refused("This model does not support assistant message prefill. The conversation must end with a user message.")
    return None


@RULES.add("a prefill ends without white space", _DOCS + "build-with-claude/prompt-engineering/prefill-claudes-response")
def _trailing(body: Obj) -> Fault | None:
    for number, role, blocks in list(_turns(body))[-1:]:
        if role == "assistant" and blocks and blocks[-1].get("type") == "text" and blocks[-1]["text"] != blocks[-1]["text"].rstrip():
            return refused("final assistant content cannot end with trailing whitespace", "messages", number)
    return None


@RULES.add("at most four cache marks", _DOCS + "build-with-claude/prompt-caching")
def _marks(body: Obj) -> Fault | None:
    found, least = list(_ttls(body)), False
    if len(found) > _MOST_MARKS:
        return refused(f"A maximum of {_MOST_MARKS} blocks with cache_control may be provided. Found {len(found)}.")
    for ttl in found:
        if ttl == "1h" and least:
            return refused("a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block")
        least = least or ttl == "5m"
    return None


def _ttls(body: Obj) -> Iterator[str]:
    """Yield the time to live of each mark, in the order of the cache: tools, system, messages."""
    blocks = [one for field in ("tools", "system") for _, one in objects(body.get(field))]
    for _, message in objects(body.get("messages")):
        for _, block in objects(message.get("content")):
            blocks += [block, *(one for _, one in objects(block.get("content")))]
    for block in (*blocks, body):
        if mark := block.get("cache_control"):
            yield mark.get("ttl", "5m")


@RULES.add("the output limit of the model", _DOCS + "about-claude/models/overview")
def _limit(body: Obj) -> Fault | None:
    model, limit = str(body.get("model")), body.get("max_tokens", 1)
    if limit < 1:
        return refused("Input should be greater than or equal to 1", "max_tokens")
    most = next((most for pattern, most in _LIMITS if pattern.search(model)), limit)
    if limit > most:
        return refused(f"{limit} > {most}, which is the maximum allowed number of output tokens for {model}", "max_tokens")
    return None


@RULES.add("stop sequences are not blank", "https://github.com/BerriAI/litellm/issues/3286")
def _stops(body: Obj) -> Fault | None:
    for number, mark in enumerate(body.get("stop_sequences") or ()):
        if not mark.strip():
            return refused("each stop sequence must contain non-whitespace", "stop_sequences", number)
    return None


@RULES.add("sampling values", _DOCS + "api/messages")
def _ranges(body: Obj) -> Fault | None:
    for name in ("temperature", "top_p"):
        if name in body and not 0 <= body[name] <= 1:
            return refused("range: 0..1", name)
    if _thinks(body) and body.get("temperature", 1) != 1:
        return refused("`temperature` may only be set to 1 when thinking is enabled or in adaptive mode", "temperature")
    if _thinks(body) and "top_k" in body:
        return refused("`top_k` must be unset when thinking is enabled", "top_k")
    return None


@RULES.add("one of temperature and top_p", "https://github.com/maximhq/bifrost/pull/2773", re.compile(r"claude-\w+-4-[56]"))
def _one_sampling(body: Obj) -> Fault | None:
    if "temperature" in body and "top_p" in body:
        return refused("`temperature` and `top_p` cannot both be specified for this model. Please use only one.")
    return None


@RULES.add("no sampling", _DOCS + "about-claude/models/whats-new-claude-4-7#sampling-parameters-removed", _FROM_4_7)
def _no_sampling(body: Obj) -> Fault | None:
    for name in ("temperature", "top_p", "top_k"):
        if name in body:
            return refused(f"`{name}` is deprecated for this model.", name)
    return None


@RULES.add("a budget of thinking", _DOCS + "build-with-claude/extended-thinking")
def _budget(body: Obj) -> Fault | None:
    thinking = body.get("thinking") or {}
    if thinking.get("type") != "enabled":
        return None
    budget = thinking["budget_tokens"]
    if budget < _LEAST_BUDGET:
        return refused(f"Input should be greater than or equal to {_LEAST_BUDGET}", "thinking", "enabled", "budget_tokens")
    if budget >= body.get("max_tokens", budget + 1):
        return refused("`max_tokens` must be greater than `thinking.budget_tokens`", "max_tokens")
    last = [blocks for _, role, blocks in _turns(body) if role == "assistant"][-1:]
    after = next((blocks for _, role, blocks in reversed(list(_turns(body))) if role == "user"), [])
    in_loop = last and any(block.get("type") == "tool_result" for block in after)
    if in_loop and last[0][0].get("type") not in ("thinking", "redacted_thinking"):
        return refused("Expected `thinking` or `redacted_thinking`, but found `tool_use`, when `thinking` is enabled", "messages")
    return None


@RULES.add("no adaptive thinking", _DOCS + "build-with-claude/adaptive-thinking", _BUDGET_ONLY)
def _no_adaptive(body: Obj) -> Fault | None:
    if (body.get("thinking") or {}).get("type") == "adaptive":
        return refused("adaptive thinking is not supported on this model", "thinking", "type")
    return None


@RULES.add("no budget", _DOCS + "about-claude/models/whats-new-claude-4-7", _FROM_4_7)
def _no_budget(body: Obj) -> Fault | None:
    if (body.get("thinking") or {}).get("type") == "enabled":
        return refused('"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive".', "thinking", "type")
    return None


@RULES.add("thinking cannot be off", _DOCS + "build-with-claude/adaptive-thinking", _ALWAYS_THINK)
def _always(body: Obj) -> Fault | None:
    if (body.get("thinking") or {}).get("type") in ("disabled", "between_tools"):
        return refused("thinking cannot be disabled for this model", "thinking", "type")
    if (body.get("tool_choice") or {}).get("type") in ("any", "tool"):
        return refused("tool_choice may not force tool use for this model, which always thinks", "tool_choice", "type")
    return None


@RULES.add(
    "no effort",
    _DOCS + "build-with-claude/effort",
    re.compile(r"claude-(?:[123]|instant)|claude-(?:haiku|sonnet)-4(?:-[0-5])?(?:-\d{8})?$"),
)
def _no_effort(body: Obj) -> Fault | None:
    if (body.get("output_config") or {}).get("effort"):
        return refused("This model does not support the effort parameter.", "output_config", "effort")
    return None


@RULES.add("no effort xhigh", _DOCS + "build-with-claude/effort", re.compile(r"claude-\w+-4-[56]"))
def _no_xhigh(body: Obj) -> Fault | None:
    if (body.get("output_config") or {}).get("effort") == "xhigh":
        return refused("This model does not support effort level 'xhigh'.", "output_config", "effort")
    return None


@RULES.add("no forced tool while thinking", _DOCS + "build-with-claude/extended-thinking#extended-thinking-with-tool-use")
def _forced(body: Obj) -> Fault | None:
    if _thinks(body) and (body.get("tool_choice") or {}).get("type") in ("any", "tool"):
        return refused("Thinking may not be enabled when tool_choice forces tool use.")
    return None


@RULES.add("the choice is an offered tool", _DOCS + "agents-and-tools/tool-use/define-tools")
def _choice(body: Obj) -> Fault | None:
    choice, tools = body.get("tool_choice"), body.get("tools") or []
    if choice and not tools:
        return refused("tool_choice may only be specified while providing tools", "tool_choice")
    if choice and choice["type"] == "tool" and choice["name"] not in {tool.get("name") for tool in tools}:
        return refused(f"Tool '{choice['name']}' not found in provided tools", "tool_choice", "name")
    return None


@RULES.add("an input schema is an object", _DOCS + "agents-and-tools/tool-use/define-tools")
def _input_schema(body: Obj) -> Fault | None:
    for number, tool in objects(body.get("tools")):
        schema = tool.get("input_schema")
        if schema is not None and schema.get("type") != "object":
            return refused("Input should be 'object'", "tools", number, "custom", "input_schema", "type")
        if schema is not None and any(name in schema for name in ("oneOf", "allOf", "anyOf")):
            return refused(
                "input_schema does not support oneOf, allOf, or anyOf at the top level", "tools", number, "custom", "input_schema"
            )
    return None


@RULES.add("schemas of strict output", _DOCS + "build-with-claude/structured-outputs#json-schema-limitations")
def _schemas(body: Obj) -> Fault | None:
    wanted = ((body.get("output_config") or {}).get("format") or {}).get("schema")
    found = [("output_config.format.schema", wanted)] if wanted is not None else []
    found += [
        (f"tools.{number}.custom.input_schema", one["input_schema"]) for number, one in objects(body.get("tools")) if one.get("strict")
    ]
    for where, schema in found:
        if why := _schema_fault(schema):
            return refused(f"{where}: {why}")
    return None


def _schema_fault(schema: Any) -> str:
    """Return why a schema is refused; empty if it is not."""
    if not isinstance(schema, dict):
        return ""
    kind = schema.get("type")
    if kind == "object" and schema.get("additionalProperties") is not False:
        return "For 'object' type, 'additionalProperties' must be explicitly set to false"
    if bad := _SCHEMA_KEYS & schema.keys():
        return f"For '{kind}' type, property '{min(bad)}' is not supported"
    if kind == "array" and schema.get("minItems", 0) > 1:
        return "For 'array' type, 'minItems' values other than 0 or 1 are not supported"
    inner = [*(schema.get("properties") or {}).values(), *(schema.get("$defs") or {}).values(), schema.get("items")]
    inner += [one for name in ("anyOf", "allOf", "oneOf") for one in schema.get(name) or ()]
    return next((why for one in inner if (why := _schema_fault(one))), "")
