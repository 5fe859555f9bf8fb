"""The JSON of the reports of the admin's API. The OpenAPI document is generated from these types."""

from __future__ import annotations

from typing import Annotated, Any, TypedDict

from aiagents.core.drf.typed_dicts import Time
from billing.budgets.near_limit import Near

# USD as a decimal string.
Usd = str
# A ratio (0.25 is a quarter); None: the whole is zero.
Share = float | None
# The other way to write a TypedDict, because `from` is a keyword.
Range = TypedDict("Range", {"from": Time, "to": Time})
Since = TypedDict("Since", {"from": Time})


class Totals(TypedDict):
    """Sums. `simulated_calls` of the calls were answered by the simulator."""

    calls: int
    failed_calls: Annotated[int, "failed, cancelled or interrupted"]
    simulated_calls: int
    input_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost_usd: Usd
    baseline_cost_usd: Annotated[Usd, "of the baseline model for the same tokens"]
    compared_cost_usd: Annotated[Usd, "cost of the calls that have a baseline"]
    saved_usd: Annotated[Usd, "cost of the baseline model minus the actual cost"]
    cache_saved_usd: Annotated[Usd, "what the tokens would have cost more without the vendors' prompt caches"]


class Point(Totals):
    """The sums of one bucket of time."""

    at: Annotated[Time, "start of the bucket, UTC"]


class GroupTotals(Totals):
    """The sums of one group."""

    key: Annotated[str | None, "null: the calls that have none"]
    label: str


class Series(TypedDict):
    """One line of a chart, a value per point. The last line may sum up all other groups, with an empty key."""

    key: str | None
    label: str
    cost_usd: list[Usd]
    calls: list[int]


class UsageAnalytics(Range):
    """Usage over time and by group, highest cost first. The first and the last point may cover a part of a bucket."""

    bucket: str
    group_by: str
    totals: Totals
    points: list[Point]
    groups: list[GroupTotals]
    groups_left_out: int
    series: list[Series]


class Line(TypedDict):
    """A user with the sums that a table shows."""

    key: str | None
    label: str
    calls: int
    failed_calls: int
    simulated_calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: Usd
    last_at: Time | None


class Change(TypedDict):
    """Relative changes."""

    calls: Share
    cost_usd: Share
    input_tokens: Share
    output_tokens: Share


class MonthTotals(Totals, Since):
    """The sums of the month to date."""


class RecentTotals(Totals):
    """The sums of the last days."""

    failed_share: Share


class People(TypedDict):
    """Numbers of users."""

    total: int
    new_30_days: int
    active_24_hours: int
    active_7_days: int
    active_30_days: int


class Running(TypedDict):
    """The calls that run now."""

    calls: int
    held_usd: Usd


class Ahead(TypedDict):
    """Forecast to the month's end from the last whole days. The range should contain four of five actual amounts."""

    expected_usd: Usd
    low_usd: Usd
    high_usd: Usd
    per_day_usd: Usd
    days_observed: int
    exhausted_at: Time | None


class SystemBudget(TypedDict):
    """The current month of all users."""

    spent_usd: Usd
    held_usd: Usd
    limit_usd: Usd | None
    left_usd: Usd | None
    used_share: Share
    starts_at: Time
    ends_at: Time
    forecast: Annotated[Ahead | None, "null: fewer than three whole days of history"]


class Overview(TypedDict):
    """The overview. Days are UTC. `change` compares the last 30 days with the 30 before (0.25: a quarter more)."""

    at: Time
    today: Totals
    yesterday: Totals
    month: MonthTotals
    last_30_days: RecentTotals
    previous_30_days: Totals
    change: Change
    days: list[Point]
    top_models: list[GroupTotals]
    top_users: list[Line]
    users: People
    running: Running
    system_budget: SystemBudget
    budgets_near_limit: list[Near]
    rolled_until: Annotated[Time | None, "later usage was read from the usage log"]


class Alternative(TypedDict):
    """A cheaper model, with the cost of the same tokens."""

    model: str
    label: str
    quality: int
    cost_usd: Annotated[Usd, "of the same tokens"]
    saving_usd: Usd
    saving_per_month_usd: Usd | None


class Details(TypedDict):
    """Further sums."""

    failed_cost_usd: Usd
    estimated_calls: int
    overrun_usd: Usd
    max_input_tokens: int
    max_output_tokens: int


class DetailedTotals(Totals, Details):
    """All sums."""


class ModelCost(GroupTotals, Details):
    """What one model cost."""

    provider: str
    quality: int | None
    lifecycle: str
    replaced_by: str
    price_known: bool
    cost_share: Share
    cached_share: Share
    cost_per_call_usd: Usd | None
    alternative: Alternative | None


class Suggestion(TypedDict):
    """A suggestion. `evidence`: its figures. A saving that cannot be computed is null."""

    kind: str
    title: str
    text: str
    evidence: dict[str, Any]
    saving_per_month_usd: Usd | None


class CostTotals(DetailedTotals):
    """The sums of all models."""

    cached_share: Share


class CostOptimization(Range):
    """Models by cost, each with the cost of the same tokens on a model of about the same quality."""

    baseline_model: str
    totals: CostTotals
    possible_saving_usd: Usd
    possible_saving_per_month_usd: Usd | None
    observed_days: float
    models: list[ModelCost]
    suggestions: list[Suggestion]
