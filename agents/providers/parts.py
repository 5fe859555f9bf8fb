"""Parts of a prompt in the vendors' formats: files as text, arguments as objects."""

from __future__ import annotations

import base64
from typing import Any

from agents.messages import File
from agents.providers.errors import ProviderBadRequest
from aiagents.core import jsonio

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
