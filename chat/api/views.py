"""REST endpoints of conversations, messages and feedback, without those of turns."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import viewsets
from rest_framework.decorators import action
from rest_framework.filters import SearchFilter
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.settings import api_settings

from accounts.authentication import principal_of
from accounts.permissions import HasScope
from aiagents.core.drf import deleting as api_deleting
from aiagents.core.drf.base import IdempotentMixin
from aiagents.core.errors import InvalidRequest, NotFound
from aiagents.core.http import body_limits
from aiagents.core.live import news
from chat.api.branches import BranchPage
from chat.api.filters import ConversationFilter, ConversationSearch
from chat.api.serializers import ConversationSerializer, FeedbackSerializer, MessagePageSerializer, MessageSerializer
from chat.conversations import as_json as message_json
from chat.conversations import deleting, export, tree
from chat.models import Conversation, Message

_DEFAULTS: list[Any] = list(api_settings.DEFAULT_FILTER_BACKENDS)
_BACKENDS: Any = [ConversationSearch if backend is SearchFilter else backend for backend in _DEFAULTS]


@extend_schema(tags=["chat"])
@extend_schema_view(
    list=extend_schema(description="The user's conversations, newest first."),
    create=extend_schema(description="An empty conversation. `chat/send` without `conversation_id` creates one, too."),
    partial_update=extend_schema(description="Rename, pin, archive, change settings, or choose a branch by `leaf`."),
)
class ConversationViewSet(IdempotentMixin, viewsets.ModelViewSet):  # type: ignore[misc]  # DRF's stubs want wider signatures
    serializer_class = ConversationSerializer
    max_body_bytes = body_limits.TEXT
    permission_classes = [HasScope]
    required_scope = "chat"
    http_method_names = ["get", "post", "patch", "delete", "head", "options"]
    filter_backends = _BACKENDS
    filterset_class = ConversationFilter
    ordering_fields = ["updated_at", "created_at", "title"]
    ordering = ["-updated_at", "-id"]
    lookup_value_converter = "uuid"
    queryset = Conversation.objects.none()

    def get_queryset(self) -> QuerySet[Conversation]:
        return Conversation.objects.visible_to(self.request.user)

    def perform_create(self, serializer: ConversationSerializer) -> None:  # type: ignore[override]  # DRF's stubs want the base serializer
        conversation = serializer.save(user=self.request.user)
        news.send(conversation.user_id, news.Kind.CONVERSATION_CHANGED, conversation.pk)
        if (claim := self.request.claim) is not None:  # type: ignore[attr-defined]  # set by IdempotentMixin
            claim.reference = {"conversation_id": str(conversation.pk)}  # the stored answer holds its title

    def perform_update(self, serializer: BaseSerializer[Conversation]) -> None:
        conversation = serializer.save()
        news.send(conversation.user_id, news.Kind.CONVERSATION_CHANGED, conversation.pk)

    @extend_schema(responses=api_deleting.RESPONSES, parameters=[api_deleting.NOW])
    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Delete the conversation: it is hidden at once, and its running answers stop.

        It is erased from the database after `DELETED_RETENTION_DAYS`, with its messages, files, agent runs, event logs and
        stored answers; `?now=true` erases it at once. 202: an answer did not stop within seconds; the conversation is erased
        within minutes. Costs stay, without content.
        """
        now, user = api_deleting.wants_now(request), principal_of(request).user
        mine = Conversation.objects.filter(user=user) if now else Conversation.objects.visible_to(user)
        conversation = mine.filter(pk=self.kwargs["pk"]).first()
        if conversation is None:
            raise NotFound
        if now:
            return api_deleting.answer(deleting.erase_now(conversation))
        deleting.hide(conversation)
        return api_deleting.answer(True)

    @extend_schema(
        responses=MessagePageSerializer,
        filters=False,
        parameters=[
            OpenApiParameter("cursor", {"type": "integer", "minimum": 0, "maximum": 999_999_999}),
            OpenApiParameter("page_size", {"type": "integer", "minimum": 1, "maximum": 100, "default": 100}),
        ],
    )
    @action(detail=True, methods=["get"], filter_backends=[], pagination_class=None)
    def messages(self, request: Request, pk: UUID | None = None) -> Response:
        """The messages of the chosen branch, oldest first. `siblings` are the alternatives to a message.

        A page of long messages, for example with attachments, holds fewer than `page_size`: follow `next`.
        """
        return Response(BranchPage(self.get_object(), request).answer())

    @extend_schema(
        responses={(200, "application/json"): OpenApiTypes.OBJECT, (200, "text/markdown"): OpenApiTypes.STR},
        parameters=[OpenApiParameter("format", str, enum=["json", "markdown"])],
        filters=False,
    )
    @action(detail=True, methods=["get"], filter_backends=[], pagination_class=None)
    def export(self, request: Request, pk: UUID | None = None) -> HttpResponseBase:
        """The whole conversation: every branch as JSON, or the chosen one as Markdown."""
        conversation = self.get_object()
        wanted = request.query_params.get("format", "json")
        if wanted not in ("json", "markdown"):
            raise InvalidRequest("format must be json or markdown.", param="format")
        kind, suffix = ("text/markdown; charset=utf-8", "md") if wanted == "markdown" else ("application/json", "json")
        small = export.size(conversation) <= export.SMALL
        response: HttpResponseBase
        if small:
            make = export.as_markdown if wanted == "markdown" else export.as_json
            response = HttpResponse(make(conversation), content_type=kind)
        else:
            stream = export.stream_markdown if wanted == "markdown" else export.stream_json
            response = StreamingHttpResponse(stream(conversation), content_type=kind)
        response["Content-Disposition"] = f'attachment; filename="{export.file_name(conversation, suffix)}"'
        response["X-Content-Type-Options"] = "nosniff"
        response["Cache-Control"] = "no-store"
        return response

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        """Keep `?format=` of exports away from DRF, which would choose a renderer by it."""
        if self.action == "export":
            return self.get_renderers()[0], self.get_renderers()[0].media_type
        return super().perform_content_negotiation(request, force)


class FeedbackView(GenericAPIView):
    max_body_bytes = body_limits.COMMENT
    serializer_class = FeedbackSerializer
    permission_classes = [HasScope]
    required_scope = "chat"
    queryset = Message.objects.none()
    filter_backends: list[Any] = []
    pagination_class = None

    @extend_schema(tags=["chat"], responses=MessageSerializer)
    def post(self, request: Request, id: UUID) -> Response:
        """Rate an answer; `rating: null` removes the rating."""
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        message = tree.own_message(principal_of(request).user_id, id, Message.Role.ASSISTANT)
        rating = serializer.validated_data["rating"]
        message.feedback = {"up": 1, "down": -1}.get(rating)
        message.feedback_comment = serializer.validated_data["comment"] if rating else ""
        message.save(update_fields=["feedback", "feedback_comment"])
        news.send(message.conversation.user_id, news.Kind.CONVERSATION_CHANGED, message.conversation_id)
        return Response(message_json.listed(message))
