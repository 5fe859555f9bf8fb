"""DRF's throttle, with the buckets of aiagents/core/ratelimit/buckets.py."""

from __future__ import annotations

from typing import Any

from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from aiagents.core.errors import RateLimited
from aiagents.core.http.middleware import VERDICT
from aiagents.core.logs import context
from aiagents.core.ratelimit import buckets
from aiagents.core.ratelimit import sliding_window as ratelimit


class ApiThrottle(BaseThrottle):
    """Counts a request once it is authenticated; ApiRateLimitMiddleware writes the headers."""

    def allow_request(self, request: Request, view: Any) -> bool:
        """True if the request is within its limits. Raises RateLimited, with the contract's error."""
        principal: Any = request.auth if hasattr(request.auth, "rate_limit") else None
        if principal is None and getattr(request.user, "is_authenticated", False):
            principal = _Session(request.user)
        if principal is not None:
            context.user_id.set(str(principal.user_id))
        django_request = request._request
        ip = getattr(django_request, "client_ip", None) or django_request.META.get("REMOTE_ADDR") or ""
        verdict = ratelimit.hit_all_sync(buckets.rules(principal, ip))
        setattr(django_request, VERDICT, verdict)
        if verdict.retry_after is not None:
            raise RateLimited(retry_after=verdict.retry_after)
        return True


class _Session:
    """A user without a credential of ours (a test's `force_authenticate`)."""

    key_id = rate_limit = None

    def __init__(self, user: Any) -> None:
        self.user, self.user_id = user, user.pk
