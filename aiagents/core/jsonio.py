"""JSON of requests and responses: strict parsing, fast serialization."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any, NoReturn

import orjson
from django.conf import settings

from aiagents.core import json_structure
from aiagents.core.errors import InvalidRequest

_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS
# Digits of the longest integer that is parsed. Python itself converts at most 4,300 digits.
MOST_DIGITS = 4000
# Characters of the longest number with a fraction or an exponent; a double needs 767 digits at most.
_MOST_FLOAT = 1000
_LONG_NUMBER, _LONG_NUMBER_BYTES = re.compile(r"[0-9]{18}"), re.compile(rb"[0-9]{18}")


def dumps(value: Any, *, default: Callable[[Any], Any] | None = None, indent: bool = False) -> bytes:
    """Compact JSON; Decimal becomes a plain decimal string, datetimes RFC 3339 in UTC, UUIDs strings, integers of any size digits."""
    default = default or _default
    try:
        return orjson.dumps(value, default=default, option=_OPTIONS | (orjson.OPT_INDENT_2 if indent else 0))
    except TypeError:
        # orjson serializes integers of 64 bits only; values from clients may be larger.
        if not _holds_large_integer(value):
            raise
        separators = (",", ": ") if indent else (",", ":")
        return json.dumps(
            value, default=partial(_plain, default), ensure_ascii=False, indent=2 if indent else None, separators=separators
        ).encode()


def _holds_large_integer(value: Any) -> bool:
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, int):
            if not -(2**63) <= item < 2**64:
                return True
        elif isinstance(item, dict):
            stack.extend(item.values())
        elif isinstance(item, list | tuple):
            stack.extend(item)
    return False


def _plain(default: Callable[[Any], Any], value: Any) -> Any:
    """A value that the standard encoder does not know, as orjson writes it."""
    return orjson.loads(orjson.dumps(value, default=default, option=_OPTIONS))


def _default(value: Any) -> Any:
    if isinstance(value, Decimal):
        return money(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def money(value: Decimal) -> str:
    """USD as the contract writes it: a plain decimal string, at least 8 places, never an exponent."""
    text = f"{value:f}"
    whole, _, places = text.partition(".")
    return f"{whole}.{places.rstrip('0').ljust(8, '0')}"


def loads(raw: bytes, *, most_values: int | None = None, nul: bool = False) -> Any:
    """The value of a client's JSON text. Raises InvalidRequest (400) for text that two parsers might read differently.

    Refused are: more values than `most_values` (`MAX_JSON_VALUES`; PayloadTooLarge, 413), nesting deeper than
    `MAX_JSON_DEPTH`, invalid UTF-8, NaN and infinities, numbers beyond a double, integers of more than MOST_DIGITS digits,
    duplicate keys, lone surrogates and NUL in strings. `nul` allows NUL, for text that is not stored. The caller limits the
    size: `aiagents.core.http.body_limits`.
    """
    json_structure.check(raw, settings.MAX_JSON_VALUES if most_values is None else most_values, settings.MAX_JSON_DEPTH)
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_object, parse_constant=_refuse, parse_float=_float, parse_int=_int)
    except InvalidRequest:
        raise
    except (ValueError, RecursionError) as exc:
        raise InvalidRequest("The body is not valid JSON.", code="invalid_json") from exc
    # Strict UTF-8 holds no surrogates and the parser refuses bare control characters: only an escape can bring them in.
    if b"\\u" in raw:
        check_strings(value, nul=nul)
    return value


def exact(text: str | bytes) -> Any:
    """The value of JSON from a model or a vendor, with exact integers of any size. Raises ValueError if it is not JSON."""
    # orjson converts an integer beyond 64 bits to a float.
    if not (_LONG_NUMBER if isinstance(text, str) else _LONG_NUMBER_BYTES).search(text):  # type: ignore[arg-type]  # mypy does not narrow the pattern with the text
        return orjson.loads(text)
    try:
        value = json.loads(text, parse_constant=_refuse, parse_float=_float, parse_int=_int)
        check_strings(value, nul=True)  # as orjson
    except (InvalidRequest, RecursionError) as exc:
        raise ValueError("This JSON cannot be read.") from exc
    return value


def check_strings(value: Any, *, nul: bool = False) -> None:
    """Raise InvalidRequest for lone surrogates and (unless `nul`) NUL in keys or values; UTF-8 and PostgreSQL cannot store them."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            if (not nul and "\x00" in item) or not _encodable(item):
                message = "Text may not contain lone surrogates." if nul else "Text may not contain NUL or lone surrogates."
                raise InvalidRequest(message, code="invalid_text")
        elif isinstance(item, dict):
            stack.extend(item.keys())
            stack.extend(item.values())
        elif isinstance(item, list | tuple):
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
        raise InvalidRequest("A JSON object has the same key twice.", code="duplicate_key")
    return found


def _refuse(constant: str) -> NoReturn:
    raise InvalidRequest(f"{constant} is not JSON.", code="invalid_json")


def _float(text: str) -> float:
    value = float(text) if len(text) <= _MOST_FLOAT else float("inf")
    if value in (float("inf"), float("-inf")):
        raise InvalidRequest("A number is too large.", code="invalid_number")
    return value


def _int(text: str) -> int:
    if len(text) - text.startswith("-") > MOST_DIGITS:
        raise InvalidRequest("A number is too large.", code="invalid_number")
    return int(text)
