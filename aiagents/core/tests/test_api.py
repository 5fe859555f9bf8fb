"""DRF's edges: pages, orderings, filters, fields, pages for people."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import django_filters
import pytest
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.test import APIClient, APIRequestFactory

from accounts import keys
from accounts.models import AuditEvent, User
from aiagents.core.drf.base import CursorPagination, JSONRenderer, StrictFieldsMixin, StrictFilterSet
from aiagents.core.drf.errors import error_of
from aiagents.core.errors import InvalidRequest
from aiagents.core.field_errors import invalid

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(settings: Any) -> APIClient:
    settings.ROOT_URLCONF = "aiagents.core.tests.urls"
    found = APIClient()
    user = User.objects.create_user("ann@example.com", "correct horse battery staple")
    found.credentials(HTTP_AUTHORIZATION="Bearer " + keys.create(user, name="k", scopes=["chat"])[1])
    AuditEvent.objects.all().delete()
    return found


def walk(client: APIClient, query: str) -> list[str]:
    """The actions of every page, forward, having come back once by `previous`."""
    actions, url = [], f"/api/v1/events?{query}"
    while url:
        page = client.get(url).json()
        assert set(page) == {"next", "previous", "results"} and len(page["results"]) <= 3
        actions += [row["action"] for row in page["results"]]
        if page["previous"] and len(actions) == 6:
            assert [row["action"] for row in client.get(page["previous"]).json()["results"]] == actions[:3]
        url = page["next"]
    return actions


def test_pages_hold_every_row_once_whatever_the_order(client: APIClient):
    same = datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(10):
        AuditEvent.objects.create(action=f"a{number}", at=same)
    newest_first = [f"a{number}" for number in reversed(range(10))]
    assert walk(client, "page_size=3") == newest_first
    assert walk(client, "page_size=3&ordering=-at") == newest_first  # ties by id
    assert walk(client, "page_size=3&ordering=at") == newest_first[::-1]
    assert walk(client, "page_size=3&ordering=action") == newest_first[::-1]


@pytest.mark.parametrize("size", ["0", "101", "-1", "x", "1e1", "", "٣", "9" * 5000])
def test_a_page_size_that_is_none_is_refused(client: APIClient, size: str):
    answer = client.get("/api/v1/events?" + urlencode({"page_size": size}))
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "page_size")


@pytest.mark.parametrize(
    "values", [[0], [0, "nonsense"], [0, "\x00"], [0, None, None, None], [2, "a"], [0, 5], "text", {"a": 1}, [0, "9" * 3000], []]
)
@pytest.mark.parametrize("ordering", ["", "at"])
def test_a_cursor_written_by_hand_is_refused(client: APIClient, values: Any, ordering: str):
    AuditEvent.objects.create(action="a")
    if ordering and isinstance(values, list) and len(values) == 2:
        values = [*values, "01890000-0000-7000-8000-000000000000"]
    cursor = base64.urlsafe_b64encode(json.dumps(values).encode()).decode()
    answer = client.get("/api/v1/events?" + urlencode({"cursor": cursor, "ordering": ordering}))
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_cursor")


@pytest.mark.parametrize("cursor", ["!!", "a", "é", "bm9uc2Vuc2U=", "W" * 5000, base64.b64encode(b"[" * 3000).decode()])
def test_a_cursor_that_is_no_cursor_is_refused(client: APIClient, cursor: str):
    assert client.get("/api/v1/events?" + urlencode({"cursor": cursor})).status_code == 400


def test_rows_without_a_value_stand_at_the_end_of_either_order(client: APIClient):
    for number, key in enumerate([1, None, 2, None, None, 3]):
        AuditEvent.objects.create(action=f"a{number}", actor=None if key is None else User.objects.create_user(f"u{key}@example.com"))

    class Pages(CursorPagination):
        page_size = 2

    def walk(ordering: str) -> list[str]:
        request = Request(APIRequestFactory().get("/x"))
        found, back = [], []
        while request is not None:
            pages = Pages()
            pages.ordering = ordering
            found.append([row.action for row in pages.paginate_queryset(AuditEvent.objects.all(), request)])
            if pages.get_previous_link():
                again = Pages()
                again.ordering = ordering
                back.append(
                    [
                        row.action
                        for row in again.paginate_queryset(
                            AuditEvent.objects.all(), Request(APIRequestFactory().get(pages.get_previous_link()))
                        )
                    ]
                )
            request = Request(APIRequestFactory().get(pages.get_next_link())) if pages.get_next_link() else None
        assert back == found[:-1]
        return [action for page in found for action in page]

    assert walk("actor__email") == ["a0", "a2", "a5", "a1", "a3", "a4"]
    assert walk("-actor__email") == ["a5", "a2", "a0", "a4", "a3", "a1"]


@pytest.mark.parametrize("ordering", ["actor__password", "-actor", "id", "at,", "--at", "?", "at,at,at"])
def test_only_listed_fields_order(client: APIClient, ordering: str):
    answer = client.get("/api/v1/events?" + urlencode({"ordering": ordering}))
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "ordering")


def test_an_unknown_filter_is_refused_and_a_known_one_filters():
    class EventFilter(StrictFilterSet):
        at = django_filters.IsoDateTimeFromToRangeFilter()

        class Meta:
            model = AuditEvent
            fields = ["action"]

    AuditEvent.objects.create(action="a")
    AuditEvent.objects.create(action="b")
    assert EventFilter({"action": "a", "page_size": "5", "at_after": "2020-01-01T00:00:00Z"}, AuditEvent.objects.all()).qs.count() == 1
    with pytest.raises(InvalidRequest) as refused:
        EventFilter({"actoin": "a"}, AuditEvent.objects.all()).is_valid()
    assert refused.value.param == "actoin"


class Inner(StrictFieldsMixin, serializers.Serializer):
    size = serializers.IntegerField()


class Outer(StrictFieldsMixin, serializers.Serializer):
    name = serializers.CharField()
    role = serializers.CharField(read_only=True)
    inner = Inner(many=True, required=False)


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        ({"name": "a", "role": "admin"}, {"role"}),
        ({"name": "a", "is_staff": True}, {"is_staff"}),
        ({"name": "a", "inner": [{"size": 1}, {"size": 1, "owner": 2}]}, {"inner.1.owner"}),
        ({"name": "a", "inner": [{"size": "x"}]}, {"inner.0.size"}),
        ({}, {"name"}),
    ],
)
def test_what_may_not_be_set_is_refused_and_named(data: dict, fields: set):
    serializer = Outer(data=data)
    with pytest.raises(ValidationError) as refused:
        serializer.is_valid(raise_exception=True)
    error = error_of(refused.value)
    assert error and error.status == 400 and set(error.details) == fields and error.param in fields
    assert all(isinstance(sentence, str) for sentences in error.details.values() for sentence in sentences)


def test_details_of_every_depth_are_flat():
    nested = {"a": ["x"], "b": {"c": [{"d": ["y"]}, {}], "non_field_errors": ["z"]}, "non_field_errors": ["w"]}
    assert invalid(nested).details == {"a": ["x"], "b.c.0.d": ["y"], "b": ["z"], "non_field_errors": ["w"]}
    assert invalid(["only"]).message == "only" and invalid([]).status == 400


def test_json_is_the_contracts():
    data = {
        "money": Decimal("0.0004215"), "small": Decimal("1E-12"), "at": datetime(2026, 1, 2, 3, tzinfo=UTC),
        "id": UUID("01890000-0000-7000-8000-000000000000"), "set": {1}, "rows": (row for row in [1]),
    }  # fmt: skip
    rendered = json.loads(JSONRenderer().render(data))
    assert rendered == {
        "money": "0.00042150", "small": "0.000000000001", "at": "2026-01-02T03:00:00Z",
        "id": "01890000-0000-7000-8000-000000000000", "set": [1], "rows": [1],
    }  # fmt: skip
    assert JSONRenderer().render(None) == b""
    assert b"\n" in JSONRenderer().render({"a": 1}, renderer_context={"indent": 4})


@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize(("path", "status"), [("/api/v1/plain", 500), ("/api/v1/nowhere", 404), ("/api/v1/%00", 400)])
def test_no_error_of_an_api_path_is_html_even_when_debugging(client: APIClient, settings: Any, path: str, status: int, debug: bool):
    settings.DEBUG = debug
    client.raise_request_exception = False
    answer = client.get(path, HTTP_ACCEPT="text/html")
    assert answer.status_code == status and answer["Content-Type"] == "application/json"
    assert set(answer.json()["error"]) == {"type", "message", "code", "param", "details", "request_id"} and b"hunter2" not in answer.content
    assert answer["X-Request-ID"] == answer.json()["error"]["request_id"]


def test_a_person_gets_a_page_and_a_program_json(client: APIClient):
    client.raise_request_exception = False
    for path, status in (("/page", 500), ("/nowhere", 404)):
        page = client.get(path, HTTP_ACCEPT="text/html,*/*")
        assert page.status_code == status and page["Content-Type"].startswith("text/html") and page["X-Request-ID"].encode() in page.content
        assert b"<script" not in page.content and b"hunter2" not in page.content and page["Cache-Control"] == "no-store"
        assert client.get(path, HTTP_ACCEPT="*/*")["Content-Type"] == "application/json"


def test_too_large_a_form_is_413(client: APIClient, settings: Any):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    answer = client.post("/api/v1/plain", "x=" + "1" * 200, content_type="application/x-www-form-urlencoded")
    assert (answer.status_code, answer.json()["error"]["type"]) == (413, "payload_too_large")
    settings.MAX_BODY_BYTES = 100
    answer = client.post("/api/v1/things", json.dumps({"name": "x" * 200}), content_type="application/json")
    assert (answer.status_code, answer.json()["error"]["type"]) == (413, "payload_too_large")


def test_other_media_types_are_415_and_406(client: APIClient):
    answer = client.post("/api/v1/things", "<a/>", content_type="application/xml")
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "unsupported_media_type")
    answer = client.get("/api/v1/things", HTTP_ACCEPT="text/event-stream")
    assert (answer.status_code, answer.json()["error"]["code"]) == (406, "not_acceptable")
