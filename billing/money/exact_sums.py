"""Sums of money to the last digit, on SQLite too."""

from __future__ import annotations

from decimal import Context, Decimal
from typing import Any

from django.db.models import Aggregate

from billing.money.fields import MoneyField

# What a double keeps of a decimal: the precision with which Django, too, reads one back from SQLite.
_DOUBLE = Context(prec=15)


class ExactSum(Aggregate):
    """`Sum` of decimals; zero, not None, over nothing. SQLite alone would add doubles."""

    function = "SUM"
    template = "COALESCE(%(function)s(%(expressions)s), 0)"
    output_field = MoneyField(max_digits=30)

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, function="exact_sum", template="%(function)s(%(expressions)s)", **context)

    def get_db_converters(self, connection: Any) -> list[Any]:
        return [_to_decimal]


def exact_sum(field: str) -> ExactSum:
    """The exact sum of a decimal column."""
    return ExactSum(field)


def _to_decimal(value: Any, expression: Any, connection: Any) -> Decimal:
    # Over no rows SQLite never asks the aggregate.
    return value if isinstance(value, Decimal) else Decimal(value or 0)


class _Adder:
    """SQLite's aggregate behind ExactSum."""

    def __init__(self) -> None:
        self.total = Decimal(0)

    def step(self, value: Any) -> None:
        if value is not None:
            self.total += Decimal(value) if isinstance(value, str) else _DOUBLE.create_decimal_from_float(value)

    def finalize(self) -> str:
        return f"{self.total:f}"


def register(connection: Any, **_: Any) -> None:
    """Give a new SQLite connection the aggregate (Django's `connection_created`)."""
    if connection.vendor == "sqlite":
        connection.connection.create_aggregate("exact_sum", 1, _Adder)
