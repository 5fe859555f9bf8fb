"""Rate limits on guessing, by django-ratelimit's counters; in this process's memory while Valkey is unreachable.

docs/adr/0010 explains why attempts count per account and address, and why unknown addresses share a second limit.
"""

from __future__ import annotations

import hashlib
import logging
import re
import threading
import time
from datetime import timedelta

import redis
from django.conf import settings
from django.core.cache import cache
from django.utils import timezone
from django_ratelimit.core import get_usage

from accounts.models import TokenFamily, normal_email
from aiagents.core.errors import RateLimited
from aiagents.core.http.client_address import bucket_ip

log = logging.getLogger(__name__)
# An address that signed in to the account within this time counts as known.
KNOWN_FOR = timedelta(days=30)
# Seconds without calls to Valkey after a failure: a server that hangs would cost each counter its time-out.
AWAY = 5.0
# What django-ratelimit reads: "5/m", "100/h", "10/5m", "3/s". Its own parser is private.
_RATE = re.compile(r"([0-9]+)/([0-9]*)([smhd])?")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_retry_at = 0.0
_lock = threading.Lock()
_local: dict[tuple[str, str], tuple[float, int]] = {}


def count_sign_in(email: str, ip: str) -> None:
    """Count one attempt. Raises RateLimited (429) beyond a limit, whether or not the password is right."""
    bucket, account = bucket_ip(ip), _account(email)
    _count("login-ip", bucket, settings.LOGIN_LIMIT_IP)
    _count("login-account", f"{account}@{bucket}", settings.LOGIN_LIMIT_ACCOUNT)
    # Refused attempts end above, so one address adds little here: it takes many to lock out unknown addresses.
    wait = _wait("login-strangers", account, settings.LOGIN_LIMIT_STRANGERS)
    if wait and not _knows(email, bucket):
        _refuse(wait)


def count_registration(ip: str) -> None:
    """Count one registration from this address, refused or not. Raises RateLimited beyond the limit."""
    _count("register-ip", bucket_ip(ip), settings.REGISTER_LIMIT_IP)


def count_password_link(ip: str) -> None:
    """Count one use of a password link from this address, valid or not. Raises RateLimited beyond the sign-in limit."""
    _count("password-link-ip", bucket_ip(ip), settings.LOGIN_LIMIT_IP)


def clear(email: str) -> None:
    """Reset the attempts on one account, from every address, for an admin. The limits of the addresses stay."""
    cache.set(_salt_key(email), str(time.time_ns()), timeout=86400)


def forget() -> None:
    """Drop the counters of this process, and use Valkey again at once."""
    global _retry_at
    _retry_at = 0.0
    with _lock:
        _local.clear()


def _knows(email: str, bucket: str) -> bool:
    since = timezone.now() - KNOWN_FOR
    families = TokenFamily.objects.filter(user__email=normal_email(email), created_at__gte=since).exclude(ip=None)
    return any(bucket_ip(str(ip)) == bucket for ip in families.order_by("ip").values_list("ip", flat=True).distinct()[:200])


def _account(email: str) -> str:
    """Return the account's name in counters: without the plain e-mail address, and a new one after `clear`."""
    salt = ""
    if not _away():
        try:
            salt = cache.get(_salt_key(email), "")
        except redis.RedisError:
            _failed()
    return hashlib.sha256(f"{normal_email(email)}:{salt}".encode()).hexdigest()


def _salt_key(email: str) -> str:
    return "login-cleared:" + hashlib.sha256(normal_email(email).encode()).hexdigest()


def _count(group: str, value: str, rate: str) -> None:
    wait = _wait(group, value, rate)
    if wait:
        _refuse(wait)


def _refuse(wait: int) -> None:
    raise RateLimited("Too many attempts; try again later.", retry_after=wait)


def _wait(group: str, value: str, rate: str) -> int:
    """Count once; return 0 within the rate, else the seconds until the next attempt is allowed."""
    usage = None if _away() else _count_there(group, value, rate)
    if usage is None:
        usage = _count_here(group, value, rate)
    if not usage or not usage["should_limit"]:
        return 0
    return max(1, usage["time_left"])


def _count_there(group: str, value: str, rate: str) -> dict[str, int | bool] | None:
    """Count in Valkey, for all processes; return None while it is unreachable."""
    try:
        return get_usage(None, group=group, key=lambda *_: value, rate=rate, increment=True)
    except redis.RedisError:
        _failed()
        return None


def _away() -> bool:
    return time.monotonic() < _retry_at


def _failed() -> None:
    global _retry_at
    _retry_at = time.monotonic() + AWAY
    log.warning("Valkey is unreachable: sign-in attempts are counted in this process only")


def limit_and_seconds(rate: str) -> tuple[int, int]:
    found = _RATE.fullmatch(rate)
    if found is None:
        raise ValueError(f"{rate!r} is not a rate")
    return int(found[1]), int(found[2] or 1) * _SECONDS[found[3] or "s"]


def _count_here(group: str, value: str, rate: str) -> dict[str, int | bool]:
    """Count in the same windows in this process.

    The number of windows is limited; the one that ends first is dropped.
    """
    limit, period = limit_and_seconds(rate)
    now = time.monotonic()
    with _lock:
        ends, count = _local.get((group, value), (0.0, 0))
        if ends <= now:
            ends, count = now + period, 0
        if len(_local) >= 10_000:
            for key in sorted(_local, key=lambda key: _local[key][0])[:1000]:
                del _local[key]
        _local[group, value] = (ends, count + 1)
    return {"should_limit": count + 1 > limit, "time_left": int(ends - now) + 1}
