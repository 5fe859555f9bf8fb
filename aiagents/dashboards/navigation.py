"""The sidebar: the pages and lists that the staff member may see, in groups."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse

from aiagents.dashboards import permissions

Item = dict[str, Any]
# (title, icon, name of the page, permissions)
ANALYTICS = [
    ("Overview", "space_dashboard", "index", ()),
    ("Live", "monitoring", "analytics_live", permissions.SYSTEM),
    ("Usage", "bar_chart", "analytics_usage", permissions.USAGE),
    ("Cost optimisation", "savings", "analytics_costs", permissions.USAGE),
    ("Model performance", "speed", "analytics_models", permissions.USAGE),
    ("User activity", "groups", "analytics_users", permissions.PEOPLE),
    ("System health", "health_and_safety", "analytics_system", permissions.SYSTEM),
]
# (group, [(title, icon, app_model)])
LISTS: list[tuple[str, list[tuple[str, str, str]]]] = [
    ("People", [
        ("Users", "person", "accounts_user"), ("API keys", "key", "accounts_apikey"), ("Sessions", "devices", "accounts_tokenfamily"),
        ("Groups", "badge", "auth_group"),
    ]),
    ("Money", [
        ("Budgets", "account_balance_wallet", "billing_budget"), ("Usage log", "receipt_long", "billing_usagelog"),
        ("Rollups", "stacked_bar_chart", "billing_usagerollup"), ("Alerts", "notifications_active", "billing_budgetalert"),
        ("Holds", "lock_clock", "billing_hold"),
    ]),
    ("Models", [
        ("AI models", "neurology", "billing_aimodel"), ("Prices", "sell", "billing_modelprice"),
        ("Rules of models", "rule", "agents_modelrule"),
        ("Usage without a price", "money_off", "billing_unpricedusage"),
        ("Provider connections", "hub", "agents_providerconnection"),
    ]),
    ("Agents and tasks", [
        ("Agents", "smart_toy", "agents_agent"), ("Agent versions", "history", "agents_agentversion"),
        ("Agent runs", "directions_run", "agents_agentrun"),
        ("HTTP tools", "construction", "agents_httptool"), ("Tasks", "task_alt", "tasks_task"),
        ("Task runs", "play_circle", "tasks_taskrun"),
        ("Webhook deliveries", "webhook", "tasks_webhookdelivery"),
    ]),
    ("Chat", [("Conversations", "forum", "chat_conversation"), ("Messages", "chat_bubble", "chat_message")]),
    ("System", [
        ("Audit log", "policy", "accounts_auditevent"), ("System metrics", "analytics", "monitoring_systemmetric"),
        ("Periodic tasks", "schedule", "django_celery_beat_periodictask"), ("Intervals", "timer", "django_celery_beat_intervalschedule"),
        ("Crontabs", "event_repeat", "django_celery_beat_crontabschedule"), ("Idempotent answers", "repeat", "aiagents_idempotentanswer"),
    ]),
]  # fmt: skip


def groups(request: HttpRequest) -> list[Item]:
    """The groups in the theme's format. Lists that are not registered are omitted."""
    from django.contrib import admin  # the site imports this module

    pages = {f"{model._meta.app_label}_{model._meta.model_name}": page for model, page in admin.site._registry.items()}
    found: list[Item] = [
        {
            "title": "Analytics",
            "items": [_item(title, icon, f"admin:{name}", request, needed) for title, icon, name, needed in ANALYTICS],
        }
    ]
    for group, lists in LISTS:
        items: list[Item] = [
            {
                "title": title,
                "icon": icon,
                "link": (link := reverse(f"admin:{name}_changelist")),
                "active": request.path.startswith(link),
                "permission": lambda request, page=pages[name]: page.has_view_or_change_permission(request),
            }
            for title, icon, name in lists
            if name in pages
        ]
        found.append({"title": group, "items": items, "collapsible": False, "separator": True})
    return found


def _item(title: str, icon: str, name: str, request: HttpRequest, needed: tuple[str, ...]) -> Item:
    link = reverse(name)
    return {
        "title": title,
        "icon": icon,
        "link": link,
        "active": request.path == link,
        "permission": lambda request: not needed or permissions.may(request, needed),
    }


def style(request: HttpRequest) -> str:
    return static("admin-dashboard/office.css")


def icon(request: HttpRequest) -> str:
    return static("favicon.svg")


def environment(request: HttpRequest) -> list[str] | None:
    """The label beside the title outside of production."""
    from django.conf import settings

    return None if settings.ENVIRONMENT == "production" else [settings.ENVIRONMENT, "warning"]
