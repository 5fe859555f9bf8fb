"""How many rows fit on a page of bounded bytes. The database measures them; no text is read for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import reduce
from operator import add
from typing import Any

from django.db.models import BigIntegerField, BinaryField, F, Field, Func, JSONField, Model, QuerySet, TextField, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Cast, Coalesce

# Bytes of texts and JSON on one page, as the database stores them. A page has at least one row, whatever its size.
MOST_BYTES = 4 * 1024 * 1024


class Bytes(Func):
    """The bytes of a text in UTF-8, null for null."""

    function = "OCTET_LENGTH"
    output_field = BigIntegerField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        # SQLite knows OCTET_LENGTH from 3.43 on.
        return self.as_sql(compiler, connection, template="LENGTH(CAST(%(expressions)s AS BLOB))", **context)


def size(names: Iterable[str]) -> Combinable:
    """The bytes of these columns of a row together."""
    return reduce(add, (Coalesce(Bytes(Cast(F(name), TextField())), 0) for name in names), Value(0, BigIntegerField()))


def fitting(sizes: Iterable[int], most: int) -> int:
    """How many of the first rows have at most so many bytes together; at least one if there are any."""
    count = 0
    for bytes_ in sizes:
        most -= bytes_
        if most < 0 and count:
            break
        count += 1
    return count


def long_columns(queryset: QuerySet[Any]) -> list[str]:
    """The columns without a maximum length that reading the queryset loads, those of `select_related` too."""
    names, deferred = queryset.query.deferred_loading
    found = _long(queryset.model, queryset.query.select_related or {}, "")
    return [name for name in found if (name not in names) is deferred]


def _long(model: type[Model], related: Any, prefix: str) -> Iterator[str]:
    assert isinstance(related, dict), "a list names the relations that it selects"
    for field in model._meta.concrete_fields:
        if _is_long(field):
            yield prefix + field.attname
    for name, deeper in related.items():
        related_model: Any = model._meta.get_field(name).related_model
        yield from _long(related_model, deeper, f"{prefix}{name}__")


def _is_long(field: Field[Any, Any]) -> bool:
    return isinstance(field, TextField | JSONField | BinaryField)
