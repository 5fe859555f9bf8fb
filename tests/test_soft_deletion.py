"""Every model with hidden rows has a periodic task that erases them; the next such model is found here by its field."""

from __future__ import annotations

import fnmatch
import importlib
import re
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.db import models
from django.utils import timezone

from agents.models import Agent, AgentRun
from aiagents.core.db import soft_deletion
from aiagents.core.ids import uuid7
from tasks.models import Task

# Names of fields by which a row is hidden instead of deleted. (`archived` and `disabled` things are still in sight of their owners.)
HIDES = re.compile(r"(is_|was_)?(soft_)?(deleted|hidden|removed|trashed|binned|discarded)(_at|_on|_date|_since|_by)?")
OURS = ("accounts", "billing", "agents", "chat", "tasks", "aiagents")


def hiding() -> set[type[models.Model]]:
    ours = (model for model in apps.get_models() if model.__module__.split(".")[0] in OURS)
    return {model for model in ours if any(HIDES.fullmatch(field.name) for field in model._meta.get_fields())}


def test_every_model_that_hides_rows_is_registered_with_a_sweep():
    assert len(hiding()) >= 3, "the models are found"
    assert hiding() == set(soft_deletion.sweeps())


@pytest.mark.parametrize("name", sorted(set(soft_deletion.sweeps().values())))
def test_the_sweep_is_started_by_beat_on_the_queue_of_housekeeping(name):
    module, _, function = name.rpartition(".")
    assert getattr(importlib.import_module(module), function).name == name
    assert [row["schedule"] for row in settings.CELERY_BEAT_SCHEDULE.values() if row["task"] == name] == [60.0]
    queues = {route["queue"] for pattern, route in settings.CELERY_TASK_ROUTES.items() if fnmatch.fnmatch(name, pattern)}
    assert queues == {"housekeeping"}


def test_runs_of_what_earlier_versions_deleted_are_hidden_by_the_migrations(db, django_user_model):
    ann, bob = (django_user_model.objects.create_user(f"{name}@example.com", "correct horse battery staple") for name in ("ann", "bob"))
    gone, there = timezone.now(), None
    tasks = [Task.objects.create(user=ann, name="t", input="x", deleted_at=moment) for moment in (gone, there)]
    agents = [Agent.objects.create(user=ann, name="a", slug=f"a{number}", deleted_at=moment) for number, moment in enumerate((gone, there))]

    def run(user: Any, **of: Any) -> Any:
        return AgentRun.objects.create(user=user, surface="rest", status="succeeded", **of).pk

    hidden = {run(ann, task_id=tasks[0].pk), run(ann, agent=agents[0])}
    run(ann, task_id=tasks[1].pk), run(ann, agent=agents[1])
    run(bob, agent=agents[0]), run(ann, agent=agents[0], task_id=tasks[1].pk), run(ann, agent=agents[0], conversation_id=uuid7())
    importlib.import_module("tasks.migrations.0003_erasing").hide_runs_of_deleted_tasks(apps, None)
    importlib.import_module("agents.migrations.0007_erasing_agents").hide_runs_of_deleted_agents(apps, None)
    assert set(AgentRun.objects.exclude(hidden_at=None).values_list("pk", flat=True)) == hidden
