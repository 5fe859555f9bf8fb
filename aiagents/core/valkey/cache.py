"""A two-level cache for immutable values: in this process, and in Valkey for the other processes.

Values that change have other caches with invalidation (docs/adr/0061): principals (accounts/principals.py), models
and prices (billing/catalogue/snapshot.py), vendors' connections (agents/routing/connections.py). CACHE_ENABLED=false
switches all of them off. Each counts its hits for /metrics.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar, cast

import redis
from django.conf import settings

from aiagents.core.metrics import counting
from aiagents.core.valkey import clients as valkey

log = logging.getLogger(__name__)
K = TypeVar("K")
V = TypeVar("V")
# Seconds without requests to Valkey after a failure.
AWAY = 5.0


class Layered(Generic[K, V]):
    """`many(keys, read)` reads from this process, else from Valkey, else by `read`. A bounded LRU cache, by bytes.

    `dump` serializes a value, or returns None for one that is not to be cached; `load` is its inverse. Values are shared and
    must not be modified. While Valkey is unreachable it costs one time-out per AWAY seconds.
    """

    def __init__(
        self,
        name: str,
        *,
        seconds: float,
        most_bytes: int,
        shared_seconds: int,
        dump: Callable[[V], bytes | None],
        load: Callable[[bytes], V],
    ) -> None:
        self.name, self.seconds, self.most_bytes, self.shared_seconds = name, seconds, most_bytes, shared_seconds
        self._dump, self._load = dump, load
        self._here: OrderedDict[K, tuple[float, int, V]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self._retry_at = 0.0
        self._counts, self._shared_counts = counting.cache(name), counting.cache(f"{name}_valkey")

    def many(self, keys: Iterable[K], read: Callable[[list[K]], Mapping[K, V]]) -> dict[K, V]:
        """The values of the keys that exist, in no particular order."""
        wanted = list(keys)
        if not settings.CACHE_ENABLED:
            return dict(read(wanted))
        found = self._from_here(wanted)
        missing = [key for key in wanted if key not in found]
        self._counts.hits += len(found)
        self._counts.misses += len(missing)
        if missing:
            shared = self._from_valkey(missing)
            found |= shared
            missing = [key for key in missing if key not in shared]
        if missing:
            fresh = dict(read(missing))
            self._keep(fresh)
            found |= fresh
        return found

    def drop(self, keys: Iterable[K]) -> None:
        """Drop these keys in this process and in Valkey. Raises Valkey's errors. Other processes keep their values."""
        gone = list(keys)
        self.drop_here(gone)
        if gone:
            valkey.sync_client().delete(*[self._key(key) for key in gone])

    def drop_here(self, keys: Iterable[K]) -> None:
        """Drop these keys in this process only."""
        with self._lock:
            for key in keys:
                if (entry := self._here.pop(key, None)) is not None:
                    self._bytes -= entry[1]

    def forget(self) -> None:
        """Drop all values of this process (tests)."""
        with self._lock:
            self._here.clear()
            self._bytes = 0

    def _from_here(self, keys: list[K]) -> dict[K, V]:
        found, now = {}, time.monotonic()
        with self._lock:
            for key in keys:
                entry = self._here.get(key)
                if entry is not None and now - entry[0] < self.seconds:
                    self._here.move_to_end(key)
                    found[key] = entry[2]
        return found

    def _from_valkey(self, keys: list[K]) -> dict[K, V]:
        if time.monotonic() < self._retry_at:
            return {}
        try:
            # This client does not decode.
            answers = cast(list[bytes | None], valkey.sync_client().mget([self._key(key) for key in keys]))
        except redis.RedisError as exc:
            self._failed(exc)
            return {}
        found, sizes = {}, {}
        for key, raw in zip(keys, answers, strict=True):
            if raw is not None:
                found[key], sizes[key] = self._load(raw), len(raw)
        self._put(found, sizes)
        self._shared_counts.hits += len(found)
        self._shared_counts.misses += len(keys) - len(found)
        return found

    def _keep(self, fresh: dict[K, V]) -> None:
        dumped = {key: raw for key, value in fresh.items() if (raw := self._dump(value)) is not None}
        self._put({key: fresh[key] for key in dumped}, {key: len(raw) for key, raw in dumped.items()})
        if not dumped or time.monotonic() < self._retry_at:
            return
        pipe = valkey.sync_client().pipeline(transaction=False)
        for key, raw in dumped.items():
            pipe.set(self._key(key), raw, ex=self.shared_seconds)
        try:
            pipe.execute()
        except redis.RedisError as exc:
            self._failed(exc)

    def _put(self, values: Mapping[K, V], sizes: Mapping[K, int]) -> None:
        now = time.monotonic()
        with self._lock:
            for key, value in values.items():
                old = self._here.pop(key, None)
                self._bytes += sizes[key] - (old[1] if old else 0)
                self._here[key] = (now, sizes[key], value)
            while self._bytes > self.most_bytes:
                self._bytes -= self._here.popitem(last=False)[1][1]

    def _key(self, key: K) -> str:
        return f"cache:{self.name}:{key}"

    def _failed(self, exc: redis.RedisError) -> None:
        self._retry_at = time.monotonic() + AWAY
        log.warning("cache_not_shared", extra={"cache": self.name, "reason": type(exc).__name__})
