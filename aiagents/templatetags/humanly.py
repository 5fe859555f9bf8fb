"""Figures as people read them, in templates."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

from django.template import Library

from aiagents.lib.office import columns

register = Library()


@register.filter
def grouped(value: Any) -> str:
    """1,234,567."""
    return columns.big(value)


@register.filter
def dollars(value: Any) -> str:
    """A decimal string or number as $1,234.50; what is no number as a dash."""
    try:
        return columns.dollars(None if value in (None, "") else Decimal(str(value)))
    except InvalidOperation:
        return columns.EMPTY


@register.filter
def duration(value: Any) -> str:
    """Milliseconds as 850 ms, 3.2 s."""
    return columns.duration(value)


@register.filter
def percent(value: Any) -> str:
    """A share of 1 as 12.3 %."""
    return columns.EMPTY if value is None else f"{float(value):.1%}"
