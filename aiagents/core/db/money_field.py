"""A model field for money, exact on every database."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.db import models


class MoneyField(models.DecimalField):
    """USD with 12 decimal places, exact also on SQLite.

    SQLite stores a decimal column as a double (15 digits). That is enough for one call, not for a balance. On SQLite
    the column is therefore text. SQL can neither add nor sort it, so the ledger adds in Python.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"max_digits": 24, "decimal_places": 12, **kwargs})

    def get_internal_type(self) -> str:
        return "MoneyField"  # DecimalField would bring SQLite's float converter

    def db_type(self, connection: Any) -> str:
        return "text" if connection.vendor == "sqlite" else connection.data_types["DecimalField"] % self.db_type_parameters(connection)

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Decimal | None:
        return value if value is None or isinstance(value, Decimal) else Decimal(value)
