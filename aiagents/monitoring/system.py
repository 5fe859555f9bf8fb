"""The system's figures over time, sampled by beat: stored per minute for a week, and per hour after it.

Higher layers register further figures: `system.measure_also("open_holds", read)`.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import psutil
import redis
from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from aiagents.core.errors import InvalidRequest
from aiagents.core.metrics import counting
from aiagents.core.valkey import clients as valkey
from aiagents.monitoring import shapes, sharing
from aiagents.monitoring.models import SystemMetric

log = logging.getLogger(__name__)
Span = SystemMetric.Span
# Minutes that a sample also stores if they are missing; their sums are still in Valkey.
LOOK_BACK = 12
# An hour has the sums of these columns, and the means of MEANS.
SUMS = ("requests", "errors", "calls", "failed_calls", "input_tokens", "output_tokens")
MEANS = (
    "cpu_percent", "memory_used_bytes", "memory_total_bytes", "disk_used_bytes", "disk_total_bytes", "database_connections",
    "database_bytes", "database_ms", "valkey_bytes", "valkey_ms", "queued", "processes", "running_turns", "open_sockets", "open_holds",
    "held_usd",
)  # fmt: skip
_WHOLE = frozenset(MEANS) - {"cpu_percent", "database_ms", "valkey_ms", "held_usd"}
COLUMNS = ("at", "span", "latency", *SUMS, *MEANS)
BUCKETS = {"minute": 60, "5minutes": 300, "15minutes": 900, "hour": 3600, "6hours": 21600, "day": 86400}
MOST_POINTS = 1500
_also: dict[str, Callable[[], dict[str, Any]]] = {}


def measure_also(name: str, read: Callable[[], dict[str, Any]]) -> None:
    """Register `read`, which returns further columns of a sample."""
    _also[name] = read


# --- measuring ----------------------------------------------------------------------------------


def sample(now: datetime | None = None) -> int:
    """Store the minute that has just ended and missing earlier ones; return how many. Safe to run twice."""
    now = now or timezone.now()
    last = int(now.timestamp() // 60) - 1
    minutes = {datetime.fromtimestamp(minute * 60, UTC): minute for minute in range(last - LOOK_BACK + 1, last + 1)}
    kept = set(SystemMetric.objects.filter(span=Span.MINUTE, at__in=minutes).values_list("at", flat=True))
    counts = _counts([minute for at, minute in minutes.items() if at not in kept])
    rows = []
    for at, minute in minutes.items():
        if at in kept or (minute != last and not counts.get(minute)):
            continue
        row = SystemMetric(at=at, span=Span.MINUTE, **counts.get(minute, {}))
        for name, value in (measured() if minute == last else {}).items():
            setattr(row, name, value)
        rows.append(row)
    SystemMetric.objects.bulk_create(rows, ignore_conflicts=True)
    return len(rows)


def measured() -> dict[str, Any]:
    """The current measurements by column; a part that fails is omitted."""
    found: dict[str, Any] = {}
    for read in (_machine, _database, _valkey, _processes, *_also.values()):
        try:
            found |= read()
        except Exception as exc:
            log.warning("not_measured", extra={"part": getattr(read, "__name__", ""), "reason": type(exc).__name__})
    return found


def _machine() -> dict[str, float]:
    memory, disk = psutil.virtual_memory(), shutil.disk_usage(settings.DATA_DIR)
    return {
        "cpu_percent": _cpu(),
        "memory_used_bytes": memory.total - memory.available,
        "memory_total_bytes": memory.total,
        "disk_used_bytes": disk.used,
        "disk_total_bytes": disk.total,
    }


_cpu_measured = False


def _cpu() -> float:
    """CPU use in percent since the last sample of this process; the first sample measures 0.3 s."""
    global _cpu_measured
    interval, _cpu_measured = (None if _cpu_measured else 0.3), True
    return psutil.cpu_percent(interval=interval)


def _database() -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")  # not timed, because it may open a connection
        begun = time.perf_counter()
        cursor.execute("SELECT 1")
        found: dict[str, Any] = {"database_ms": _ms(begun)}
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT pg_database_size(current_database()), (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database())"
            )
            found["database_bytes"], found["database_connections"] = cursor.fetchone()
        elif connection.vendor == "sqlite":
            cursor.execute("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()")
            (found["database_bytes"],) = cursor.fetchone()
    return found


def _valkey() -> dict[str, Any]:
    client = valkey.sync_client()
    client.ping()
    begun = time.perf_counter()
    client.ping()
    found: dict[str, Any] = {"valkey_ms": _ms(begun), "valkey_bytes": client.info("memory")["used_memory"]}
    waiting = queue_depths()
    return found | {"queues": waiting, "queued": sum(waiting.values())}


def _processes() -> dict[str, int]:
    client = valkey.sync_client()
    alive, gone = sharing.living(client.hgetall(sharing.PROCESSES))  # type: ignore[arg-type]  # redis-py types sync and async answers alike
    if gone:
        client.hdel(sharing.PROCESSES, *gone)  # type: ignore[arg-type]  # redis-py types sync and async answers alike
    if not alive:
        return {"processes": 0, "running_turns": 0, "open_sockets": 0}
    now = sharing.added(alive)
    return {"processes": now["processes"]["web"], "running_turns": now["running_turns"], "open_sockets": now["open_sockets"]}


def queue_depths() -> dict[str, int]:
    """The number of waiting messages by Celery queue."""
    names = queue_names()
    pipe = valkey.sync_client().pipeline(transaction=False)
    for name in names:
        pipe.llen(name)
    return dict(zip(names, pipe.execute(), strict=True))


def queue_names() -> list[str]:
    return [queue.name for queue in settings.CELERY_TASK_QUEUES]


def _counts(minutes: Iterable[int]) -> dict[int, dict[str, Any]]:
    """The counts of all processes by minute."""
    wanted = list(minutes)
    pipe = valkey.sync_client().pipeline(transaction=False)
    for minute in wanted:
        pipe.hgetall(sharing.minute_key(minute))
    try:
        answers = pipe.execute()
    except redis.RedisError as exc:
        log.warning("not_measured", extra={"part": "counts", "reason": type(exc).__name__})
        return {}
    found = {}
    for minute, raw in zip(wanted, answers, strict=True):
        if raw:
            numbers = {name.decode(): int(value) for name, value in raw.items()}
            latency = [numbers.get(f"l{index}", 0) for index in range(len(counting.BOUNDS) + 1)]
            found[minute] = {name: numbers.get(name, 0) for name in sharing.COUNTS} | {"latency": latency}
    return found


def _ms(begun: float) -> float:
    return round((time.perf_counter() - begun) * 1000, 3)


# --- keeping ------------------------------------------------------------------------------------


def compact(now: datetime | None = None) -> int:
    """Merge minutes older than METRICS_DETAIL_DAYS into hours, delete hours older than METRICS_KEPT_DAYS; return the deleted rows."""
    now = now or timezone.now()
    border = (now - timedelta(days=settings.METRICS_DETAIL_DAYS)).replace(minute=0, second=0, microsecond=0)
    gone = SystemMetric.objects.filter(span=Span.HOUR, at__lt=now - timedelta(days=settings.METRICS_KEPT_DAYS)).delete()[0]
    while (first := SystemMetric.objects.filter(span=Span.MINUTE, at__lt=border).order_by("at").first()) is not None:
        hour = first.at.replace(minute=0, second=0, microsecond=0)
        with transaction.atomic():
            # Locked: concurrent sweeps must not build an hour from half of its minutes.
            minutes = list(
                SystemMetric.objects.select_for_update()
                .filter(span=Span.MINUTE, at__gte=hour, at__lt=hour + timedelta(hours=1))
                .values_list(*COLUMNS, "queues", "pk")
            )
            if minutes:
                merged = _merged([row[: len(COLUMNS)] for row in minutes])
                queues: dict[str, int] = {}
                for row in minutes:
                    for name, depth in row[-2].items():
                        queues[name] = max(queues.get(name, 0), depth)
                SystemMetric.objects.update_or_create(at=hour, span=Span.HOUR, defaults=merged | {"queues": queues})
                gone += SystemMetric.objects.filter(pk__in=[row[-1] for row in minutes]).delete()[0]
    return gone


def _merged(rows: list[tuple[Any, ...]]) -> dict[str, Any]:
    """The sums of SUMS and the means of MEANS over rows of COLUMNS."""
    columns = dict(zip(COLUMNS, zip(*rows, strict=True), strict=True))
    found: dict[str, Any] = {name: sum(columns[name]) for name in SUMS}
    for name in MEANS:
        values = [value for value in columns[name] if value is not None]
        mean = sum(values) / len(values) if values else None
        found[name] = mean if mean is None or name == "held_usd" else round(mean) if name in _WHOLE else round(mean, 3)
    found["latency"] = [sum(counts) for counts in zip(*filter(None, columns["latency"]), strict=False)]
    return found


# --- reading ------------------------------------------------------------------------------------


def history(from_: datetime, to: datetime, bucket: str = "auto") -> shapes.Metrics:
    """The figures in [from_, to), one point for each non-empty `bucket` (BUCKETS, or "auto"). JSON, money as text.

    Each point has means, sums and true percentiles. Data older than METRICS_DETAIL_DAYS is hourly. Raises InvalidRequest.
    """
    if to <= from_:
        raise InvalidRequest("`to` must be later than `from`.", param="to")
    seconds = (to - from_).total_seconds()
    if bucket == "auto":
        bucket = next((name for name, size in BUCKETS.items() if seconds / size <= 300), "day")
    if bucket not in BUCKETS:
        raise InvalidRequest(f"bucket must be auto or one of {', '.join(BUCKETS)}.", param="bucket")
    size = BUCKETS[bucket]
    if seconds / size > MOST_POINTS:
        raise InvalidRequest(f"The range would have more than {MOST_POINTS} points; use a larger bucket.", param="bucket")
    groups: dict[int, list[tuple[Any, ...]]] = {}
    covered: dict[int, int] = {}
    for row in SystemMetric.objects.filter(at__gte=from_, at__lt=to).order_by("at").values_list(*COLUMNS):
        start = int(row[0].timestamp()) // size * size
        groups.setdefault(start, []).append(row)
        covered[start] = covered.get(start, 0) + (3600 if row[1] == Span.HOUR else 60)
    points = [_point(start, rows, covered[start]) for start, rows in groups.items()]
    return {"from": from_.isoformat(), "to": to.isoformat(), "bucket": bucket, "bucket_seconds": size, "points": points}


def _point(start: int, rows: list[tuple[Any, ...]], seconds: int) -> shapes.MetricPoint:
    found = _merged(rows)
    latency, held = found.pop("latency"), found.pop("held_usd")
    point = {
        "at": datetime.fromtimestamp(start, UTC).isoformat().replace("+00:00", "Z"),
        **found,
        "held_usd": None if held is None else f"{held:.8f}",
        "requests_per_second": round(found["requests"] / seconds, 3),
        "latency": counting.percentiles(latency),
    }
    return cast(shapes.MetricPoint, point)  # `found` has SUMS and MEANS
