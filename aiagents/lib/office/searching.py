"""Searching lists that may be long: ids by their index, people first by their own table, never a scan of a log's text."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db.models import Model, Q, QuerySet

# Characters of a search that are looked at, and people that a fragment of an address may mean.
LONGEST, MOST_PEOPLE = 200, 200


def as_uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def search(
    rows: QuerySet, text: str, *, ids: Iterable[str], exact: Iterable[str], contains: Iterable[str], people: Iterable[str]
) -> QuerySet:
    """The rows that `text` means: one of these ids, exactly this, containing it, or of people whose address or name contains it."""
    text = text.replace("\x00", "").strip()[:LONGEST]
    if not text:
        return rows
    if (id := as_uuid(text)) is not None:
        return _by_id(rows, id, ids, people)
    found = Q()
    for field in exact:
        found |= Q(**{field: text})
    for field in contains:
        found |= Q(**{f"{field}__icontains": text})
    if people := list(people):
        users = get_user_model()._default_manager.filter(Q(email__icontains=text) | Q(name__icontains=text))
        # The ids themselves, not a subquery: the database then takes the index that begins with the user.
        known = list(users.values_list("pk", flat=True)[:MOST_PEOPLE])
        for field in people:
            found |= Q(**{f"{field}__in": known}) if known else Q()
    return rows.filter(found) if found else rows.none()


def _by_id(rows: QuerySet[Model], id: UUID, ids: Iterable[str], people: Iterable[str]) -> QuerySet:
    """The first column that knows the id: each question takes its own index, where all together would take none."""
    for field in ("pk", *ids, *people):
        found = rows.filter(**{field: id})
        if found.order_by().values_list("pk")[:1]:
            return found
    return rows.none()
