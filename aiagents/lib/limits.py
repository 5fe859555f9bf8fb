"""Which buckets a request counts in. One place for DRF and the hot doors: both give the same verdict."""

from __future__ import annotations

from typing import Any

from django.conf import settings

from aiagents.lib.netaddr import bucket_ip
from aiagents.lib.ratelimit import Rule


def rules(principal: Any, ip: str) -> list[Rule]:
    """A user's requests count together, over all keys and sessions; a key with a limit has a bucket of its own besides.

    Nobody in particular (`principal` None) is counted by address.
    """
    limit, window = settings.RATE_LIMIT_REQUESTS, settings.RATE_LIMIT_WINDOW
    if principal is None:
        return [Rule(f"ip:{bucket_ip(ip)}", limit, window)]
    found = [Rule(f"user:{principal.user_id}", limit, window)]
    if principal.key_id is not None and principal.rate_limit is not None:
        found.append(Rule(f"key:{principal.key_id}", principal.rate_limit, window))
    return found
