"""Performance of the models: success, speed and cost per call."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from aiagents.core.jsonio import money
from billing.catalogue import snapshot as catalogue
from billing.models import UsageLog, UsageRollup
from billing.reports import figures, page_shapes, reading, rollups, sums, timing
from billing.reports.figures import add_up, share, shown, time

Slice = UsageRollup.Slice
# The number of error codes listed for each model.
ERRORS = 5
_NAMES = (*sums.USUAL, *sums.TIMES, "estimated_calls", "failed_cost_usd", "overrun_usd", "max_input_tokens", "max_output_tokens", "last_at")


def model_performance(from_: datetime, to: datetime) -> page_shapes.Performance:
    """Return each model's success rate, latency, time to first token, speed, cost and errors; most used first.

    Times are p50, p95 and p99 in milliseconds. `points`: success and speed of all models over time. Failed calls
    include those that broke off or were cancelled.
    """
    bucket = figures.checked(from_, to)
    models = reading.read(from_, to, Slice.MODEL, ("model",), names=_NAMES)
    timings = _timings(from_, to)
    errors = _errors(from_, to)
    cards = catalogue.current_sync().cards
    lines: list[page_shapes.ModelPerformance] = []
    for (model,), total in sorted(models.items(), key=lambda row: (-row[1]["calls"], row[0][0])):
        card = cards.get(model)
        latencies, first_tokens = timings.get(model, ([], []))
        lines.append(
            {
                "key": model,
                "label": card.display_name if card else model,
                "provider": card.provider if card else "",
                "quality": card.quality if card else None,
                "lifecycle": card.lifecycle if card else "unknown",
                **shown(total, page_shapes.TimedTotals),
                **_quality(total),
                "latency": _percentiles(latencies),
                "first_token": _percentiles(first_tokens),
                "errors": errors.get(model, [])[:ERRORS],
            }
        )
    over_time = reading.read(from_, to, Slice.MODEL, names=_NAMES, bucket=bucket)
    points = [(at, over_time.get((at,)) or figures.no_usage(_NAMES)) for at in reading.starts(from_, to, bucket)]
    total = add_up(models.values(), _NAMES)
    return {
        "from": time(from_),
        "to": time(to),
        "bucket": bucket,
        "totals": {**shown(total, page_shapes.TimedTotals), **_quality(total)},
        "models": lines,
        "points": [{"at": time(at), "calls": one["calls"], "failed_calls": one["failed_calls"], **_quality(one)} for at, one in points],
    }


def _quality(total: dict[str, Any]) -> page_shapes.Quality:
    good = total["calls"] - total["failed_calls"]
    seconds = total["writing_ms"] / 1000
    return {
        "success_share": share(good, total["calls"]),
        "mean_latency_ms": round(total["latency_ms"] / good) if good else None,
        "mean_ttft_ms": round(total["ttft_ms"] / total["timed_calls"]) if total["timed_calls"] else None,
        "tokens_per_second": round(total["written_tokens"] / seconds, 1) if seconds else None,
        "cost_per_call_usd": money((total["cost_usd"] / total["calls"]).quantize(figures.PLACES)) if total["calls"] else None,
    }


def _percentiles(counts: list[int]) -> page_shapes.Percentiles:
    p50, p95, p99 = (timing.percentile(counts, percent / 100) for percent in (50, 95, 99))
    return {"p50_ms": p50, "p95_ms": p95, "p99_ms": p99}


def _timings(from_: datetime, to: datetime) -> dict[str, tuple[list[int], list[int]]]:
    """Return the calls per bucket of latency and of time to first token, by model. SQL cannot add such lists."""
    lists: dict[str, tuple[list[Any], list[Any]]] = defaultdict(lambda: ([], []))
    for piece in reading.pieces_now(from_, to):
        for model, latencies, first_tokens in _lists(piece):
            lists[model][0].append(latencies)
            lists[model][1].append(first_tokens)
    return {model: (timing.added(both[0]), timing.added(both[1])) for model, both in lists.items()}


def _lists(piece: reading.Piece) -> QuerySet[Any, tuple[Any, ...]]:
    if piece.source == "log":
        rows = UsageLog.objects.filter(created_at__gte=piece.start, created_at__lt=piece.end).order_by().values("model")
        wanted = [sums.PREFIX + name for name in sums.BUCKETS]
        return rows.annotate(**sums.over_log(sums.BUCKETS)).values_list("model", *wanted)
    rolled = UsageRollup.objects.filter(kind=piece.source, slice=Slice.MODEL, starts_at__gte=piece.start, starts_at__lt=piece.end)
    return rolled.order_by().values_list("model", *sums.BUCKETS)


def _errors(from_: datetime, to: datetime) -> dict[str, list[page_shapes.ErrorCount]]:
    """Return the error codes of each model, most frequent first."""
    found: dict[str, list[page_shapes.ErrorCount]] = defaultdict(list)
    by = ("model", "status", "error_code")
    rows = reading.read(from_, to, Slice.ENDING, by, names=("calls",), only=~rollups.ENDED_WELL)
    for (model, status, code), total in sorted(rows.items(), key=lambda row: -row[1]["calls"]):
        found[model].append({"status": status, "error_code": code, "calls": total["calls"]})
    return found
