"""DRF's browsable API: every GET of the URL map opens as a page, and what its boxes hold may be sent."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

import pytest
from django.test import Client

from tests.kit import cast
from tests.kit import catalogue as installed_catalogue
from tests.kit.access_matrix import TABLE
from tests.kit.endpoints import Endpoint, every

pytestmark = [pytest.mark.django_db, pytest.mark.long]
PAGES = [
    endpoint for endpoint in every() if endpoint.method == "GET" and not endpoint.beside_django and endpoint.template.startswith("/api/v1/")
]
# What a person types into an empty box of that name.
TYPED = {"name": "By hand", "input": "Hello"}


class _Boxes(HTMLParser):
    """`bodies`: what stands in the box for JSON of each method that the page has a button for."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.bodies: dict[str, str] = {}
        self._method = self._text = ""
        self._inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "form":
            self._method, self._text = given.get("data-method") or given.get("method") or "", ""
        elif tag == "button" and self._text:
            self.bodies[given.get("data-method") or self._method] = self._text
        self._inside = tag == "textarea" and given.get("name") == "_content"

    def handle_data(self, data: str) -> None:
        if self._inside:
            self._text += data

    def handle_endtag(self, tag: str) -> None:
        self._inside = False


@pytest.fixture
def root() -> tuple[Client, dict[str, Any]]:
    """An admin in a browser, and the rows that are theirs."""
    installed_catalogue.load()
    someone = cast.person("root@example.com", admin=True)
    client = Client(raise_request_exception=False)
    client.force_login(someone.user)
    return client, cast.things(someone.user)


def path_of(endpoint: Endpoint, rows: dict[str, Any]) -> str:
    return endpoint.path(**{parameter: str(rows[kind]) for parameter, kind in TABLE[str(endpoint)].owned.items()})


@pytest.mark.parametrize("endpoint", PAGES, ids=str)
def test_every_get_opens_as_a_page_with_the_status_that_a_program_gets(endpoint: Endpoint, root: tuple[Client, dict[str, Any]]):
    client, rows = root
    path = path_of(endpoint, rows)
    page, answer = client.get(path, HTTP_ACCEPT="text/html"), client.get(path, HTTP_ACCEPT="application/json")
    assert page.status_code == answer.status_code < 500
    if page.headers["content-type"].startswith("text/html"):
        assert "style-src-attr 'unsafe-inline'" in page.headers["content-security-policy"]
        assert b"<style" not in page.content and b"HTML form" not in page.content


@pytest.mark.parametrize(
    ("path", "kind", "methods"),
    [
        ("chat/conversations", "", {"POST"}),
        ("chat/conversations/{}", "conversation", {"PATCH"}),
        ("agents/", "", {"POST"}),
        ("agents/{}", "agent", {"PUT", "PATCH"}),
        ("tasks/", "", {"POST"}),
        ("tasks/{}", "task", {"PUT", "PATCH"}),
        ("auth/api-keys", "", {"POST"}),
        ("auth/profile", "", {"PATCH"}),
    ],
)
def test_what_a_box_holds_may_be_sent_once_its_empty_fields_are_filled(
    path: str, kind: str, methods: set[str], root: tuple[Client, dict[str, Any]]
):
    client, rows = root
    path = "/api/v1/" + path.format(rows.get(kind, ""))
    bodies = _Boxes(client.get(path, HTTP_ACCEPT="text/html").content.decode()).bodies
    assert set(bodies) == methods
    for method, text in bodies.items():
        body = {name: value or TYPED.get(name, value) for name, value in json.loads(text).items()}
        told = client.generic(method, path, json.dumps(body), content_type="application/json", HTTP_ACCEPT="text/html")
        assert told.status_code in (200, 201), (method, body, told.content)


def test_a_list_that_is_not_of_rows_has_no_form_of_filters(root: tuple[Client, dict[str, Any]]):
    client, _ = root
    page = client.get("/api/v1/billing/budgets", HTTP_ACCEPT="text/html")
    assert page.status_code == 200 and b"filters" not in page.content.lower()
    assert b"Filters" in client.get("/api/v1/billing/usage", HTTP_ACCEPT="text/html").content


def test_a_wrong_body_is_told_on_the_page(root: tuple[Client, dict[str, Any]]):
    client, _ = root
    told = client.put("/api/v1/billing/budgets", {"scope": ""}, content_type="application/json", HTTP_ACCEPT="text/html")
    assert told.status_code == 400 and b"is not a valid choice" in told.content
