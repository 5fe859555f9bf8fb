# ruff: noqa: E501 - a row a line
"""Rows of every model that the back office shows, with text that must never be run as code."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.contrib import admin
from django.contrib.auth.models import Group
from django.db.models import Model
from django.utils import timezone
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule

from accounts import audit, keys
from accounts.models import AuditEvent, User
from accounts.sign_in import tokens
from agents import secrets
from agents.models import Agent, AgentRun, AgentStep, AgentVersion, HttpTool, ModelRule, ProviderConnection
from agents.tools import http
from aiagents.core.ids import uuid7
from aiagents.core.models import IdempotentAnswer
from aiagents.monitoring.models import SystemMetric
from billing.models import (
    AIModel,
    AlertSettings,
    Budget,
    BudgetAlert,
    BudgetWindow,
    Hold,
    ModelPrice,
    RollupState,
    UnpricedUsage,
    UsageLog,
    UsageRollup,
)
from billing.reports import rollups
from chat.models import Conversation, Message
from tasks.models import Task, TaskAttempt, TaskRun, WebhookDelivery

# As markup, as an attribute, as a template, as a spreadsheet's formula.
MARKUP = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'><svg/onload=alert(3)>{{7*7}}"
FORMULA = '=HYPERLINK("http://evil.example/","x")'
CONTENT = "what-nobody-may-read-without-the-right"
SECRET = "sk-secret-of-a-vendor-1234"


def models() -> list[type[Model]]:
    """Everything that is registered."""
    return sorted(admin.site._registry, key=lambda model: model._meta.label_lower)


def name_of(model: type[Model]) -> str:
    return f"{model._meta.app_label}_{model._meta.model_name}"


def fill(number: int, mark: str = MARKUP) -> dict[type[Model], Model]:
    """`number` rows of each model, each belonging to a user of its own; the last one of each."""
    made: dict[type[Model], Model] = {}

    def keep(row: Any) -> Any:
        made[type(row)] = row
        return row

    start = User.objects.count()
    for index in range(start, start + number):
        _one(index, mark, keep)
    return made


def _one(index: int, mark: str, keep: Any) -> None:
    now = timezone.now() - timedelta(minutes=index)
    user = keep(User.objects.create_user(f"person{index}@example.com", None, name=f"{FORMULA}{mark}"[:150]))
    keep(keys.create(user, name=f"{mark[:90]}{index}", scopes=["chat"])[0])
    tokens.sign_in(user, ip="127.0.0.1", user_agent=mark)
    keep(user.token_families.get())
    audit.record("user.update", actor=user, target=user, details={"fields": [mark]})
    keep(AuditEvent.objects.get(actor=user, action="user.update"))
    keep(Group.objects.create(name=f"{mark[:120]} {index}"))
    model = keep(AIModel.objects.create(
        slug=f"model-{index}", display_name=mark[:100], provider="openai", vendor_model=f"v{index}", context_window=1000, max_output_tokens=100,
        description=mark,
    ))  # fmt: skip
    keep(ModelPrice.objects.create(model=model, input=Decimal(1), output=Decimal(2), source="staff"))
    made_budget = keep(Budget.objects.get(scope="user", scope_id=user.pk))
    call = {"user_id": user.pk, "purpose": "chat", "surface": "rest", "requested_model": "auto", "model": model.slug, "provider": "openai"}
    keep(UsageLog.objects.create(
        call_id=uuid7(), group_id=uuid7(), status="ok", cost_usd=Decimal("0.00042150"), input_tokens=1234567, created_at=now, flagged=mark, **call
    ))  # fmt: skip
    keep(
        UsageRollup.objects.create(
            kind="day", slice="user", starts_at=now.replace(hour=0, minute=0, second=0, microsecond=0), user_id=user.pk, model=mark[:100]
        )
    )
    window = BudgetWindow.objects.create(budget=made_budget, starts_at=now, ends_at=now)
    keep(
        BudgetAlert.objects.create(user=user, window=window, threshold=80, spent_usd=Decimal(8), limit_usd=Decimal(10), subject=mark[:200])
    )
    keep(AlertSettings.objects.create(user=user))
    keep(RollupState.objects.get_or_create(id=1)[0])
    keep(UnpricedUsage.objects.create(provider="openai", model=model.slug, name=mark[:200], fields=[mark]))
    keep(ModelRule.objects.create(model=model.slug, rule=mark[:40], message=mark))
    keep(Hold.objects.create(id=uuid7(), amount_usd=Decimal("0.01"), call={"model": mark}))
    keep(ProviderConnection.objects.create(
        slug=f"c{index}", name=mark[:100], kind="openai", base_url="https://x.example", api_key_encrypted=secrets.encrypt(SECRET)
    ))  # fmt: skip
    agent = Agent.objects.create(user=user, slug=f"agent-{index}", name=mark[:100], description=mark)
    version = keep(AgentVersion.objects.create(
        agent=agent, number=1, system_prompt=CONTENT + mark, tools=[{"name": mark, "approval": "never"}], created_by=user
    ))  # fmt: skip
    Agent.objects.filter(pk=agent.pk).update(version=version)
    keep(agent)
    keep(HttpTool.objects.create(
        name=f"tool_{index}", description=mark, url="https://x.example/a", headers_encrypted=http.encrypt_headers({"X-Key": SECRET})
    ))  # fmt: skip
    run = keep(AgentRun.objects.create(
        user=user, agent=agent, version=version, surface="rest", input=CONTENT + mark, output=CONTENT, status="succeeded", model=mark[:100]
    ))  # fmt: skip
    keep(
        AgentStep.objects.create(run=run, number=1, kind="tool", status="ok", name=mark[:100], input={"a": CONTENT + mark}, output=CONTENT)
    )
    conversation = keep(Conversation.objects.create(user=user, title=CONTENT + mark[:100], settings={"system_prompt": CONTENT}))
    keep(Message.objects.create(conversation=conversation, role="user", content=CONTENT + mark, metadata={"x": CONTENT}, model=mark[:100]))
    task = keep(Task.objects.create(user=user, name=mark[:100], input=CONTENT + mark, system_prompt=CONTENT, agent=agent))
    task_run = keep(TaskRun.objects.create(
        task=task, user=user, number=1, trigger="request", status="failed", input=CONTENT, output=CONTENT + mark, ended_at=now, worker=mark[:100],
        error={"message": mark},
    ))  # fmt: skip
    Task.objects.filter(pk=task.pk).update(last_run=task_run, runs_count=1)
    keep(TaskAttempt.objects.create(run=task_run, number=1, agent_run=run, status="failed"))
    keep(WebhookDelivery.objects.create(
        task=task, run=task_run, event="task.run.failed", url="https://x.example", body=CONTENT + mark, state="failed", error=mark[:200]
    ))  # fmt: skip
    keep(IdempotentAnswer.objects.create(principal=str(user.pk), key=mark, fingerprint="0" * 64, status=200, body=CONTENT.encode()))
    keep(SystemMetric.objects.create(at=now.replace(second=0, microsecond=0) - timedelta(days=index)))
    interval = keep(IntervalSchedule.objects.create(every=index + 1, period="minutes"))
    keep(CrontabSchedule.objects.create(minute=str(index % 60), hour=str(index // 60)))
    keep(SolarSchedule.objects.create(event="sunrise", latitude=index, longitude=1))
    keep(ClockedSchedule.objects.create(clocked_time=now))
    keep(PeriodicTask.objects.create(name=f"{mark[:100]}{index}", task="aiagents.monitoring.tasks.heartbeat", interval=interval))


def usage(calls: int, days: int = 40) -> None:
    """Calls spread over the days, of some users and models; some failed, some simulated. Then the rollups."""
    users = list(User.objects.order_by("created_at")[:8])
    models_ = list(AIModel.objects.exclude(prices=None).order_by("slug")[:6])
    now = timezone.now()
    rows = []
    for index in range(calls):
        model = models_[index * index % len(models_)]
        failed = index % 23 == 0
        rows.append(UsageLog(
            call_id=uuid7(), group_id=uuid7(), user=users[index * 7 % len(users)], purpose=("chat", "agent", "task", "api")[index % 4],
            surface=("rest", "sse", "openai")[index % 3], requested_model="auto", model=model.slug, provider=model.provider,
            status="failed" if failed else "ok", error_code="provider_overloaded" if failed else "", input_tokens=500 + index % 4000,
            cached_input_tokens=index % 400, output_tokens=index % 900, cost_usd=Decimal(index % 97) / 1000, baseline_cost_usd=Decimal(index % 97) / 700,
            latency_ms=400 + index % 5000, ttft_ms=150 + index % 900, simulated=index % 5 == 0,
            created_at=now - timedelta(days=days) * (index / calls) - timedelta(seconds=5),
        ))  # fmt: skip
    UsageLog.objects.bulk_create(rows)
    rollups.catch_up()
