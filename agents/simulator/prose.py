"""Text of the simulated model: helpful demo text that never pretends to be a real answer."""

from __future__ import annotations

import json
import re
import zlib

from agents.simulator import tool_script
from agents.simulator.prompt import Answer, Count, Prompt, tokens
from agents.simulator.samples import sample

_WORDS = ("river ", "bridge ", "light ", "stone ", "water ", "north ", "quiet ", "morning ")
_PIECE = re.compile(r"\s*\S{1,12}|\s+")
_TOOL_WISH = re.compile(r"\b(use|call|try) (the|a|an|your|my|this|that)?\s*([\w-]+ )?tools?\b", re.I)
_TITLE_WISH = re.compile(r"\btitle\b", re.I)
_CODE_WISH = re.compile(r"\b(code|function|script|python|program|snippet|sql)\b", re.I)
_TABLE_WISH = re.compile(r"\b(table|compare|comparison|versus|vs)\b", re.I)


def answer(prompt: Prompt) -> Answer:
    """Return the answer to a prompt, cut by its stop sequences and its token limit. Equal prompts get equal answers."""
    behaviour = prompt.behaviour
    reasoning = _pieces("Let me see what is asked. " + _quote(prompt.text, 60)) if prompt.thinks or "think" in behaviour else []
    spent = tokens("".join(reasoning))
    if scripted := _scripted(prompt):
        text, calls = scripted
        output = spent + tokens(text) + sum(tokens(name + arguments) for _, name, arguments in calls)
        return Answer(_pieces(text), reasoning, calls, "tool_calls", _count(prompt, output, spent))
    if wanted := _tool_calls(prompt):
        output = spent + sum(tokens(name + arguments) for _, name, arguments in wanted)
        return Answer([], reasoning, wanted, "tool_calls", _count(prompt, output, spent))
    if "filter" in behaviour or "blank" in behaviour:
        finish = "content_filter" if "filter" in behaviour else "stop"
        return Answer([], [], [], finish, _count(prompt, 0, 0))
    chunks = behaviour.count("chunks")
    pieces = _counted(chunks, behaviour.count("size")) if chunks is not None else _pieces(_text(prompt))
    finish, stopped_by = "stop", None
    text = "".join(pieces)
    hits = sorted((text.find(mark), mark) for mark in prompt.stop if mark and mark in text)
    if hits:
        pieces, finish, stopped_by = _cut(pieces, hits[0][0]), "stop_sequence", hits[0][1]
    most_bytes = None if prompt.max_tokens is None else max(0, prompt.max_tokens - spent) * 4
    if "overrun" in behaviour and prompt.max_tokens is not None:
        size = behaviour.count("size") or 4
        pieces, finish, stopped_by = _counted(prompt.max_tokens * 3 // 2, size), "stop", None
    elif most_bytes is not None and len("".join(pieces).encode()) > most_bytes:
        pieces, finish, stopped_by = _within(pieces, most_bytes), "length", None
    return Answer(pieces, reasoning, [], finish, _count(prompt, spent + tokens("".join(pieces)), spent), stopped_by)


def _count(prompt: Prompt, output: int, reasoning: int) -> Count:
    return Count(prompt.input_tokens, prompt.cached_tokens, output, reasoning)


def _scripted(prompt: Prompt) -> tuple[str, list[tuple[str, str, str]]] | None:
    """Return the text and the calls that the user's text scripts for this round."""
    if not prompt.tools or prompt.tool_choice == "none":
        return None
    found = tool_script.next_round(prompt.text, len(prompt.results))
    if found is None or not found[1].calls:
        return None
    number, one = found
    seed = _seed(prompt)
    return one.text, [(f"call_{seed:08x}{number:02x}{index:02x}", name, arguments) for index, (name, arguments) in enumerate(one.calls)]


def _tool_calls(prompt: Prompt) -> list[tuple[str, str, str]]:
    """Return calls of the offered tools if the prompt requests one and has no result yet."""
    if not prompt.tools or prompt.tool_choice == "none" or prompt.results:
        return []
    number = prompt.behaviour.count("tools")
    named = [tool for tool in prompt.tools if tool[0] == prompt.tool_choice]
    mentioned = [tool for tool in prompt.tools if re.search(rf"\b{re.escape(tool[0])}\b", prompt.text, re.I)]
    requested = "tool" in prompt.behaviour or number is not None or prompt.tool_choice == "required" or bool(_TOOL_WISH.search(prompt.text))
    if not (named or mentioned or requested):
        return []
    name, schema = (named or mentioned or prompt.tools)[0]
    arguments = json.dumps(sample(schema, prompt.text) or {}, ensure_ascii=False)
    seed = _seed(prompt)
    return [(f"call_{seed:08x}{index:04x}", name, arguments) for index in range(number or 1)]


def _text(prompt: Prompt) -> str:
    if prompt.json_schema is not None:
        return json.dumps(sample(prompt.json_schema, prompt.text), ensure_ascii=False)
    if prompt.json_mode:
        return json.dumps({"simulated": True, "answer": "This JSON comes from the simulator.", "prompt": _quote(prompt.text, 200)})
    if _TITLE_WISH.search(prompt.system) and not prompt.results:
        return " ".join(re.sub(r"[^\w\s'-]", " ", prompt.text).split()[:6]).capitalize() or "New conversation"
    if prompt.results:
        result = _quote(prompt.results[-1], 400)
        return f"The tool answered:\n\n> {result}\n\nThat is all a simulated model can make of it. *(simulated answer)*"
    return "\n\n".join(_paragraphs(prompt))


def _paragraphs(prompt: Prompt) -> list[str]:
    quoted = _quote(prompt.text, 160) or "nothing at all"
    seen = []
    if prompt.images:
        seen.append(f"I received {prompt.images} image{'s' * (prompt.images > 1)}; the simulator does not look into them.")
    if prompt.files:
        seen.append(f"I received {prompt.files} file{'s' * (prompt.files > 1)}; the simulator does not read them.")
    opening = (
        "**This is a simulated answer.** No vendor was called, so nothing was spent.",
        "**Simulated answer**, made on this machine without calling a vendor.",
        "*(Simulated.)* No model has read this; the text below only shows how an answer looks.",
    )[_seed(prompt) % 3]
    parts = [opening, f"You wrote:\n\n> {quoted}", *seen]
    if _CODE_WISH.search(prompt.text):
        parts.append('A real model would write code here:\n\n```python\ndef greet(name: str) -> str:\n    return f"Hello, {name}!"\n```')
    elif _TABLE_WISH.search(prompt.text):
        parts.append("| Option | Speed | Cost |\n|---|---|---|\n| small model | fast | low |\n| large model | slower | higher |")
    elif _seed(prompt) % 2:
        parts.append("A real answer might have:\n\n1. the short version first,\n2. the reasons after it,\n3. what to do next.")
    parts.append(f"To see a real answer, give the product a vendor's key; the model asked was `{prompt.model}`.")
    return parts


def _seed(prompt: Prompt) -> int:
    return zlib.crc32(prompt.text.encode("utf-8", "replace"))


def _quote(text: str, length: int) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= length else flat[: length - 1] + "…"


def _pieces(text: str) -> list[str]:
    """Split a text into words with their leading space, similar to a vendor's tokens."""
    return _PIECE.findall(text)


def _counted(chunks: int, size: int | None) -> list[str]:
    if size:
        return ["".join(_WORDS)[:size].ljust(size, "x")] * chunks
    return [_WORDS[index % len(_WORDS)] for index in range(chunks)]


def _cut(pieces: list[str], length: int) -> list[str]:
    """Return the first `length` characters, still in pieces."""
    kept: list[str] = []
    for piece in pieces:
        if length <= 0:
            break
        kept.append(piece[:length])
        length -= len(piece)
    return kept


def _within(pieces: list[str], most_bytes: int) -> list[str]:
    """Return the whole characters that fit into `most_bytes`."""
    fitting = "".join(pieces).encode()[:most_bytes].decode("utf-8", "ignore")
    return _cut(pieces, len(fitting))
