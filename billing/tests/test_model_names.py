"""Every way in which a model's name is written leads to its card, and a name of none or of several is refused."""

from __future__ import annotations

from typing import Any

import pytest

from aiagents.core.errors import ModelNotFound
from billing.catalogue.names import AmbiguousModel
from billing.catalogue.snapshot import Catalogue, ModelCard


def card(slug: str, provider: str = "openai", **changes: Any) -> ModelCard:
    fields: dict[str, Any] = {
        "slug": slug, "display_name": slug, "provider": provider, "connection": "", "vendor_model": slug, "context_window": 1000,
        "max_output_tokens": 100, "capabilities": frozenset(), "quality": 50, "tokens_per_second": 1, "ttft_ms": 1, "lifecycle": "active",
        "replaced_by": "", "enabled": True, "rates": None, "price_id": None,
    }  # fmt: skip
    return ModelCard(**fields | changes)


CARDS = (
    card("gpt-4o"), card("gpt-4o-mini"), card("gpt-4"), card("gpt-6.1-sol"), card("o3-mini"), card("text-embedding-3-small"),
    card("claude-haiku-4-5", "anthropic"), card("claude-3-haiku", "anthropic", vendor_model="claude-3-haiku-20240307"),
    card("small-claude", "anthropic", vendor_model="claude-tiny-20250101"),
    card("gemini-2.5-pro", "google"), card("gemini-1.5-pro", "google"), card("gemini-embedding-001", "google"),
    card("azure-4o", "openai", connection="azure", vendor_model="gpt-4o"),
    card("llama-a", "openai_compatible", connection="groq", vendor_model="meta-llama/Llama-3"),
    card("llama-b", "openai_compatible", connection="together", vendor_model="meta-llama/Llama-3"),
    card("old-twin", "openai_compatible", connection="a", vendor_model="twin", enabled=False),
    card("new-twin", "openai_compatible", connection="b", vendor_model="twin"),
    card("gpt-4o-2024-05-13", vendor_model="gpt-4o-2024-05-13"),
)  # fmt: skip
KNOWN = Catalogue({one.slug: one for one in CARDS})


@pytest.mark.parametrize("slug", KNOWN.cards)
def test_an_exact_slug_always_wins(slug: str):
    assert KNOWN.get(slug).slug == slug


@pytest.mark.parametrize("slug", ["gpt-4o", "o3-mini", "claude-haiku-4-5", "gemini-2.5-pro", "gpt-6.1-sol", "text-embedding-3-small"])
@pytest.mark.parametrize("version", ["-latest", "@20251001", "-20251001", "-2025-10-01"])
def test_a_version_behind_a_name_without_one_is_left_out(slug: str, version: str):
    assert KNOWN.get(slug + version).slug == slug


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("gpt-4o-2024-05-13", "gpt-4o-2024-05-13"),
        ("gpt-4-0613", "gpt-4"),
        ("o3-mini-2025-01-31", "o3-mini"),
        ("claude-haiku-4-5-20251001", "claude-haiku-4-5"),
        ("claude-3-haiku-20240307", "claude-3-haiku"),
        ("claude-3-haiku-latest", "claude-3-haiku"),
        ("claude-tiny", "small-claude"),
        ("claude-tiny-20250101", "small-claude"),
        ("claude-tiny-latest", "small-claude"),
        ("gemini-1.5-pro-002", "gemini-1.5-pro"),
        ("openai/gpt-4o", "gpt-4o"),
        ("openai/gpt-4o-2024-08-06", "gpt-4o"),
        ("anthropic/claude-haiku-4.5", "claude-haiku-4-5"),
        ("google/gemini-2.5-pro", "gemini-2.5-pro"),
        ("gemini/gemini-2.5-pro", "gemini-2.5-pro"),
        ("models/gemini-2.5-pro", "gemini-2.5-pro"),
        ("models/gemini-embedding-001", "gemini-embedding-001"),
        ("openrouter/anthropic/claude-haiku-4-5", "claude-haiku-4-5"),
        ("azure/gpt-4o", "azure-4o"),
        ("groq/meta-llama/Llama-3", "llama-a"),
        ("GPT-4o", "gpt-4o"),
        ("gpt-6-1-sol", "gpt-6.1-sol"),
        ("twin", "new-twin"),
    ],
)
def test_names_as_people_write_them(name: str, slug: str):
    assert KNOWN.get(name).slug == slug


@pytest.mark.parametrize(
    "name",
    [
        "claude-3-haiku-20990101", "claude-tiny-20990101", "gpt-5", "anthropic/gpt-4o", "openai/claude-haiku-4-5", "unknown/gpt-4o",
        "openai/", "/", "", "gpt-4o-9999", "gpt-4o-2024-13-45", "gpt-4o-latest-latest", "gemini-embedding-002", "claude-sonnet",
    ],
)  # fmt: skip
def test_another_models_name_is_not_found(name: str):
    with pytest.raises(ModelNotFound) as refused:
        KNOWN.get(name, "fallbacks")
    assert refused.value.param == "fallbacks"


def test_an_ambiguous_name_is_refused_with_its_candidates():
    with pytest.raises(AmbiguousModel) as refused:
        KNOWN.get("meta-llama/Llama-3")
    assert (refused.value.status, refused.value.details) == (400, {"candidates": ["llama-a", "llama-b"]})


def test_the_beginning_of_names_is_refused_with_those_that_begin_so():
    with pytest.raises(ModelNotFound) as refused:
        KNOWN.get("gemini-2.5")
    assert refused.value.details["candidates"] == ["gemini-2.5-pro"] and "Did you mean gemini-2.5-pro?" in refused.value.message


def test_names_follow_a_change_of_the_catalogue():
    changed = Catalogue({"fresh": card("fresh", vendor_model="o3-mini")})
    assert KNOWN.get("o3-mini-latest").slug == "o3-mini" and changed.get("o3-mini-latest").slug == "fresh"
