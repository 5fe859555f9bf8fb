"""Search and filters of the list of conversations."""

from __future__ import annotations

from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet
from django_filters import rest_framework as filters
from rest_framework.filters import SearchFilter
from rest_framework.request import Request

from aiagents.core.drf.base import StrictFilterSet
from chat.models import Conversation, Message

_MOST_WORDS = 8


class ConversationFilter(StrictFilterSet):
    pinned = filters.BooleanFilter()
    archived = filters.BooleanFilter()

    class Meta:
        model = Conversation
        fields = ["pinned", "archived"]


class ConversationSearch(SearchFilter):
    """`?search=`: each word must be in the title or in one of the conversation's messages."""

    search_description = "words in titles and messages"

    def filter_queryset(self, request: Request, queryset: QuerySet, view: Any) -> QuerySet:
        for word in self.get_search_terms(request)[:_MOST_WORDS]:
            matching = Message.objects.filter(conversation=OuterRef("pk"), content__icontains=word)
            queryset = queryset.filter(Q(title__icontains=word) | Exists(matching))
        return queryset

    def get_search_fields(self, view: Any, request: Request) -> list[str]:
        return ["title", "messages__content"]  # for the browsable API's search box
