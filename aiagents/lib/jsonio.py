"""JSON at the edge: strict reading of what clients send, fast writing of what we answer."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, NoReturn

import orjson
from django.conf import settings

from aiagents.lib.errors import InvalidRequest


def dumps(value: Any) -> bytes:
    """Compact JSON; Decimal becomes a plain decimal string, datetimes RFC 3339 in UTC, UUIDs strings."""
    return orjson.dumps(value, default=_default, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS)


def _default(value: Any) -> Any:
    if isinstance(value, Decimal):
        return money(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def money(value: Decimal) -> str:
    """USD as the contract writes it: a plain decimal string, at least 8 places, never an exponent."""
    text = f"{value:f}"
    whole, _, places = text.partition(".")
    return f"{whole}.{places.rstrip('0').ljust(8, '0')}"


def loads(raw: bytes) -> Any:
    """The value of a client's JSON body; `InvalidRequest` (400) for anything two parsers might read differently.

    Refused: bytes that are not UTF-8, NaN and infinities, numbers beyond a double, duplicate keys, NUL and lone
    surrogates in strings, nesting deeper than `MAX_JSON_DEPTH`.
    """
    try:
        check_depth(raw)
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_object, parse_constant=_refuse, parse_float=_float, parse_int=_int)
    except InvalidRequest:
        raise
    except (ValueError, RecursionError) as exc:
        raise InvalidRequest("The body is not valid JSON.", code="invalid_json") from exc
    check_strings(value)
    return value


def check_depth(raw: bytes) -> None:
    """Refuse nesting beyond the limit, counted on the bytes, before any parser recurses."""
    if raw.count(b"[") + raw.count(b"{") <= settings.MAX_JSON_DEPTH:
        return
    depth, in_string, skip = 0, False, False
    for byte in raw:
        if skip:
            skip = False
        elif in_string:
            if byte == 0x5C:
                skip = True
            elif byte == 0x22:
                in_string = False
        elif byte == 0x22:
            in_string = True
        elif byte in (0x5B, 0x7B):
            depth += 1
            if depth > settings.MAX_JSON_DEPTH:
                raise InvalidRequest(f"The JSON is nested deeper than {settings.MAX_JSON_DEPTH} levels.", code="json_too_deep")
        elif byte in (0x5D, 0x7D):
            depth -= 1


def check_strings(value: Any) -> None:
    """Refuse what PostgreSQL and UTF-8 cannot hold: NUL and lone surrogates, in keys and values alike."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            if "\x00" in item or not _encodable(item):
                raise InvalidRequest("Text may not contain NUL or lone surrogates.", code="invalid_text")
        elif isinstance(item, dict):
            stack.extend(item.keys())
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)


def clean_text(text: str) -> str:
    """A model's or tool's text made storable: NUL dropped, lone surrogates replaced."""
    if "\x00" not in text and _encodable(text):
        return text
    return text.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")


def _encodable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise InvalidRequest("A key stands twice in one JSON object.", code="duplicate_key")
    return found


def _refuse(constant: str) -> NoReturn:
    raise InvalidRequest(f"{constant} is not JSON.", code="invalid_json")


def _float(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise InvalidRequest("A number is too large.", code="invalid_number")
    return value


def _int(text: str) -> int:
    if len(text) > 20:
        raise InvalidRequest("A number is too large.", code="invalid_number")
    return int(text)
