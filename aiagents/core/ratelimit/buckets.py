"""Which buckets a request counts in. One place for DRF and the hot doors: both give the same verdict."""

from __future__ import annotations

from typing import Any

from django.conf import settings

from aiagents.core.http.client_address import bucket_ip
from aiagents.core.ratelimit.sliding_window import Rule

ANONYMOUS = "anonymous"


def of_role(role: str) -> int:
    """Requests per window of one user with this role, or of one address without a credential (ANONYMOUS)."""
    return settings.RATE_LIMIT_ROLES.get(role, settings.RATE_LIMIT_REQUESTS)


def rules(principal: Any, ip: str) -> list[Rule]:
    """The buckets of one request: all of them have room for it, or it counts in none (one script call, ratelimit.py).

    A user's requests count together, over all keys and sessions, within the limit of their role; a key with a limit has a
    bucket of its own besides, and so has the address with RATE_LIMIT_IP_REQUESTS. Nobody in particular (`principal` None) is
    counted by address.
    """
    window = settings.RATE_LIMIT_WINDOW
    if principal is None:
        return [Rule(f"ip:{bucket_ip(ip)}", of_role(ANONYMOUS), window)]
    found = [Rule(f"user:{principal.user_id}", of_role(principal.user.role), window)]
    if principal.key_id is not None and principal.rate_limit is not None:
        found.append(Rule(f"key:{principal.key_id}", principal.rate_limit, window))
    if settings.RATE_LIMIT_IP_REQUESTS and ip:
        # Its own bucket: strangers at the same address do not use it up, nor it theirs.
        found.append(Rule(f"from:{bucket_ip(ip)}", settings.RATE_LIMIT_IP_REQUESTS, window))
    return found
