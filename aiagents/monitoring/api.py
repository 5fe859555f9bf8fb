"""`/api/v1/admin/metrics`: the system's figures over time, for the admin role (not for API keys)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.utils import timezone
from django.utils.dateparse import parse_datetime
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.administration import AdminView
from aiagents.core.drf.typed_dicts import serializer_of
from aiagents.core.errors import InvalidRequest
from aiagents.monitoring import shapes, system

_METRICS = serializer_of(shapes.Metrics)


class Metrics(AdminView):
    """The system over time."""

    refusals: ClassVar[dict[str, str]] = {
        "from": "it is not a day or time before `to`",
        "to": "it is not a day or time from 2000 to 9000",
        "bucket": "the range would have more than 1500 points",
    }
    serializer_class = _METRICS

    @extend_schema(
        tags=["admin"],
        operation_id="admin_metrics_retrieve",
        parameters=[
            OpenApiParameter("from", datetime, description="RFC 3339; without it, a day before `to`"),
            OpenApiParameter("to", datetime, description="RFC 3339; without it, now"),
            OpenApiParameter("bucket", enum=["auto", *system.BUCKETS], description="auto: some 300 points at most"),
        ],
        responses={200: _METRICS},
    )
    def get(self, request: Request) -> Response:
        """CPU, memory, disk, database, Valkey, queues, requests and their latency, sampled each minute; hourly beyond a week."""
        if unknown := sorted(set(request.query_params) - {"from", "to", "bucket", "format"}):
            raise InvalidRequest(f"There is no parameter {unknown[0][:100]!r}.", param=unknown[0][:100])
        to = _moment(request, "to") or timezone.now()
        from_ = _moment(request, "from") or to - timedelta(days=1)
        return Response(system.history(from_, to, request.query_params.get("bucket", "auto")))


def _moment(request: Request, name: str) -> datetime | None:
    """A query parameter as an aware datetime; None if it is absent. Raises InvalidRequest."""
    text: Any = request.query_params.get(name)
    if not text:
        return None
    try:
        found = parse_datetime(text.replace(" ", "+"))
    except ValueError:
        found = None
    if found is None or found.tzinfo is None or not 2000 <= found.year <= 9000:
        raise InvalidRequest(f"`{name}` must be a time with its zone, such as 2026-11-23T08:00:00Z.", param=name)
    return found
