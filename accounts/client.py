"""The origin of a Django request."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest
from rest_framework.request import Request

from aiagents.core.http.client_address import client_ip


@dataclass(frozen=True, slots=True)
class Origin:
    """The client's address (forwarded only by trusted proxies) and its user agent."""

    ip: str = ""
    user_agent: str = ""

    @classmethod
    def of(cls, request: HttpRequest | Request) -> Origin:
        headers = {name.lower(): value for name, value in request.headers.items()}
        return cls(client_ip(request.META.get("REMOTE_ADDR") or "", headers), headers.get("user-agent", ""))
