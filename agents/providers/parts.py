"""Parts of a prompt in the vendors' formats: files as text, arguments as objects, names and ids that the vendor takes."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from agents.messages import CompletionRequest, File, Part, ToolOutput, ToolUse
from agents.providers.errors import ModelCannotTake, ProviderBadRequest
from aiagents.core import jsonio

# Anthropic's rule for the ids of tool calls.
CALL_ID = r"[a-zA-Z0-9_-]+"
_TEXTUAL = frozenset({"application/json", "application/xml", "application/yaml", "application/x-yaml", "application/javascript"})


def decoded_text(part: File) -> str:
    """Return the file's text. Raises ProviderBadRequest, before a call is made, if the file is not text."""
    if not part.media_type.startswith("text/") and part.media_type not in _TEXTUAL:
        raise ProviderBadRequest(f"Models take PDF and text files, not {part.media_type or 'files without a media type'}.", param="content")
    try:
        return base64.b64decode(part.data, validate=True).decode("utf-8", "replace")
    except ValueError as exc:
        raise ProviderBadRequest(f"The data of the file {part.name!r} is not base64.", param="content") from exc


def arguments_object(text: str) -> dict[str, Any]:
    """Return a tool call's arguments as an object. Arguments that are not one are kept under the key `arguments`."""
    try:
        value = jsonio.exact(text or "{}")
    except ValueError:
        value = text
    return value if isinstance(value, dict) else {"arguments": value}


def limited_stops(stops: tuple[str, ...], most: int) -> list[str]:
    """Return the stop sequences. Raises ModelCannotTake if the vendor takes fewer."""
    if len(stops) > most:
        raise ModelCannotTake(f"This model takes at most {most} stop sequences.", param="stop")
    return list(stops)


def fit_names(request: CompletionRequest, fits: re.Pattern[str]) -> tuple[CompletionRequest, Mapping[str, str]]:
    """Return the request with names of tools that the vendor takes, and the caller's names by those that were changed."""
    called = {part.name for message in request.messages for part in message.parts if isinstance(part, ToolUse | ToolOutput)}
    odd = [name for name in called.union(tool.name for tool in request.tools) if not fits.fullmatch(name)]
    if not odd:
        return request, {}
    made = {name: _made_name(name) for name in odd}
    messages = tuple(replace(message, parts=tuple(_renamed(part, made) for part in message.parts)) for message in request.messages)
    tools = tuple(replace(tool, name=made.get(tool.name, tool.name)) for tool in request.tools)
    choice = made.get(request.tool_choice, request.tool_choice)
    fitted = replace(request, messages=messages, tools=tools, tool_choice=choice)
    return fitted, {name: original for original, name in made.items()}


def _made_name(name: str) -> str:
    """Return a name that every vendor takes: it begins with a letter and has at most 64 letters, digits, `_` and `-`."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    return f"t_{re.sub('[^a-zA-Z0-9_-]', '_', name)[:48]}_{digest[:12]}"


def _renamed(part: Part, made: Mapping[str, str]) -> Part:
    return replace(part, name=made[part.name]) if isinstance(part, ToolUse | ToolOutput) and part.name in made else part


class CallIds:
    """The ids of a request's tool calls and results, made to fit the vendor's rule, each result with the id of its call.

    An id that fits is sent unchanged. `unique`: the vendor refuses an id that occurs twice, as servers that number the calls
    of each answer anew make it.
    """

    def __init__(self, pattern: str, made: str = "call_%.24s", *, unique: bool = False) -> None:
        self._fits, self._made, self._unique = re.compile(pattern), made, unique
        self._used: set[str] = set()
        # By the caller's id: calls without a result, oldest first, and the call that got the last result.
        self._open: dict[str, list[str]] = {}
        self._answered: dict[str, str] = {}

    def of_call(self, part: ToolUse) -> str:
        fitting, times = self._fitting(part.call_id), 1
        while self._unique and fitting in self._used:
            times += 1
            fitting = self._fitting(f"{part.call_id}\n{times}")
        self._used.add(fitting)
        self._open.setdefault(part.call_id, []).append(fitting)
        return fitting

    def of_result(self, part: ToolOutput) -> str:
        if waiting := self._open.get(part.call_id):
            self._answered[part.call_id] = waiting.pop(0)
        return self._answered.get(part.call_id) or self._fitting(part.call_id)

    def _fitting(self, call_id: str) -> str:
        if self._fits.fullmatch(call_id):
            return call_id
        return self._made % hashlib.sha256(call_id.encode("utf-8", "surrogatepass")).hexdigest()
