"""The ready-made groups of staff. Every migration sets them to what stands here: whoever needs another makes a group of their own.

`is_staff` opens the back office, a group says what may be seen and done in it. The role `admin` is the API's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.auth.models import Group, Permission
from django.db import transaction

Rights = dict[str, str]
# model: what may be done, of view, add, change, delete.
PEOPLE: Rights = {"accounts.user": "vc", "accounts.apikey": "vc", "accounts.tokenfamily": "vc"}
MONEY: Rights = {
    "billing.aimodel": "vac", "billing.modelprice": "va", "billing.budget": "vac", "billing.budgetwindow": "v", "billing.hold": "v",
    "billing.usagelog": "v", "billing.usagerollup": "v", "billing.budgetalert": "v", "billing.alertsettings": "v",
    "billing.rollupstate": "v",
}  # fmt: skip
WORK: Rights = {
    "agents.agent": "vc", "agents.agentversion": "v", "agents.agentrun": "vc", "agents.agentstep": "v", "tasks.task": "vc",
    "tasks.taskrun": "vc",
    "tasks.taskattempt": "v", "tasks.webhookdelivery": "vc", "chat.conversation": "v", "chat.message": "v",
}  # fmt: skip
SYSTEM: Rights = {
    "agents.providerconnection": "vacd", "agents.httptool": "vacd", "monitoring.systemmetric": "v", "aiagents.idempotentanswer": "v",
    "django_celery_beat.periodictask": "vac", "django_celery_beat.intervalschedule": "va", "django_celery_beat.crontabschedule": "va",
    "django_celery_beat.solarschedule": "va", "django_celery_beat.clockedschedule": "va",
}  # fmt: skip


def looking(*rights: Rights) -> Rights:
    return {model: "v" for some in rights for model in some}


ROLES: dict[str, Rights] = {
    # Everything but what people wrote (chat.view_content), and who may enter here, which superusers say.
    "Administrator": PEOPLE | {"accounts.user": "vac", "accounts.auditevent": "v", "auth.group": "v"} | MONEY | WORK | SYSTEM,
    "Billing": MONEY | {"accounts.user": "v", "accounts.apikey": "v"},
    # Helps people: their accounts, sessions and keys, what runs for them; no content, no money but what was used.
    "Support": PEOPLE | WORK | looking({"billing.usagelog": "v", "billing.budget": "v", "billing.budgetwindow": "v"}),
    # Sees everything but content, changes nothing.
    "Auditor": looking(PEOPLE, MONEY, WORK, SYSTEM, {"accounts.auditevent": "v", "auth.group": "v"}),
}
_NAMES = {"v": "view", "a": "add", "c": "change", "d": "delete"}


def codes(rights: Rights) -> Iterable[tuple[str, str]]:
    """(app, codename) of each permission."""
    for model, letters in rights.items():
        app, _, name = model.partition(".")
        yield from ((app, f"{_NAMES[letter]}_{name}") for letter in letters)


def ensure(**kwargs: Any) -> None:
    """Make the groups, and make them hold exactly these permissions. Models that are not there are left out."""
    known = {(app, code): pk for pk, app, code in Permission.objects.values_list("pk", "content_type__app_label", "codename")}
    with transaction.atomic():
        for name, rights in ROLES.items():
            group, _ = Group.objects.get_or_create(name=name)
            wanted = {known[code] for code in codes(rights) if code in known}
            if set(group.permissions.values_list("pk", flat=True)) != wanted:
                group.permissions.set(wanted)
