"""The change list of the admin's lists."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import FieldError, ValidationError
from django.db import DataError, NotSupportedError, ProgrammingError, transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.views import ChangeList

from aiagents.core.admin import searching

# Exceptions of a lookup with a value that its column cannot hold, from Python or the database. A lost server is not included.
WRONG_VALUE = (
    DataError,
    ProgrammingError,
    NotSupportedError,
    ArithmeticError,
    LookupError,
    ValueError,
    TypeError,
    ValidationError,
    FieldError,
)


class CappedChangeList(ChangeList):
    """A change list that never counts all rows; the footer shows the limited count.

    It runs the query at once, so that a lookup value out of range raises IncorrectLookupParameters here and not while the
    page is rendered.
    """

    queryset: QuerySet

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        try:
            with transaction.atomic():  # an error in the database must not break the transaction of later queries
                super().__init__(request, *args, **kwargs)
                len(self.result_list)  # runs the query; the page reuses its rows
        except WRONG_VALUE as exc:
            raise IncorrectLookupParameters from exc

    def get_queryset(self, *args: Any, **kwargs: Any) -> QuerySet:
        return super().get_queryset(*args, **kwargs).defer(*self.model_admin.list_defer)

    def get_results(self, request: HttpRequest) -> None:
        if self.query or self.has_active_filters:
            self.queryset = searching.pinned(self.queryset)
        super().get_results(request)
        self.full_result_count = self.result_count
