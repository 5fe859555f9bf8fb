"""Loading vendors' SDKs ahead of the first request."""

from __future__ import annotations

import logging

import pytest

from agents import providers


def test_an_sdk_that_cannot_be_loaded_stops_neither_the_start_nor_the_other_sdks(monkeypatch, caplog):
    loaded: list[tuple[str, bool]] = []

    class Adapter:
        def __init__(self, kind: str) -> None:
            self.kind = kind

        async def address(self, target: object, *, stream: bool) -> None:
            if self.kind == "google":
                raise RuntimeError("its schemas changed")
            loaded.append((self.kind, stream))

    def provider(kind: str) -> Adapter:
        if kind == "anthropic":
            raise ImportError("not installed")
        return Adapter(kind)

    monkeypatch.setattr(providers, "provider", provider)
    with caplog.at_level(logging.WARNING, logger="agents.providers"):
        providers.warm({"anthropic", "google", "openai"})
    assert loaded == [("openai", False), ("openai", True)]
    assert [record.kind for record in caplog.records] == ["anthropic", "google"]


@pytest.mark.parametrize("kind", sorted(providers.KINDS))
def test_every_adapter_is_loaded_without_a_warning(kind, caplog):
    providers.warm({kind})
    assert not caplog.records
