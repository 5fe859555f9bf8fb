"""The base classes of the admin's lists.

They add to the theme's: pages that never count millions of rows, a search by index, and a CSV export of the filtered rows.
A URL can use only the filters' lookups. There is no bulk deletion, and the site records every change.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IS_POPUP_VAR, IncorrectLookupParameters, ShowFacets
from django.contrib.admin.utils import label_for_field, lookup_field
from django.contrib.admin.views.main import ERROR_FLAG
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import ForeignKey, Model, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.urls import URLPattern, path, reverse
from unfold.admin import ModelAdmin

from aiagents.core import storage
from aiagents.core.admin import csv_file, searching
from aiagents.core.admin.change_list import WRONG_VALUE, CappedChangeList
from aiagents.core.admin.paging import CappedPaginator
from aiagents.core.errors import AppError
from aiagents.core.storage import StorageFull

PER_PAGE = 50


class Rows(ModelAdmin):
    """A ModelAdmin with Django's columns and filters; the `search_*` attributes configure the search."""

    paginator = CappedPaginator
    list_per_page = PER_PAGE
    show_full_result_count = False
    # Each facet would count the whole table.
    show_facets = ShowFacets.NEVER
    list_fullwidth = True
    empty_value_display = "–"
    warn_unsaved_form = True
    change_list_template = "admin/office_list.html"
    # Columns with request ids; with other ids; for exact matches; for substring matches; with a user's id.
    search_requests: tuple[str, ...] = ()
    search_ids: tuple[str, ...] = ()
    search_exact: tuple[str, ...] = ()
    search_contains: tuple[str, ...] = ()
    search_people: tuple[str, ...] = ()
    # Columns that lists and CSV files do not load, because each may hold megabytes.
    list_defer: tuple[str, ...] = ()
    # Additional columns of the CSV file.
    export_also: tuple[str, ...] = ()

    # --- reading ------------------------------------------------------------------------------

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        """The searched columns, so that the search box appears; `get_search_results` does the search."""
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
        """Allow the filters' lookups and ids only. Other lookups would let a URL guess secrets character by character."""
        first = lookup.partition("__")[0]
        named = {_field_of(item) for item in (self.get_list_filter(request) if request else self.list_filter)}
        if first in {name.partition("__")[0] for name in named if name}:
            return super().lookup_allowed(lookup, value, request)
        rest = lookup.removeprefix(first)
        links = {field.name for field in self.opts.fields if isinstance(field, ForeignKey)} | {"pk", "id"}
        return first in links and rest in ("", "__exact", "__id", "__id__exact", "__pk", "__pk__exact", "__in")

    def get_list_display_links(self, request: HttpRequest, list_display: Sequence[Any]) -> list[Any]:
        """Link the row from its first column that is not a link itself, because HTML links cannot be nested."""
        if self.list_display_links:
            return list(self.list_display_links)
        return [next((name for name in list_display if not getattr(name, "is_link", False)), list_display[0])]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[CappedChangeList]:
        return CappedChangeList

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).select_related(*(self.list_select_related or ()))  # also for the CSV file

    # --- the CSV file -------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_export"
        return [path("export/", self.admin_site.admin_view(self.export_view), name=name), *super().get_urls()]

    def export_view(self, request: HttpRequest) -> StreamingHttpResponse | HttpResponseRedirect:
        """A CSV file of all rows that match the list's filters."""
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        try:
            rows = self.get_changelist_instance(request).get_queryset(request)
        except IncorrectLookupParameters:
            return self._redirect_to_list()
        return self._export(request, rows)

    def _redirect_to_list(self) -> HttpResponseRedirect:
        """Django's response to an invalid lookup: a redirect to the unfiltered list with an error message."""
        return HttpResponseRedirect(f"{reverse(f'admin:{self.opts.app_label}_{self.opts.model_name}_changelist')}?{ERROR_FLAG}=1")

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """The row; None if it does not exist or its column cannot hold the id."""
        try:
            with transaction.atomic():
                return super().get_object(request, object_id, from_field)
        except WRONG_VALUE:
            return None

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        """The list, or the response of an action on chosen rows. Invalid ids are handled like an invalid lookup."""
        chosen = request.POST.getlist(ACTION_CHECKBOX_NAME)
        if chosen:
            try:
                with transaction.atomic():
                    self.get_queryset(request).filter(pk__in=chosen).order_by().values_list("pk")[:1].exists()
            except WRONG_VALUE:
                return self._redirect_to_list()
        try:
            return super().changelist_view(request, extra_context)
        except Exception as exc:
            if request.method != "POST" or not storage.is_full(exc):
                raise
            return self._disk_full(request)

    def _disk_full(self, request: HttpRequest) -> HttpResponse:
        """Redirect to the same page, with a message that the disk is full."""
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
        """The actions without Django's bulk deletion, which bypasses the models' own deletion rules."""
        found = super().get_actions(request)
        found.pop("delete_selected", None)
        if IS_POPUP_VAR not in request.GET and self.has_view_or_change_permission(request):
            found["export_selected"] = self.get_action("export_selected")
        return found

    def note(self, request: HttpRequest, action: str, target: Model | None = None, details: dict[str, Any] | None = None) -> None:
        """Record an action in the audit log."""
        self.admin_site.record(request, action, target, details or {})

    def each(self, request: HttpRequest, rows: Iterable[Any], act: Any, done: str) -> None:
        """Call `act` for each row. Show a message with the count (`done` has one {}), and one with the reason per refusal."""
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
                break  # the next row would fail as well
        if count:
            self.message_user(request, done.format(count), messages.SUCCESS)

    def save_model(self, request: HttpRequest, obj: Any, form: ModelForm, change: bool) -> None:
        super().save_model(request, obj, form, change)
        self.note(request, f"{self.opts.model_name}.{'update' if change else 'create'}", obj, {"fields": sorted(form.changed_data)})

    def changeform_view(self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None) -> Any:
        """The form. An AppError is shown as a message above it, and nothing is saved."""
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except AppError as exc:
            self.message_user(request, exc.message, messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())
        except Exception as exc:
            if request.method != "POST" or not storage.is_full(exc):
                raise
            return self._disk_full(request)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        self.note(request, f"{self.opts.model_name}.delete", obj, {"what": str(obj)[:200]})
        super().delete_model(request, obj)


def _field_of(item: Any) -> str:
    """The field or parameter of an entry of list_filter."""
    if isinstance(item, tuple | list):
        return str(item[0])
    return item if isinstance(item, str) else str(getattr(item, "parameter_name", ""))
