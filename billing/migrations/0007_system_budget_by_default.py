"""A system budget without a limit that was never set by a person gets MONTHLY_COST_LIMIT, which used to be empty by default."""

import logging
from datetime import timedelta

from django.conf import settings
from django.db import migrations
from django.db.models import F
from django.utils import timezone

log = logging.getLogger("billing.budgets.budgets")


def limit(apps, schema_editor):
    if settings.MONTHLY_COST_LIMIT is None:
        return
    # One that staff changed after it was made is without a limit because they wanted it so.
    untouched = apps.get_model("billing", "Budget").objects.filter(
        scope="system", scope_id=None, limit_usd=None, updated_at__lt=F("created_at") + timedelta(seconds=1)
    )
    if untouched.update(limit_usd=settings.MONTHLY_COST_LIMIT, lowered_at=timezone.now()):
        log.warning("the system's budget has a limit of %s USD a month now: MONTHLY_COST_LIMIT", settings.MONTHLY_COST_LIMIT)


class Migration(migrations.Migration):
    dependencies = [("billing", "0006_find_by_request")]

    operations = [migrations.RunPython(limit, migrations.RunPython.noop)]
