"""`/api/v1/billing/`: the models and their prices, the user's usage, and the current month."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, ClassVar, cast

from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, PolymorphicProxySerializer, extend_schema
from rest_framework.generics import GenericAPIView, ListAPIView
from rest_framework.permissions import SAFE_METHODS
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer, Serializer

from accounts.models import ApiKey, User
from accounts.permissions import HasScope
from aiagents.core.admin import csv_cells
from aiagents.core.db.calls import in_db
from aiagents.core.drf.base import JSONRenderer
from aiagents.core.errors import InvalidRequest
from billing.api.filters import ModelFilter, UsageFilter
from billing.api.serializers import GroupSerializer, ModelSerializer, SummarySerializer, UsageSerializer
from billing.catalogue import snapshot as catalogue
from billing.models import AIModel, UsageLog
from billing.reports import own_usage

PAGE = 1000
# The most lines of an export; a narrower `from` and `to` returns the others.
EXPORT_MOST = 1_000_000
# The most lines of a response with `group_by`.
GROUPS_MOST = 2000
_GROUP_BY = OpenApiParameter(
    "group_by",
    enum=sorted(own_usage.GROUPS),
    description="Return sums instead of calls; hours and days are UTC. At most 2,000 lines.",
)

_BUCKET = OpenApiParameter(
    "bucket", enum=list(own_usage.BUCKETS), description="With group_by model, agent or key: one line for each hour or day, oldest first."
)


class BillingView(GenericAPIView):
    """Readable by the user, and by the user's keys with the scope `billing` or `read`. Never cached."""

    permission_classes = [HasScope]
    required_scope = ApiKey.Scope.BILLING

    @property
    def user(self) -> User:
        """Return the user of the request. HasScope refuses requests without one."""
        assert isinstance(self.request.user, User)
        return self.request.user

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        response["Cache-Control"] = "no-store"
        return response


class InputMixin:
    """A view with different serializers for requests and responses."""

    input_serializer_class: type[Serializer]

    def get_serializer(self, *args: Any, **kwargs: Any) -> BaseSerializer:
        view = cast(GenericAPIView, self)
        kwargs.setdefault("context", view.get_serializer_context())
        if view.request.method in SAFE_METHODS:
            return view.get_serializer_class()(*args, **kwargs)
        kwargs.pop("instance", None)  # the browsable API passes the instance of the response
        return self.input_serializer_class(*args, **kwargs)


@extend_schema(
    tags=["billing"],
    parameters=[
        OpenApiParameter("min_context", {"type": "number", "minimum": 0, "maximum": 2**31 - 1}),
        OpenApiParameter("min_quality", {"type": "number", "minimum": 0, "maximum": 100}),
    ],
)
class Models(BillingView, ListAPIView):
    """The catalogue: the models that requests may name, with capabilities and current prices."""

    queryset = AIModel.objects.filter(enabled=True)
    serializer_class = ModelSerializer
    filterset_class = ModelFilter
    search_fields = ["slug", "display_name", "description"]
    ordering_fields = ["slug", "display_name", "provider", "quality", "context_window", "tokens_per_second"]
    ordering = ["slug"]

    def get_serializer_context(self) -> dict[str, Any]:
        return {**super().get_serializer_context(), "catalogue": catalogue.current_sync()}


class UsageBase(BillingView):
    """The user's rows of the usage log, filtered."""

    refusals: ClassVar[dict[str, str]] = {
        "from": "it is not a valid time",
        "to": "it is not a valid time",
        "bucket": "it needs a `group_by` of model, agent or key",
    }
    serializer_class = UsageSerializer
    filterset_class = UsageFilter
    search_fields: list[str] = []
    ordering_fields = ["created_at", "cost_usd", "latency_ms"]
    ordering = ["-created_at"]

    def get_queryset(self) -> QuerySet[UsageLog]:
        if getattr(self, "swagger_fake_view", False):
            return UsageLog.objects.none()
        return UsageLog.objects.filter(user=self.user)


class Usage(UsageBase, ListAPIView):
    """The vendor calls that were charged to the user, or their sums."""

    @extend_schema(
        tags=["billing"],
        parameters=[_GROUP_BY, _BUCKET],
        responses=PolymorphicProxySerializer("UsageOrGroup", [UsageSerializer, GroupSerializer], resource_type_field_name=None, many=True),
    )
    def get(self, request: Request) -> Response:
        """Return the user's calls, newest first. With `group_by` return their sums, all on one page."""
        by, bucket = request.query_params.get("group_by"), request.query_params.get("bucket")
        if by is None and bucket is None:
            return self.list(request)
        if by not in own_usage.GROUPS:
            raise InvalidRequest(f"group_by must be one of {', '.join(sorted(own_usage.GROUPS))}.", param="group_by")
        if bucket is not None and (bucket not in own_usage.BUCKETS or by in own_usage.BUCKETS):
            raise InvalidRequest("bucket must be day or hour, and needs a group_by of model, agent or key.", param="bucket")
        lines = own_usage.grouped(self.filter_queryset(self.get_queryset()), by, bucket)
        if len(lines) > GROUPS_MOST:
            raise InvalidRequest(f"The response would have more than {GROUPS_MOST} lines. Choose a shorter time.", param="from")
        return Response({"next": None, "previous": None, "results": GroupSerializer(lines, many=True).data})


class UsageExport(UsageBase):
    """The user's calls as a file."""

    pagination_class = None

    def perform_content_negotiation(self, request: Request, force: bool = False) -> tuple[BaseRenderer, str]:
        """Always use JSON for errors: `format` is the format of the file here, not a renderer."""
        return JSONRenderer(), JSONRenderer.media_type

    @extend_schema(
        tags=["billing"],
        parameters=[OpenApiParameter("format", enum=["csv"], description="csv is the only format")],
        responses={
            (200, "text/csv"): OpenApiResponse(OpenApiTypes.BINARY, description="RFC 4180, UTF-8, newest first, at most a million lines")
        },
    )
    def get(self, request: Request) -> StreamingHttpResponse:
        """Return the same rows as `usage`, with the same filters, as CSV."""
        if (wanted := request.query_params.get("format", "csv")) != "csv":
            raise InvalidRequest(f"format must be csv, not {wanted[:20]!r}.", param="format")
        rows = self.filter_queryset(self.get_queryset()).order_by()
        response = StreamingHttpResponse(_csv(rows), content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = 'attachment; filename="usage.csv"'
        return response


class Summary(BillingView):
    """The user's current month with its forecast."""

    serializer_class = SummarySerializer
    pagination_class = None
    filter_backends: list[Any] = []

    @extend_schema(tags=["billing"], responses=SummarySerializer)
    def get(self, request: Request) -> Response:
        """Return the month to date, the budget, and the forecast to the month's end with its range."""
        return Response(self.get_serializer(own_usage.month_of(self.user)).data)


async def _csv(rows: QuerySet[UsageLog]) -> AsyncGenerator[bytes, None]:
    """Yield the export page by page: it occupies neither memory nor a connection for the whole export."""
    yield csv_cells.lines([own_usage.COLUMNS])
    after, left = None, EXPORT_MOST
    while left > 0 and (page := await in_db(own_usage.csv_rows, rows, after, min(PAGE, left))):
        yield csv_cells.lines(row[1:] for row in page)
        after, left = page[-1][0], left - len(page)
