"""Demo data: two agents, a task that runs a minute after the first start and then every hour, and a month of usage.

If any vendor has a real key, the task is paused, so that the demo spends no money, and no usage is invented.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from django.conf import settings
from django.utils import timezone

from accounts import principals
from accounts.models import User
from agents.definitions import authoring
from agents.models import Agent
from billing.demo import service as usage
from tasks import service as task_service
from tasks.models import Task
from tasks.schedule import Kind, Plan

FIRST_RUN = timedelta(seconds=60)
_SCRIPT = '[[call calculator {"expression": "365 * 24 * 3600"}]][[say A year of 365 days has 31,536,000 seconds. (Simulated answer.)]]'
_QUESTION = "How many seconds does a year have? Use the calculator."


def seed(admin: User, user: User) -> None:
    """Create the demo data once; it keeps people's changes."""
    simulated = not any(vendor["api_key"] for vendor in settings.VENDORS.values())
    if simulated:
        usage.month([admin, user])
    if Agent.objects.filter(user__in=[admin, user]).exists() or Task.objects.filter(user=user).exists():
        return
    authoring.create(
        admin,
        {
            "name": "Reader",
            "description": "Reads a web page and answers from it. Asks before it opens one.",
            "visibility": Agent.Visibility.SHARED,
            "system_prompt": "Answer from the pages that you open with fetch_page, and name them. Say so when a page does not tell.",
            "model": "auto",
            "goal": "balanced",
            "tools": [{"name": "fetch_page", "approval": "always"}, {"name": "current_time", "approval": "never"}],
            "max_steps": 6,
            "max_cost_usd": Decimal("0.25"),
            "max_seconds": 120,
        },
    )
    accountant = authoring.create(
        user,
        {
            "name": "Accountant",
            "description": "Calculates exactly instead of guessing.",
            "system_prompt": "Calculate with the calculator, never in your head. Show the expression that you used.",
            "model": "auto",
            "goal": "cheapest",
            "tools": [{"name": "calculator", "approval": "never"}, {"name": "current_time", "approval": "never"}],
            "max_steps": 5,
            "max_cost_usd": Decimal("0.05"),
            "max_seconds": 60,
        },
    )
    values = {
        "name": "Seconds of a year",
        "description": "A demo: the Accountant's answer every hour, for the first time a minute after the first start.",
        "agent_id": accountant.pk,
        "input": f"{_QUESTION} {_SCRIPT}" if simulated else _QUESTION,
        "max_cost_usd": Decimal("0.05"),
        "monthly_budget_usd": Decimal("1.00"),
    }
    plan = Plan(Kind.INTERVAL, at=timezone.now() + FIRST_RUN, every_seconds=3600)
    task_service.create(principals.of_account(user), values, plan, paused=not simulated, request_id="")
