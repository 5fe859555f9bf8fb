"""The vendors' adapters. `provider(kind)` returns one and imports its SDK at the first call."""

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
    """Return the adapter of a vendor. Importing an SDK takes up to a second, so `manage.py` never imports one."""
    if kind not in _ADAPTERS:
        raise NotConfigured(f"There is no provider of the kind {kind!r}.")
    module, name = _ADAPTERS[kind]
    return getattr(importlib.import_module(module), name)()


def warm(kinds: Iterable[str]) -> None:
    """Import the adapters of these kinds and let each SDK build one request that is not sent.

    The first request of an SDK builds schemas for seconds; without this its first caller blocks the event loop.
    Do not call this on an event loop. Never raises: an SDK that fails to load is logged, and only its own calls fail.
    """
    asyncio.run(_build_one_request(sorted(kinds)))


async def _build_one_request(kinds: Iterable[str]) -> None:
    target = Target(provider="", model="none", base_url="http://127.0.0.1", api_key="none", max_output_tokens=1)
    for kind in kinds:
        try:
            adapter = cast("HttpProvider", provider(kind))
            for stream in (False, True):
                await adapter.address(target, stream=stream)
        except Exception:
            log.warning("sdk_not_loaded", exc_info=True, extra={"kind": kind})
