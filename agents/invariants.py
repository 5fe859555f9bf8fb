"""Invariants of agent runs in the database. `billing.invariants` checks them.

I3  an ended run costs what its steps cost, and what its calls cost by the usage log
I5  every running run has a recent heartbeat, and an ended run has no open step
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

from django.conf import settings
from django.db.models import Q
from django.db.models.functions import Now

from agents.models import AgentRun, AgentStep
from agents.runs.store import SKEW
from billing.invariants import Violation
from billing.models import Hold, UsageLog

_ROWS = 5_000
_SILENCE_FACTOR = 3


def check() -> Iterator[Violation]:
    yield from _ends()
    yield from _costs()


def _ends() -> Iterator[Violation]:
    open_steps = AgentStep.objects.filter(status__in=(AgentStep.Status.RUNNING, AgentStep.Status.WAITING))
    for pk in open_steps.exclude(run__status__in=AgentRun.OPEN).values_list("pk", flat=True):
        yield Violation("I5", f"agent step {pk} is open in a run that has ended")
    since = Now() - timedelta(seconds=_SILENCE_FACTOR * settings.AGENT_SILENCE_SECONDS)
    held = Q(status=AgentRun.Status.RUNNING) | Q(status=AgentRun.Status.WAITING_APPROVAL, state={})
    for pk in AgentRun.objects.filter(held, heartbeat_at__lt=since).values_list("pk", flat=True):
        yield Violation("I5", f"agent run {pk} has an old heartbeat and was not swept")


def _costs() -> Iterator[Violation]:
    """Check the costs of the newest runs, without those whose calls are still settling."""
    ended = AgentRun.objects.exclude(status__in=AgentRun.OPEN).order_by("-id")
    runs = {pk: (cost, created) for pk, cost, created in ended.values_list("pk", "cost_usd", "created_at")[:_ROWS]}
    if not runs:
        return
    settling = {call.get("group_id") for call in Hold.objects.filter(status=Hold.Status.OPEN).values_list("call", flat=True)}
    steps: dict[UUID, Decimal] = defaultdict(Decimal)
    for pk, cost in AgentStep.objects.filter(run_id__gte=min(runs)).values_list("run_id", "cost_usd").iterator():
        steps[pk] += cost
    logged: dict[UUID, Decimal] = defaultdict(Decimal)
    since = min(created for _, created in runs.values()) - SKEW
    for pk, cost in UsageLog.objects.filter(created_at__gte=since).values_list("group_id", "cost_usd").iterator():
        if pk in runs:
            logged[pk] += cost
    for pk, (cost, _) in runs.items():
        if not cost == steps[pk] == logged[pk] and str(pk) not in settling:
            yield Violation("I3", f"agent run {pk} costs {cost}, its steps {steps[pk]}, its calls {logged[pk]}")
