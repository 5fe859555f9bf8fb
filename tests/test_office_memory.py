"""Lists and CSV files of the back office do not load what each of many rows may hold: megabytes of text."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from django.contrib import admin
from django.db import connection
from django.db.models import JSONField, Model, TextField
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from agents.models import AgentRun
from aiagents.core.admin import csv_file
from aiagents.core.admin.rows import Rows
from chat.models import Conversation, Message
from tasks.models import Task, TaskRun, WebhookDelivery
from tests.kit import cast, office_rows

pytestmark = [pytest.mark.django_db, pytest.mark.long]
LONG = "x" * 400_000
ROWS = 50
# Lists whose rows hold what people wrote and models answered.
CONTENT = (Message, AgentRun, TaskRun, Task, WebhookDelivery)


def lists() -> list[type[Model]]:
    return [model for model, found in admin.site._registry.items() if isinstance(found, Rows)]


@pytest.fixture
def root(db) -> User:
    return User.objects.create_superuser("root@example.com", cast.PASSWORD)


@pytest.fixture
def request_of(root: User, rf: Any) -> Any:
    request = rf.get("/admin/")
    request.user = root
    return request


@pytest.mark.parametrize("model", CONTENT, ids=office_rows.name_of)
def test_every_long_column_of_a_list_with_content_is_left_where_it_is(model: type[Model], request_of: Any):
    """A new column of text shows up here: name it in `list_defer`, or say why a list needs it."""
    found = admin.site._registry[model]
    long = {field.name for field in model._meta.concrete_fields if isinstance(field, TextField | JSONField)}
    needed = {"description", "parameters", "feedback_comment", "webhook_secret_encrypted"}
    assert long - needed <= set(found.list_defer)


@pytest.mark.parametrize("model", lists(), ids=office_rows.name_of)
def test_no_list_reads_what_it_left_row_by_row(model: type[Model], request_of: Any):
    """A column that shows a deferred value would ask the database once for each row."""
    office_rows.fill(6)
    found = admin.site._registry[model]
    changes = found.get_changelist_instance(request_of)
    columns = found.export_columns(request_of)
    with CaptureQueriesContext(
        connection,
    ) as asked:
        for row in changes.result_list:
            for _, read in columns:
                read(row)
    again = [query["sql"] for query in asked if any(f'"{name.rpartition("__")[2]}"' in query["sql"] for name in found.list_defer)]
    assert not again, again


def test_fifty_long_messages_fit_into_a_list_and_a_file(root: User, request_of: Any):
    conversation = Conversation.objects.create(user=root, title="x")
    Message.objects.bulk_create(
        Message(conversation=conversation, role="user", content=LONG, parts=[{"type": "file", "data": LONG}]) for _ in range(ROWS)
    )
    found: Rows = admin.site._registry[Message]
    columns = found.export_columns(request_of)

    def both() -> int:
        changes = found.get_changelist_instance(request_of)
        return len(changes.result_list) + len(csv_file.read_page(changes.get_queryset(request_of), columns, None, 1000))

    assert both() == 2 * ROWS
    tracemalloc.start()
    try:
        both()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 5_000_000, f"{peak / 1e6:.0f} MB for {2 * ROWS * len(LONG) / 1e6:.0f} MB of content"
