"""The parts of a user's message: their validation, and their form in a prompt."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from agents import messages
from aiagents.core.outbound import media_urls
from aiagents.core.outbound.destinations import BlockedUrl

MOST_PARTS = 64
MOST_TEXT = 1_000_000  # characters of text in one message
MOST_IMAGE_BYTES = 8 * 1024 * 1024
MOST_FILE_BYTES = 10 * 1024 * 1024
_FILE_TYPES = ("application/pdf", "application/json", "text/plain", "text/markdown", "text/csv", "text/html", "text/xml")
_ALLOWED = {"text": {"type", "text"}, "image": {"type", "data", "media_type", "url"}, "file": {"type", "data", "media_type", "name"}}


class PartError(ValueError):
    """The error of a part, as a sentence for a person."""


def check(part: Any) -> dict[str, Any]:
    """Return the part as it is stored. Raises PartError for unknown keys and for data of another media type."""
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(kind, str) or kind not in _ALLOWED:
        raise PartError("A part is an object whose type is text, image or file.")
    if unknown := set(part) - _ALLOWED[kind]:
        raise PartError(f"Unknown field {sorted(unknown)[0]!r} in a part of type {kind}.")
    return {"text": _text, "image": _image, "file": _file}[kind](part)


def to_model(part: dict[str, Any]) -> messages.Part:
    """Return a stored part as a part of a prompt."""
    match part["type"]:
        case "image":
            return messages.Image(part.get("media_type", ""), part.get("data", ""), part.get("url", ""))
        case "file":
            return messages.File(part["media_type"], part["data"], part.get("name", "file"))
    return messages.Text(part["text"])


def _text(part: dict[str, Any]) -> dict[str, Any]:
    text = part.get("text")
    if not isinstance(text, str) or not text:
        raise PartError("A text part needs a non-empty text.")
    return {"type": "text", "text": text}


def _image(part: dict[str, Any]) -> dict[str, Any]:
    if ("url" in part) == ("data" in part):
        raise PartError("An image part has either url or data with media_type.")
    if "url" in part:
        if "media_type" in part:
            raise PartError("An image part by url has no media_type.")
        try:
            return {"type": "image", "url": media_urls.check(part["url"])}
        except BlockedUrl as exc:
            raise PartError(f"An image's url is {media_urls.RULE}.") from exc
    data, raw = _decode(part.get("data"), MOST_IMAGE_BYTES)
    found = _image_type(raw)
    if found is None or found != part.get("media_type"):
        raise PartError("The image's bytes do not match media_type; png, jpeg, gif and webp are accepted.")
    return {"type": "image", "media_type": found, "data": data}


def _file(part: dict[str, Any]) -> dict[str, Any]:
    media_type, name = part.get("media_type"), part.get("name", "file")
    if media_type not in _FILE_TYPES:
        raise PartError(f"A file's media_type is one of {', '.join(_FILE_TYPES)}.")
    if not isinstance(name, str) or not 0 < len(name) <= 255:
        raise PartError("A file's name has 1 to 255 characters.")
    data, raw = _decode(part.get("data"), MOST_FILE_BYTES)
    if media_type == "application/pdf":
        if not raw.startswith(b"%PDF-"):
            raise PartError("The file's bytes are not a PDF.")
    else:
        try:
            readable = "\x00" not in raw.decode("utf-8")
        except UnicodeDecodeError:
            readable = False
        if not readable:
            raise PartError("A text file must be UTF-8 without NUL.")
    # A label, never a path: only its last component is kept.
    label = "".join(c for c in name.replace("\\", "/").rsplit("/", 1)[-1] if c.isprintable()) or "file"
    return {"type": "file", "media_type": media_type, "name": label, "data": data}


def _decode(data: Any, most: int) -> tuple[str, bytes]:
    if not isinstance(data, str) or not data:
        raise PartError("data is a non-empty base64 string.")
    if len(data) > most * 4 // 3 + 4:
        raise PartError(f"The attachment is larger than {most // 1024 // 1024} MiB.")
    try:
        return data, base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise PartError("data is not valid base64.") from exc


def _image_type(raw: bytes) -> str | None:
    if raw.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if raw.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if raw.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    return "image/webp" if raw.startswith(b"RIFF") and raw[8:12] == b"WEBP" else None
