"""The tasks page: made in the form, run by a real worker, watched live, and asked for a person's word."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator

import pytest

from tests.browser.visit import Visit, api
from tests.kit.servers.live import Live

pytestmark = [pytest.mark.browser, pytest.mark.long]
Open = Callable[..., Visit]


@pytest.fixture(scope="module")
def worker(live: Live) -> Iterator[None]:
    quiet = ["--without-gossip", "--without-mingle", "--loglevel", "WARNING"]
    live.spawn("worker", "-m", "celery", "-q", "-A", "aiagents", "worker", "-P", "solo", "-Q", "celery,tasks", *quiet)
    yield
    live.stop("worker", signal.SIGKILL)


def test_a_task_is_made_changed_run_and_watched(visit: Open, worker: None) -> None:
    one = visit()
    page = one.page
    one.expected.append("status of 400")
    page.get_by_role("link", name="Tasks").click()
    page.get_by_role("link", name="New task").last.click()
    page.get_by_label("Name", exact=True).fill("Morning news")
    page.get_by_label("Prompt", exact=False).first.fill("[[sim:chunks=30,pace=40]] What is new since {date}?")
    page.get_by_label("It runs").select_option("cron")
    page.get_by_label("Cron line").fill("61 9 * * *")
    page.get_by_label("Webhook").fill("ftp://example.com/hook")
    page.get_by_role("button", name="Make task").click()
    page.locator(".form-error", has_text=re.compile(r"\w")).first.wait_for()
    assert page.get_by_label("Webhook").get_attribute("aria-invalid") == "true"
    page.get_by_label("Webhook").fill("")
    page.get_by_role("button", name="Make task").click()
    page.locator("[aria-invalid=true]").and_(page.get_by_label("Cron line")).wait_for()
    assert page.get_by_label("Name", exact=True).input_value() == "Morning news", "nothing that was typed is lost"
    page.get_by_label("Cron line").fill("30 9 * * 1-5")
    page.get_by_label("Time zone").fill("Europe/Lisbon")
    page.get_by_label("Cost limit").fill("0.50")
    page.get_by_role("button", name="Make task").click()
    page.get_by_text("cron 30 9 * * 1-5 (Europe/Lisbon)").wait_for()
    (task,) = api(one, "GET", "tasks/")["results"]
    assert (task["schedule"]["cron"], task["max_cost_usd"], task["model"]) == ("30 9 * * 1-5", "0.50000000", "auto")

    page.get_by_role("button", name="Run now: Morning news").click()
    page.get_by_role("link", name="Run 1").click()
    page.get_by_text("running", exact=True).first.wait_for()
    page.wait_for_function("() => document.querySelector('.answer .markdown')?.textContent.length > 20")
    assert page.locator(".run-head .badge").inner_text() == "running", "the text is seen while it is written"
    page.locator(".run-head .badge", has_text="succeeded").wait_for()
    run = api(one, "GET", f"tasks/{task['id']}/runs")["results"][0]
    assert run["status"] == "succeeded" and page.locator(".answer .markdown").inner_text().strip()[:40] == run["output"].strip()[:40]

    page.get_by_role("link", name="Task", exact=True).click()
    page.get_by_role("button", name="Pause: Morning news").click()
    page.get_by_role("button", name="Resume: Morning news").wait_for()
    assert api(one, "GET", f"tasks/{task['id']}")["paused"] is True
    page.get_by_role("link", name="Edit Morning news").click()
    page.get_by_label("Name", exact=True).fill("Evening news")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("heading", name="Evening news").last.wait_for()
    changed = api(one, "GET", f"tasks/{task['id']}")
    assert (changed["name"], changed["schedule"]["cron"], changed["input"]) == ("Evening news", "30 9 * * 1-5", task["input"])
    page.get_by_role("button", name="Delete Evening news").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.get_by_text("A task asks a model or an agent by itself").wait_for()
    assert api(one, "GET", "tasks/")["results"] == []


def test_a_run_that_asks_is_counted_listed_and_allowed(visit: Open, worker: None) -> None:
    one = visit()
    page = one.page
    agent = api(
        one, "POST", "agents/", {"name": "Clock", "model": "gpt-4o-mini", "tools": [{"name": "current_time", "approval": "always"}]}
    )
    wanted = {"name": "Ask", "agent_id": agent["id"], "input": "[[call current_time {}]] what time is it", "schedule": {"type": "now"}}
    task = api(one, "POST", "tasks/", wanted)
    page.goto(f"{one.url}/tasks/{task['id']}")
    page.get_by_role("link", name="Run 1").click()
    page.get_by_role("group", name="Allow the tool current_time?").wait_for()
    page.goto(f"{one.url}/tasks")
    page.get_by_role("region", name="Waiting for you").get_by_text("what time is it").wait_for()
    page.locator(".page-link .count", has_text="1").wait_for()
    page.get_by_role("link", name="Run 1").click()
    page.get_by_role("group", name="Allow the tool current_time?").get_by_role("button", name="Allow").click()
    page.locator(".run-head .badge", has_text="succeeded").wait_for()


def test_on_a_phone_in_the_dark_nothing_runs_over_the_edge(visit: Open) -> None:
    one = visit(viewport={"width": 390, "height": 780}, color_scheme="dark")
    task = api(one, "POST", "tasks/", {"name": "A" * 90, "input": "word" * 200, "schedule": {"type": "manual"}})
    for path in ("/tasks", "/tasks/new", f"/tasks/{task['id']}", f"/tasks/{task['id']}/edit"):
        one.page.goto(one.url + path)
        one.page.locator(".tasks :is(.panel, .card)").first.wait_for()
        assert one.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
