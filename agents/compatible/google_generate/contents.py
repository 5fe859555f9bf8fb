"""The contents of Gemini's bodies → our messages. Source: ai.google.dev/api/caching#Content."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from agents.compatible import reading, thoughts
from agents.compatible.google_generate.schemas import camel
from agents.compatible.reading import JSON, invalid
from agents.messages import File, Message, Part, Reasoning, Text, ToolOutput, ToolUse, image_type
from aiagents.core.jsonio import dumps

# What a thought signature begins with that holds another vendor's thinking.
SEALED = "aiagents:"
_MOST_DATA = 20_000_000
_CALL_ID = "call_"
# Fields beside the one that says what a part is.
_MARKS = {"thought", "thoughtSignature", "partMetadata", "mediaResolution"}


@dataclass(slots=True)
class _Calls:
    """Calls of the conversation so far. Google's ids are optional: a result without one answers the first open call of its name."""

    open: list[tuple[str, str]] = field(default_factory=list)
    count: int = 0

    def begin(self, given: str, name: str) -> str:
        self.count += 1
        call_id = given or f"{_CALL_ID}{self.count}"
        self.open.append((call_id, name))
        return call_id

    def end(self, given: str, name: str) -> str:
        for one in self.open:
            if one[0] == given if given else one[1] == name:
                self.open.remove(one)
                return one[0]
        return given or name


def named(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the fields under the names of Google's JSON. The model stands in the path."""
    return {camel(name): value for name, value in body.items() if name != "model"}


def read(contents: list[JSON], detail: str, native_only: reading.NativeOnly) -> tuple[Message, ...]:
    """Return the messages. `detail` is that of all images. Raises InvalidRequest (400) with the name of the invalid field."""
    found: list[Message] = []
    calls = _Calls()
    for number, content in enumerate(contents):
        at = f"contents[{number}]."
        role = content.get("role") or "user"
        if role not in ("user", "model", "function"):
            raise invalid(at + "role", "must be user or model")
        parts = [one for part in _parts(content, at) for one in _part(*part, calls, detail, native_only)]
        if role == "model":
            found.append(Message("assistant", tuple(parts)))
            continue
        results = tuple(part for part in parts if isinstance(part, ToolOutput))
        others = tuple(part for part in parts if not isinstance(part, ToolOutput))
        found += [Message(role, some) for role, some in (("tool", results), ("user", others)) if some]  # type: ignore[arg-type]  # both are roles
    if not found:
        raise invalid("contents", "must hold at least one message")
    return tuple(found)


def _parts(content: Mapping[str, Any], at: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    for number, part in enumerate(reading.items(content, "parts", required=True, at=at)):
        yield named(part), f"{at}parts[{number}]."


def _part(part: Mapping[str, Any], at: str, calls: _Calls, detail: str, native_only: reading.NativeOnly) -> Iterator[Part]:
    if part.get("fileData") is not None:
        raise reading.unsupported_parameter(at + "fileData", "send the bytes as inlineData")
    kinds = part.keys() - _MARKS
    signature = reading.text(part, "thoughtSignature", longest=10_000_000, at=at)
    if part.get("thought") is True:
        signed = sealed(part)
        thought = thoughts.unseal(signed, str(part.get("text") or "")) if signed is not None else None
        if isinstance(thought, Reasoning):
            yield thought
    elif kinds == {"text"}:
        yield Text(reading.text(part, "text", longest=10_000_000, at=at))
    elif kinds == {"inlineData"}:
        yield _inline(named(reading.mapping(part["inlineData"], at + "inlineData")), at + "inlineData.", detail)
    elif kinds == {"functionCall"}:
        call = reading.mapping(part["functionCall"], at + "functionCall")
        name = reading.text(call, "name", required=True, longest=200, at=at + "functionCall.")
        arguments = dumps(reading.mapping(call.get("args") or {}, at + "functionCall.args")).decode()
        call_id, _ = reading.call_id(call, "id", at=at + "functionCall.") if call.get("id") else ("", "")
        yield ToolUse(calls.begin(call_id, name), name, arguments, signature)
    elif kinds == {"functionResponse"}:
        yield _result(
            named(reading.mapping(part["functionResponse"], at + "functionResponse")), at + "functionResponse.", calls, detail, native_only
        )
    else:
        kind = next(iter(sorted(kinds)), "nothing")
        native_only(invalid(at + kind[:40], "is not supported by this model", "unsupported_value"))
        yield Text(dumps(part).decode())  # for its size


def _result(response: Mapping[str, Any], at: str, calls: _Calls, detail: str, native_only: reading.NativeOnly) -> ToolOutput:
    name = reading.text(response, "name", required=True, longest=200, at=at)
    call_id, _ = reading.call_id(response, "id", at=at) if response.get("id") else ("", "")
    found = reading.mapping(response.get("response") or {}, at + "response")
    failed = "error" in found and len(found) == 1
    only = next(iter(found.values())) if len(found) == 1 and found.keys() <= {"output", "result", "error"} else None
    text = only if isinstance(only, str) else dumps(found).decode()
    media = [one for part in (_parts(response, at) if response.get("parts") else ()) for one in _part(*part, calls, detail, native_only)]
    return ToolOutput.of(calls.end(call_id, name), name, (Text(text), *media), is_error=failed)


def _inline(blob: Mapping[str, Any], at: str, detail: str) -> Part:
    media_type = reading.text(blob, "mimeType", required=True, longest=100, at=at)
    data = reading.text(blob, "data", required=True, longest=_MOST_DATA, at=at).translate({45: 43, 95: 47})  # both alphabets of base64
    data += "=" * (-len(data) % 4)
    if media_type.startswith(("audio/", "video/")):
        raise invalid(at + "mimeType", f"{media_type[:40]} has no price here", "unsupported_value")
    if image_type(media_type).startswith("image/") and image_type(media_type) not in ("image/heic", "image/heif"):
        return reading.base64_image(media_type, data, at + "data", detail)
    try:
        base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise invalid(at + "data", "is not valid base64") from None
    return File(media_type, data, reading.text(blob, "displayName", longest=200, at=at) or "file")


def text_of(value: Any, at: str, native_only: reading.NativeOnly) -> str:
    """Return the text of a content. Google also takes a text, or a list of parts."""
    if isinstance(value, str):
        return value
    content = {"parts": value} if isinstance(value, list) else {"parts": reading.mapping(value, at).get("parts")}
    texts = []
    for part, where in _parts(content, at + "."):
        if part.keys() - _MARKS != {"text"}:
            native_only(invalid(where.removesuffix("."), "must be text", "unsupported_value"))
        texts.append(reading.text(part, "text", longest=10_000_000, at=where))
    return "\n".join(texts)


def sealed(part: Mapping[str, Any]) -> str | None:
    """Return the signed thinking of another vendor that a part carries; None for Google's own signatures."""
    signature = part.get("thoughtSignature") or part.get("thought_signature")
    if not isinstance(signature, str) or not part.get("thought"):
        return None
    try:
        text = base64.b64decode(signature + "=" * (-len(signature) % 4), altchars=b"-_" if "-" in signature or "_" in signature else None)
        found = text.decode()
    except (binascii.Error, ValueError):
        return None
    return found.removeprefix(SEALED) if found.startswith(SEALED) else None
