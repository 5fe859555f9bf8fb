"""`/api/v1/billing/`: alerts, the user's budgets, and recommendations."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.client import Origin
from accounts.permissions import HasScope, InPerson
from aiagents.core.live import news
from billing.api.alert_serializers import (
    AlertSettingsSerializer,
    AlertsSerializer,
    BudgetSerializer,
    MarkedSerializer,
    OwnBudgetInputSerializer,
    ReadSerializer,
    RecommendationsSerializer,
)
from billing.api.views import BillingView, InputMixin
from billing.budgets import manage
from billing.models import AlertSettings, BudgetAlert
from billing.reports import recommendations

# The current month and the one before.
RECENT = timedelta(days=62)
MOST_ALERTS = 100
_SETTINGS = OpenApiExample(
    "Later, and not by e-mail", value={"enabled": True, "by_email": False, "thresholds": [90, 100]}, request_only=True
)
_LIMIT = OpenApiExample(
    "Five dollars a month for an agent",
    value={"scope": "agent", "scope_id": "01933f6e-8c1a-7c3e-9d2b-3c0f6d0c7a11", "limit_usd": "5"},
    request_only=True,
)


class OwnView(BillingView):
    """The user's API keys may read it; changes need the user's session."""

    pagination_class = None
    filter_backends: list[Any] = []

    def get_permissions(self) -> list[BasePermission]:
        return [HasScope() if self.request.method in SAFE_METHODS else InPerson()]

    def valid(self, serializer: Any) -> dict[str, Any]:
        serializer.is_valid(raise_exception=True)
        return serializer.validated_data


class Alerts(InputMixin, OwnView):
    """Budget alerts and their settings."""

    serializer_class, input_serializer_class = AlertsSerializer, AlertSettingsSerializer

    @extend_schema(tags=["billing"], operation_id="billing_alerts_retrieve", responses={200: AlertsSerializer})
    def get(self, request: Request) -> Response:
        """Return the settings and the recent alerts of the user (of admins also the system's), newest first."""
        return Response(self._all())

    @extend_schema(
        tags=["billing"],
        operation_id="billing_alerts_update",
        request=AlertSettingsSerializer,
        responses={200: AlertsSerializer},
        examples=[_SETTINGS],
    )
    def put(self, request: Request) -> Response:
        """Choose the percentages of a limit that create alerts, and whether to send e-mails.

        Past alerts are not repeated.
        """
        chosen = self.valid(self.get_serializer(data=request.data))
        AlertSettings.objects.update_or_create(user=self.user, defaults=chosen)
        return Response(self._all())

    def _all(self) -> dict[str, Any]:
        chosen = AlertSettings.objects.filter(user=self.user).first() or AlertSettings(user=self.user)
        mine = BudgetAlert.objects.filter(user=self.user, created_at__gte=timezone.now() - RECENT)
        rows = list(mine.select_related("window__budget").order_by("-created_at", "-threshold")[:MOST_ALERTS])
        unread = mine.filter(read_at=None).count()
        return AlertsSerializer({"settings": chosen, "unread": unread, "alerts": rows}).data


class AlertsRead(OwnView):
    """Marks alerts as read."""

    serializer_class = ReadSerializer

    @extend_schema(tags=["billing"], operation_id="billing_alerts_read", request=ReadSerializer, responses={200: MarkedSerializer})
    def post(self, request: Request) -> Response:
        """Mark alerts as read: those in `ids`, or all. Unknown ids and ids of other users' alerts are ignored."""
        data = self.valid(ReadSerializer(data=request.data))
        unread = BudgetAlert.objects.filter(user=self.user, read_at=None)
        if "ids" in data:
            unread = unread.filter(pk__in=data["ids"])
        read = unread.update(read_at=timezone.now())
        if read:
            news.send(self.user.pk, news.Kind.ALERT_CHANGED, self.user.pk)
        return Response({"read": read})


class Budgets(InputMixin, OwnView):
    """The user's monthly limits."""

    serializer_class, input_serializer_class = BudgetSerializer, OwnBudgetInputSerializer

    @extend_schema(tags=["billing"], operation_id="billing_budgets_list", responses={200: BudgetSerializer(many=True)})
    def get(self, request: Request) -> Response:
        """Return the user's budget, which staff set, and those of the keys, agents and tasks, with their months."""
        rows = manage.with_month(manage.of_user(self.user).order_by("scope", "created_at")[:1000])
        return Response(BudgetSerializer(rows, many=True).data)

    @extend_schema(
        tags=["billing"],
        operation_id="billing_budgets_update",
        request=OwnBudgetInputSerializer,
        responses={200: BudgetSerializer},
        examples=[_LIMIT],
    )
    def put(self, request: Request) -> Response:
        """Set the monthly limit of a key, agent or task (null: no limit). It applies from the next call on."""
        data = self.valid(self.get_serializer(data=request.data))
        budget = manage.put_own(data["scope"], data["scope_id"], data["limit_usd"], actor=self.user, ip=Origin.of(request).ip)
        return Response(BudgetSerializer(manage.with_month([budget])[0]).data)


class Recommendations(OwnView):
    """Recommendations for the user."""

    serializer_class = RecommendationsSerializer

    @extend_schema(tags=["billing"], operation_id="billing_recommendations_retrieve", responses={200: RecommendationsSerializer})
    def get(self, request: Request) -> Response:
        """Return recommendations from the user's last 30 days, with figures and possible savings per month."""
        return Response(self.get_serializer(recommendations.for_user(self.user.pk)).data)
