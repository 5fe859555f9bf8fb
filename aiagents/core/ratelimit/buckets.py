"""The rate limit buckets of a request, the same for DRF and the asynchronous endpoints."""

from __future__ import annotations

from typing import Any

from django.conf import settings

from aiagents.core.http.client_address import bucket_ip
from aiagents.core.ratelimit.sliding_window import Rule

ANONYMOUS = "anonymous"


def of_role(role: str) -> int:
    """Requests per window for one user with this role, or for one address without a credential (ANONYMOUS)."""
    return settings.RATE_LIMIT_ROLES.get(role, settings.RATE_LIMIT_REQUESTS)


def rules(principal: Any, ip: str) -> list[Rule]:
    """The buckets of one request. It counts in all of them, or in none if one is full (sliding_window.py).

    All requests of a user, over all keys and sessions, count within the limit of their role. A key with a limit has another
    bucket, and so has the address with RATE_LIMIT_IP_REQUESTS. Anonymous requests (`principal` None) count by address.
    """
    window = settings.RATE_LIMIT_WINDOW
    if principal is None:
        return [Rule(f"ip:{bucket_ip(ip)}", of_role(ANONYMOUS), window)]
    found = [Rule(f"user:{principal.user_id}", of_role(principal.user.role), window)]
    if principal.key_id is not None and principal.rate_limit is not None:
        found.append(Rule(f"key:{principal.key_id}", principal.rate_limit, window))
    if settings.RATE_LIMIT_IP_REQUESTS and ip:
        # A separate bucket, so that anonymous requests from the same address do not use it up, nor it theirs.
        found.append(Rule(f"from:{bucket_ip(ip)}", settings.RATE_LIMIT_IP_REQUESTS, window))
    return found
