"""Indexes that upgrades add to tables which may be large: built without a lock on those who write, and repeatable."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection, migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ModelState, ProjectState

from aiagents.core.db.indexes import AddIndexOnline

# Tables that grow with use.
LARGE = {
    "accounts": {"auditevent"},
    "agents": {"agentrun", "agentstep"},
    "billing": {"usagelog", "hold"},
    "chat": {"conversation", "message"},
    "tasks": {"taskrun", "taskattempt", "webhookdelivery"},
}
# Migrations of the first release that people may have: they are applied already.
APPLIED = {
    ("accounts", "0001"), ("agents", "0001"), ("agents", "0002"), ("billing", "0001"), ("billing", "0002"), ("billing", "0003"),
    ("billing", "0004"), ("billing", "0005"), ("chat", "0001"), ("chat", "0002"), ("chat", "0003"), ("tasks", "0001"),
}  # fmt: skip


def newer() -> list[migrations.Migration]:
    found = MigrationLoader(None).disk_migrations.values()
    new = [one for one in found if one.app_label in LARGE and (one.app_label, one.name[:4]) not in APPLIED]
    return sorted(new, key=str)


@pytest.mark.parametrize("migration", newer(), ids=str)
def test_a_large_table_gets_an_index_without_a_lock(migration: migrations.Migration):
    made = {one.name_lower for one in migration.operations if isinstance(one, migrations.CreateModel)}
    indexes = [one for one in migration.operations if isinstance(one, migrations.AddIndex)]
    locking = [one for one in indexes if not isinstance(one, AddIndexOnline)]
    large = LARGE[migration.app_label] - made
    assert not [one for one in locking if one.model_name_lower in large], "use aiagents.core.db.indexes.AddIndexOnline"
    if len(locking) < len(indexes):
        assert not migration.atomic and len(indexes) == len(migration.operations), "nothing that could not be repeated beside it"


def test_there_are_such_migrations():
    assert sum(isinstance(one, AddIndexOnline) for migration in newer() for one in migration.operations) >= 9


@pytest.fixture
def table(transactional_db: Any):
    """A table with rows, and the operation that adds its index."""
    state = ProjectState()
    fields = [("id", models.AutoField(primary_key=True)), ("word", models.CharField(max_length=9))]
    state.add_model(ModelState("accounts", "Indexed", fields, options={"db_table": "indexed_online"}))
    model = state.apps.get_model("accounts", "Indexed")
    with connection.schema_editor() as editor:
        editor.create_model(model)
    model.objects.bulk_create(model(word=str(number)) for number in range(100))
    yield state, AddIndexOnline("indexed", models.Index(fields=["word"], name="indexed_word"))
    with connection.schema_editor() as editor:
        editor.delete_model(model)


def valid() -> list[bool]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('indexed_word')")
        return [row[0] for row in cursor.fetchall()]


def add(state: ProjectState, operation: AddIndexOnline) -> None:
    after = state.clone()
    operation.state_forwards("accounts", after)
    with connection.schema_editor(atomic=False) as editor:
        operation.database_forwards("accounts", editor, state, after)


def test_a_build_is_repeated_where_it_was_interrupted_and_only_there(table: tuple[ProjectState, AddIndexOnline]):
    state, operation = table
    add(state, operation)
    assert valid() == [True]
    add(state, operation)
    assert valid() == [True]
    with connection.cursor() as cursor:  # as a build that was interrupted leaves it
        cursor.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = to_regclass('indexed_word')")
    assert valid() == [False]
    add(state, operation)
    assert valid() == [True]
    after = state.clone()
    operation.state_forwards("accounts", after)
    with connection.schema_editor(atomic=False) as editor:
        operation.database_backwards("accounts", editor, after, state)
    assert valid() == []


def test_on_sqlite_it_is_a_plain_index(django_db_blocker: Any):
    import sqlite3

    from django.db.backends.sqlite3.base import DatabaseWrapper

    settings = {**connection.settings_dict, "ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:", "OPTIONS": {}}
    database = DatabaseWrapper(settings, alias="default")
    try:
        with django_db_blocker.unblock():
            state = ProjectState()
            fields = [("id", models.AutoField(primary_key=True)), ("word", models.CharField(max_length=9))]
            state.add_model(ModelState("accounts", "Indexed", fields))
            operation = AddIndexOnline("indexed", models.Index(fields=["word"], name="indexed_word"))
            after = state.clone()
            operation.state_forwards("accounts", after)
            with database.schema_editor(atomic=False) as editor:
                editor.create_model(state.apps.get_model("accounts", "Indexed"))
                operation.database_forwards("accounts", editor, state, after)
            raw: sqlite3.Connection = database.connection
            assert raw.execute("SELECT name FROM sqlite_master WHERE name = 'indexed_word'").fetchall() == [("indexed_word",)]
    finally:
        database.close()
