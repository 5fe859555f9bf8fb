"""Every registration of the product: what a lower layer is given that it may not import. Called once, when all models are loaded.

No module registers anything while it is imported, apart from what Django and Celery themselves find by import: the admin's
model classes, tasks, and the agents' built-in tools (`@tool`).
"""

from __future__ import annotations

from dataclasses import asdict

from celery import signals as celery_signals
from django.apps import apps
from django.core import checks as django_checks
from django.db.backends.signals import connection_created
from django.db.models.signals import post_migrate
from django.urls import register_converter

from accounts import authentication, hooks
from accounts.models import ApiKey, User
from agents import invariants as agent_invariants
from agents.compatible.openai_responses import kept
from agents.models import Agent, AgentRun
from agents.runs import approvals
from agents.runs import live as live_runs
from aiagents import checks, roles, warming
from aiagents.core import draining
from aiagents.core.db import soft_deletion
from aiagents.core.live import credential_watch, news
from aiagents.core.metrics import counting
from aiagents.monitoring import health, insiders, live, sharing, sources, staff, system
from aiagents.monitoring import tasks as monitoring_tasks
from billing import invariants
from billing.budgets import budgets, subjects, user_months
from billing.models import Budget
from billing.money import exact_sums
from chat import invariants as chat_invariants
from chat.api import pages
from chat.models import Conversation
from chat.turns import service as turns
from tasks import invariants as task_invariants
from tasks.models import Task
from tasks.runs import decisions, worker


def register() -> None:
    """Register everything. Django calls it once in a process, from `AiagentsConfig.ready()`."""
    _accounts()
    _billing()
    _deleting()
    _approvals()
    _draining()
    _news()
    _monitoring()
    _django()
    _celery()


def _accounts() -> None:
    credential_watch.register(authentication.valid_refs, authentication.credential_of)
    hooks.register(
        set_key_budget=budgets.set_key_budget,
        key_budgets=budgets.key_budgets,
        profile_budget=lambda user: asdict(budgets.month_to_date(user)),
        user_created=budgets.user_created,
        user_deleted=kept.forget,
        set_user_budget=user_months.set_user_budget,
        with_month=user_months.with_month,
    )


def _billing() -> None:
    """What a budget may be set for, and what must always be true of the database."""
    subjects.register(Budget.Scope.USER, User, name="email", owner="pk")
    subjects.register(Budget.Scope.KEY, ApiKey, revoked_at=None)
    subjects.register(Budget.Scope.AGENT, Agent, deleted_at=None)
    subjects.register(Budget.Scope.TASK, Task, deleted_at=None)
    for name, check in invariants.CHECKS.items():
        invariants.register(name, check)
    invariants.register("agents", agent_invariants.check)
    invariants.register("chat", chat_invariants.check)
    invariants.register("tasks", task_invariants.check)


def _deleting() -> None:
    """Models whose deleted rows a task of their app sweeps."""
    soft_deletion.register(Agent, "agents.tasks.sweep_deleted")
    soft_deletion.register(AgentRun, "agents.tasks.sweep_deleted")
    soft_deletion.register(Conversation, "chat.tasks.sweep_deleted")
    soft_deletion.register(Task, "tasks.tasks.sweep_deleted")


def _approvals() -> None:
    approvals.on_decision(decisions.on_decision)


def _draining() -> None:
    """What a web process does with live work at its shutdown."""
    draining.on_drain(turns.drain)
    draining.on_drain(live_runs.drain)


def _news() -> None:
    """What a forked child needs to send news."""
    news.install()


def _monitoring() -> None:
    health.register("providers", sources.providers)
    insiders.register(staff.is_staff)
    counting.gauge("running_turns", sources.running_turns)
    counting.gauge(sharing.IN_FLIGHT, sources.tokens_in_flight)
    system.measure_also("open_holds", sources.open_holds)
    live.source("today", sources.today, sources.SPEND_SECONDS)
    live.source("holds", sources.holds, 2.0)
    live.source("vendors", sources.vendors, 1.0)
    sharing.install()


def _django() -> None:
    django_checks.register(checks.production_is_safe, django_checks.Tags.security, deploy=True)
    django_checks.register(checks.settings_are_known)
    connection_created.connect(exact_sums.register, dispatch_uid="billing.money.exact_sums")
    # After the last app's migrations: only then all permissions are there.
    post_migrate.connect(roles.ensure, sender=list(apps.get_app_configs())[-1], dispatch_uid="aiagents.roles")
    register_converter(pages.PageConverter, "page")


def _celery() -> None:
    """Signals of workers and beat; those that carry request ids and keep our logging stand with the Celery application."""
    celery_signals.worker_init.connect(warming.worker)
    celery_signals.before_task_publish.connect(monitoring_tasks.published, sender=monitoring_tasks.HEARTBEAT)
    celery_signals.worker_process_init.connect(monitoring_tasks.child_began)
    celery_signals.worker_process_shutdown.connect(monitoring_tasks.child_ends)
    celery_signals.worker_ready.connect(monitoring_tasks.ready)
    celery_signals.worker_process_shutdown.connect(worker.leave)
    celery_signals.worker_shutdown.connect(worker.leave)
