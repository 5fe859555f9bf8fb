"""Records the rules of models that vendors' refusals state, for staff: the catalogue can then say what the model takes."""

from __future__ import annotations

import logging

from django.db import DatabaseError, transaction
from django.db.models import F
from django.utils import timezone

from agents.models import ModelRule
from agents.providers.errors import ProviderModelRule
from aiagents.core.db.calls import in_db
from aiagents.core.errors import Unavailable

logger = logging.getLogger(__name__)


async def record(model: str, rule: str, message: str, *, repeated: bool) -> None:
    """Record that a model refused a request by this rule; `repeated`: it was sent once more in another form.

    A failure is logged and not raised: the call goes on without it.
    """
    logger.warning("model_rule", extra={"model": model, "rule": rule, "repeated": repeated})
    try:
        await in_db(_record, model, rule, message, repeated)
    except (DatabaseError, Unavailable):
        logger.exception("model_rule_not_recorded", extra={"model": model, "rule": rule})


async def record_refusal(model: str, error: ProviderModelRule) -> None:
    """Record a refusal that ended an attempt."""
    await record(model, str(error.details.get("rule", "")), error.message, repeated=False)


def _record(model: str, rule: str, message: str, repeated: bool) -> None:
    with transaction.atomic():
        row, _ = ModelRule.objects.get_or_create(model=model, rule=rule)
        ModelRule.objects.filter(pk=row.pk).update(
            message=message[:500], refusals=F("refusals") + 1, repeated=F("repeated") + int(repeated), last_at=timezone.now()
        )
