"""Metrics and log lines of settled calls. A line carries the ids of its request."""

from __future__ import annotations

import logging

from aiagents.core.metrics import counting
from billing.ledger.service import Call, Charge, Outcome

log = logging.getLogger("aiagents.calls")


def ended(call: Call, outcome: Outcome, charge: Charge | None) -> None:
    """Count a settled vendor call, and log it. `charge` is None when the next attempt took over its hold."""
    usage = charge.usage if charge else outcome.usage
    counting.call(
        call.provider, call.model, outcome.status, usage.input_tokens if usage else 0, usage.output_tokens if usage else 0,
        charge.cost_usd if charge else 0,
    )  # fmt: skip
    level = logging.DEBUG if outcome.status == "ok" else logging.INFO if outcome.status == "cancelled" else logging.WARNING
    if log.isEnabledFor(level):
        fields = {
            "call_id": str(call.call_id), "request_id": call.request_id, "user_id": str(call.user_id), "model": call.model,
            "provider": call.provider, "status": outcome.status, "code": outcome.error_code, "ms": outcome.latency_ms,
            "purpose": call.purpose, "surface": call.surface, "attempt": call.attempt,
        }  # fmt: skip
        if call.task_id is not None:
            fields["task"] = str(call.task_id)
        log.log(level, "model_call", extra={"fields": fields})
