"""Every button, link and menu item of every section is pressed once: none may break the page."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.browser.visit import Visit, api
from tests.kit.servers.live import Live

pytestmark = [pytest.mark.browser, pytest.mark.long]
Open = Callable[..., Visit]
SLOW = "[[sim:chunks=400,pace=100]] a very long story"

# What can be pressed in the section and in what lies above it. Each is named by its words, numbers left out: rows are alike.
_ACTIONS = """(where) => {
  const found = [...document.querySelectorAll(`${where} :is(button, summary, a[href^="/"]:not([target]), input[type=checkbox])`)];
  const shown = found.filter((el) => !el.disabled && el.checkVisibility({ visibilityProperty: true }));
  window.actions = new Map();
  for (const el of shown) {
    const words = (el.getAttribute("aria-label") || el.textContent || el.closest("label")?.textContent || el.id).trim().slice(0, 80);
    const name = `${el.localName} ${words.replace(/[0-9a-f-]{36}/g, "").replace(/\\\\d+/g, "#")}`;
    if (!window.actions.has(name)) window.actions.set(name, el);
  }
  return [...window.actions.keys()];
}"""
_PRESS = "(name) => window.actions.get(name)?.click()"
_NESTED = """() => {
  const nested = document.querySelectorAll(":is(a, button) :is(a, button, input, select, textarea, summary)");
  return [...nested].map((el) => el.outerHTML.slice(0, 200));
}"""
_GO = "(path) => { history.pushState(null, '', path); dispatchEvent(new PopStateEvent('popstate')); }"
LAST = ("delete", "revoke", "share", "cancel run")


@pytest.fixture(scope="module")
def worker(live: Live) -> Iterator[None]:
    quiet = ["--without-gossip", "--without-mingle", "--loglevel", "WARNING"]
    live.spawn("worker", "-m", "celery", "-q", "-A", "aiagents", "worker", "-P", "solo", "-Q", "celery,tasks", *quiet)
    yield
    live.stop("worker", signal.SIGKILL)


class Presser:
    """Presses what a section offers, one after the other, what destroys last."""

    def __init__(self, one: Visit) -> None:
        self.one, self.page = one, one.page
        self.pressed: list[str] = []

    def section(self, path: str) -> None:
        done: set[str] = set()
        for _ in range(80):
            self.page.evaluate(_GO, path)
            self.settle()
            assert self.page.evaluate(_NESTED) == [], path
            names = [name for name in self.page.evaluate(_ACTIONS, ".main") if name not in done]
            if not names:
                return
            name = min(names, key=lambda name: any(word in name.lower() for word in LAST))
            done.add(name)
            self.press(path, name)
            if self.page.locator(".menu").count():
                self.menu(path, name)
        raise AssertionError(f"{path}: no end of what can be pressed: {sorted(done)}")

    def press(self, path: str, name: str) -> None:
        self.pressed.append(f"{path}: {name}")
        self.page.evaluate(_PRESS, name)
        self.settle()
        self.dialog(path)
        try:
            self.one.check()
        except AssertionError as broken:
            raise AssertionError(f"after {self.pressed[-1]!r}: {broken}") from None

    def menu(self, path: str, anchor: str) -> None:
        items = sorted(self.page.evaluate(_ACTIONS, ".menu"), key=lambda name: any(word in name.lower() for word in LAST))
        for item in items:
            if not self.page.locator(".menu").count():
                self.page.evaluate(_GO, path)
                self.settle()
                self.page.evaluate(_ACTIONS, ".main")
                self.page.evaluate(_PRESS, anchor)
            self.page.evaluate(_ACTIONS, ".menu")
            self.press(path, item)
        self.page.keyboard.press("Escape")

    def dialog(self, path: str) -> None:
        """Every button of a dialog is pressed once at most; then it is closed."""
        for _ in range(3):
            dialog = self.page.locator("dialog[open]")
            if not dialog.count():
                return
            self.pressed.append(f"{path}: the dialog {dialog.last.get_attribute('aria-label')!r}")
            assert self.page.evaluate(_NESTED) == [], self.pressed[-1]
            for field in dialog.last.locator("input:not([type=search]):not([type=checkbox]), textarea").all():
                if field.is_visible() and not field.input_value():
                    field.fill("1")
            buttons = dialog.last.locator("footer button, .model-row, .goal")
            if buttons.count():
                buttons.last.click()
                self.settle()
            if dialog.count():
                self.page.keyboard.press("Escape")
                self.settle()

    def settle(self) -> None:
        self.one.quiet()


def ended(one: Visit, path: str, *, open_too: bool = False) -> dict[str, Any]:
    """A task's newest run, once it has ended (or begun)."""
    wanted = {"succeeded", "failed", "cancelled"} | ({"running"} if open_too else set())
    for _ in range(300):
        runs = api(one, "GET", f"{path}/runs")["results"]
        if runs and runs[0]["status"] in wanted:
            return runs[0]
        one.page.wait_for_timeout(100)
    raise AssertionError("the run did not come so far")


def test_no_action_of_any_section_breaks_the_page(visit: Open, worker: None) -> None:
    one = visit()
    one.context.grant_permissions(["clipboard-read", "clipboard-write"])
    one.expected.append(r"status of 4\d\d")  # forms that are sent empty, tasks that run already
    tool = {"name": "current_time", "approval": "always"}
    agent = api(one, "POST", "agents/", {"name": "Presser", "model": "gpt-4o-mini", "tools": [tool]})
    api(one, "PATCH", f"agents/{agent['id']}", {"system_prompt": "Be short."})
    made = {"model": "gpt-4o-mini", "max_retries": 0}
    over = api(one, "POST", "tasks/", {"name": "Over", "input": "[[sim:chunks=3]] Hi", "schedule": {"type": "now"}, **made})
    run = ended(one, f"tasks/{over['id']}")
    blank = api(one, "POST", "tasks/", {"name": "Blank", "input": "[[sim:blank]] Hi", "schedule": {"type": "now"}, **made})
    blank_run = ended(one, f"tasks/{blank['id']}")
    every = {"type": "interval", "every_seconds": 86400}
    paused = api(one, "POST", "tasks/", {"name": "Paused", "input": "Hi", "schedule": every, **made})
    api(one, "POST", f"tasks/{paused['id']}/pause", {})
    asking = api(one, "POST", "tasks/", {"name": "Ask", "agent_id": agent["id"], "input": "[[call current_time {}]]", "schedule": every})
    going = api(one, "POST", "tasks/", {"name": "Going", "input": SLOW, "schedule": {"type": "now"}, **made})
    going_run = ended(one, f"tasks/{going['id']}", open_too=True)
    one.ask("[[sim:chunks=3]] Hello")
    one.answer()
    chat = f"/?c={one.conversation_id()}"

    presser = Presser(one)
    for path in (
        f"/tasks/{going['id']}/runs/{going_run['id']}", f"/tasks/{going['id']}", f"/tasks/{over['id']}", f"/tasks/{paused['id']}",
        f"/tasks/{asking['id']}", f"/tasks/{over['id']}/runs/{run['id']}", f"/tasks/{blank['id']}/runs/{blank_run['id']}", "/tasks/new",
        f"/tasks/{paused['id']}/edit", "/tasks", "/agents/new", "/agents", f"/agents/{agent['id']}/versions", f"/agents/{agent['id']}/runs",
        f"/agents/{agent['id']}", "/usage", "/usage/calls", "/usage/alerts", "/account/keys", "/account", "/", chat,
    ):  # fmt: skip
        presser.section(path)
    assert len(presser.pressed) > 100, presser.pressed


def test_run_now_and_cancel_run_leave_the_task_standing(visit: Open, worker: None) -> None:
    one = visit()
    task = api(one, "POST", "tasks/", {"name": "Twice", "input": SLOW, "schedule": {"type": "manual"}, "model": "gpt-4o-mini"})
    one.page.goto(f"{one.url}/tasks/{task['id']}")
    one.page.get_by_role("button", name="Run now: Twice").click()
    one.page.get_by_role("button", name="Cancel run: Twice").click()
    one.page.get_by_role("button", name="Run now: Twice").wait_for()
    one.page.get_by_role("heading", name="Twice").last.wait_for()
    one.page.get_by_role("link", name="Run 1").wait_for()
