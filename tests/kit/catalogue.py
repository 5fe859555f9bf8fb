"""The installed catalogue for tests, copied from tables that were filled once: `manage.py catalogue load` costs a quarter of a second."""

from __future__ import annotations

from django.db import connection
from django.db.models import AutoField, Model

from billing.catalogue import price_list, snapshot, update
from billing.models import AIModel, ModelPrice

# A schema of its own: Django neither empties it between tests nor takes it for the product's.
_SCHEMA = "filled"
_TABLES: tuple[type[Model], ...] = (AIModel, ModelPrice)


def prepare() -> None:
    """Keep the rows of `catalogue load` beside the product's tables, and leave these empty."""
    update.load(price_list.installed())
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE SCHEMA {_SCHEMA}")
        for model in _TABLES:
            cursor.execute(f"CREATE TABLE {_SCHEMA}.{model._meta.db_table} AS TABLE {model._meta.db_table}")
        for model in reversed(_TABLES):
            cursor.execute(f"DELETE FROM {model._meta.db_table}")


def load() -> None:
    """Every model of the catalogue, with its prices, as `manage.py catalogue load` leaves an empty database."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            for model in _TABLES:
                # Numbered keys are given anew: the database's own counter knows nothing of copied ones.
                columns = ", ".join(field.column for field in model._meta.concrete_fields if not isinstance(field, AutoField))
                table = model._meta.db_table
                cursor.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {_SCHEMA}.{table}")
    else:
        update.load(price_list.installed())
    snapshot.invalidate()
