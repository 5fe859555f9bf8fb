"""Health, metrics, and the description of this installation."""

from __future__ import annotations

import redis
from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from drf_spectacular.utils import OpenApiTypes, extend_schema
from prometheus_client import CONTENT_TYPE_LATEST
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from aiagents.core import registration
from aiagents.core.errors import NotAuthenticated
from aiagents.core.http.error_views import render
from aiagents.core.metrics import counters as metrics
from aiagents.monitoring import health, insiders, system


@require_safe
def alive(request: HttpRequest) -> HttpResponse:
    """Liveness under WSGI or other servers; under ASGI `asgi.py` answers it before Django."""
    return JsonResponse({"status": "ok"})


@require_safe
async def ready(request: HttpRequest) -> HttpResponse:
    """Readiness: 503 when a required part is down or this process drains; the body has each check's status.

    Staff, METRICS_NETWORKS and the bearer of METRICS_TOKEN also get latencies, sizes and vendors.
    """
    report = await health.report()
    body = report.body if await insiders.is_insider(request) else report.statuses()
    response = JsonResponse(body, status=200 if report.ready else 503)
    response["Cache-Control"] = "no-store"
    if not report.ready:
        response["Retry-After"] = "5"
    return response


@require_safe
@never_cache
def prometheus(request: HttpRequest) -> HttpResponse:
    """Metrics for Prometheus, for the bearer of METRICS_TOKEN and for METRICS_NETWORKS; otherwise 401."""
    if not insiders.is_scraper(request):
        response = render(request, NotAuthenticated("Send METRICS_TOKEN as a bearer token, or request from one of METRICS_NETWORKS."))
        response["WWW-Authenticate"] = 'Bearer realm="metrics"'
        return response
    return HttpResponse(metrics.exposition(_read_now()), content_type=CONTENT_TYPE_LATEST)


def _read_now() -> list[tuple[str, str, str, dict[str, float]]]:
    """Gauges of the whole installation, read at the scrape; empty while Valkey is unreachable."""
    try:
        depths: dict[str, float] = {name: depth for name, depth in system.queue_depths().items()}
    except redis.RedisError:
        return []
    return [("aiagents_queue_depth", "Messages that wait in a Celery queue", "queue", depths)]


class InfoView(APIView):
    """The description of this installation, for clients that adapt to it."""

    permission_classes = [AllowAny]
    authentication_classes: list = []

    @extend_schema(
        responses=OpenApiTypes.OBJECT, auth=[], tags=["system"], summary="Name, version, limits, simulated vendors, who may register"
    )
    def get(self, request: Request) -> Response:
        simulated = [vendor for vendor, has in settings.VENDORS.items() if settings.SIMULATOR and not has["api_key"]]
        return Response(
            {
                "name": "aiagents",
                "version": settings.VERSION,
                "environment": settings.ENVIRONMENT,
                "time": timezone.now(),
                "default_model": settings.DEFAULT_MODEL,
                "simulated_vendors": simulated,
                "registration": registration.policy(),
                "limits": {
                    "max_body_bytes": settings.MAX_BODY_BYTES,
                    "max_frame_bytes": settings.MAX_FRAME_BYTES,
                    "max_concurrent_turns": settings.MAX_CONCURRENT_TURNS_PER_USER,
                    "requests": settings.RATE_LIMIT_REQUESTS,
                    "window_seconds": settings.RATE_LIMIT_WINDOW,
                },
            }
        )
