"""The first moments after signing in, and answers without a word."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.visit import Visit

pytestmark = [pytest.mark.browser, pytest.mark.long]
Open = Callable[..., Visit]


def hold(page: Any) -> Callable[[], None]:
    """Hold back what the page asks for first, until the function that is returned is called."""
    held: list[Any] | None = []

    def take(route: Any) -> None:
        route.continue_() if held is None else held.append(route)

    def go_on() -> None:
        nonlocal held
        waiting, held = held or [], None
        for route in waiting:
            route.continue_()

    page.route(re.compile(r"/api/v1/(auth/profile|billing/models|chat/conversations)"), take)
    return go_on


def test_while_the_api_is_slow_the_page_is_whole_and_a_question_waits(visit: Open) -> None:
    one = visit()
    page = one.page
    go_on = hold(page)
    page.reload()
    page.locator(".welcome").wait_for()
    page.get_by_role("button", name="Stop writing").wait_for(state="hidden")
    assert page.get_by_role("button", name="Send").is_disabled()
    one.ask("[[sim:chunks=3]] Asked at once")
    page.wait_for_timeout(300)
    assert page.locator(".question").count() == 0 and page.get_by_label("Your message").input_value() == "[[sim:chunks=3]] Asked at once"
    go_on()
    one.answer()
    assert page.locator(".question .plain").inner_text() == "[[sim:chunks=3]] Asked at once"
    assert page.get_by_label("Your message").input_value() == ""


def test_a_section_that_is_opened_by_its_address_waits_without_a_composer(visit: Open) -> None:
    one = visit()
    page = one.page
    go_on = hold(page)
    page.goto(f"{one.url}/tasks")
    page.locator(".page-pane", has_text="Loading").wait_for()
    assert page.get_by_label("Your message").is_hidden()
    go_on()
    page.get_by_text("A task asks a model or an agent by itself").wait_for()


def test_an_empty_answer_says_so_and_can_be_retried(visit: Open) -> None:
    one = visit()
    one.ask("[[sim:blank]] Say nothing")
    answer = one.answer()
    answer.get_by_text("The model returned an empty answer.").wait_for()
    answer.get_by_role("button", name="Retry").click()
    one.page.locator(".answer .branches", has_text="2/2").wait_for()
    one.answer()
    one.page.reload()
    one.page.locator(".answer").get_by_text("The model returned an empty answer.").wait_for()
