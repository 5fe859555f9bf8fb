"""Two tabs of one person, each at a web process of its own: what one does shows in the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.visit import Visit, api
from tests.kit.servers.live import Live

pytestmark = [pytest.mark.browser, pytest.mark.long]
_SIGN_IN = """
from accounts.sign_in import tokens
from accounts.models import User
from aiagents.core.ids import uuid7
for _ in range(8):
    person = User.objects.create_user(f"tabs-{uuid7().hex}@example.com", None, name="Tabs")
    print("tokens", tokens.sign_in(person).refresh, tokens.sign_in(person).refresh)
"""
Person = tuple[str, str]


@pytest.fixture(scope="module")
def other(live: Live) -> Iterator[Live]:
    """The same installation, by a web process of its own."""
    yield live.beside("two-tabs")
    live.stop("two-tabs")


@pytest.fixture(scope="module")
def two_sessions(live: Live) -> Iterator[Person]:
    """Refresh tokens of two sessions of one person, who is new for each test."""
    printed = live.manage("shell", "-v0", "-c", _SIGN_IN)
    return iter([(one, two) for line in printed.splitlines() if line.startswith("tokens ") for _, one, two in [line.split()]])


@pytest.fixture
def tabs(
    request: pytest.FixtureRequest, chromium: Any, live: Live, other: Live, two_sessions: Iterator[Person]
) -> Iterator[tuple[Visit, Visit]]:
    """Both signed in as one new person; the second one's socket hears news."""
    visits = [Visit(chromium.new_context(viewport={"width": 1200, "height": 800}), one.url) for one in (live, other)]
    request.node.visits = visits
    try:
        for visit, token in zip(visits, next(two_sessions), strict=True):
            visit.enter(token)
        yield visits[0], visits[1]
    finally:
        for visit in visits:
            visit.context.close()
    for visit in visits:
        visit.check()


def test_a_conversation_shows_in_the_other_tab_with_its_answer_while_it_is_written(tabs: tuple[Visit, Visit]) -> None:
    one, two = tabs
    one.ask("[[sim:chunks=4]] Bridges of Prague")
    one.answer()
    row = two.page.locator(".conversation").first
    row.wait_for()
    row.locator("a").click()
    two.answer()
    one.ask("[[sim:chunks=60,pace=60]] And which is the oldest?")
    two.page.locator(".question", has_text="oldest").wait_for()
    two.page.locator('.answer[data-status="streaming"]').wait_for()  # and not only when it is whole
    two.answer(number=2)
    assert two.page.locator(".answer .markdown").last.inner_text() == one.answer(number=2).locator(".markdown").inner_text()


def test_a_name_and_a_deletion_show_in_the_other_tab(tabs: tuple[Visit, Visit]) -> None:
    one, two = tabs
    for tab in tabs:  # the news of the new name may make it read what is deleted meanwhile
        tab.expected.append("status of 404")
    one.ask("[[sim:chunks=4]] Bridges of Prague")
    one.answer()
    two.page.locator(".conversation").first.wait_for()
    id = two.page.locator(".conversation").first.get_attribute("data-id")
    headers = {"Authorization": f"Bearer {one.access}", "Content-Type": "application/json"}
    path = f"{one.url}/api/v1/chat/conversations/{id}"
    assert one.context.request.patch(path, headers=headers, data={"title": "Vltava"}).ok
    for page in (one.page, two.page):
        page.locator(".conversation", has_text="Vltava").wait_for()
    one.page.get_by_role("heading", name="Vltava").wait_for()
    assert one.context.request.delete(path, headers=headers).ok
    for page in (one.page, two.page):
        page.locator(".conversation").first.wait_for(state="detached")
    one.page.wait_for_selector(".welcome")


def test_a_task_that_was_made_and_run_elsewhere_shows_without_a_reload(tabs: tuple[Visit, Visit]) -> None:
    one, two = tabs
    two.page.goto(f"{two.url}/tasks")
    two.page.get_by_role("link", name="New task").first.wait_for()
    task = api(one, "POST", "tasks/", {"name": "Bridges", "input": "[[sim:chunks=2]] Name one", "schedule": {"type": "manual"}})
    card = two.page.get_by_role("article", name="Bridges")
    card.wait_for()
    api(one, "POST", f"tasks/{task['id']}/run", {})
    card.get_by_role("link", name="Run 1").wait_for()
    two.page.goto(f"{two.url}/tasks/{task['id']}")
    two.page.get_by_role("row").filter(has_text="Run 1").wait_for()
    api(one, "POST", f"tasks/{task['id']}/cancel", {})
    api(one, "PATCH", f"tasks/{task['id']}", {"name": "Old bridges"})
    two.page.get_by_role("heading", name="Old bridges").first.wait_for()


def test_a_run_of_an_agent_shows_in_the_list_of_another_tab(tabs: tuple[Visit, Visit]) -> None:
    one, two = tabs
    agent = api(one, "POST", "agents/", {"name": "Builder", "model": "gpt-4o-mini"})
    two.page.goto(f"{two.url}/agents/{agent['id']}/runs")
    two.page.get_by_text("This agent has not run for you yet.").wait_for()
    run = api(one, "POST", f"agents/{agent['id']}/run", {"input": "[[sim:chunks=2]] Build"})
    two.page.locator(f'a[href="/agents/{agent["id"]}/runs/{run["id"]}"]').wait_for()
    two.page.get_by_role("row").filter(has_text="succeeded").wait_for()
