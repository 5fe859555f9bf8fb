"""An agent in the chat page: its tools are seen, and a tool that asks waits for the person's word."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.browser.visit import Visit, api

pytestmark = [pytest.mark.browser, pytest.mark.long]
Open = Callable[..., Visit]


def with_agent(one: Visit) -> None:
    """A conversation whose agent must ask before it looks at the clock, opened in the page."""
    agent = api(
        one, "POST", "agents/", {"name": "Clock", "model": "gpt-4o-mini", "tools": [{"name": "current_time", "approval": "always"}]}
    )
    made = api(one, "POST", "chat/conversations", {"title": "With an agent", "settings": {"agent_id": agent["id"]}})
    one.page.goto(f"{one.url}/?c={made['id']}")
    one.page.locator(".conversation.current", has_text="With an agent").wait_for()


@pytest.mark.parametrize(("word", "state"), [("Allow", "ok"), ("Deny", "denied")])
def test_a_tool_that_asks_waits_for_a_word_in_the_page(visit: Open, word: str, state: str) -> None:
    one = visit()
    with_agent(one)
    one.ask("[[call current_time {}]]")
    asked = one.page.get_by_role("group", name="Allow the tool current_time?")
    asked.wait_for()
    assert one.page.locator(".badge.tool-waits-for-you").is_visible()
    asked.get_by_role("button", name=word).click()
    answer = one.answer()
    assert answer.locator(f".badge.tool-{state}").count() == 1 and asked.count() == 0
    one.check()
