"""Compute a charge from the usage that a vendor reported. Pure functions: the ledger writes their results."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from decimal import ROUND_CEILING, Decimal
from typing import Any, Literal
from uuid import UUID

from aiagents.core.ids import uuid7
from aiagents.core.jsonio import clean_text
from billing import pricing
from billing.pricing import Rates, Usage

# A reported count above these limits is not trusted: the charge is then the hold, and the row is flagged.
ABSURD_TOKENS = 10**9
ABSURD_FACTOR = 20
# The flag of a row whose usage holds something without a price.
UNPRICED = "usage_unpriced"
PICO = Decimal("1e-12")
_INT = 2**31 - 1
# Widths of UsageLog's columns: a text is cut to its width, so that a long one cannot make a settlement fail.
_WIDTHS = {"purpose": 20, "surface": 10, "request_id": 64, "requested_model": 100, "model": 100, "provider": 20, "goal": 8}
_UUIDS = {"call_id", "group_id", "user_id", "api_key_id", "agent_id", "task_id", "conversation_id", "message_id"}


@dataclass(frozen=True, slots=True)
class Call:
    """The facts of one vendor call: user, model and purpose. The calls of one request share a `group_id`."""

    call_id: UUID
    group_id: UUID
    user_id: UUID
    auth_epoch: int
    api_key_id: UUID | None
    agent_id: UUID | None
    task_id: UUID | None
    conversation_id: UUID | None
    message_id: UUID | None
    purpose: str
    surface: str
    request_id: str
    attempt: int
    requested_model: str
    model: str
    provider: str
    goal: str
    simulated: bool

    def as_json(self) -> dict[str, Any]:
        found = {name: getattr(self, name) for name in _CALL_FIELDS}
        for name in _UUIDS:
            if (value := found[name]) is not None:
                found[name] = str(value)
        return found

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Call:
        known = {key: value for key, value in data.items() if key in _CALL_FIELDS}
        values: dict[str, Any] = {key: UUID(value) if key in _UUIDS and value else value for key, value in known.items()}
        return cls(**values)


_CALL_FIELDS = tuple(field.name for field in fields(Call))


@dataclass(frozen=True, slots=True)
class Held:
    """The amount (USD) that is held for a call. `windows`: ids of the BudgetWindows that hold it."""

    call: Call
    amount: Decimal
    rates: Rates
    input_tokens: int
    windows: tuple[int, ...]

    def facts(self) -> dict[str, Any]:
        """Return what the Hold row stores, so that the sweeper can charge a call whose process died."""
        call = self.call.as_json()
        for name in _WIDTHS:
            call[name] = clean_text(call[name])
        return {**call, "rates": self.rates.as_json()}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended. `usage` None: the vendor reported nothing. `started` False: the vendor sent no output.

    `partial`: the reported count was not final, as when a stream breaks off; the output seen here counts, too.
    """

    status: Literal["ok", "failed", "cancelled", "interrupted"]
    usage: Usage | None
    output_tokens_seen: int = 0
    finish_reason: str = ""
    error_code: str = ""
    latency_ms: int = 0
    ttft_ms: int | None = None
    started: bool = True
    partial: bool = False
    # Whether the request was sent to the vendor; None: unknown, as for a call whose process died.
    request_sent: bool | None = None
    # The fields of the request that we do not know: they are blocked if they brought usage without a price.
    unknown_fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Charge:
    """What a call is charged. `overrun_usd`: the part above the hold, which immediately reduces the budget.

    `rates` are those that were applied, `unpriced` the names of reported usage that was charged at the ceiling.
    """

    usage: Usage
    cost_usd: Decimal
    estimated: bool
    flagged: str
    overrun_usd: Decimal
    rates: Rates
    unpriced: tuple[str, ...] = ()


def charge(held: Held, outcome: Outcome) -> Charge:
    """Return what settling `held` with this outcome charges.

    A reported 0 is charged as 0. A call that started and has no report is estimated: never free, never above the hold.
    """
    flags = ["price_unknown"] if held.rates.unknown else []
    estimated = False
    rates, unpriced = pricing.applied(held.rates, Usage())
    if outcome.usage is None and (not outcome.started or outcome.request_sent is False):
        usage, cost = Usage(), Decimal(0)
    elif outcome.usage is None:
        usage, estimated = _estimate(held, outcome), True
        cost = min(pricing.cost(held.rates, usage), held.amount)
    else:
        usage = outcome.usage.clean()
        rates, unpriced = pricing.applied(held.rates, usage)
        cost = pricing.cost(rates, usage)
        if _absurd(held, usage):
            usage, cost, estimated = _estimate(held, outcome), held.amount, True
            rates, unpriced = pricing.applied(held.rates, Usage())
            flags.append("usage_absurd")
        elif outcome.partial or usage.missing:
            # Missing counts are estimated. An estimate alone never raises the cost above the hold.
            usage, estimated = _completed(usage, held, outcome), True
            cost = max(cost, min(pricing.cost(rates, usage), held.amount))
    if unpriced:
        flags.append(UNPRICED)
    return Charge(usage, cost, estimated, ",".join(flags), max(Decimal(0), cost - held.amount), rates, unpriced)


def _estimate(held: Held, outcome: Outcome) -> Usage:
    return Usage(input_tokens=max(1, held.input_tokens), output_tokens=_seen(outcome))


def _completed(usage: Usage, held: Held, outcome: Outcome) -> Usage:
    """Return the reported counts, with an estimate for each one that is missing or not final."""
    guess = _estimate(held, outcome)
    if outcome.partial or "output_tokens" in usage.missing:
        usage = replace(usage, output_tokens=max(usage.output_tokens, guess.output_tokens))
    if "input_tokens" in usage.missing:
        usage = replace(usage, input_tokens=max(usage.input_tokens, guess.input_tokens))
    return replace(usage, missing=frozenset())


def _seen(outcome: Outcome) -> int:
    return min(max(0, outcome.output_tokens_seen), ABSURD_TOKENS)


def _absurd(held: Held, usage: Usage) -> bool:
    """Return whether the counts are not to be trusted. A ceiling, and the price of a tool's call, are no sign of a wrong count."""
    if max(usage.input_tokens, usage.output_tokens, *(count for _, count in usage.units)) > ABSURD_TOKENS:
        return True
    return held.amount > 0 and pricing.cost(held.rates, replace(usage, units=())) > ABSURD_FACTOR * held.amount


def rounded_up(amount: Decimal) -> Decimal:
    """Return the amount rounded up to the database's precision (1e-12 USD)."""
    return amount.quantize(PICO, ROUND_CEILING)


def whole(value: int | None) -> int | None:
    """Return the count, limited to the range of its column."""
    return None if value is None else max(0, min(int(value), _INT))


def log_row(held: Held, outcome: Outcome, charged: Charge, baseline: Rates | None) -> dict[str, Any]:
    """Return the columns of the call's UsageLog row, except `created_at`, which comes from the hold."""
    call = held.call.as_json()
    usage = charged.usage
    baseline_cost = None
    if baseline is not None and outcome.request_sent is not False and (outcome.started or outcome.usage is not None):
        # The vendor's tools cost the same with every model.
        baseline_cost = pricing.cost(replace(baseline, units=charged.rates.units, media=()), usage)
    return {
        **{name: value for name, value in call.items() if name not in _WIDTHS and name != "auth_epoch"},
        **{name: clean_text(call[name])[:width] for name, width in _WIDTHS.items()},
        "id": str(uuid7()),
        "status": outcome.status,
        "finish_reason": clean_text(outcome.finish_reason)[:20],
        "error_code": clean_text(outcome.error_code)[:50],
        **usage.as_dict(),
        "cost_usd": charged.cost_usd,
        "baseline_cost_usd": baseline_cost,
        "cache_saved_usd": pricing.cache_saving(charged.rates, usage),
        "price": charged.rates.as_json(),
        "also_used": {name: dict(getattr(usage, name)) for name in ("media", "units") if getattr(usage, name)} or None,
        "estimated": charged.estimated,
        "flagged": charged.flagged,
        "overrun_usd": charged.overrun_usd,
        "latency_ms": whole(outcome.latency_ms),
        "ttft_ms": whole(outcome.ttft_ms),
        "vendor_asked": outcome.request_sent,
    }
