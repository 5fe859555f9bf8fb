"""Every list of the API keeps a page small, however long the texts of its rows are, and loses no row by it."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db.models import Field, Func, JSONField, Model, QuerySet, TextField, UniqueConstraint, Value
from django.db.models.functions import Repeat

from accounts import audit
from aiagents.core.db.calls import in_db
from aiagents.core.drf import page_bytes
from aiagents.core.drf.pages import CursorPagination
from aiagents.core.ids import uuid7
from billing.models import AIModel, UsageLog
from tests.kit import cast
from tests.kit.access_matrix import TABLE
from tests.kit.endpoints import Endpoint, every
from tests.kit.wire import Answer, ask, product

pytestmark = pytest.mark.django_db
ENDPOINTS = [endpoint for endpoint in every() if endpoint.method == "GET" and not endpoint.beside_django]
ROWS, LONG = 40, 300_000  # bytes of each text and each JSON value
# Lists that do not page by cursor, and what bounds them.
ON_ONE_PAGE = {
    "GET /api/v1/agents/tools": "staff's tools; agents/tools/checks.py bounds each",
    "GET /api/v1/billing/recommendations": "a few sentences of ours",
    "GET /api/v1/chat/conversations/{pk}/messages": "chat/tests/test_prompt_bounds.py",
}


@pytest.fixture
def root() -> cast.Person:
    return cast.person("root@example.com", admin=True)


@pytest.fixture
def paths(root: cast.Person) -> dict[str, str]:
    """The path of each endpoint. One row stands in every list."""
    rows = cast.things(root.user)
    audit.record("user.update", actor=root.user, target=root.user, details={"fields": ["name"]})
    AIModel.objects.create(
        slug="m", display_name="M", provider="openai", vendor_model="m", context_window=1000, max_output_tokens=100, description="x"
    )
    UsageLog.objects.create(
        call_id=uuid7(), group_id=uuid7(), user_id=root.user.pk, purpose="chat", surface="rest", requested_model="auto", model="m",
        provider="openai", status="ok", cost_usd=1,
    )  # fmt: skip
    return {str(one): one.path(**{name: str(rows[kind]) for name, kind in TABLE[str(one)].owned.items()}) for one in ENDPOINTS}


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> list[QuerySet[Any]]:
    """The querysets that are paged while the test runs."""
    found: list[QuerySet[Any]] = []
    paginate = CursorPagination.paginate_queryset

    def record(self: CursorPagination, queryset: QuerySet[Any], request: Any, view: Any = None) -> Any:
        found.append(queryset)
        return paginate(self, queryset, request, view)

    monkeypatch.setattr(CursorPagination, "paginate_queryset", record)
    return found


async def get(path: str, person: cast.Person) -> Answer:
    return await ask(product, "GET", path, None, {"accept": "application/json"}, person.token)


def is_list(answer: Answer) -> bool:
    if not answer.headers.get("content-type", "").startswith("application/json"):
        return False
    found = answer.json
    return isinstance(found, dict) and "results" in found


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=str)
async def test_a_page_is_small_and_all_pages_together_hold_every_row(
    endpoint: Endpoint, root: cast.Person, paths: dict[str, str], listed: list[QuerySet[Any]]
):
    path = paths[str(endpoint)]
    answer = await get(path, root)
    assert answer.status < 500
    if not is_list(answer):
        assert str(endpoint) not in ON_ONE_PAGE
        return
    if not listed:
        assert str(endpoint) in ON_ONE_PAGE, "a list without CursorPagination: what bounds its page?"
        return
    rows = listed[0]
    assert answer.json["results"], f"{rows.model.__name__}: make a row of it in `paths`"
    total = await in_db(grow, rows)

    tracemalloc.start()
    try:
        first = await get(f"{path}?page_size=100", root)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert first.status == 200, first.body[:500]
    assert len(first.body) < page_bytes.MOST_BYTES + 200_000
    assert peak < 8 * page_bytes.MOST_BYTES, f"{peak / 1e6:.0f} MB"

    forward = [page async for page in pages(f"{path}?page_size=100", "next", root)]
    seen = [identity for page in forward for identity in page]
    assert len(seen) == len(set(seen)) == total
    last = await last_path(f"{path}?page_size=100", root)
    backward = [page async for page in pages(last, "previous", root)]
    assert sorted(identity for page in backward for identity in page) == sorted(seen)


def test_a_row_larger_than_a_page_is_a_page():
    assert page_bytes.fitting([page_bytes.MOST_BYTES + 1, 1], page_bytes.MOST_BYTES) == 1
    assert page_bytes.fitting([1, page_bytes.MOST_BYTES, 1], page_bytes.MOST_BYTES) == 1
    assert page_bytes.fitting([1, 1], page_bytes.MOST_BYTES) == 2
    assert page_bytes.fitting([], page_bytes.MOST_BYTES) == 0


async def test_one_row_after_another_where_each_is_larger_than_a_page(
    root: cast.Person, paths: dict[str, str], listed: list[QuerySet[Any]], monkeypatch: pytest.MonkeyPatch
):
    path = paths["GET /api/v1/tasks/{pk}/runs"]
    await get(path, root)
    total = await in_db(grow, listed[0], 1000)
    monkeypatch.setattr(page_bytes, "MOST_BYTES", 999)
    assert [len(page) async for page in pages(f"{path}?page_size=100", "next", root)] == [1] * total


async def pages(path: str | None, link: str, person: cast.Person) -> Any:
    """The identities of each page's rows, from this page on."""
    while path:
        found = (await get(path, person)).json
        yield [identity(row) for row in found["results"]]
        path = follow(found[link])


async def last_path(path: str, person: cast.Person) -> str:
    while following := follow((await get(path, person)).json["next"]):
        path = following
    return path


def follow(url: str | None) -> str | None:
    if url is None:
        return None
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


def identity(row: dict[str, Any]) -> str:
    """What tells a row from others, without its long texts."""
    return json.dumps({name: value for name, value in row.items() if len(json.dumps(value)) < 100}, sort_keys=True)


# --- rows with long texts ---------------------------------------------------------------------------


def grow(rows: QuerySet[Any], bytes_: int = LONG) -> int:
    """Make ROWS copies of the list's first row and lengthen the texts of all its rows. How many rows it has now."""
    original = rows.model.objects.get(pk=rows[0].pk)
    for number in range(1, ROWS):
        copy(original, number)
    lengthen(rows.model, rows.values("pk"), bytes_)
    for name in rows.query.select_related or {}:
        field = rows.model._meta.get_field(name)
        lengthen(field.related_model, rows.values(name), bytes_)
    return rows.count()


def copy(original: Model, number: int) -> None:
    new = type(original)(**{field.attname: getattr(original, field.attname) for field in original._meta.concrete_fields})
    new.pk = uuid7() if isinstance(original.pk, type(uuid7())) else None
    new._state.adding = True
    for field in unique_fields(original):
        value = getattr(original, field.attname)
        if isinstance(value, int):
            setattr(new, field.attname, value + number)
        elif isinstance(value, str):
            setattr(new, field.attname, f"{value[: (field.max_length or 99) - 4]}-{number}")
        elif value is not None and not field.is_relation:
            setattr(new, field.attname, uuid7())
    new.save(force_insert=True)


def unique_fields(row: Model) -> Iterator[Field[Any, Any]]:
    unique = [constraint for constraint in row._meta.constraints if isinstance(constraint, UniqueConstraint)]
    together = {name for constraint in unique for name in constraint.fields}
    for field in row._meta.concrete_fields:
        if not field.primary_key and not field.choices and (field.unique or field.name in together):
            yield field


def lengthen(model: type[Model], pks: QuerySet[Any], bytes_: int) -> None:
    text = Repeat(Value("é"), bytes_ // 2)
    changes: dict[str, Any] = {}
    for field in model._meta.concrete_fields:
        if isinstance(field, TextField):
            changes[field.name] = text
        elif isinstance(field, JSONField):
            many = field.get_default() == []
            changes[field.name] = Func(*(() if many else (Value("x"),)), text, function=f"jsonb_build_{'array' if many else 'object'}")
    if changes:
        model._base_manager.filter(pk__in=list(pks.values_list(flat=True))).update(**changes)
