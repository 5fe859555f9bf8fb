"""`/api/v1/admin/`: reports on usage and costs, and all budgets. For the admin role, without API keys."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.client import Origin
from accounts.permissions import IsAdmin
from aiagents.core.drf.typed_dicts import serializer_of
from billing.api.alert_serializers import BudgetInputSerializer, BudgetSerializer
from billing.api.filters import BudgetFilter
from billing.api.views import BillingView, InputMixin
from billing.budgets import manage
from billing.models import Budget
from billing.reports import ranges, shapes
from billing.reports import staff as analytics

_OVERVIEW, _USAGE = serializer_of(shapes.Overview), serializer_of(shapes.UsageAnalytics)
_COSTS = serializer_of(shapes.CostOptimization)
_RANGE = [
    OpenApiParameter("from", datetime, description="a day or a time, UTC; default: 30 days before `to`"),
    OpenApiParameter("to", datetime, description="not included; default: now"),
]
_LIMIT = OpenApiExample("The whole system", value={"scope": "system", "limit_usd": "1000"}, request_only=True)


class AdminView(BillingView):
    """For the admin role, without API keys; never cached."""

    refusals: ClassVar[dict[str, str]] = {
        "from": "it is no day or time that lies before `to`",
        "to": "it is no day or time from 2000 to 9000",
        "bucket": "the range would have more than 1500 points",
    }
    permission_classes = [IsAdmin]
    pagination_class: Any = None
    filter_backends: list[Any] = []


class Overview(AdminView):
    serializer_class = _OVERVIEW

    @extend_schema(tags=["admin"], operation_id="admin_overview_retrieve", responses={200: _OVERVIEW})
    def get(self, request: Request) -> Response:
        """Return today, the month, the last 30 days, the top models and users, and budgets near their limits."""
        return Response(analytics.overview())


class UsageAnalytics(AdminView):
    serializer_class = _USAGE

    @extend_schema(
        tags=["admin"],
        operation_id="admin_usage_analytics_retrieve",
        parameters=[
            *_RANGE,
            OpenApiParameter("group_by", enum=list(analytics.GROUPS), description="none: totals over time only"),
            OpenApiParameter("bucket", enum=list(analytics.BUCKETS), description="auto: by the range; hours are kept for 92 days"),
        ],
        responses={200: _USAGE},
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        """Return all users' usage over time, and by model, provider, purpose, surface, status, user, key or agent."""
        from_, to = ranges.read(request, "group_by", "bucket")
        group_by: Any = request.query_params.get("group_by") or "none"
        bucket: Any = request.query_params.get("bucket") or "auto"
        return Response(analytics.usage(from_, to, group_by, bucket))


class CostOptimization(AdminView):
    serializer_class = _COSTS

    @extend_schema(tags=["admin"], operation_id="admin_cost_optimization_retrieve", parameters=_RANGE, responses={200: _COSTS})
    def get(self, request: Request) -> Response:
        """Return the models by cost, the cost of the same tokens on a similar model, and suggestions."""
        return Response(analytics.cost_optimization(*ranges.read(request)))


class Budgets(InputMixin, BillingView, ListAPIView):
    """All budgets."""

    permission_classes = [IsAdmin]
    serializer_class, input_serializer_class = BudgetSerializer, BudgetInputSerializer
    filterset_class = BudgetFilter
    search_fields: list[str] = []
    ordering_fields = ["created_at"]
    ordering = ["-created_at"]

    def get_queryset(self) -> QuerySet[Budget]:
        return Budget.objects.all()

    @extend_schema(tags=["admin"], operation_id="admin_budgets_list")
    def get(self, request: Request) -> Response:
        """Return the budgets of the system, users, keys, agents and tasks, each with its current month.

        Newest first.
        """
        return self.list(request)

    @extend_schema(
        tags=["admin"],
        operation_id="admin_budgets_update",
        request=BudgetInputSerializer,
        responses={200: BudgetSerializer},
        examples=[_LIMIT],
    )
    def put(self, request: Request) -> Response:
        """Set a monthly limit (null: no limit). It applies from the next call on; the audit log records it."""
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        data = serializer.validated_data
        budget = manage.put(
            data["scope"], data["scope_id"], data["limit_usd"], actor=self.user, ip=Origin.of(request).ip, zone=data.get("time_zone")
        )
        return Response(BudgetSerializer(manage.with_month([budget])[0]).data)

    def paginate_queryset(self, queryset: Any) -> Any:
        page = super().paginate_queryset(queryset)
        return None if page is None else manage.with_month(page)
