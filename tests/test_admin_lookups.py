"""Every list of the back office × every look-up that it takes × hostile values: never a 500, and the next request still works."""

from __future__ import annotations

import itertools
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import quote
from django.core.exceptions import SuspiciousOperation, ValidationError
from django.db import DataError, transaction
from django.db.models import ForeignKey, Model
from django.http import QueryDict
from django.test import Client
from django.urls import reverse

from accounts.models import User
from tests.kit import cast, office_rows

pytestmark = [pytest.mark.django_db, pytest.mark.long]
MODELS = office_rows.models()
BOARDS = ("usage", "costs", "models", "users", "system", "live")
NUMBERS = ("", "__exact", "__gt", "__gte", "__lt", "__lte", "__in", "__range", "__isnull", "__contains", "__regex")
DATES = ("__year", "__year__gte", "__iso_year", "__month", "__day", "__week", "__hour", "__date", "__date__gte", "__time", "__nonsense")
KEYS = ("__id__exact", "__pk__exact", "__id__in")
VALUES = {
    "beyond 32 bits": "99999999999",
    "below 32 bits": "-99999999999",
    "40 digits": "9" * 40,
    "5,000 digits": "9" * 5000,
    "year 0": "0",
    "year 10000": "10000",
    "nul": "a\x00b",
    "word": "nonsense",
    "empty": "",
    "no number": "nan",
    "infinite": "1e999",
    "other digits": "\u0663",
    "no day": "2026-02-30",
    "first moment": "0001-01-01 00:00:00+14:00",
    "last moment": "9999-12-31 23:59:59-14:00",
    "no uuid": "00000000-0000-0000-0000-00000000000g",
    "list": "99999999999,nonsense,,1",
    "regular expression": "([",
    "address": "999.1.1.1",
}
# At every filter of every list; the others once for each kind of column.
ALWAYS = [
    (lookup, VALUES[name]) for lookup in ("", "__exact", "__gte", "__in", "__year") for name in ("beyond 32 bits", "40 digits", "nul")
]
OTHERS = [
    *(("p", value) for value in ("0", "-1", "99999", "9" * 40, "9" * 5000, "x", "", "1.5", "\x00")),
    *(("o", value) for value in ("99", "-99", "1.-2.3", "x", "", "--1", ".", "9" * 40, "9" * 5000, "\x00", "1." * 500)),
    *(("q", value) for value in (*VALUES.values(), '"', "'", "%", "\\", "a b" * 500, '"' * 99)),
    *((name, value) for name in ("e", "all", "_popup", "_to_field", "_changelist_filters", "_facets") for value in ("1", "x", "\x00")),
]


def url(model: type[Model], page: str, *args: Any) -> str:
    return reverse(f"admin:{office_rows.name_of(model)}_{page}", args=args)


def names(model: type[Model], found: Any) -> dict[str, str]:
    """What a look-up of this list may begin with, by the kind of its column: filters, keys, foreign keys."""
    fields = {field.name: type(field).__name__ for field in model._meta.fields}
    allowed = {field.name for field in model._meta.fields if isinstance(field, ForeignKey)} | {model._meta.pk.name}
    for item in (*found.list_filter, found.date_hierarchy):
        allowed.add(item[0] if isinstance(item, tuple) else item if isinstance(item, str) else getattr(item, "parameter_name", None) or "")
    return {name: fields.get(name, "parameter") for name in sorted(allowed) if name}


def plan() -> dict[type[Model], list[tuple[str, str]]]:
    """Which queries each list is sent: all that is hostile to a kind of column goes to the first list that filters by one."""
    found: dict[type[Model], list[tuple[str, str]]] = {}
    seen: set[tuple[str, str, str]] = set()
    for index, (model, one) in enumerate((model, admin.site._registry[model]) for model in MODELS):
        queries = list(OTHERS) if index == 0 else OTHERS[::5]
        for name, kind in names(model, one).items():
            queries += [(f"{name}{lookup}", value) for lookup, value in ALWAYS]
            for lookup, value in itertools.product((*NUMBERS, *DATES, *KEYS), VALUES.values()):
                if (kind, lookup, value) not in seen:
                    seen.add((kind, lookup, value))
                    queries.append((f"{name}{lookup}", value))
        found[model] = queries
    return found


PLAN = plan()


@pytest.fixture
def root() -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.create_superuser("root@example.com", cast.PASSWORD))
    return client


def ends(found: Any, request: Any, name: str, value: str) -> str:
    """How the list ends with one look-up, without the page around it, which is what costs time."""
    request.GET = QueryDict(urlencode({name: value}))
    try:
        list(found.get_changelist_instance(request).result_list)
    except (IncorrectLookupParameters, SuspiciousOperation) as exc:  # Django's answers: ?e=1, and 400
        return type(exc).__name__
    return "a list"


@pytest.mark.parametrize("model", MODELS, ids=office_rows.name_of)
def test_no_look_up_ends_in_an_exception(root: Client, model: type[Model]):
    office_rows.fill(1)
    request = root.get(url(model, "changelist")).wsgi_request
    refused: dict[str, list[tuple[str, str]]] = {}
    for name, value in PLAN[model]:
        refused.setdefault(ends(admin.site._registry[model], request, name, value), []).append((name, value))
    for how, queries in refused.items():
        name, value = queries[-1]
        for page in ("changelist", "export"):
            answer = root.get(f"{url(model, page)}?{urlencode({name: value})}")
            expected = {"a list": 200, "IncorrectLookupParameters": 302}.get(how, 400) if "\x00" not in value else 400
            assert answer.status_code == expected, f"{model.__name__} {page} with {name}={value[:50]!r}: {answer.status_code}"
            assert expected != 302 or answer["Location"].endswith("?e=1")
            b"".join(answer) if not answer.streaming else None
    assert len(refused) > 1, "nothing was refused: the corpus attacks nothing"


def names_a_row(model: type[Model], value: str) -> bool:
    try:
        with transaction.atomic():
            return "\x00" not in value and model._default_manager.filter(pk=model._meta.pk.to_python(value)).exists()
    except (ValidationError, DataError):
        return False


@pytest.mark.parametrize("model", MODELS, ids=office_rows.name_of)
def test_no_id_in_a_path_or_in_a_choice_makes_a_500(root: Client, model: type[Model]):
    office_rows.fill(1)
    for what, value in VALUES.items():
        for page in ("change", "delete", "history") if value else ():  # no id has no address
            answer = root.get(url(model, page, quote(value)))
            # Python reads digits of every script: what looks like no id may be that of a row.
            expected = (200,) if names_a_row(model, value) else (302, 400, 403, 404)
            assert answer.status_code in expected, f"{page} of {what}: {answer.status_code}"
        answer = root.post(url(model, "changelist"), {"action": "export_selected", "_selected_action": value})
        assert answer.status_code in (200, 302), f"an action on {what}: {answer.status_code}"
    assert root.get(url(model, "changelist")).status_code == 200


@pytest.mark.parametrize("value", VALUES.values())
def test_no_other_page_of_the_office_breaks_by_its_query(root: Client, value: str):
    for path in ("/admin/", "/admin/search/", "/admin/autocomplete/", "/admin/jsi18n/", *(f"/admin/analytics/{name}/" for name in BOARDS)):
        query = dict.fromkeys(("s", "q", "term", "page", "from", "to", "range", "group_by", "bucket", "csv", "next"), value)
        answer = root.get(f"{path}?{urlencode(query | {'app_label': 'accounts', 'model_name': 'user', 'field_name': 'groups'})}")
        assert answer.status_code < 500, f"{path}: {answer.status_code}"


def test_a_list_that_was_refused_leaves_the_transaction_usable(root: Client):
    answer = root.get("/admin/accounts/user/?last_login__year=99999999999")
    assert answer.status_code == 302 and answer["Location"] == "/admin/accounts/user/?e=1"
    assert root.get(answer["Location"]).status_code == 200 and User.objects.count() == 1
