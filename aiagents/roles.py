"""The predefined groups of staff. Every migration resets them to these permissions; operators may create other groups.

`is_staff` gives access to the admin site, and a group's permissions decide what its members may see and do there. The role
`admin` is for the API.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.auth.models import Group, Permission
from django.db import transaction

Permissions = dict[str, str]
# Model -> permitted actions: v(iew), a(dd), c(hange), d(elete).
PEOPLE: Permissions = {"accounts.user": "vc", "accounts.apikey": "vc", "accounts.tokenfamily": "vc"}
MONEY: Permissions = {
    "billing.aimodel": "vac", "billing.modelprice": "va", "billing.budget": "vac", "billing.budgetwindow": "v", "billing.hold": "v",
    "billing.usagelog": "v", "billing.usagerollup": "v", "billing.budgetalert": "v", "billing.alertsettings": "v",
    "billing.rollupstate": "v", "billing.unpricedusage": "v",
}  # fmt: skip
WORK: Permissions = {
    "agents.agent": "vc", "agents.agentversion": "v", "agents.agentrun": "vc", "agents.agentstep": "v", "tasks.task": "vc",
    "tasks.taskrun": "vc",
    "tasks.taskattempt": "v", "tasks.webhookdelivery": "vc", "chat.conversation": "v", "chat.message": "v",
}  # fmt: skip
SYSTEM: Permissions = {
    "agents.providerconnection": "vacd", "agents.httptool": "vacd", "agents.modelrule": "v",
    "monitoring.systemmetric": "v", "aiagents.idempotentanswer": "v",
    "django_celery_beat.periodictask": "vac", "django_celery_beat.intervalschedule": "va", "django_celery_beat.crontabschedule": "va",
    "django_celery_beat.solarschedule": "va", "django_celery_beat.clockedschedule": "va",
}  # fmt: skip


def view_only(*permissions: Permissions) -> Permissions:
    return {model: "v" for some in permissions for model in some}


ROLES: dict[str, Permissions] = {
    # Everything but content (chat.view_content) and the permissions of staff, which superusers manage.
    "Administrator": PEOPLE | {"accounts.user": "vac", "accounts.auditevent": "v", "auth.group": "v"} | MONEY | WORK | SYSTEM,
    "Billing": MONEY | {"accounts.user": "v", "accounts.apikey": "v"},
    # For helping users: accounts, sessions, keys, runs; no content, and of money only usage and budgets to view.
    "Support": PEOPLE | WORK | view_only({"billing.usagelog": "v", "billing.budget": "v", "billing.budgetwindow": "v"}),
    # Sees everything but content, changes nothing.
    "Auditor": view_only(PEOPLE, MONEY, WORK, SYSTEM, {"accounts.auditevent": "v", "auth.group": "v"}),
}
_NAMES = {"v": "view", "a": "add", "c": "change", "d": "delete"}


def codes(permissions: Permissions) -> Iterable[tuple[str, str]]:
    """Each permission as (app, codename)."""
    for model, actions in permissions.items():
        app, _, name = model.partition(".")
        yield from ((app, f"{_NAMES[action]}_{name}") for action in actions)


def ensure(**kwargs: Any) -> None:
    """Create the groups with exactly these permissions. Models that do not exist are skipped."""
    known = {(app, code): pk for pk, app, code in Permission.objects.values_list("pk", "content_type__app_label", "codename")}
    with transaction.atomic():
        for name, permissions in ROLES.items():
            group, _ = Group.objects.get_or_create(name=name)
            wanted = {known[code] for code in codes(permissions) if code in known}
            if set(group.permissions.values_list("pk", flat=True)) != wanted:
                group.permissions.set(wanted)
