"""Search in long lists: ids by their index, users by their own table, never a scan of a log's text."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db.models import Model, Q, QuerySet

# The maximum number of characters of a search, and of users that match a part of an address.
LONGEST, MOST_PEOPLE = 200, 200
# The number of rows up to which `pinned` replaces the conditions by keys.
FEW = 500


def as_uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def search(
    rows: QuerySet,
    text: str,
    *,
    ids: Iterable[str],
    exact: Iterable[str],
    contains: Iterable[str],
    people: Iterable[str],
    requests: Iterable[str] = (),
) -> QuerySet:
    """The rows that match `text`: by request id, by id, exactly, as a substring, or by user.

    `requests` are columns with request ids. They are queried first and separately, each by its index: a request id may look
    like a UUID (32 hexadecimal digits) or like any text (a client may choose it).
    """
    text = text.replace("\x00", "").strip()[:LONGEST]
    if not text:
        return rows
    for field in requests:
        of_it = rows.filter(**{f"{field}__in": request_ids(text)})
        if of_it.order_by().values_list("pk")[:1]:
            return of_it
    if (id := as_uuid(text)) is not None:
        return _by_id(rows, id, ids, people)
    found = Q()
    for field in exact:
        found |= Q(**{field: text})
    for field in contains:
        found |= Q(**{f"{field}__icontains": text})
    if people := list(people):
        users = get_user_model()._default_manager.filter(Q(email__icontains=text) | Q(name__icontains=text))
        # The ids, not a subquery, so that the database uses the index that begins with the user.
        known = list(users.values_list("pk", flat=True)[:MOST_PEOPLE])
        for field in people:
            found |= Q(**{f"{field}__in": known}) if known else Q()
    return rows.filter(found) if found else rows.none()


def request_ids(text: str) -> list[str]:
    """The forms in which a typed request id may be stored: unchanged, and a UUID with and without hyphens."""
    found = [text]
    if (id := as_uuid(text)) is not None:
        found += [id.hex, str(id)]
    return list(dict.fromkeys(found))


def _by_id(rows: QuerySet[Model], id: UUID, ids: Iterable[str], people: Iterable[str]) -> QuerySet:
    """The rows of the first column with the id: indexed columns one by one, then the others in one table scan."""
    indexed = {field.name for field in rows.model._meta.fields if field.unique or getattr(field, "db_index", False)} | {"pk"}
    indexed |= {index.fields[0].lstrip("-") for index in rows.model._meta.indexes if index.fields}
    columns = ["pk", *people, *ids]
    for field in (name for name in columns if name in indexed):
        found = rows.filter(**{field: id})
        if found.order_by().values_list("pk")[:1]:
            return found
    anywhere = Q()
    for field in (name for name in columns if name not in indexed):
        anywhere |= Q(**{field: id})
    return rows.filter(anywhere) if anywhere else rows.none()


def pinned(rows: QuerySet) -> QuerySet:
    """The same rows; if they are few, filtered by their keys, so that the count and the page need not search again."""
    keys = list(rows.order_by().values_list("pk", flat=True)[: FEW + 1])
    if len(keys) > FEW:
        return rows
    return rows.filter(pk__in=keys) if keys else rows.none()
