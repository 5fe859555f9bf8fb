"""Response times of every list, filter and dashboard of the admin site, and of the admin's API, over a long usage log."""

from __future__ import annotations

import html
import http.client
import re
import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

from benchmarks.harness.installation import Installation
from benchmarks.harness.tables import markdown, number

_ADMIN = """
from importlib import import_module
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from accounts.sign_in import tokens
from accounts.models import User
boss = User.objects.create_superuser("boss@bench.example", None)
session = import_module(settings.SESSION_ENGINE).SessionStore()
session[SESSION_KEY], session[BACKEND_SESSION_KEY] = str(boss.pk), settings.AUTHENTICATION_BACKENDS[0]
session[HASH_SESSION_KEY] = boss.get_session_auth_hash()
session.save()
print("admin", settings.SESSION_COOKIE_NAME, session.session_key, tokens.sign_in(boss).access)
"""
WARM = 5


def take(installed: Installation) -> list[dict[str, Any]]:
    """Milliseconds of each URL, the first time and warm, the slowest first."""
    printed = installed.live.manage("shell", "-v0", "-c", _ADMIN)
    _, cookie, session, access = next(line for line in printed.splitlines() if line.startswith("admin ")).split()
    browser = _Client(installed.live.port, {"Cookie": f"{cookie}={session}", "Accept": "text/html"})
    client = _Client(installed.live.port, {"Authorization": f"Bearer {access}", "Accept": "application/json"})
    found = [_timed(browser, path) for path in _pages(browser)] + [_timed(client, path) for path in _api()]
    return sorted(found, key=lambda one: -one["warm_ms"])


class _Client:
    def __init__(self, port: int, headers: dict[str, str]) -> None:
        self.connection, self.headers = http.client.HTTPConnection("127.0.0.1", port, timeout=120), headers

    def get(self, path: str) -> str:
        self.connection.request("GET", path, headers=self.headers)
        answer = self.connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{path} answered {answer.status}: {body[:300]!r}")
        return body.decode()


def _pages(browser: _Client) -> Iterator[str]:
    """The overview; each list, with a value of each filter, a search and a late page; each dashboard over each range."""
    first = browser.get("/admin/")
    yield "/admin/"
    for path in sorted(set(re.findall(r'href="(/admin/(?:[a-z_]+/[a-z_]+/))(?:\?[^"]*)?"', first))):
        if path.endswith("/password_change/"):
            continue
        text = browser.get(path)
        yield path
        yield from _choices(path, text)
        if 'name="q"' in text:
            yield f"{path}?q=user12"


def _choices(path: str, text: str) -> Iterator[str]:
    """For a list, one URL per parameter that the page's links set, with its last value; for a dashboard, a year by each option."""
    yield from (f"{path}?range=365d{more}" for more in ["", *_selects(text)] if 'name="range"' in text)
    chosen: dict[Any, str] = {}
    for link in re.findall(r'href="\?([^"]+)"', text):
        values = parse_qsl(html.unescape(link))
        if values and values[0][0] not in {"o", "_facets"}:
            chosen[values[-1][0]] = html.unescape(link)
    yield from (f"{path}?{query}" for query in chosen.values() if "csv" not in query)


def _selects(text: str) -> Iterator[str]:
    for name, options in re.findall(r'<select name="(\w+)">(.*?)</select>', text, re.DOTALL):
        yield from (f"&{name}={value}" for value in re.findall(r'<option value="([^"]*)"', options))


def _api() -> Iterator[str]:
    now = datetime.now(UTC)
    year = f"from={(now - timedelta(days=365)):%Y-%m-%dT00:00:00Z}&to={now:%Y-%m-%dT00:00:00Z}"
    admin = "/api/v1/admin"
    yield f"{admin}/overview"
    for group in ("model", "user", "provider", "surface", "purpose", "agent", "key"):
        yield f"{admin}/usage-analytics?{year}&group_by={group}&bucket=day"
    yield f"{admin}/usage-analytics?{year}&group_by=model&bucket=month"
    yield f"{admin}/cost-optimization?{year}"
    for name in ("users", "metrics", "audit-log", "budgets"):
        yield f"{admin}/{name}"


def _timed(visitor: _Client, path: str) -> dict[str, Any]:
    took = []
    for _ in range(1 + WARM):
        began = time.perf_counter()
        visitor.get(path)
        took.append((time.perf_counter() - began) * 1000)
    return {"path": path, "cold_ms": took[0], "warm_ms": statistics.median(took[1:])}


def table(found: list[dict[str, Any]], shown: int = 25) -> str:
    slow = sum(one["warm_ms"] > 300 for one in found)
    rows = [(f"`{one['path']}`", number(one["cold_ms"], 0), number(one["warm_ms"], 0)) for one in found[:shown]]
    median = statistics.median(one["warm_ms"] for one in found)
    summary = f"{len(found)} URLs, {slow} of them slower than 300 ms warm; median {median:.0f} ms."
    return f"{summary} The slowest:\n\n" + markdown(("URL", "first ms", "warm ms, median of 5"), rows)
