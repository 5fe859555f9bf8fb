"""A page of 1280 x 720 at 200 % and 400 %, and small phones: all of it can be reached, by pointer and by keyboard (WCAG 1.4.10)."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.browser.visit import Visit, api

pytestmark = [pytest.mark.browser, pytest.mark.long]
Open = Callable[..., Visit]
_LOADED = "() => ![...document.querySelectorAll('.main [role=status]')].some((el) => el.textContent === 'Loading')"
SIZES = [(320, 180), (320, 568), (390, 844), (640, 360)]
PATHS = ("/", "/agents", "/agents/new", "/tasks", "/tasks/new", "/usage", "/usage/calls", "/usage/alerts", "/account", "/account/keys")

# Controls that are shown but cannot be brought to a place where a pointer meets them.
_UNREACHABLE = """(where) => {
  const found = [];
  for (const el of document.querySelectorAll(`${where} :is(a[href], button, input, select, textarea, summary)`)) {
    if (!el.checkVisibility({ visibilityProperty: true }) || el.disabled || el.type === "file") continue;
    el.scrollIntoView({ block: "center", inline: "center", behavior: "instant" });
    const box = el.getBoundingClientRect();
    const [x, y] = [box.x + box.width / 2, box.y + Math.min(box.height / 2, innerHeight / 3)];
    const hit = document.elementFromPoint(x, y);
    const reached = hit && (el.contains(hit) || hit.contains(el) || hit.closest("label")?.control === el);
    if (!reached) found.push(`${el.outerHTML.slice(0, 120)} at ${x},${y}: ${hit?.className}`);
  }
  return found;
}"""


def test_everything_can_be_reached(visit: Open) -> None:
    """Each page is loaded in the smallest window, which then grows as it does when somebody zooms out."""
    one = visit(viewport=window(SIZES[0]))
    page = one.page
    for number in range(12):
        api(one, "POST", "chat/conversations", {"title": f"Conversation {number} with a title that is long"})
    for path in PATHS:
        page.set_viewport_size(window(SIZES[0]))
        page.goto(one.url + path)
        page.locator(".welcome" if path == "/" else ".page-inner").wait_for()
        page.wait_for_function(_LOADED)
        for size in SIZES:
            page.set_viewport_size(window(size))
            page.wait_for_function("([width, height]) => innerWidth === width && innerHeight === height", arg=list(size))
            assert page.evaluate("document.documentElement.scrollWidth") <= size[0], (path, size)
            assert page.evaluate(_UNREACHABLE, ".main") == [], (path, size)


def window(size: tuple[int, int]) -> dict[str, int]:
    return {"width": size[0], "height": size[1]}


def test_the_conversations_and_the_account_can_be_reached(visit: Open) -> None:
    one = visit(viewport=window(SIZES[0]))
    page = one.page
    for number in range(12):
        api(one, "POST", "chat/conversations", {"title": f"Conversation {number} with a title that is long"})
    for size in SIZES:
        page.set_viewport_size(window(size))
        the_side_can_be_reached(one, size)


def the_side_can_be_reached(one: Visit, size: tuple[int, int]) -> None:
    page = one.page
    page.goto(one.url)
    page.locator(".welcome").wait_for()
    page.get_by_role("button", name="Conversations", exact=True).click()
    page.wait_for_function("() => document.querySelector('.sidebar').getBoundingClientRect().x === 0")
    page.locator(".conversation").nth(11).wait_for()
    assert page.locator(".side-scroll").bounding_box()["height"] >= 150, "several conversations are seen at once"
    assert page.evaluate(_UNREACHABLE, ".sidebar") == []
    account = page.get_by_role("button", name=re.compile("Account of"))
    account.click()
    page.get_by_role("menu").wait_for()
    assert page.evaluate(_UNREACHABLE, ".menu") == []
    page.keyboard.press("Escape")
    page.get_by_label("Search conversations").focus()
    for _ in range(60):
        page.keyboard.press("Tab")
        if account.evaluate("button => button === document.activeElement"):
            break
    box = account.bounding_box()
    assert account.evaluate("button => button === document.activeElement"), "by keyboard, too"
    assert box["y"] >= 0 and box["y"] + box["height"] <= size[1] + 1, "what has the focus is seen"


def test_the_side_follows_the_width_when_the_page_is_zoomed(visit: Open) -> None:
    one = visit(viewport={"width": 1280, "height": 720})
    one.page.set_viewport_size({"width": 640, "height": 360})
    one.page.wait_for_function("() => document.querySelector('.sidebar').getBoundingClientRect().right <= 0")
    one.page.set_viewport_size({"width": 1280, "height": 720})
    one.page.wait_for_function("() => document.querySelector('.sidebar').getBoundingClientRect().x === 0")


def test_who_reads_the_end_stays_there_when_the_page_is_zoomed(visit: Open) -> None:
    one = visit(viewport={"width": 1280, "height": 720})
    one.ask("[[sim:chunks=300]] A long answer")
    one.answer()
    for width, height in ((640, 360), (320, 568)):
        one.page.set_viewport_size({"width": width, "height": height})
        one.page.wait_for_function(
            "() => { const box = document.querySelector('.scroller'); return box.scrollHeight - box.scrollTop - box.clientHeight < 60; }"
        )
