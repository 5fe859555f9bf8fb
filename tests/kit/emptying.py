"""Empty the database after a test that commits: only the tables with rows, and not those that the migrations fill.

Django's own way empties all tables and then makes every content type, permission and group again, a fifth of a second each time.
"""

from __future__ import annotations

from django.core.management import call_command
from django.db import connection
from django.test import TransactionTestCase


class Emptying:
    """Knows what the migrated database held. Make it before the first test."""

    def __init__(self) -> None:
        tables = sorted(connection.introspection.django_table_names(only_existing=True, include_views=False))
        self._filled = [table for table in tables if table in self._with_rows(tables)]
        self._empty = [table for table in tables if table not in self._filled]
        self._before = self._digest()

    def __call__(self) -> None:
        """Leave the database as it was; tables that a test changed although migrations fill them are made anew."""
        if self._digest() != self._before:
            call_command("flush", verbosity=0, interactive=False, reset_sequences=False)
        elif dirty := self._with_rows(self._empty):
            names = ", ".join(connection.ops.quote_name(table) for table in dirty)
            with connection.cursor() as cursor:
                cursor.execute(f"TRUNCATE {names} CASCADE")

    def _with_rows(self, tables: list[str]) -> list[str]:
        parts = [f"SELECT '{table}' WHERE EXISTS (SELECT FROM {connection.ops.quote_name(table)})" for table in tables]
        with connection.cursor() as cursor:
            cursor.execute(" UNION ALL ".join(parts))
            return [name for (name,) in cursor.fetchall()]

    def _digest(self) -> list[str]:
        parts = [
            f"(SELECT md5(string_agg(r::text, ',' ORDER BY r::text)) FROM {connection.ops.quote_name(table)} r)" for table in self._filled
        ]
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {', '.join(parts)}")
            return list(cursor.fetchone())


def install() -> None:
    """Have Django's test cases empty the database in this way. The database of the tests is in use already."""
    empty = Emptying()
    TransactionTestCase._fixture_teardown = lambda self: empty()
