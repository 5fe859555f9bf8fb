"""Figures as people read them, in templates."""

from __future__ import annotations

from typing import Any

from django.template import Library

from aiagents.core.admin import columns

register = Library()


@register.filter
def grouped(value: Any) -> str:
    """1,234,567."""
    return columns.big(value)
