"""Parts of a prompt in the form that vendors want: files as text, arguments as objects."""

from __future__ import annotations

import base64
from typing import Any

from agents.messages import File
from agents.providers.errors import ProviderBadRequest
from aiagents.core import jsonio

_TEXTUAL = frozenset({"application/json", "application/xml", "application/yaml", "application/x-yaml", "application/javascript"})


def decoded_text(part: File) -> str:
    """The file's text; `ProviderBadRequest` for what is neither PDF nor text, before anything is sent."""
    if not part.media_type.startswith("text/") and part.media_type not in _TEXTUAL:
        raise ProviderBadRequest(f"Models take PDF and text files, not {part.media_type or 'this'}.", param="content")
    try:
        return base64.b64decode(part.data, validate=True).decode("utf-8", "replace")
    except ValueError as exc:
        raise ProviderBadRequest(f"The data of the file {part.name!r} is not base64.", param="content") from exc


def arguments_object(text: str) -> dict[str, Any]:
    """A tool call's arguments for wires that want the object; what is none is kept under a name."""
    try:
        value = jsonio.exact(text or "{}")
    except ValueError:
        value = text
    return value if isinstance(value, dict) else {"arguments": value}
