"""What the tests of the admin share: a browser, an action, a form."""

from __future__ import annotations

from django.test import Client

from accounts.models import User


def browser(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def form(user: User, **changes) -> dict:
    return {"email": user.email, "name": user.name, "role": user.role, "is_active": "on", "default_model": "auto", "goal": "balanced",
            "time_zone": "UTC"} | changes  # fmt: skip


def act(client: Client, page: str, action: str, *rows) -> int:
    data = {"action": action, "_selected_action": [str(row.pk) for row in rows]}
    return client.post(f"/admin/accounts/{page}/", data).status_code
