"""A page that stays open while the server is updated."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.browser.visit import Visit

pytestmark = [pytest.mark.browser, pytest.mark.long]
Open = Callable[..., Visit]


def test_a_page_of_an_earlier_version_says_so_where_its_modules_are_gone_and_is_reloaded(visit: Open) -> None:
    one = visit()
    page = one.page
    one.expected += ["status of 404", "Failed to fetch dynamically imported module"]
    gone = re.compile(r"/static/tasks/page\.[0-9a-f]{12}\.js")
    page.route(gone, lambda route: route.fulfill(status=404, body=""))
    page.get_by_role("link", name="Tasks").click()
    # The server still has this version: trying again may help.
    page.get_by_role("button", name="Try again").wait_for()

    def next_version(route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=re.sub(r"(/shell/main\.)[0-9a-f]{12}", r"\g<1>0123456789ab", answer.text()))

    page.route(one.url + "/", next_version)
    page.get_by_role("button", name="Try again").click()
    page.get_by_text("aiagents was updated while this page was open.").wait_for()
    page.unroute(gone)
    page.get_by_role("button", name="Reload").click()
    page.get_by_role("link", name="New task").first.wait_for()


def test_a_page_whose_modules_do_not_load_says_what_to_do(visit: Open) -> None:
    one = visit(signed_in=False)
    one.expected.append("status of 404")
    one.page.route(re.compile(r"/static/shell/"), lambda route: route.fulfill(status=404, body=""))
    one.page.goto(one.url)
    one.page.get_by_text("If this text stays, reload the page.").wait_for()
