"""The vendors' adapters. `provider(kind)` gives one; its SDK is imported at that moment, not before."""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, cast

from agents.providers.base import Target
from agents.providers.errors import NotConfigured

if TYPE_CHECKING:
    from agents.providers.base import Provider
    from agents.providers.relay import HttpProvider

log = logging.getLogger(__name__)
_ADAPTERS = {
    "openai": ("agents.providers.openai.adapter", "OpenAI"),
    "openai_compatible": ("agents.providers.openai.adapter", "OpenAICompatible"),
    "anthropic": ("agents.providers.anthropic.adapter", "Anthropic"),
    "google": ("agents.providers.google.adapter", "Google"),
}
KINDS = frozenset(_ADAPTERS)


@cache
def provider(kind: str) -> Provider:
    """The adapter of a vendor. Importing an SDK takes up to a second: `manage.py` never pays for it."""
    if kind not in _ADAPTERS:
        raise NotConfigured(f"There is no provider of the kind {kind!r}.")
    module, name = _ADAPTERS[kind]
    return getattr(importlib.import_module(module), name)()


def warm(kinds: Iterable[str]) -> None:
    """Import the adapters of these kinds and have each SDK address a call that is not sent: its first one builds schemas.

    Else the first caller of each waits for seconds, and the event loop with it. Not to be called on an event loop.
    Never raises: an SDK that cannot be loaded fails the calls to its own vendor, and is logged here.
    """
    asyncio.run(_address_once(sorted(kinds)))


async def _address_once(kinds: Iterable[str]) -> None:
    target = Target(provider="", model="none", base_url="http://127.0.0.1", api_key="none", max_output_tokens=1)
    for kind in kinds:
        try:
            adapter = cast("HttpProvider", provider(kind))
            for stream in (False, True):
                await adapter.address(target, stream=stream)
        except Exception:
            log.warning("sdk_not_loaded", exc_info=True, extra={"kind": kind})
