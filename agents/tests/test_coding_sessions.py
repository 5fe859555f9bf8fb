"""Twenty turns of the traffic of today's coding agents, against vendors that refuse what the real ones refuse.

The bodies are made by the facts that were seen on loopback: of Claude Code's traffic (betas, adaptive thinking, context
management, a system message in place, tools without a type, JSON in `metadata.user_id`) and of Codex's (custom tools,
`additional_tools`, encrypted reasoning, `client_metadata`). Nothing of either client is copied.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from accounts import keys
from agents.simulator import Simulator
from agents.tests.wires import MESSAGES, RESPONSES
from tests.kit.wire import Answer, ask, product

JSON = dict[str, Any]
pytestmark = pytest.mark.django_db
TURNS = 20
# The turn in which the client begins anew with a summary.
COMPACTED = 12
# OpenAI's chat completions get a picture behind the results, which the simulated model takes for a new question.
STEPS = 3
long = pytest.mark.long
CROSSED = {
    MESSAGES: ("claude-sonnet-4-6", "gpt-4o", "gemini-3.8-flash", "gemini-2.5-flash"),
    RESPONSES: ("gpt-6-luna", "claude-opus-5", "claude-haiku-4-5", "gemini-2.5-flash"),
}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
MARK = {"cache_control": {"type": "ephemeral"}}
CLAUDE_HEADERS = {
    "anthropic-version": "2023-06-01",
    "anthropic-beta": "claude-code-20250219,context-management-2025-06-27,interleaved-thinking-2025-05-14,effort-2025-11-24",
}
NAMES = ["Bash", "Read", "Edit", "Write", "Glob", "Grep", "Task", "WebFetch", *(f"mcp__server__tool_{number}" for number in range(16))]
SCHEMA = {
    "type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"], "additionalProperties": False,
    "$schema": "http://json-schema.org/draft-07/schema#",
}  # fmt: skip


@pytest.fixture
def key(user, models) -> str:
    return keys.create(user, name="t", scopes=["chat"])[1]


def of_stream(answer: Answer) -> list[JSON]:
    assert answer.status == 200, answer.body
    lines = [line for line in answer.body.decode().splitlines() if line.startswith("data: {")]
    return [json.loads(line[6:]) for line in lines]


# --- Claude Code -----------------------------------------------------------------------------------


def claude_body(model: str, messages: list[Any]) -> JSON:
    return {
        "model": model,
        "max_tokens": 64_000,
        "stream": True,
        "system": [{"type": "text", "text": "You are a coding agent. " * 300, **MARK}],
        "messages": messages,
        "tools": [{"name": name, "description": f"{name} " * 40, "input_schema": SCHEMA} for name in NAMES],
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "medium"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "metadata": {"user_id": json.dumps({"device_id": "d", "session_id": "s"})},
    }


def claude_answer(events: list[JSON]) -> tuple[list[JSON], JSON]:
    """The blocks of a streamed message as a client keeps them, and its usage."""
    blocks: list[JSON] = []
    usage: JSON = {}
    for event in events:
        match event["type"]:
            case "message_start":
                usage |= event["message"]["usage"]
            case "content_block_start":
                blocks.append({**event["content_block"], "json": ""})
            case "content_block_delta":
                delta, block = event["delta"], blocks[event["index"]]
                for name in ("text", "thinking", "signature"):
                    block[name] = block.get(name, "") + delta[name] if name in delta else block.get(name)
                block["json"] += delta.get("partial_json", "")
            case "message_delta":
                usage |= event["usage"]
            case "error":
                raise AssertionError(event)
    for block in blocks:
        written = block.pop("json")
        if block["type"] == "tool_use":
            block["input"] = json.loads(written or "{}")
    kept = {"text": ("type", "text"), "thinking": ("type", "thinking", "signature"), "tool_use": ("type", "id", "name", "input")}
    return [{name: block[name] for name in kept[block["type"]]} for block in blocks], usage


def claude_result(turn: int, use: JSON, *, picture: bool) -> JSON:
    """What a tool gave: text, a picture, a file with a NUL in it, an error."""
    content: list[JSON] = [{"type": "text", "text": f"line {turn}\x00\n" * 30}]
    if picture:
        content.append({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}})
    return {"type": "tool_result", "tool_use_id": use["id"], "content": content} | ({"is_error": True} if turn % 7 == 6 else {})


@pytest.mark.parametrize("model", ["claude-opus-5", "gpt-5.4", *(pytest.param(model, marks=long) for model in CROSSED[MESSAGES])])
async def test_a_session_of_claude_codes_traffic_is_taken_by_every_vendor(key, vendor, model: str):
    messages: list[Any] = []
    cached = 0
    async with vendor() as sim:
        assert (await ask(product, "HEAD", "/", None, {}, "")).status in (200, 302, 404, 405)
        for turn in range(TURNS):
            if turn == COMPACTED:  # compaction: the client begins anew with a summary
                messages = [{"role": "user", "content": [{"type": "text", "text": "Summary of the work so far. " * 200, **MARK}]}]
            else:
                tool = NAMES[turn % 6]
                text = f'[[sim:think]] [[call {tool} {{"path": "a{turn}.py"}}]] edit file {turn}'
                messages.append({"role": "user", "content": [{"type": "text", "text": text}]})
            if turn % 4 == 1:
                messages.append({"role": "system", "content": "The user switched to plan mode."})
            counted = claude_body(model, messages)
            counted = {name: counted[name] for name in ("model", "system", "messages", "tools")}
            if turn % 6 == 0:
                count = await ask(product, "POST", f"{MESSAGES}/count_tokens?beta=true", counted, CLAUDE_HEADERS, key)
                assert count.status == 200 and count.json["input_tokens"] > 1000, count.body
            for step in range(STEPS):
                answer = await ask(product, "POST", f"{MESSAGES}?beta=true", claude_body(model, messages), CLAUDE_HEADERS, key)
                content, usage = claude_answer(of_stream(answer))
                cached += usage.get("cache_read_input_tokens") or 0
                messages.append({"role": "assistant", "content": content})
                uses = [block for block in content if block["type"] == "tool_use"]
                assert step or bool(uses) is (turn != COMPACTED), content
                if not uses:
                    break
                messages.append({"role": "user", "content": [claude_result(turn, use, picture=turn % 5 == 3 and not step) for use in uses]})
            assert not uses, "the loop of tools ends"
        refused = [seen.extra["refused"] for seen in sim.requests if "refused" in seen.extra]
        assert not refused and _is_of(sim, model)
    assert cached > 0, "the usage shows what came from the cache"


def _is_of(sim: Simulator, model: str) -> bool:
    return {seen.model for seen in sim.requests} == {model}


# --- Codex -----------------------------------------------------------------------------------------

PATCH = {
    "type": "custom", "name": "apply_patch", "description": "Edits files.",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"},
}  # fmt: skip
SHELL = {"type": "function", "name": "exec_command", "description": "Runs.", "parameters": SCHEMA, "strict": False}


def codex_body(model: str, items: list[Any], *, native: bool) -> JSON:
    """The body that Codex sends; for a model of another vendor without what only OpenAI's own models have."""
    body: JSON = {
        "model": model,
        "instructions": "You are a coding agent. " * 200,
        "input": items,
        "tools": [SHELL, *([PATCH] if native else []), {"type": "web_search"}],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "reasoning": {"effort": "medium", "summary": "auto"},
        "store": False,
        "stream": True,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "0199-session",
        "client_metadata": {"session": "s"},
    }
    if native:
        body["text"] = {"verbosity": "low"}
    return body


@pytest.mark.parametrize("model", ["gpt-5.4", "gemini-3.8-flash", *(pytest.param(model, marks=long) for model in CROSSED[RESPONSES])])
async def test_a_session_of_codexs_traffic_is_taken_by_every_vendor(key, vendor, model: str):
    native = model.startswith("gpt")
    opening: list[Any] = [{"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Sandbox: on."}]}]
    if native:
        opening.insert(0, {"type": "additional_tools", "role": "developer", "tools": [PATCH]})
    items, thoughts, cached = list(opening), 0, 0
    async with vendor() as sim:
        for turn in range(TURNS):
            if turn == COMPACTED:
                items = [*opening, {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Summary. " * 300}]}]
            else:
                text = f'[[call exec_command {{"path": "{turn}"}}]] go on with {turn}'
                items.append({"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]})
            for step in range(STEPS):
                answer = await ask(product, "POST", RESPONSES, codex_body(model, items, native=native), {"openai-beta": "responses"}, key)
                last = of_stream(answer)[-1]
                assert last["type"] == "response.completed", last
                # Codex keeps the items without the ids that it was given.
                output = [
                    {name: value for name, value in item.items() if name not in ("id", "status")} for item in last["response"]["output"]
                ]
                cached += last["response"]["usage"]["input_tokens_details"]["cached_tokens"]
                thoughts += sum(item["type"] == "reasoning" and bool(item.get("encrypted_content")) for item in output)
                items += output
                calls = [item for item in output if item["type"] == "function_call"]
                assert step or bool(calls) is (turn != COMPACTED), output
                if not calls:
                    break
                picture = {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}", "detail": "auto"}
                found: Any = [{"type": "input_text", "text": "shot"}, picture] if turn % 5 == 3 else f"exit 0\nline {turn}"
                items += [{"type": "function_call_output", "call_id": call["call_id"], "output": found} for call in calls]
                if native and turn % 3 == 0:
                    items.append(
                        {"type": "custom_tool_call", "call_id": f"call_p{turn}", "name": "apply_patch", "input": "*** Begin Patch"}
                    )
                    items.append({"type": "custom_tool_call_output", "call_id": f"call_p{turn}", "output": "Done"})
        refused = [seen.extra["refused"] for seen in sim.requests if "refused" in seen.extra]
        assert not refused and _is_of(sim, model)
    assert cached > 0, "the usage shows what came from the cache"
    assert thoughts > 0 or model.startswith("gemini"), "encrypted thinking comes back within the session"
