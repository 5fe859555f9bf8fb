"""Record usage that vendors report and that has no price. The fields that brought it are blocked until it has one."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import DatabaseError, transaction
from django.db.models import F
from django.utils import timezone

from billing.catalogue import snapshot as catalogue
from billing.models import UnpricedUsage

logger = logging.getLogger(__name__)
_MOST_NAMES, _MOST_FIELDS = 20, 40


def record(provider: str, model: str, call_id: UUID, names: Sequence[str], fields: Sequence[str]) -> None:
    """Record the names of usage without a price that a call brought, and the unknown fields of its request.

    A failure is logged and not raised: the call is charged already.
    """
    logger.error("usage_unpriced", extra={"model": model, "usage": list(names), "request_fields": list(fields), "call_id": str(call_id)})
    try:
        for name in names[:_MOST_NAMES]:
            _record(provider, model, call_id, name[:200], fields)
    except DatabaseError:
        logger.exception("unpriced_usage_not_recorded", extra={"call_id": str(call_id)})


def _record(provider: str, model: str, call_id: UUID, name: str, fields: Sequence[str]) -> None:
    now = timezone.now()
    key: dict[str, Any] = {"provider": provider, "model": model, "name": name}
    with transaction.atomic():
        UnpricedUsage.objects.get_or_create(**key)
        row = UnpricedUsage.objects.select_for_update().get(**key)
        known = set(row.fields)
        row.fields = [*row.fields, *(field for field in dict.fromkeys(fields) if field not in known)][:_MOST_FIELDS]
        row.calls, row.last_call_id, row.last_at = F("calls") + 1, call_id, now
        row.save(update_fields=["fields", "calls", "last_call_id", "last_at"])
        if not known.issuperset(row.fields):
            catalogue.invalidate()
