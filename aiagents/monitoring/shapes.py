"""What monitoring answers and shares, as JSON. The OpenAPI document of the metrics is made of `Metrics`."""

from __future__ import annotations

from typing import Annotated, TypedDict

from aiagents.core.drf.typed_dicts import Time
from aiagents.core.metrics.counting import Percentiles

# --- the API's metrics over time ------------------------------------------------------------------


class MetricPoint(TypedDict):
    """One bucket. Counts are sums, the other figures means; null: not measured."""

    at: Time
    requests: int
    requests_per_second: float
    errors: int
    latency: Percentiles
    calls: Annotated[int, "settled vendor calls"]
    failed_calls: int
    input_tokens: int
    output_tokens: int
    cpu_percent: float | None
    memory_used_bytes: int | None
    memory_total_bytes: int | None
    disk_used_bytes: int | None
    disk_total_bytes: int | None
    database_connections: int | None
    database_bytes: int | None
    database_ms: float | None
    valkey_bytes: int | None
    valkey_ms: float | None
    queued: int | None
    processes: Annotated[int | None, "web processes"]
    running_turns: int | None
    open_sockets: int | None
    open_holds: int | None
    held_usd: str | None


# The other way to write a TypedDict, because `from` is a keyword.
Range = TypedDict("Range", {"from": Time, "to": Time})


class Metrics(Range):
    """The system's figures, one point for each bucket that has any."""

    bucket: str
    bucket_seconds: int
    points: list[MetricPoint]


# --- the live view --------------------------------------------------------------------------------


class Rates(TypedDict):
    """Per second."""

    requests: float
    calls: float
    tokens: float


class LastMinute(TypedDict):
    """Counts of the last minute."""

    errors: int
    failed_calls: int
    latency: list[int]


class ProcessFigures(TypedDict):
    """What one process publishes once a second. `at` is its clock."""

    at: float
    role: str
    memory_bytes: int
    gauges: dict[str, float]
    rates: Rates
    minute: LastMinute


class Figures(TypedDict):
    """The figures of all processes together."""

    processes: dict[str, int]
    memory_bytes: int
    requests_per_second: float
    calls_per_second: float
    tokens_per_second: float
    errors_last_minute: int
    failed_calls_last_minute: int
    latency: Percentiles
    running_turns: int
    open_sockets: int


class SharedFigures(Figures):
    """The figures with the queues, null while Valkey is away; then `complete` is false."""

    complete: bool
    queues: dict[str, int] | None
    queued: int | None


# --- the apps' figures ----------------------------------------------------------------------------


class Vendor(TypedDict):
    """A vendor connection. `latency_ms` is the mean time to the first token over its models."""

    status: str
    latency_ms: float | None
    error_rate: float
    samples: int
    open: list[str]
    simulated: bool


class OpenHolds(TypedDict):
    """The open holds: how many, and their sum as a decimal string."""

    open: int
    held_usd: str


class Today(TypedDict):
    """The usage of today."""

    spend_usd: str
    calls: int
    input_tokens: int
    output_tokens: int
