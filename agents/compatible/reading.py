"""Readers for the fields of compatible bodies. Each returns a valid value, or raises a 400 that names the field."""

from __future__ import annotations

import base64
import binascii
import contextlib
from collections.abc import Collection, Iterable, Mapping
from decimal import Decimal
from typing import Any

from agents.compatible import call_ids
from agents.messages import Image, image_type
from aiagents.core.errors import InvalidRequest
from aiagents.core.outbound import media_urls
from aiagents.core.outbound.destinations import BlockedUrl
from billing.money.amounts import read_cost

JSON = dict[str, Any]
_IMAGES = {"image/png", "image/jpeg", "image/gif", "image/webp"}
DETAILS = ("auto", "low", "high", "original")
# Searches by the vendor that a hold covers for a request that does not limit them.
SEARCHES = 5
_MOST_UNKNOWN, _LONGEST_UNKNOWN = 20, 80
# OpenAI's service tiers that do not name another price.
_USUAL_TIERS = ("auto", "default")


def invalid(param: str, message: str, code: str = "invalid_value") -> InvalidRequest:
    return InvalidRequest(f"{param}: {message}", param=param, code=code, details={param: [message]})


def refuse_unknown(body: Mapping[str, Any], known: Collection[str]) -> None:
    """Raise InvalidRequest for unknown fields: a misspelt limit must not pass silently."""
    for name in body:
        if name not in known:
            raise unknown_parameter(name)


def unknown_parameter(name: str) -> InvalidRequest:
    return InvalidRequest(f"Unrecognized request argument supplied: {name[:80]}", param=name[:80], code="unknown_parameter")


def unsupported_parameter(name: str, instead: str = "") -> InvalidRequest:
    """Return the error for a field that must not reach a vendor."""
    message = f"{name} is not supported here" + (f": {instead}." if instead else ".")
    return InvalidRequest(message, param=name, code="unsupported_parameter")


def text(body: Mapping[str, Any], name: str, *, required: bool = False, longest: int = 1_000_000, at: str = "") -> str:
    value = body.get(name)
    if value is None and not required:
        return ""
    if not isinstance(value, str) or (required and not value):
        raise invalid(
            at + name, "must be a non-empty string" if required else "must be a string", "missing" if value is None else "invalid_type"
        )
    if len(value) > longest:
        raise invalid(at + name, f"must be at most {longest} characters")
    return value


def call_id(body: Mapping[str, Any], name: str, *, at: str) -> tuple[str, str]:
    """Return a tool call's id and the vendor's signature that `call_ids.join` put into it, else an empty text."""
    return call_ids.split(text(body, name, required=True, longest=call_ids.LONGEST, at=at))


def model(body: Mapping[str, Any]) -> str:
    """Return the requested model's name."""
    name = text(body, "model", required=True, longest=200)
    if "\x00" in name:
        raise invalid("model", "may not contain NUL", "invalid_text")
    return name


def number(body: Mapping[str, Any], name: str, low: float, high: float) -> float | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise invalid(name, f"must be a number from {low:g} to {high:g}")
    return float(value)


def integer(body: Mapping[str, Any], name: str, low: int, high: int) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise invalid(name, f"must be an integer from {low} to {high}")
    return value


def flag(body: Mapping[str, Any], name: str, default: bool | None = False) -> bool | None:
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise invalid(name, "must be true or false", "invalid_type")
    return value


def choice(body: Mapping[str, Any], name: str, among: Collection[str]) -> str | None:
    value = body.get(name)
    if value is not None and (not isinstance(value, str) or value not in among):
        raise invalid(name, f"must be one of {', '.join(sorted(among))}")
    return value


def mapping(value: object, param: str) -> JSON:
    if not isinstance(value, Mapping):
        raise invalid(param, "must be an object", "invalid_type")
    return dict(value)


def items(body: Mapping[str, Any], name: str, *, required: bool = False, at: str = "") -> list[JSON]:
    """Return a list of objects. The values of the whole body were counted before it was parsed."""
    value = body.get(name)
    if value is None and not required:
        return []
    if not isinstance(value, list) or (required and not value):
        raise invalid(
            at + name, "must be a non-empty list" if required else "must be a list", "missing" if value is None else "invalid_type"
        )
    return [mapping(item, f"{at}{name}[{number}]") for number, item in enumerate(value)]


def strings(body: Mapping[str, Any], name: str, most: int) -> tuple[str, ...]:
    """Return a string or a list of strings as a tuple."""
    value = body.get(name)
    if value is None:
        return ()
    value = [value] if isinstance(value, str) else value
    if not isinstance(value, list) or len(value) > most or not all(isinstance(item, str) and item for item in value):
        raise invalid(name, f"must be a string or a list of at most {most} non-empty strings")
    return tuple(value)


def add_passed(found: JSON, body: Mapping[str, Any]) -> None:
    """Add the fields that both of OpenAI's APIs have and that OpenAI's adapter sends unchanged."""
    for name, longest in (("user", 512), ("safety_identifier", 64), ("prompt_cache_key", 1024)):
        if value := text(body, name, longest=longest):
            found[name] = value
    if retention := choice(body, "prompt_cache_retention", {"in_memory", "in-memory", "24h"}):
        found["prompt_cache_retention"] = retention
    if tier := text(body, "service_tier", longest=30):
        found["service_tier"] = tier


def unknown(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names of what this product does not know in a request, a bounded number of bounded ones (PricedUse.unknown)."""
    return tuple(dict.fromkeys(name[:_LONGEST_UNKNOWN] for name in names))[:_MOST_UNKNOWN]


def service_mode(body: Mapping[str, Any]) -> str:
    """Return the way of processing (PricedUse.mode) that OpenAI's `service_tier` asks for; empty for the usual price."""
    tier = text(body, "service_tier", longest=30)
    return "" if not tier or tier in _USUAL_TIERS else f"service_tier={tier}"


def add_verbosity(found: JSON, body: Mapping[str, Any]) -> None:
    """Add the field `verbosity`, which stands at another place in each of OpenAI's APIs."""
    if value := choice(body, "verbosity", {"low", "medium", "high"}):
        found["verbosity"] = value


def dollars(body: Mapping[str, Any], name: str) -> Decimal | None:
    """Return a positive amount of USD, best sent as a decimal string."""
    value = body.get(name)
    if value is None:
        return None
    try:
        return read_cost(value)
    except ValueError as exc:
        raise invalid(name, str(exc)) from None


def base64_image(media_type: str, data: str, param: str, detail: str = "") -> Image:
    media_type = image_type(media_type)
    if media_type not in _IMAGES:
        raise invalid(param, f"the image must be one of {', '.join(sorted(_IMAGES))}")
    try:
        base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise invalid(param, "the image is not valid base64") from None
    return Image(media_type=media_type, data=data, detail=detail)


def image_detail(item: Mapping[str, Any], at: str) -> str:
    """Return how closely the model looks at an image; empty for the vendor's default."""
    value = item.get("detail")
    if value is not None and value not in DETAILS:
        raise invalid(at + "detail", f"must be one of {', '.join(DETAILS)}")
    return value or ""


def image_from_url(url: str, param: str, detail: str = "") -> Image:
    """Return the image of a data: URL as bytes, or of an https: URL that media_urls allows, for the vendor to fetch."""
    if url.startswith("data:"):
        head, _, data = url[5:].partition(",")
        media_type, _, encoding = head.partition(";")
        if encoding != "base64":
            raise invalid(param, "a data: URL must be base64")
        return base64_image(media_type, data, param, detail)
    try:
        return Image(url=media_urls.check(url), detail=detail)
    except BlockedUrl:
        raise invalid(param, f"must be a data: URL or {media_urls.RULE}") from None


def refuse_file_reference(item: Mapping[str, Any], at: str) -> None:
    """Raise InvalidRequest for a file by URL or id: we fetch no files, and a file id is valid at one vendor only."""
    for name in ("file_url", "file_id"):
        if item.get(name) is not None:
            raise invalid(at + name, "is not supported here; send the bytes as file_data", "unsupported_parameter")


class NativeOnly:
    """The first thing in a body that only the vendor's own models can take, as the error for every other model."""

    def __init__(self) -> None:
        self.error: InvalidRequest | None = None

    def fields(self, body: Mapping[str, Any], translated: Collection[str]) -> None:
        with contextlib.suppress(StopIteration):
            self(unknown_parameter(next(name for name in body if name not in translated)))

    def __call__(self, error: InvalidRequest) -> None:
        self.error = self.error or error
