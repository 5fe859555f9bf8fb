"""The back office as a whole: every list and page opens, tells nobody more than their group may know, and runs no text as code."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import User
from tests import office_rows
from tests.office_rows import SECRET, name_of

pytestmark = pytest.mark.django_db
MODELS = office_rows.models()
IDS = [name_of(model) for model in MODELS]


def browser(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def root(db: None) -> Client:
    return browser(User.objects.create_superuser("root@example.com", "correct horse battery"))


@pytest.fixture
def rows(db: None) -> dict[type[Model], Model]:
    return office_rows.fill(2)


def member(group: str) -> Client:
    user = User.objects.create_user(f"{group.lower()}@example.com", "correct horse battery", is_staff=True)
    user.groups.add(Group.objects.get(name=group))
    return browser(user)


def text_of(answer) -> str:
    if answer.streaming:
        return b"".join(answer.streaming_content).decode()
    return answer.content.decode()


def scripts_left(page: str) -> list[str]:
    """Hostile markup that would run."""
    return [piece for piece in ("<script>alert(1)", "<img src=x", "<svg/onload") if piece in page] + (["49"] if "{{7*7}}49" in page else [])


# --- every page --------------------------------------------------------------------------------


def test_every_model_with_rows_is_registered(rows: dict[type[Model], Model]) -> None:
    missing = [model._meta.label for model in MODELS if model not in rows]
    assert not missing, "rows for these are not made in tests/office_rows.py"


@pytest.mark.parametrize("model", MODELS, ids=IDS)
def test_the_list_and_the_page_open_and_escape(root: Client, rows: dict[type[Model], Model], model: type[Model]) -> None:
    name = name_of(model)
    list_page = reverse(f"admin:{name}_changelist")
    pages = [list_page, f"{list_page}?q=person", f"{list_page}?q={rows[User].pk}", reverse(f"admin:{name}_change", args=[rows[model].pk])]
    pages.append(reverse(f"admin:{name}_history", args=[rows[model].pk]))
    for page in pages:
        answer = root.get(page)
        assert answer.status_code == 200, page
        text = text_of(answer)
        assert not scripts_left(text), page
        assert SECRET not in text


@pytest.mark.parametrize("model", MODELS, ids=IDS)
def test_the_list_sorts_by_every_column_and_takes_every_filter(root: Client, rows: dict[type[Model], Model], model: type[Model]) -> None:
    list_page = reverse(f"admin:{name_of(model)}_changelist")
    page = text_of(root.get(list_page))
    links = set(re.findall(r'href="(\?[^"]+)"', page))
    for link in sorted(links):
        answer = root.get(list_page + link.replace("&amp;", "&"))
        assert answer.status_code == 200, link
        assert "e=1" not in answer.request["QUERY_STRING"]


@pytest.mark.parametrize("model", MODELS, ids=IDS)
def test_a_list_asks_no_more_for_many_rows_than_for_few(root: Client, model: type[Model]) -> None:
    list_page = reverse(f"admin:{name_of(model)}_changelist")
    office_rows.fill(5, "x")
    few = _queries(root, list_page)
    office_rows.fill(45, "x")
    many = _queries(root, list_page)
    assert many <= few, f"{few} queries for 5 rows, {many} for 50"
    assert many < 25


def _queries(client: Client, page: str) -> int:
    client.get(page)  # content types and the like are remembered
    with CaptureQueriesContext(
        connection,
    ) as asked:
        assert client.get(page).status_code == 200
    return len(asked)
