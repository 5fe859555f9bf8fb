"""Health of each model: rolling latency and speed, and a circuit breaker, shared between processes through Valkey.

Reads use this process's copy. A background task per event loop exchanges changes with the other processes about once a
second, and an opened breaker at once. While Valkey is unreachable each process uses only its own measurements.

Only a vendor's own failures count, never a caller's bad prompt, short deadline or disconnect.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from weakref import WeakKeyDictionary

import orjson
import redis

from agents.providers.errors import ProviderAuthFailed, ProviderError, ProviderQuotaExhausted, ProviderRateLimited
from aiagents.core.valkey import clients as valkey
from billing.catalogue.snapshot import ModelCard

logger = logging.getLogger(__name__)
# A breaker opens after this many failures in a row, or when this share of at least this many calls in a minute fails.
_MOST_FAILURES_IN_A_ROW, _MOST_FAILED_SHARE, _LEAST_CALLS = 5, 0.5, 10
_WINDOW_SECONDS = 60.0
_MOST_OUTCOMES = 500
# How long a breaker stays open. A refused key or a spent quota needs a person, so its breaker stays open longer.
_OPEN_SECONDS, _CONNECTION_SECONDS = 30.0, 600.0
_LONGEST_COOL_DOWN = 120.0
# Weight of the newest sample in the rolling means.
_ALPHA = 0.2
_SYNC_SECONDS = 1.0
# One call at a time tries a half-open model; a trial without a result expires.
_TRIAL_SECONDS = 15
_KEY = "health:models"
_IDLE_SYNCS = 120


@dataclass(frozen=True, slots=True)
class ModelHealth:
    """Health of one model, None for values without samples. `half_open`: the next call closes or reopens the breaker."""

    state: Literal["closed", "open", "half_open"] = "closed"
    ttft_ms: float | None = None
    tokens_per_second: float | None = None
    error_rate: float = 0.0
    samples: int = 0


HEALTHY = ModelHealth()


@dataclass(slots=True)
class _State:
    # The newest calls of the window, and how many of them failed.
    outcomes: deque[tuple[float, bool]] = field(default_factory=deque)
    failures: int = 0
    in_a_row: int = 0
    # Wall clock (seconds), as it is shared between processes; 0: never opened or recovered.
    open_until: float = 0.0
    on_trial: bool = False
    ttft_ms: float | None = None
    tokens_per_second: float | None = None
    samples: int = 0
    changed: bool = False

    def note(self, now: float, ok: bool) -> None:
        self.outcomes.append((now, ok))
        self.failures += not ok
        self.forget(now)

    def forget(self, now: float) -> None:
        """Drop outcomes outside the window. Each is dropped once, so reading the share stays cheap."""
        outcomes = self.outcomes
        while outcomes and (now - outcomes[0][0] >= _WINDOW_SECONDS or len(outcomes) > _MOST_OUTCOMES):
            self.failures -= not outcomes.popleft()[1]


states: dict[str, _State] = {}
_syncs: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[None]] = WeakKeyDictionary()
_view: dict[str, ModelHealth] = {}
_view_at = 0.0


def connection_key(card: ModelCard) -> str:
    """Return the name of a connection's own health: failures of its key concern all of its models."""
    return f"@{card.connection or card.provider}"


def snapshot() -> Mapping[str, ModelHealth]:
    """Return all health values by model slug and by `connection_key`, at most 0.2 s old."""
    global _view, _view_at
    now = time.monotonic()
    if now - _view_at > 0.2:
        _view, _view_at = {name: _health(state) for name, state in states.items()}, now
    _keep_syncing()
    return _view


def record(
    model: str,
    connection: str,
    *,
    ok: bool,
    ttft_ms: float | None = None,
    output_tokens: int = 0,
    seconds: float = 0.0,
    error: ProviderError | None = None,
) -> None:
    """Record the result of one vendor call. Cheap, and never raises."""
    state = states.setdefault(model, _State())
    now = time.time()
    if ok:
        state.in_a_row, state.on_trial, state.open_until = 0, False, 0.0
        state.note(now, True)
        state.samples += 1
        if ttft_ms is not None:
            state.ttft_ms = _rolled(state.ttft_ms, ttft_ms)
        if output_tokens > 8 and seconds > 0.05:
            state.tokens_per_second = _rolled(state.tokens_per_second, output_tokens / seconds)
        if (shared := states.get(connection)) is not None and shared.open_until:
            shared.open_until, shared.changed = 0.0, True
    elif isinstance(error, ProviderAuthFailed | ProviderQuotaExhausted):
        logger.error("vendor_connection_refused", extra={"connection": connection, "code": error.code})
        _open(states.setdefault(connection, _State()), _CONNECTION_SECONDS, connection)
    elif isinstance(error, ProviderRateLimited):
        if error.retry_after:
            state.open_until = max(state.open_until, now + min(error.retry_after, _LONGEST_COOL_DOWN))
    elif error is not None and error.opens_breaker:
        _failed(state, now, model)
    else:
        return
    state.changed = True
    invalidate()
    _keep_syncing()


async def allow(model: str) -> bool:
    """Return whether a call may use the model. A half-open model gets one call at a time among all processes."""
    state = states.get(model)
    if state is None or not state.open_until:
        return True
    if time.time() < state.open_until:
        return True  # the router chose it anyway: the caller named it, or no other model is left
    try:
        first = await valkey.client().set(f"health:trial:{model}", b"1", nx=True, ex=_TRIAL_SECONDS)
    except (redis.RedisError, OSError):
        first, state.on_trial = not state.on_trial, True
    return bool(first)


def recent() -> dict[str, dict[str, float | str]]:
    """Return state, error rate and samples of each recently called model and connection, for the readiness report."""
    return {name: {"state": one.state, "error_rate": round(one.error_rate, 3), "samples": one.samples} for name, one in snapshot().items()}


def reset() -> None:
    """Forget all measurements (tests, and staff after they repaired a connection)."""
    states.clear()
    invalidate()


def _failed(state: _State, now: float, model: str) -> None:
    state.note(now, False)
    state.in_a_row += 1
    calls = len(state.outcomes)
    again = 0 < state.open_until <= now  # the trial failed
    if again or state.in_a_row >= _MOST_FAILURES_IN_A_ROW or (calls >= _LEAST_CALLS and state.failures > _MOST_FAILED_SHARE * calls):
        _open(state, _OPEN_SECONDS, model)


def _open(state: _State, seconds: float, name: str) -> None:
    until = time.time() + seconds
    if until > state.open_until:  # the later deadline wins
        if not state.open_until:
            logger.warning("breaker_opened", extra={"name_of": name, "seconds": seconds})
        state.open_until = until
    state.on_trial, state.changed = False, True
    invalidate()
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return
    task = loop.create_task(exchange_with_others())
    task.add_done_callback(lambda done: done.cancelled() or done.exception())


def _health(state: _State) -> ModelHealth:
    now = time.time()
    state.forget(now)
    rate = state.failures / len(state.outcomes) if state.outcomes else 0.0
    phase: Literal["closed", "open", "half_open"] = "closed"
    if state.open_until:
        phase = "open" if now < state.open_until else "half_open"
    return ModelHealth(phase, state.ttft_ms, state.tokens_per_second, rate, state.samples)


def _rolled(mean: float | None, sample: float) -> float:
    return sample if mean is None else mean + _ALPHA * (sample - mean)


def invalidate() -> None:
    global _view_at
    _view_at = 0.0


def _keep_syncing() -> None:
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return
    task = _syncs.get(loop)
    if task is None or task.done():
        _syncs[loop] = loop.create_task(_sync())


async def _sync() -> None:
    """Exchange health with the other processes until this one has been idle for a while."""
    idle = 0
    while idle < _IDLE_SYNCS and not valkey.cancelled():
        idle = 0 if any(state.changed for state in states.values()) else idle + 1
        await exchange_with_others()
        if not valkey.cancelled():
            await asyncio.sleep(_SYNC_SECONDS)


async def exchange_with_others() -> None:
    """Send this process's changes and merge those of others. Does nothing while Valkey is unreachable."""
    mine: dict[Any, Any] = {name: _packed(state) for name, state in states.items() if state.changed}
    for name in mine:
        states[name].changed = False
    try:
        async with valkey.client().pipeline(transaction=False) as pipe:
            if mine:
                pipe.hset(_KEY, mapping=mine)
                pipe.expire(_KEY, 3600)
            pipe.hgetall(_KEY)
            found = (await pipe.execute())[-1]
    except (redis.RedisError, OSError):
        return
    for name, raw in found.items():
        if name.decode() not in mine:
            _merge(states.setdefault(name.decode(), _State()), orjson.loads(raw))
    invalidate()


def _packed(state: _State) -> bytes:
    return orjson.dumps([time.time(), state.open_until, state.ttft_ms, state.tokens_per_second])


def _merge(state: _State, theirs: list[float | None]) -> None:
    """Merge another process's state: its breaker counts like ours, its measurements fill those that we lack."""
    at, open_until, ttft, speed = theirs
    if at and time.time() - at < _WINDOW_SECONDS:
        state.open_until = max(state.open_until, open_until or 0.0) if open_until else 0.0
    state.ttft_ms = ttft if state.ttft_ms is None else state.ttft_ms
    state.tokens_per_second = speed if state.tokens_per_second is None else state.tokens_per_second
    if state.samples == 0 and (ttft is not None or speed is not None):
        state.samples = 1
