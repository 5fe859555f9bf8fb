"""Real Chromium against a real installation; every visit is watched for what a page must never do."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.browser.visit import Visit
from tests.kit.servers.live import Live

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
]
WINDOW = {"viewport": {"width": 1200, "height": 800}}


def _chromium() -> str | None:
    names = (os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if name and (path := shutil.which(name))), None)


# Not for the session: Playwright keeps an event loop running on this thread, which the ORM of later tests would refuse.
@pytest.fixture(scope="package")
def chromium() -> Iterator[Any]:
    path = _chromium()
    if path is None:
        pytest.skip("no Chromium here: install it, or name it in CHROMIUM")
    from playwright.sync_api import sync_playwright  # heavy, and needed here only

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


# Registration is limited per address and a password takes its time, so the people are made at once, already signed in.
_PEOPLE = """
from accounts.sign_in import tokens
from accounts.models import User
from aiagents.core.ids import uuid7
for number in range(40):
    person = User.objects.create_user(f"person-{uuid7().hex}@example.com", None, name=f"Person {number}")
    print("token", tokens.sign_in(person).refresh)
"""


@pytest.fixture(scope="package")
def people(chromium: Any, live: Live) -> Iterator[str]:
    """Refresh tokens of people nobody has used yet."""
    printed = live.manage("shell", "-v0", "-c", _PEOPLE)
    return iter([line.split()[1] for line in printed.splitlines() if line.startswith("token ")])


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A failed visit tells what the person saw: a report from another machine has no screen."""
    outcome: Any = yield
    report = outcome.get_result()
    if report.when == "call" and report.failed:
        seen = [one.seen() for one in getattr(item, "visits", [])]
        report.sections += [(f"visit {number}", text) for number, text in enumerate(seen, 1)]


@pytest.fixture(scope="package")
def shared(chromium: Any) -> Iterator[Any]:
    """A context for one visit after another. A new one takes a second of processor, and loads all files anew."""
    context = chromium.new_context(**WINDOW)
    yield context
    context.close()


def leave(context: Any) -> None:
    """Close the pages of the shared context and forget what they kept: cookies, permissions, what the page stores."""
    for page in context.pages:
        with contextlib.suppress(Exception):  # a page that crashed or was sent elsewhere has nothing to clear
            page.evaluate("localStorage.clear()")
        page.close()
    context.clear_cookies()
    context.clear_permissions()


@pytest.fixture
def visit(request: pytest.FixtureRequest, chromium: Any, shared: Any, live: Live, people: Iterator[str]) -> Iterator[Callable[..., Visit]]:
    """`visit()` opens the page signed in as somebody new; all visits must end clean.

    A test's first visit without options is in the shared context; every other has a browser of its own.
    """
    visits: list[Visit] = []
    request.node.visits = visits

    def open_page(*, signed_in: bool = True, **options: Any) -> Visit:
        plain = signed_in and not options and all(one.context is not shared for one in visits)
        one = Visit(shared if plain else chromium.new_context(**{**WINDOW, **options}), live.url)
        visits.append(one)
        if signed_in:
            one.enter(next(people))
        return one

    yield open_page
    for one in visits:
        leave(shared) if one.context is shared else one.context.close()
    for one in visits:
        one.check()
