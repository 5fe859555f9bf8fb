"""Who may read what only the operators of this installation should know: the metrics, and the details of readiness."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable

from django.conf import settings
from django.http import HttpRequest

from aiagents.core.http.client_address import comes_from

log = logging.getLogger(__name__)
# Seconds in which a member of staff must be recognised; after that the request is a stranger's.
STAFF_SECONDS = 2.0
StaffCheck = Callable[[HttpRequest], Awaitable[bool]]


async def _no_staff(request: HttpRequest) -> bool:
    return False


registered_staff_check: StaffCheck = _no_staff


def register(check: StaffCheck) -> None:
    """Set how a member of staff is recognised. This module knows no accounts."""
    global registered_staff_check
    registered_staff_check = check


def is_scraper(request: HttpRequest) -> bool:
    """Whether the request carries METRICS_TOKEN or comes from METRICS_NETWORKS."""
    token, offered = settings.METRICS_TOKEN, request.headers.get("Authorization", "")
    if token and hmac.compare_digest(offered.encode(), f"Bearer {token}".encode()):
        return True
    headers = {name.lower(): value for name, value in request.headers.items()}
    return comes_from(request.META.get("REMOTE_ADDR") or "", headers, settings.METRICS_NETWORKS)


async def is_insider(request: HttpRequest) -> bool:
    """Whether the request is a scraper's or a staff member's. Never raises, so that readiness answers while the database is away."""
    if is_scraper(request):
        return True
    try:
        async with asyncio.timeout(STAFF_SECONDS):
            return await registered_staff_check(request)
    except Exception as exc:
        log.info("staff_not_recognised", extra={"reason": type(exc).__name__})
        return False
