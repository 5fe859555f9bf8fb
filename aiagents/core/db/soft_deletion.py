"""Models with soft deletion, each with the periodic task that erases the hidden rows later."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from django.db import models

_sweeps: dict[type[models.Model], str] = {}


def register(model: type[models.Model], sweep: str) -> None:
    """Register the Celery task named `sweep`, which erases the hidden rows of `model`."""
    _sweeps[model] = sweep


def sweeps() -> Mapping[type[models.Model], str]:
    """The registered models with the names of their Celery tasks."""
    return MappingProxyType(_sweeps)
