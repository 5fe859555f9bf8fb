"""The forms of a price's `media`, `units` and `modes`: what has a price of its own, beside the rates of text tokens."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

from django.core.exceptions import ValidationError

_NAME = re.compile(r"[A-Za-z0-9_.=+-]{1,100}")
_MEDIUM = re.compile(r"(?:input|cached|output)_[a-z]{2,20}")
_PLACES = Decimal("0.000001")
# The rates that a mode may have.
MODE_RATES = (
    "input", "output", "cached_input", "cache_write", "cache_write_1h",
    "tier_input", "tier_cached_input", "tier_cache_write", "tier_cache_write_1h", "tier_output",
)  # fmt: skip


def check_media(value: object) -> None:
    """Raise ValidationError unless the value maps names such as `input_audio` to rates."""
    for name, rate in _mapping(value).items():
        if not _MEDIUM.fullmatch(name):
            raise ValidationError(f"{name}: must be input_, cached_ or output_ and a kind, e.g. input_audio")
        _rate(name, rate)


def check_units(value: object) -> None:
    """Raise ValidationError unless the value maps names of calls to prices."""
    for name, rate in _mapping(value).items():
        _rate(name, rate)


def check_modes(value: object) -> None:
    """Raise ValidationError unless the value maps ways of processing to their rates or to a factor."""
    for name, rates in _mapping(value).items():
        if "=" not in name:
            raise ValidationError(f"{name}: must name a field and its value, e.g. service_tier=flex")
        given = _mapping(rates)
        if set(given) == {"factor"}:
            _rate(f"{name}.factor", given["factor"])
            continue
        if not {"input", "output"} <= set(given) <= {*MODE_RATES, "media"}:
            raise ValidationError(f"{name}: must have input and output, or only a factor; other rates are {', '.join(MODE_RATES[2:])}")
        check_media(given.get("media", {}))
        for key in MODE_RATES:
            if key in given:
                _rate(f"{name}.{key}", given[key])


def _mapping(value: object) -> Mapping[str, object]:
    if not isinstance(value, Mapping) or len(value) > 100 or not all(isinstance(name, str) and _NAME.fullmatch(name) for name in value):
        raise ValidationError("must be an object whose keys are names")
    return value


def _rate(name: str, value: object) -> None:
    try:
        rate = Decimal(value) if isinstance(value, str) else Decimal("NaN")
    except InvalidOperation:
        rate = Decimal("NaN")
    if not rate.is_finite() or not 0 <= rate < 10**8 or rate != rate.quantize(_PLACES):
        raise ValidationError(f"{name}: must be a decimal number in quotes, with at most six places")
