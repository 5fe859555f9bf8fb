"""Exact sums of money, also on SQLite."""

from __future__ import annotations

from decimal import Context, Decimal
from typing import Any

from django.db.models import Aggregate

from aiagents.core.db.money_field import MoneyField

# The digits of a decimal that a double keeps: Django reads decimals from SQLite with the same precision.
_DOUBLE = Context(prec=15)


class ExactSum(Aggregate):
    """`Sum` of decimals; zero, not None, without rows. SQLite's own SUM would add doubles."""

    function = "SUM"
    template = "COALESCE(%(function)s(%(expressions)s), 0)"
    output_field = MoneyField(max_digits=30)

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, function="exact_sum", template="%(function)s(%(expressions)s)", **context)

    def get_db_converters(self, connection: Any) -> list[Any]:
        return [_to_decimal]


def exact_sum(field: str) -> ExactSum:
    """Return the exact sum of a decimal column."""
    return ExactSum(field)


def _to_decimal(value: Any, expression: Any, connection: Any) -> Decimal:
    # Without rows SQLite does not call the aggregate.
    return value if isinstance(value, Decimal) else Decimal(value or 0)


class _Adder:
    """The SQLite aggregate of ExactSum."""

    def __init__(self) -> None:
        self.total = Decimal(0)

    def step(self, value: Any) -> None:
        if value is not None:
            self.total += Decimal(value) if isinstance(value, str) else _DOUBLE.create_decimal_from_float(value)

    def finalize(self) -> str:
        return f"{self.total:f}"


def register(connection: Any, **_: Any) -> None:
    """Register the aggregate with a new SQLite connection (Django's signal `connection_created`)."""
    if connection.vendor == "sqlite":
        connection.connection.create_aggregate("exact_sum", 1, _Adder)
