"""Views for the comparison of the two kinds of endpoint."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import path
from rest_framework import serializers, viewsets
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import AuditEvent
from accounts.permissions import HasScope
from aiagents.core.drf.base import IdempotentMixin, StrictFieldsMixin
from aiagents.core.errors import BudgetExceeded


class ThingSerializer(StrictFieldsMixin, serializers.Serializer):
    name = serializers.CharField(max_length=20)
    size = serializers.IntegerField(required=False, min_value=0)
    owner = serializers.CharField(read_only=True, default="me")
    tags = serializers.ListField(child=serializers.CharField(max_length=5), required=False, max_length=3)


RUNS: list[Any] = []


class Scoped(HasScope):
    code = "scope_missing"


class Things(IdempotentMixin, APIView):
    permission_classes = [Scoped]
    required_scope = "chat"

    def get(self, request: Request) -> Response:
        return Response({"ok": True})

    def post(self, request: Request) -> Response:
        serializer = ThingSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        RUNS.append(serializer.validated_data)
        if serializer.validated_data["name"] == "poor":
            raise BudgetExceeded
        if serializer.validated_data["name"] == "broken":
            raise ValueError("the password is hunter2")
        return Response({"run": len(RUNS)}, status=201)


class Forbidden(Things):
    required_scope = "tasks"


class EventSerializer(serializers.ModelSerializer):
    class Meta:
        model = AuditEvent
        fields = ["id", "action", "at"]


class Events(viewsets.ReadOnlyModelViewSet):
    permission_classes = [HasScope]
    required_scope = "chat"
    serializer_class = EventSerializer
    queryset = AuditEvent.objects.all()
    ordering_fields = ["at", "action"]


def plain(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        return HttpResponse(str(len(request.POST)))
    raise ZeroDivisionError("the password is hunter2")


urlpatterns = [
    path("api/v1/things", Things.as_view()),
    path("api/v1/forbidden", Forbidden.as_view()),
    path("api/v1/events", Events.as_view({"get": "list"})),
    path("api/v1/events/<uuid:pk>", Events.as_view({"get": "retrieve"})),
    path("api/v1/plain", plain),
    path("page", plain),
]
handler400 = "aiagents.core.http.error_views.bad_request"
handler403 = "aiagents.core.http.error_views.permission_denied"
handler404 = "aiagents.core.http.error_views.not_found"
handler500 = "aiagents.core.http.error_views.server_error"
