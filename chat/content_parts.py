"""The parts of a user's message: their validation, and their form in a prompt."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, Tag, model_validator

from agents import messages
from aiagents.core.outbound import media_urls
from aiagents.core.outbound.destinations import BlockedUrl
from aiagents.core.validation import MOST_FIELDS, RequestModel, union

MOST_PARTS = 64
MOST_TEXT = 1_000_000  # characters of text in one message
MOST_IMAGE_BYTES = 8 * 1024 * 1024
MOST_FILE_BYTES = 10 * 1024 * 1024
_BASE64: dict[str, Any] = {"contentEncoding": "base64"}


def _characters(most_bytes: int) -> int:
    """The length of so many bytes as base64."""
    return most_bytes * 4 // 3 + 4


def _public_url(url: str) -> str:
    try:
        return media_urls.check(url)
    except BlockedUrl as exc:
        raise ValueError(f"An image's url is {media_urls.RULE}.") from exc


class TextPart(RequestModel):
    """A text."""

    type: Literal["text"]
    text: str = Field(min_length=1, max_length=MOST_TEXT)

    def stored(self) -> dict[str, Any]:
        return {"type": "text", "text": self.text}


class ImageUrlPart(RequestModel):
    """An image that the model's vendor fetches."""

    type: Literal["image"]
    url: Annotated[str, AfterValidator(_public_url)] = Field(
        max_length=media_urls.MOST_CHARACTERS, json_schema_extra={"format": "uri"}, description=media_urls.RULE
    )

    def stored(self) -> dict[str, Any]:
        return {"type": "image", "url": self.url}


class ImageDataPart(RequestModel):
    """An image as base64."""

    type: Literal["image"]
    data: str = Field(min_length=1, max_length=_characters(MOST_IMAGE_BYTES), json_schema_extra=_BASE64)
    media_type: Literal["image/png", "image/jpeg", "image/jpg", "image/gif", "image/webp"]

    @model_validator(mode="after")
    def _check_bytes(self) -> ImageDataPart:
        if _image_type(_decoded(self.data)) != messages.image_type(self.media_type):
            raise ValueError("The image's bytes do not match media_type; png, jpeg, gif and webp are accepted.")
        return self

    def stored(self) -> dict[str, Any]:
        return {"type": "image", "media_type": messages.image_type(self.media_type), "data": self.data}


class FilePart(RequestModel):
    """A document as base64: a PDF, or a text in UTF-8."""

    type: Literal["file"]
    data: str = Field(min_length=1, max_length=_characters(MOST_FILE_BYTES), json_schema_extra=_BASE64)
    media_type: Literal["application/pdf", "application/json", "text/plain", "text/markdown", "text/csv", "text/html", "text/xml"]
    name: str = Field("file", min_length=1, max_length=255)

    @model_validator(mode="after")
    def _check_bytes(self) -> FilePart:
        raw = _decoded(self.data)
        if self.media_type == "application/pdf":
            if not raw.startswith(b"%PDF-"):
                raise ValueError("The file's bytes are not a PDF.")
            return self
        try:
            readable = "\x00" not in raw.decode("utf-8")
        except UnicodeDecodeError:
            readable = False
        if not readable:
            raise ValueError("A text file must be UTF-8 without NUL.")
        return self

    def stored(self) -> dict[str, Any]:
        # A label, never a path: only its last component is kept.
        label = "".join(c for c in self.name.replace("\\", "/").rsplit("/", 1)[-1] if c.isprintable()) or "file"
        return {"type": "file", "media_type": self.media_type, "name": label, "data": self.data}


def _kind(part: Any) -> str | None:
    kind = part.get("type") if isinstance(part, dict) and len(part) <= MOST_FIELDS else None
    if kind == "image":
        return "image by url" if "url" in part else "image"
    return kind if isinstance(kind, str) else None


Part = Annotated[
    Annotated[TextPart, Tag("text")]
    | Annotated[ImageUrlPart, Tag("image by url")]
    | Annotated[ImageDataPart, Tag("image")]
    | Annotated[FilePart, Tag("file")],
    union(_kind, "A part is an object whose type is text, image or file."),
]


def to_model(part: dict[str, Any]) -> messages.Part:
    """Return a stored part as a part of a prompt."""
    match part["type"]:
        case "image":
            return messages.Image(part.get("media_type", ""), part.get("data", ""), part.get("url", ""))
        case "file":
            return messages.File(part["media_type"], part["data"], part.get("name", "file"))
    return messages.Text(part["text"])


def _decoded(data: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise ValueError("data is not valid base64.") from exc


def _image_type(raw: bytes) -> str | None:
    if raw.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if raw.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if raw.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    return "image/webp" if raw.startswith(b"RIFF") and raw[8:12] == b"WEBP" else None
