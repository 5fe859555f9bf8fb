"""The agents page: an agent is made, changed, run and asked; what is wrong or gone is said where the person looks."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.visit import Visit
from tests.kit.servers.live import Live

pytestmark = [pytest.mark.browser, pytest.mark.long]
Open = Callable[..., Visit]


def api(one: Visit, method: str, path: str, body: Any = None) -> Any:
    request = urllib.request.Request(f"{one.url}/api/v1/{path}", json.dumps(body).encode() if body is not None else None, method=method)
    request.add_header("Authorization", f"Bearer {one.access}")
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read() or b"null")


def later(page: Any, wait_ms: int) -> Callable[[Any], None]:
    def go_on(route: Any) -> None:
        page.wait_for_timeout(wait_ms)
        route.continue_()

    return go_on


def made(one: Visit, **fields: Any) -> dict[str, Any]:
    return api(one, "POST", "agents/", {"name": "Clock", "model": "gpt-4o-mini", **fields})


def test_an_agent_is_made_changed_and_has_its_versions(visit: Open) -> None:
    one = visit()
    page = one.page
    page.get_by_role("link", name="Agents", exact=True).click()
    page.get_by_role("link", name="New agent").click()
    page.get_by_label("As people see it").fill("Accountant")
    page.get_by_label("System prompt").fill("Calculate.\nDo not guess.")
    page.get_by_label("Model", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Cheapest").click()
    page.get_by_label("Temperature").fill("0.2")
    page.get_by_role("checkbox", name="calculator").check()
    page.get_by_label("Approval of calculator").select_option("always")
    page.get_by_label("Cost limit").fill("$0.05")
    page.get_by_role("button", name="Create agent").click()
    page.wait_for_url(re.compile(r"/agents/[0-9a-f-]{36}$"))
    agent = one.fetch(f"{one.url}/api/v1/agents/{page.url.rpartition('/')[2]}")
    assert (agent["name"], agent["model"], agent["goal"], agent["parameters"]) == ("Accountant", "auto", "cheapest", {"temperature": 0.2})
    assert (agent["tools"], agent["max_cost_usd"]) == ([{"name": "calculator", "approval": "always"}], "0.05000000")

    page.get_by_label("System prompt").fill("Calculate.\nNever guess.")
    page.get_by_label("Monthly budget").fill("3")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("Saved as version 2").wait_for()
    budgets = one.fetch(f"{one.url}/api/v1/billing/budgets")
    assert [row["limit_usd"] for row in budgets if row["scope_id"] == agent["id"]] == ["3.00000000"]

    page.get_by_role("link", name="Versions").click()
    newest = page.get_by_role("listitem", name="Version 2")
    assert newest.locator("ins").inner_text().strip() == "+ Never guess." and newest.locator("del").count() == 1
    page.get_by_role("button", name="Restore").click()
    page.get_by_role("listitem", name="Version 3").wait_for()
    assert one.fetch(f"{one.url}/api/v1/agents/{agent['id']}")["system_prompt"] == "Calculate.\nDo not guess."

    page.get_by_role("button", name="More for Accountant").click()
    page.get_by_role("menuitem", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.wait_for_url(re.compile("/agents$"))
    page.get_by_label("Search agents").wait_for()
    assert one.fetch(f"{one.url}/api/v1/agents/?mine=true")["results"] == []
    one.check()


def test_a_run_asks_in_the_page_and_is_kept_with_its_steps(visit: Open) -> None:
    one = visit()
    page = one.page
    agent = made(one, tools=[{"name": "calculator"}, {"name": "current_time", "approval": "always"}])
    page.goto(f"{one.url}/agents/{agent['id']}/runs")
    page.get_by_label("Input").fill('[[call calculator {"expression": "6*7"}]][[say It is **42**.]]')
    page.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_url(re.compile(r"/runs/[0-9a-f-]{36}$"))
    page.locator(".run-head .badge", has_text="succeeded").wait_for()
    run = one.fetch(f"{one.url}/api/v1/agents/runs/{page.url.rpartition('/')[2]}")
    assert page.locator(".answer .markdown blockquote").inner_text().strip() == "= 42"
    page.locator(".steps summary").first.click()
    page.locator(".steps .fold-body", has_text="It is **42**.").wait_for()
    assert page.locator(".steps > li").count() == len(run["steps"]) == 3
    assert page.get_by_title(f"Exactly ${run['cost_usd']}").count() == 1

    # The box of the run before is not offered again while the agent is fetched: what is typed into it would be lost.
    for path, wait in ((agent["id"], 400), (f"{agent['id']}/run", 1000)):
        page.route(f"**/api/v1/agents/{path}", later(page, wait))
    page.get_by_role("link", name="Run again").click()
    page.wait_for_function("() => document.querySelector('.agents textarea')?.value.includes('6*7')")
    page.get_by_label("Input").fill("[[call current_time {}]]")
    page.get_by_role("button", name="Run", exact=True).click()
    asked = page.get_by_role("group", name="Allow the tool current_time?")
    asked.wait_for()
    page.locator(".run-head .badge", has_text="waits for you").wait_for()
    page.get_by_role("link", name="Agents", exact=True).last.click()
    page.get_by_role("region", name="Waiting for you").get_by_role("link").first.click()
    page.get_by_role("button", name="Deny").click()
    # Nobody works off parked runs here: what was said stands in the run.
    page.get_by_text(re.compile("^Denied")).wait_for(state="attached")
    run_id = page.url.rpartition("/")[2]
    assert [step["decision"] for step in one.fetch(f"{one.url}/api/v1/agents/runs/{run_id}")["steps"]] == [None, "rejected"]
    page.get_by_role("button", name="Cancel").click()
    page.locator(".run-head .badge", has_text="cancelled").wait_for()
    page.reload()
    page.locator(".run-head .badge", has_text="cancelled").wait_for()
    page.goto(f"{one.url}/agents/{agent['id']}/runs?status=cancelled")
    page.locator(".runs tbody tr").wait_for()
    assert page.locator(".runs tbody tr").count() == 1
    one.check()


def test_an_agent_is_chosen_as_chat_partner_and_is_missed_when_it_is_gone(visit: Open) -> None:
    one = visit()
    one.expected.append("status of 404")
    page = one.page
    agent = made(one, name="Bookkeeper", description="Knows every number.")
    page.goto(f"{one.url}/?agent={agent['id']}")
    page.locator(".welcome h2", has_text="Bookkeeper").wait_for()
    page.get_by_role("button", name="Agent: Bookkeeper").wait_for()
    one.ask("[[sim:chunks=3]] Hello")
    answer = one.answer()
    assert answer.locator(".model-name").inner_text() == "Bookkeeper"
    assert one.stored()[-1]["agent_id"] == agent["id"]
    settings = f"{one.url}/api/v1/chat/conversations/{one.conversation_id()}"

    def choose(what: str, name: str) -> None:
        page.locator(".picker").click()
        page.get_by_label("Search models and agents").fill(what)
        page.locator(".model-row", has_text=name).first.wait_for()
        with page.expect_response(lambda answer: answer.request.method == "PATCH"):
            page.keyboard.press("Enter")

    choose("gpt-4o-mini", "GPT-4o mini")
    assert one.fetch(settings)["settings"] == {"model": "gpt-4o-mini"}
    choose("bookkeeper", "Bookkeeper")
    assert one.fetch(settings)["settings"] == {"agent_id": agent["id"]}
    api(one, "DELETE", f"agents/{agent['id']}")
    one.ask("Still there?")
    page.get_by_text("This agent was deleted or is no longer shared").wait_for()
    assert page.get_by_label("Your message").input_value() == "Still there?"
    page.get_by_role("button", name="Choose another").click()
    page.get_by_role("dialog").get_by_role("button", name="Fastest").click()
    page.get_by_text("This agent was deleted").wait_for(state="hidden")
    one.check()


def test_what_is_wrong_stands_at_its_field_and_nothing_typed_is_lost(visit: Open) -> None:
    one = visit()
    one.expected += ["status of 400", "status of 404"]
    page = one.page
    page.goto(f"{one.url}/agents/new")
    page.get_by_label("System prompt").fill("Words that took a while.")
    page.get_by_label("Temperature").fill("7")
    page.get_by_role("button", name="Create agent").click()
    page.get_by_text("An agent needs a name.").wait_for()
    page.get_by_label("As people see it").fill("Poet")
    page.get_by_role("button", name="Create agent").click()
    page.locator("[aria-invalid=true]").wait_for()
    assert page.evaluate("document.activeElement.value") == "7"
    page.get_by_role("link", name="Usage").click()
    page.locator(".usage").wait_for()
    page.go_back()
    page.get_by_label("System prompt").wait_for()
    assert page.get_by_label("System prompt").input_value() == "Words that took a while."
    page.goto(f"{one.url}/agents/01900000-0000-7000-8000-000000000000")
    page.get_by_text("This agent was deleted, or it is no longer shared with you.").wait_for()
    one.check()


def test_somebody_elses_agent_is_read_run_and_asked_but_not_changed(visit: Open, live: Live) -> None:
    owner, one = visit(), visit(viewport={"width": 390, "height": 780}, color_scheme="dark")
    person = api(owner, "GET", "auth/profile")["id"]
    code = f"from accounts.models import User; from agents.definitions import sharing; sharing.allow(User.objects.get(pk='{person}'))"
    live.manage("shell", "-v0", "-c", code)
    agent = made(owner, name="Shared helper", visibility="shared", system_prompt="Help. " * 80, tools=[{"name": "calculator"}])
    page = one.page
    page.goto(f"{one.url}/agents?mine=false&search=Shared+helper")
    page.get_by_role("link", name="Shared helper", exact=True).first.click()
    page.get_by_text("only they can change it").wait_for()
    assert page.get_by_role("button", name="Save").count() == page.get_by_role("link", name="Versions").count() == 0
    wide = "document.documentElement.scrollWidth"
    assert page.evaluate(wide) == 390
    page.get_by_role("link", name="Run", exact=True).click()
    page.get_by_label("Input").fill("[[sim:chunks=3]] " + "averyverylongword" * 12)
    page.get_by_role("button", name="Run", exact=True).click()
    page.locator(".run-head .badge", has_text="succeeded").wait_for()
    assert page.evaluate(wide) == 390
    api(owner, "PATCH", f"agents/{agent['id']}", {"visibility": "private"})
    with pytest.raises(urllib.error.HTTPError):
        api(one, "GET", f"agents/{agent['id']}")
    one.check()
