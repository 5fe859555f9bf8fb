"""The values of the reports that only the pages under /admin/analytics/ show: performance of models, activity of users."""

from __future__ import annotations

from typing import Annotated, TypedDict

from aiagents.core.drf.typed_dicts import Time
from billing.reports.shapes import DetailedTotals, Line, Range, Share, Usd


class Quality(TypedDict):
    """Success, speed and cost per call; null: no call to judge by."""

    success_share: Share
    mean_latency_ms: int | None
    mean_ttft_ms: int | None
    tokens_per_second: float | None
    cost_per_call_usd: Usd | None


class Percentiles(TypedDict):
    """Milliseconds."""

    p50_ms: int | None
    p95_ms: int | None
    p99_ms: int | None


class ErrorCount(TypedDict):
    """How many calls ended with one error."""

    status: str
    error_code: str
    calls: int


class TimedTotals(DetailedTotals):
    """All sums, with those of times in milliseconds, and the time of the last call."""

    latency_ms: int
    timed_calls: Annotated[int, "streamed calls, of which the next three are sums"]
    ttft_ms: int
    writing_ms: int
    written_tokens: int
    last_at: Time | None


class PerformanceTotals(TimedTotals, Quality):
    """The sums of all models, with their success and speed."""


class ModelPerformance(TimedTotals, Quality):
    """One model."""

    key: str
    label: str
    provider: str
    quality: int | None
    lifecycle: str
    latency: Percentiles
    first_token: Percentiles
    errors: list[ErrorCount]


class QualityPoint(Quality):
    """Success and speed of all models in one bucket of time."""

    at: Time
    calls: int
    failed_calls: int


class Performance(Range):
    """Success and speed of the models, most used first."""

    bucket: str
    totals: PerformanceTotals
    models: list[ModelPerformance]
    points: list[QualityPoint]


class ActiveUsers(TypedDict):
    """Numbers of users in a range."""

    total: int
    active: int
    new: int
    came_back: int


class ActiveUser(Line):
    """A user in a range."""

    active_days: int
    cost_share: Share
    failed_share: Share


class ActivityPoint(TypedDict):
    """Numbers of users on one day."""

    at: Time
    active_users: int
    new_users: int


class Activity(Range):
    """Who uses the product, who spends most first."""

    users: ActiveUsers
    people: list[ActiveUser]
    people_left_out: int
    points: list[ActivityPoint]
