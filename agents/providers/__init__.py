"""The vendors' adapters. `provider(kind)` gives one; its SDK is imported at that moment, not before."""

from __future__ import annotations

import importlib
from functools import cache
from typing import TYPE_CHECKING

from django.conf import settings

from agents.providers.errors import NotConfigured

if TYPE_CHECKING:
    from agents.providers.base import Provider

_ADAPTERS = {
    "openai": ("agents.providers.openai", "OpenAI"),
    "openai_compatible": ("agents.providers.openai", "OpenAICompatible"),
    "anthropic": ("agents.providers.anthropic", "Anthropic"),
    "google": ("agents.providers.google", "Google"),
}
KINDS = frozenset(_ADAPTERS)


@cache
def provider(kind: str) -> Provider:
    """The adapter of a vendor. Importing an SDK takes up to a second: `manage.py` never pays for it."""
    if kind not in _ADAPTERS:
        raise NotConfigured(f"There is no provider of the kind {kind!r}.")
    module, name = _ADAPTERS[kind]
    return getattr(importlib.import_module(module), name)()


def warm() -> None:
    """Import the adapters of vendors that have a key now, in a thread at start-up: else their first caller waits for the SDK.

    Not the others': the three SDKs together take 60 MB of every process.
    """
    for kind, vendor in settings.VENDORS.items():
        if vendor["api_key"]:
            provider(kind)
