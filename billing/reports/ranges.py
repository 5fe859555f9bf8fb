"""Parse `from` and `to` of a report from the query string."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils import timezone
from rest_framework.request import Request

from aiagents.core.errors import InvalidRequest


def read(request: Request, *also: str, days: int = 30) -> tuple[datetime, datetime]:
    """Return [from, to) in UTC; the default is the last `days` days until now.

    Raises InvalidRequest for a bad value and for a parameter that is neither one of the two nor in `also`.
    """
    if unknown := sorted(set(request.query_params) - {"from", "to", "format", *also}):
        raise InvalidRequest(f"{unknown[0][:100]!r} is not a parameter of this endpoint.", param=unknown[0][:100])
    to = _moment(request, "to") or timezone.now()
    from_ = _moment(request, "from") or to - timedelta(days=days)
    if to <= from_:
        raise InvalidRequest("`to` must be later than `from`.", param="to")
    return from_, to


def _moment(request: Request, name: str) -> datetime | None:
    """Parse a day or a time; without a zone it is UTC."""
    text: Any = request.query_params.get(name)
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
    except ValueError:
        found = None
    if found is None or not 2000 <= found.year <= 9000:
        raise InvalidRequest(f"`{name}` must be a day or a time, such as 2026-11-23 or 2026-11-23T08:00:00Z.", param=name)
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
