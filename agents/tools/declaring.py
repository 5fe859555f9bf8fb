"""Registration of built-in tools: decorated async functions, whose schemas come from annotations and docstrings.

The model reads the docstring's text. A line `name: …` at its end describes that parameter.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable
from typing import Any, get_type_hints

from pydantic import ConfigDict, Field, create_model

from agents.tools.base import JSON, Tool, ToolContext

BUILTINS: dict[str, Tool] = {}
Function = Callable[..., Awaitable[str]]


def tool(*, repeatable: bool = True, needs_approval: bool = False, outside: bool = False) -> Callable[[Function], Function]:
    """Return a decorator that registers a function as a tool. The model sends all parameters after the ToolContext."""

    def register(function: Function) -> Function:
        name = function.__name__
        if name in BUILTINS:
            raise ValueError(f"two built-in tools are named {name}")
        description, parameters = describe(function)
        names = tuple(parameters["properties"])

        async def run(arguments: JSON, context: ToolContext) -> str:
            return await function(context, **{one: arguments[one] for one in names if one in arguments})

        BUILTINS[name] = Tool(name, description, parameters, needs_approval, repeatable, run, "builtin", outside)
        return function

    return register


def describe(function: Function) -> tuple[str, JSON]:
    """Return the description and the JSON Schema of a tool's function."""
    hints = get_type_hints(function, include_extras=True)
    given = list(inspect.signature(function).parameters.values())[1:]
    text, about = _read_docstring(inspect.getdoc(function) or "", {one.name for one in given})
    fields: dict[str, Any] = {}
    for one in given:
        default = ... if one.default is one.empty else one.default
        fields[one.name] = (hints[one.name], Field(default, description=about.get(one.name)))
    made = create_model(function.__name__, __config__=ConfigDict(extra="forbid"), **fields)
    schema = _without_titles(made.model_json_schema())
    return text, {"type": "object", "properties": {}, **schema}


def _read_docstring(text: str, names: set[str]) -> tuple[str, dict[str, str]]:
    lines: list[str] = []
    about: dict[str, str] = {}
    current = ""
    for line in text.splitlines():
        match = re.match(r"(\w+): (.*)", line)
        if match and match[1] in names:
            current = match[1]
            about[current] = match[2].strip()
        elif current and line.strip():
            about[current] += " " + line.strip()
        else:
            lines.append(line)
    return "\n".join(lines).strip(), about


def _without_titles(schema: JSON) -> JSON:
    """Remove pydantic's titles, which only repeat the names."""
    found = {key: value for key, value in schema.items() if key != "title"}
    properties = {name: {key: value for key, value in one.items() if key != "title"} for name, one in schema.get("properties", {}).items()}
    return {**found, "properties": properties}
