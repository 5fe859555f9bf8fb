"""The admin's index page: key figures, budgets near their limits, recent errors."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from agents.models import AgentRun
from aiagents.dashboards import ranges, usage
from aiagents.dashboards.panels import Card, Chart, Dashboard, Panel, Series, Table, Tone, Unit, moment, shown
from aiagents.dashboards.permissions import PEOPLE, may
from billing.models import BudgetAlert, UsageLog
from billing.reports import shapes
from billing.reports import staff as analytics
from chat.models import Message
from tasks.models import Status, TaskRun, WebhookDelivery

# Rows of a list on the page, and the age up to which an error is recent.
MOST = 10
RECENT = timedelta(days=7)
# The number of newest rows that are searched for errors, so that a log without errors is not read to its end.
MOST_SEARCHED = 20_000


def report(request: HttpRequest) -> Dashboard:
    found = analytics.overview()
    panels: list[Panel | None] = [_days(found["days"]), _models(found["top_models"])]
    if may(request, PEOPLE):
        panels.append(_people(found["top_users"]))
    panels += [_limits(found["budgets_near_limit"]), _alerts(request), _errors(), *_broken(request)]
    return Dashboard("Overview", _cards(request, found), [panel for panel in panels if panel], usage.simulated(found["last_30_days"]))


def _cards(request: HttpRequest, found: Mapping[str, Any]) -> list[Card]:
    today, month, recent, budget = found["today"], found["month"], found["last_30_days"], found["system_budget"]
    page = reverse("admin:analytics_usage")
    used = budget["used_share"]
    limit = "no limit" if budget["limit_usd"] is None else f"{shown(used, 'share')} of {shown(budget['limit_usd'], 'usd')}"
    failed = recent["failed_share"] or 0.0
    cards = [
        Card(
            "Spent today",
            shown(today["cost_usd"], "usd"),
            f"yesterday {shown(found['yesterday']['cost_usd'], 'usd')}",
            link=f"{page}?range=24h",
        ),
        Card("This month", shown(month["cost_usd"], "usd"), limit, _near(used), reverse("admin:billing_budget_changelist")),
        *_forecast(budget),
        Card("Last 30 days", shown(recent["cost_usd"], "usd"), _change(found["change"]["cost_usd"]), link=f"{page}?range=30d"),
        Card("Calls, 30 days", shown(recent["calls"], "count"), _change(found["change"]["calls"]), link=f"{page}?range=30d"),
        Card(
            "Failed, 30 days", shown(failed, "share"), f"{recent['failed_calls']:,} calls", _bad(failed), _log({"status__exact": "failed"})
        ),
        Card("Saved by routing", shown(recent["saved_usd"], "usd"), "30 days, against the baseline", link=reverse("admin:analytics_costs")),
        Card("Running now", shown(found["running"]["calls"], "count"), f"{shown(found['running']['held_usd'], 'usd')} on hold"),
    ]
    if may(request, PEOPLE):
        users = found["users"]
        note = f"{users['active_24_hours']:,} today, {users['active_7_days']:,} this week, {users['total']:,} in all"
        cards.append(Card("Active users", shown(users["active_30_days"], "count"), note, link=reverse("admin:analytics_users")))
    return cards


def _forecast(budget: Mapping[str, Any]) -> list[Card]:
    ahead = budget["forecast"]
    if ahead is None:
        return []
    ends = ahead["exhausted_at"]
    note = f"the budget ends {ends[:10]}" if ends else f"{shown(ahead['low_usd'], 'usd')} to {shown(ahead['high_usd'], 'usd')}"
    return [Card("At the month's end", shown(ahead["expected_usd"], "usd"), note, "warn" if ends else "")]


def _near(share: float | None) -> Tone:
    return "" if share is None else "bad" if share >= 0.9 else "warn" if share >= 0.75 else "good"


def _bad(share: float) -> Tone:
    return "bad" if share > 0.1 else "warn" if share > 0.03 else "good"


def _change(share: float | None) -> str:
    return "" if share is None else f"{share:+.0%} against the 30 days before"


def _log(query: Mapping[str, str]) -> str:
    return f"{reverse('admin:billing_usagelog_changelist')}?{urlencode(query)}"


def _days(days: list[shapes.Point]) -> Panel:
    at = [moment(day["at"]) for day in days]
    series = [
        Series("cost", [day["cost_usd"] for day in days], "bar"),
        Series("calls", [day["calls"] for day in days], "line", "right"),
    ]
    head: list[tuple[str, Unit]] = [("day", "time"), *usage.HEAD]
    table = Table(head, [[day["at"], *usage.cells(day)] for day in days])
    return Panel("days", "The last 30 days", table, Chart("bar", at, series, "usd", "count"), wide=True)


def _models(models: list[shapes.GroupTotals]) -> Panel:
    chart = Chart("doughnut", [one["label"] for one in models], [Series("cost", [one["cost_usd"] for one in models])], "usd")
    rows = [[(one["label"], _log({"model": one["key"] or ""})), one["calls"], one["cost_usd"]] for one in models]
    return Panel("models", "Dearest models, 30 days", Table([("model", ""), ("calls", "count"), ("cost", "usd")], rows), chart)


def _people(users: list[shapes.Line]) -> Panel:
    chart = Chart("across", [one["label"] for one in users], [Series("cost", [one["cost_usd"] for one in users])], "usd")
    range_ = ranges.preset("30d")
    rows = [[(one["label"], usage.link("user", one["key"], range_)), one["calls"], one["cost_usd"]] for one in users]
    return Panel("people", "Who spends most, 30 days", Table([("user", ""), ("calls", "count"), ("cost", "usd")], rows), chart)


def _limits(near: list[shapes.Near]) -> Panel:
    rows = [[(f"{one['scope']} {one['label']}", _budget(one)), one["used_percent"], one["spent_usd"], one["limit_usd"]] for one in near]
    head: list[tuple[str, Unit]] = [("budget", ""), ("used", "percent"), ("spent", "usd"), ("limit", "usd")]
    return Panel("limits", "Budgets near their limits", Table(head, rows, "No budget is near its limit."), open=True)


def _budget(one: Mapping[str, Any]) -> str:
    page = reverse("admin:billing_budget_changelist")
    return f"{page}?{urlencode({'q': one['scope_id']})}" if one["scope_id"] else f"{page}?scope__exact=system"


def _alerts(request: HttpRequest) -> Panel | None:
    if not request.user.has_perm("billing.view_budgetalert"):
        return None
    found = BudgetAlert.objects.select_related("user").order_by("-created_at")[:MOST]
    rows = [
        [one.created_at.isoformat(), (str(one), reverse("admin:billing_budgetalert_change", args=[one.pk])), one.user.email, one.spent_usd]
        for one in found
    ]
    head: list[tuple[str, Unit]] = [("at (UTC)", "time"), ("alert", ""), ("sent to", ""), ("spent", "usd")]
    return Panel("alerts", "Alerts", Table(head, rows, "No budget gave an alert."), open=True)


def _errors() -> Panel:
    """The newest failed calls among the newest rows."""
    newest = UsageLog.objects.filter(created_at__gte=timezone.now() - RECENT).order_by("-created_at")
    border = newest.values_list("created_at", flat=True)[MOST_SEARCHED - 1 : MOST_SEARCHED].first()
    rows = newest.filter(created_at__gte=border) if border else newest
    failed = rows.filter(status__in=[UsageLog.Status.FAILED, UsageLog.Status.INTERRUPTED])
    lines = [
        [at.isoformat(), (model, reverse("admin:billing_usagelog_change", args=[pk])), status, code, provider]
        for at, model, pk, status, code, provider in failed.values_list("created_at", "model", "pk", "status", "error_code", "provider")[
            :MOST
        ]
    ]
    head: list[tuple[str, Unit]] = [("at (UTC)", "time"), ("model", ""), ("ended", ""), ("error", ""), ("vendor", "")]
    return Panel("errors", "Recent errors of models", Table(head, lines, "No call failed in the last seven days."), open=True)


def _broken(request: HttpRequest) -> list[Panel]:
    """Recent failures of runs, turns and webhooks, each if the user may open its list."""
    kinds: list[tuple[str, str, Any]] = [
        ("tasks_taskrun", "task run", TaskRun.objects.filter(status=Status.FAILED)),
        ("agents_agentrun", "agent run", AgentRun.objects.filter(status__in=["failed", "interrupted"])),
        ("chat_message", "chat turn", Message.objects.filter(status__in=["failed", "interrupted"])),
        ("tasks_webhookdelivery", "webhook", WebhookDelivery.objects.filter(state=WebhookDelivery.State.FAILED)),
    ]
    since = timezone.now() - RECENT
    rows: list[tuple[Any, list[Any]]] = []
    for page, title, found in kinds:
        app, _, model = page.partition("_")
        if not request.user.has_perm(f"{app}.view_{model}"):
            continue
        for pk, at, error in found.filter(created_at__gte=since).order_by("-created_at").values_list("pk", "created_at", "error")[:MOST]:
            code = error.get("code", "") if isinstance(error, dict) else str(error or "")
            rows.append((at, [at.isoformat(), (title, reverse(f"admin:{page}_change", args=[pk])), code]))
    rows.sort(key=lambda row: row[0], reverse=True)
    head: list[tuple[str, Unit]] = [("at (UTC)", "time"), ("what", ""), ("error", "")]
    table = Table(head, [line for _, line in rows[:MOST]], "Nothing broke in the last seven days.")
    return [Panel("broken", "Recent errors of runs, turns and webhooks", table, open=True)]
