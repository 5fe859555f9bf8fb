"""A DRF view, a Django view and an endpoint beside Django answer the same exception alike."""

from __future__ import annotations

import ast
import errno
import inspect
from collections.abc import Callable
from typing import Any

import django.core.exceptions as core
import psycopg
import pytest
from django import db
from django.db.models import ProtectedError
from django.http import Http404, HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import path
from rest_framework.request import Request as DRFRequest
from rest_framework.views import APIView

from accounts.authentication import authenticate, require_scope
from aiagents.core import error_mapping, errors, storage
from aiagents.core.http.consumer import EndpointApplication
from aiagents.core.http.endpoints import Endpoint, Request, Response
from tests.kit import wire
from tests.kit.source.tree import parse
from tests.kit.wire import ask

pytestmark = pytest.mark.django_db
SECRET = "the password is hunter2"


def database(error: type[Exception], cause: BaseException | None = None) -> Callable[[], Exception]:
    def make() -> Exception:
        exc = error(SECRET)
        exc.__cause__ = cause
        return exc

    return make


# An exception, and the status and code of its answer.
TABLE: dict[str, tuple[Callable[[], BaseException], int, str]] = {
    "ours": (lambda: errors.BudgetExceeded("too much"), 402, "budget_exceeded"),
    "Http404": (Http404, 404, "not_found"),
    "PermissionDenied": (core.PermissionDenied, 403, "permission_denied"),
    "BadRequest": (lambda: core.BadRequest("not this"), 400, "invalid_request"),
    "SuspiciousOperation": (lambda: core.SuspiciousOperation(SECRET), 400, "invalid_request"),
    "DisallowedHost": (lambda: core.DisallowedHost(SECRET), 400, "invalid_request"),
    "TooManyFieldsSent": (lambda: core.TooManyFieldsSent(SECRET), 400, "invalid_request"),
    "RequestDataTooBig": (lambda: core.RequestDataTooBig(SECRET), 413, errors.PayloadTooLarge.code),
    "ValidationError": (lambda: core.ValidationError("is not valid"), 400, "invalid_request"),
    "ValidationError of a field": (lambda: core.ValidationError({"name": ["is not valid"]}), 400, "invalid_request"),
    "ProtectedError": (lambda: ProtectedError(SECRET, set()), 409, errors.Conflict.code),
    "OperationalError": (database(db.OperationalError), 503, errors.Unavailable.code),
    "InterfaceError": (database(db.InterfaceError), 503, errors.Unavailable.code),
    "OperationalError of a full disk": (
        database(db.OperationalError, psycopg.errors.DiskFull(SECRET)), 503, storage.StorageFull.code,
    ),
    "OperationalError of a file": (database(db.OperationalError, OSError(errno.ENOSPC, "x")), 503, storage.StorageFull.code),
    "DataError": (database(db.DataError), 400, "out_of_range"),
    "IntegrityError": (database(db.IntegrityError), 500, "internal_error"),
    "a bug": (lambda: ZeroDivisionError(SECRET), 500, "internal_error"),
}  # fmt: skip
raised: Callable[[], BaseException] = TABLE["a bug"][0]


class View(APIView):
    authentication_classes: list[Any] = []
    permission_classes: list[Any] = []

    def get(self, request: DRFRequest) -> HttpResponse:
        raise raised()


def django_view(request: HttpRequest) -> HttpResponse:
    raise raised()


async def endpoint(request: Request) -> Response:
    raise raised()


urlpatterns = [path("api/v1/drf", View.as_view()), path("api/v1/django", django_view)]
handler400 = "aiagents.core.http.error_views.bad_request"
handler403 = "aiagents.core.http.error_views.permission_denied"
handler404 = "aiagents.core.http.error_views.not_found"
handler500 = "aiagents.core.http.error_views.server_error"


@pytest.mark.parametrize("name", TABLE)
async def test_all_renderers_answer_an_exception_alike(name: str, monkeypatch: pytest.MonkeyPatch):
    make, status, code = TABLE[name]
    monkeypatch.setitem(globals(), "raised", make)
    wire._handler = None
    beside = EndpointApplication(authenticate=authenticate, authorize=require_scope)
    beside.add(Endpoint("GET", "/api/v1/beside", endpoint, scope=None, authenticated=False))
    with override_settings(ROOT_URLCONF=__name__, DEBUG=False):
        answers = [
            await ask(wire.django, "GET", "/api/v1/drf"),
            await ask(wire.django, "GET", "/api/v1/django"),
            await ask(beside, "GET", "/api/v1/beside"),
        ]
    wire._handler = None
    bodies = [answer.error | {"request_id": ""} for answer in answers]
    assert [(answer.status, answer.error["code"]) for answer in answers] == [(status, code)] * 3
    assert bodies[0] == bodies[1] == bodies[2]
    assert len({answer.headers.get("retry-after") for answer in answers}) == 1
    assert not any(SECRET.encode() in answer.body for answer in answers)


def test_every_exception_of_the_mapping_stands_in_the_table():
    """A new case of `error_of` needs a row."""
    tree = parse(inspect.getsource(error_mapping.error_of))
    cases = {ast.unparse(node.cls) for node in ast.walk(tree) if isinstance(node, ast.MatchClass)}
    covered = {name for make, _, _ in TABLE.values() for name in (parent.__name__ for parent in type(make()).__mro__)}
    assert len(cases) > 8 and {name.removeprefix("Django") for name in cases} <= covered
