"""Reasons against a model for one request: hard filters, and soft ones that may be overruled. Pure functions."""

from __future__ import annotations

from collections.abc import Container, Mapping
from decimal import Decimal

from django.conf import settings

from agents.routing.candidates import Facts, Row
from agents.routing.health import HEALTHY, ModelHealth, connection_key
from agents.routing.scores import USUAL_OUTPUT, expected_cost, expected_seconds
from agents.token_estimates import typical
from aiagents.core.errors import BudgetExceeded, InvalidRequest, ModelNotFound, NoModelAvailable
from billing import pricing
from billing.catalogue.snapshot import ModelCard

NO_CHAT = "it makes embeddings, not text: use /v1/embeddings"
_UNAVAILABLE = ("its vendor is not configured", "it is switched off", "it is retired")


def absent(card: ModelCard, configured: Container[str]) -> str | None:
    """Return why the model is not available in this installation; None if it is."""
    if card.slug not in configured:
        return _UNAVAILABLE[0]
    if not card.enabled:
        return _UNAVAILABLE[1]
    return _UNAVAILABLE[2] if card.lifecycle == "retired" else None


def row(facts: Facts, card: ModelCard, health: Mapping[str, ModelHealth], configured: Container[str]) -> Row:
    """Return the model with its expected cost and time, and the reason against it in `removed`."""
    row = Row(card)
    tokens = typical(facts.input_tokens)
    free_tokens = card.context_window - tokens
    wanted = facts.max_output_tokens or settings.LLM_DEFAULT_MAX_OUTPUT_TOKENS
    row.output = max(1, min(wanted, card.max_output_tokens, free_tokens))
    usual = min(USUAL_OUTPUT, row.output)
    row.cost = expected_cost(card, tokens, usual, cached=facts.sticky == card.slug)
    live = health.get(card.slug, HEALTHY)
    row.seconds = expected_seconds(card, live, usual)
    missing = facts.needs - card.capabilities
    connection = health.get(connection_key(card), HEALTHY)
    if reason := absent(card, configured):
        row.removed = reason
    elif card.embeds:
        row.removed = NO_CHAT
    elif missing:
        row.removed = f"it cannot do {', '.join(sorted(missing))}"
    elif free_tokens < 1:
        row.removed = f"about {tokens} input tokens do not fit its window of {card.context_window}"
    elif facts.max_cost_usd is not None and dearest(row, facts) > facts.max_cost_usd:
        row.removed = "it may cost more than max_cost_usd"
    elif live.state == "open" or connection.state == "open":
        row.removed, row.soft = "it failed too often just now (its circuit breaker is open)", True
    return row


def current(card: ModelCard, by_slug: Mapping[str, ModelCard], notes: list[str]) -> ModelCard:
    """Return the card, or for a retired model its replacement, with a note about it."""
    seen = {card.slug}
    while card.lifecycle == "retired" and card.replaced_by in by_slug and card.replaced_by not in seen:
        notes.append(f"{card.slug} is retired and replaced by {card.replaced_by}.")
        card = by_slug[card.replaced_by]
        seen.add(card.slug)
    return card


def refusal(rows: list[Row]) -> Exception:
    """Return the error for a caller whose named models are all unusable."""
    removed = _removed(rows)
    first = rows[0]
    if any("cost" in (row.removed or "") for row in rows):
        return _too_expensive(removed)
    if first.removed in _UNAVAILABLE:
        return ModelNotFound(f"{first.card.slug} is not available here: {first.removed}.", param="model", details={"candidates": removed})
    return InvalidRequest(
        f"{first.card.slug} cannot take this request: {first.removed}.", param="model", code="model_unfit", details={"candidates": removed}
    )


def last_resort(rows: list[Row]) -> list[Row]:
    """Return the rows that `auto` uses if it has no candidate, because some model may still answer.

    First models with an open breaker, then deprecated ones, last those without a price, which are charged at the ceiling;
    only the default model if it is among them. Raises BudgetExceeded or NoModelAvailable.
    """
    priced = [row for row in rows if row.soft and row.card.rates is not None]
    deprecated = [row for row in rows if row.removed and row.removed.startswith("it is deprecated") and row.card.rates is not None]
    pool = priced or deprecated or [row for row in rows if row.soft]
    if not pool:
        removed = _removed(rows)
        if any("cost" in (row.removed or "") for row in rows):
            raise _too_expensive(removed)
        raise NoModelAvailable("No model here can take this request.", code="no_model_fits", details={"candidates": removed})
    pool = [row for row in pool if row.card.slug == settings.DEFAULT_MODEL] or pool
    for row in pool:
        row.removed = None
    return pool


def dearest(row: Row, facts: Facts) -> Decimal:
    """Return the most that the call can cost with this model, in USD."""
    return pricing.highest_cost(row.card.rates or pricing.ceiling_rates(), facts.input_tokens, row.output)


def _removed(rows: list[Row]) -> list[dict[str, str | None]]:
    return [{"model": row.card.slug, "removed": row.removed} for row in rows]


def _too_expensive(removed: list[dict[str, str | None]]) -> BudgetExceeded:
    return BudgetExceeded("No model fits max_cost_usd.", code="max_cost_exceeded", param="max_cost_usd", details={"candidates": removed})
