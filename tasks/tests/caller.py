"""A client of the tasks' API."""

from __future__ import annotations

from typing import Any

from django.test import Client

BASE = "/api/v1/tasks/"


class Api:
    def __init__(self, raw: str) -> None:
        self.client, self.raw = Client(), raw

    def __call__(self, method: str, path: str = "", body: Any = None, **headers: str) -> Any:
        found = {"authorization": f"Bearer {self.raw}"} | {name.replace("_", "-"): value for name, value in headers.items()}
        send = getattr(self.client, method.lower())
        data = {} if method == "GET" else {"data": body, "content_type": "application/json"}
        return send(path if path.startswith("http") else BASE + path, headers=found, **data)
