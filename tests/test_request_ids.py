"""The request id that an error shows finds in the back office what belongs to it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from django.contrib import admin
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEvent, User
from agents.models import AgentRun
from aiagents.core.admin.rows import Rows
from aiagents.core.ids import uuid7
from billing.models import Hold, UsageLog
from chat.models import Message
from tasks.models import TaskRun, WebhookDelivery
from tests.kit import cast, office_rows

pytestmark = pytest.mark.django_db
# As a client may bring them: 32 hexadecimal digits like ours, a UUID with hyphens, words that look like columns' values.
SHAPES = {
    "ours": "01a224195b8c735f96cac72081b07296",
    "uuid": "6b1f7e1e-5f0c-4a3e-9a40-2b5f6a6e2a11",
    "number": "1234567890123456",
    "word": "my-request.42:a_b",
    "status": "succeeded",
    "longest": "x" * 64,
}


def admins() -> list[tuple[type[Model], Rows]]:
    return [(model, found) for model, found in admin.site._registry.items() if isinstance(found, Rows)]


def by_request() -> list[tuple[type[Model], str]]:
    """Every list that can be searched by a request id, and by which column."""
    return [(model, column) for model, found in admins() for column in found.search_requests]


def test_every_model_with_a_request_id_is_found_by_it():
    known = {model for model, _ in by_request()}
    assert {UsageLog, AuditEvent, AgentRun, TaskRun, Message, Hold, WebhookDelivery} <= known
    for model, found in admins():
        if any(field.name == "request_id" for field in model._meta.fields):
            assert "request_id" in found.search_requests, f"{model.__name__} has a request id that its search does not know"
            indexed = [index for index in model._meta.indexes if index.fields[:1] == ["request_id"]]
            assert indexed, f"{model.__name__}: a search would read the whole table"


@pytest.fixture
def root() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root@example.com", cast.PASSWORD))
    return client


def found(root: Client, model: type[Model], text: str) -> list[Model]:
    answer = root.get(reverse(f"admin:{office_rows.name_of(model)}_changelist"), {"q": text})
    assert answer.status_code == 200
    return list(answer.context["cl"].result_list)


def mark(row: Any, column: str, request_id: str) -> Any:
    """Have the row, or the one that the column is of, carry the id; as SQL, for some refuse to be written twice."""
    if isinstance(row, Hold):
        row.call = {**row.call, "request_id": request_id}
        row.save()
        return row
    owner = row
    for name in column.split("__")[:-1]:
        owner = getattr(owner, name)
    if isinstance(owner, UsageLog):
        copy = UsageLog.objects.get(pk=owner.pk)
        copy.pk, copy.call_id, copy.request_id = uuid7(), uuid7(), request_id
        copy._state.adding = True
        copy.save(force_insert=True)
        return copy
    type(owner)._base_manager.filter(pk=owner.pk).update(request_id=request_id)
    return row


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("model", "column"), by_request(), ids=lambda item: getattr(item, "__name__", item))
def test_a_request_id_of_any_shape_finds_its_rows(root: Client, model: type[Model], column: str, shape: str):
    office_rows.fill(2)
    rows = list(model._base_manager.order_by("pk"))
    wanted = mark(rows[-1], column, SHAPES[shape])
    expected = [wanted.pk]
    assert [row.pk for row in found(root, model, SHAPES[shape])] == expected
    assert [row.pk for row in found(root, model, f"  {SHAPES[shape]}\n")] == expected
    if shape == "ours":  # copied from a place that writes it with hyphens
        assert [row.pk for row in found(root, model, str(UUID(SHAPES[shape])))] == expected


def test_other_searches_still_work(root: Client):
    rows = office_rows.fill(2)
    row = rows[UsageLog]
    assert [one.pk for one in found(root, UsageLog, str(row.call_id))] == [row.pk]
    assert [one.pk for one in found(root, UsageLog, row.model)] == [row.pk]
    assert [one.pk for one in found(root, Message, str(rows[Message].pk))] == [rows[Message].pk]
