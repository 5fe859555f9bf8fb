"""The base of every list in the back office.

What it adds to the theme's: a page that never counts millions of rows, a search by index, a CSV file of what is seen, no
lookups through the URL but those of the filters, no bulk deletion, and every change written down by the site.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IS_POPUP_VAR, IncorrectLookupParameters, ShowFacets
from django.contrib.admin.utils import label_for_field, lookup_field
from django.contrib.admin.views.main import ERROR_FLAG
from django.core.exceptions import FieldError, PermissionDenied, ValidationError
from django.db import DataError, NotSupportedError, ProgrammingError, transaction
from django.db.models import ForeignKey, Model, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.urls import URLPattern, path, reverse
from unfold.admin import ModelAdmin
from unfold.views import ChangeList

from aiagents.core import storage
from aiagents.core.admin import csv_file, searching
from aiagents.core.admin.paging import CappedPaginator
from aiagents.core.errors import AppError
from aiagents.core.storage import StorageFull

PER_PAGE = 50


# What a look-up raises whose value its column cannot hold, in Python or in the database. A lost server is none of them.
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
    """How many rows there are in all is never asked; the footer says what is known.

    A look-up whose value is out of range is found out here, not while the page is rendered: IncorrectLookupParameters.
    """

    queryset: QuerySet

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        try:
            with transaction.atomic():  # what the database refuses must not spoil what is asked after it
                super().__init__(request, *args, **kwargs)
                len(self.result_list)  # asked now; the page shows the same rows
        except WRONG_VALUE as exc:
            raise IncorrectLookupParameters from exc

    def get_queryset(self, *args: Any, **kwargs: Any) -> QuerySet:
        return super().get_queryset(*args, **kwargs).defer(*self.model_admin.list_defer)

    def get_results(self, request: HttpRequest) -> None:
        if self.query or self.has_active_filters:
            self.queryset = searching.pinned(self.queryset)
        super().get_results(request)
        self.full_result_count = self.result_count


class Rows(ModelAdmin):
    """Columns, filters and search as Django has them; `search_*` say how the search goes."""

    paginator = CappedPaginator
    list_per_page = PER_PAGE
    show_full_result_count = False
    # Each facet would be a count over the whole table.
    show_facets = ShowFacets.NEVER
    list_fullwidth = True
    empty_value_display = "–"
    warn_unsaved_form = True
    change_list_template = "admin/office_list.html"
    # Columns that hold request ids; other ids; that are compared as they stand; that may contain the words; that name a user.
    search_requests: tuple[str, ...] = ()
    search_ids: tuple[str, ...] = ()
    search_exact: tuple[str, ...] = ()
    search_contains: tuple[str, ...] = ()
    search_people: tuple[str, ...] = ()
    # Columns that lists and CSV files do not read: each may hold megabytes, and a page has many rows.
    list_defer: tuple[str, ...] = ()
    # Further columns of the CSV file, beside those of the list.
    export_also: tuple[str, ...] = ()

    # --- reading ------------------------------------------------------------------------------

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        """What the search looks at: for the search box to appear; the search itself is `get_search_results`."""
        return [*self.search_requests, *self.search_ids, *self.search_exact, *self.search_contains, *self.search_people]

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        found = searching.search(
            queryset,
            search_term,
            ids=self.search_ids,
            exact=self.search_exact,
            contains=self.search_contains,
            people=self.search_people,
            requests=self.search_requests,
        )
        return found, False

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Only what the filters offer, and the row's own or its foreign keys' ids: else a URL could ask for secrets letter by letter."""
        first = lookup.partition("__")[0]
        named = {_field_of(item) for item in (self.get_list_filter(request) if request else self.list_filter)}
        if first in {name.partition("__")[0] for name in named if name}:
            return super().lookup_allowed(lookup, value, request)
        rest = lookup.removeprefix(first)
        links = {field.name for field in self.opts.fields if isinstance(field, ForeignKey)} | {"pk", "id"}
        return first in links and rest in ("", "__exact", "__id", "__id__exact", "__pk", "__pk__exact", "__in")

    def get_list_display_links(self, request: HttpRequest, list_display: Sequence[Any]) -> list[Any]:
        """The first column that is no link itself leads to the row: browsers close a link in which another one begins."""
        if self.list_display_links:
            return list(self.list_display_links)
        return [next((name for name in list_display if not getattr(name, "is_link", False)), list_display[0])]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[CappedChangeList]:
        return CappedChangeList

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).select_related(*(self.list_select_related or ()))  # for the file too, not the list alone

    # --- the CSV file -------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_export"
        return [path("export/", self.admin_site.admin_view(self.export_view), name=name), *super().get_urls()]

    def export_view(self, request: HttpRequest) -> StreamingHttpResponse | HttpResponseRedirect:
        """All rows that the list shows under these filters, over all its pages."""
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        try:
            rows = self.get_changelist_instance(request).get_queryset(request)
        except IncorrectLookupParameters:
            return self._mistaken()
        return self._export(request, rows)

    def _mistaken(self) -> HttpResponseRedirect:
        """As Django answers look-ups that are none: the whole list, with a word about it."""
        return HttpResponseRedirect(f"{reverse(f'admin:{self.opts.app_label}_{self.opts.model_name}_changelist')}?{ERROR_FLAG}=1")

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """The row; None also for an id that its column cannot hold."""
        try:
            with transaction.atomic():
                return super().get_object(request, object_id, from_field)
        except WRONG_VALUE:
            return None

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        """The list, or what an action on chosen rows answers. A choice of ids that are none is a mistaken look-up."""
        chosen = request.POST.getlist(ACTION_CHECKBOX_NAME)
        if chosen:
            try:
                with transaction.atomic():
                    self.get_queryset(request).filter(pk__in=chosen).order_by().values_list("pk")[:1].exists()
            except WRONG_VALUE:
                return self._mistaken()
        try:
            return super().changelist_view(request, extra_context)
        except Exception as exc:
            if request.method != "POST" or not storage.is_full(exc):
                raise
            return self._no_room(request)

    def _no_room(self, request: HttpRequest) -> HttpResponse:
        """The same page, with a message that the disk is full."""
        self.message_user(request, StorageFull.message, messages.ERROR)
        return HttpResponseRedirect(request.get_full_path())

    @admin.action(description="Download as CSV", permissions=["view"])
    def export_selected(self, request: HttpRequest, queryset: QuerySet) -> StreamingHttpResponse:
        return self._export(request, queryset)

    def _export(self, request: HttpRequest, rows: QuerySet) -> StreamingHttpResponse:
        query = {name: value for name, value in request.GET.items() if name not in ("p", "o")}
        self.note(request, "admin.export", details={"model": self.opts.label_lower, "filters": {k: v[:200] for k, v in query.items()}})
        return csv_file.stream(rows, self.export_columns(request), self.opts.model_name or "rows")

    def export_columns(self, request: HttpRequest) -> list[csv_file.Column]:
        shown = [name for name in self.get_list_display(request) if name != "action_checkbox"]
        return [self._csv_column(name) for name in [*self._identity(shown), *shown, *self.export_also]]

    def _identity(self, shown: Iterable[Any]) -> list[str]:
        return [] if "id" in shown or "pk" in shown else [self.opts.pk.name]

    def _csv_column(self, name: Any) -> csv_file.Column:
        title = str(label_for_field(name, self.model, self))
        raw = getattr(name if callable(name) else getattr(self, str(name), None), "raw", None)
        if raw is not None:
            return title, raw

        def read(row: Model) -> Any:
            _, _, value = lookup_field(name, row, self)
            return str(value) if isinstance(value, Model) else value

        return title, read

    # --- changing -----------------------------------------------------------------------------

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Without Django's bulk deletion: it knows nothing of what a model does when it is deleted."""
        found = super().get_actions(request)
        found.pop("delete_selected", None)
        if IS_POPUP_VAR not in request.GET and self.has_view_or_change_permission(request):
            found["export_selected"] = self.get_action("export_selected")
        return found

    def note(self, request: HttpRequest, action: str, target: Model | None = None, details: dict[str, Any] | None = None) -> None:
        """Write down in the audit log who did what."""
        self.admin_site.record(request, action, target, details or {})

    def each(self, request: HttpRequest, rows: Iterable[Any], act: Any, done: str) -> None:
        """Do it to each row; say how many (`done` has one {}), and of each that was refused, why."""
        count = 0
        for row in rows:
            try:
                count += act(row) is not False
            except AppError as exc:
                self.message_user(request, f"{row}: {exc.message}", messages.ERROR)
            except Exception as exc:
                if not storage.is_full(exc):
                    raise
                self.message_user(request, f"{row}: {StorageFull.message}", messages.ERROR)
                break  # the next one would meet the same
        if count:
            self.message_user(request, done.format(count), messages.SUCCESS)

    def save_model(self, request: HttpRequest, obj: Any, form: ModelForm, change: bool) -> None:
        super().save_model(request, obj, form, change)
        self.note(request, f"{self.opts.model_name}.{'update' if change else 'create'}", obj, {"fields": sorted(form.changed_data)})

    def changeform_view(self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None) -> Any:
        """What our own functions refuse is said above the form, and nothing of it is saved."""
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except AppError as exc:
            self.message_user(request, exc.message, messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())
        except Exception as exc:
            if request.method != "POST" or not storage.is_full(exc):
                raise
            return self._no_room(request)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        self.note(request, f"{self.opts.model_name}.delete", obj, {"what": str(obj)[:200]})
        super().delete_model(request, obj)


class ReadOnly(Rows):
    """Nothing is added, changed or deleted here, by nobody."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def may_act(self, request: HttpRequest) -> bool:
        """The right to change, which Django's own method denies here so that no form opens."""
        return request.user.has_perm(f"{self.opts.app_label}.change_{self.opts.model_name}")

    has_act_permission = may_act


CONTENT = "chat.view_content"


class WithContent(ReadOnly):
    """`content_fields` hold what people wrote or were answered: shown only to those with that right, and that is written down."""

    content_fields: tuple[Any, ...] = ()

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        fields = list(super().get_fields(request, obj))
        return fields if request.user.has_perm(CONTENT) else [name for name in fields if name not in self.content_fields]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return self.get_fields(request, obj)

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        obj = self.get_object(request, object_id)
        if obj is not None and self.has_view_permission(request, obj) and request.user.has_perm(CONTENT):
            self.note(request, f"{self.opts.app_label}.content_read", obj)
        return super().change_view(request, object_id, form_url, extra_context)


def _field_of(item: Any) -> str:
    """The field or parameter that an entry of list_filter is about."""
    if isinstance(item, tuple | list):
        return str(item[0])
    return item if isinstance(item, str) else str(getattr(item, "parameter_name", ""))
