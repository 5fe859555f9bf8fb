"""The usage page and the bell: what a person used and spent, what they are told about it, and what they change there."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser.visit import Visit
from tests.kit.servers.live import Live

pytestmark = [pytest.mark.browser, pytest.mark.long]
Open = Callable[..., Visit]
# A month of use with a key, and a limit of which more than 80 % is used.
_USED = """
from decimal import ROUND_UP, Decimal
from accounts import keys
from accounts.models import User
from billing.budgets import alerts; from billing.budgets import budgets; from billing.demo import service as demo
user = User.objects.get(pk="%s")
key, _ = keys.create(user, name="nightly robot", scopes=["chat"])
demo.make([demo.Person(user.pk, 1.0, [key.pk])], 600, 20, seed=user.pk.int)
spent = budgets.month_to_date(user).spent_usd
budgets.set_limit("user", user.pk, (spent / Decimal("0.9")).quantize(Decimal("0.0001"), ROUND_UP))
alerts.raise_due()
"""


def mine(one: Visit, path: str) -> Any:
    return one.fetch(f"{one.url}/api/v1/{path}")


def used(one: Visit, live: Live) -> None:
    live.manage("shell", "-v0", "-c", _USED % mine(one, "auth/profile")["id"])


def enter(one: Visit, address: str = "/usage") -> None:
    one.page.goto(one.url + address)
    one.page.locator(".page .segments.tabs").wait_for()


def test_figures_over_time_are_the_apis_chosen_by_address_and_saved_as_a_file(visit: Open, live: Live, tmp_path: Path) -> None:
    one = visit(accept_downloads=True)
    page = one.page
    used(one, live)
    enter(one)
    summary = mine(one, "billing/summary")
    page.get_by_title(f"Exactly ${summary['spent_usd']}").wait_for()
    page.get_by_role("region", name="Forecast").get_by_text("Expected").wait_for()
    rows = page.locator(".figures tbody tr")
    rows.first.wait_for()
    lines = mine(one, "billing/usage?group_by=model")["results"]
    assert [row.split()[0] for row in rows.all_inner_texts()] == [line["label"].split()[0] for line in lines]
    assert rows.first.get_by_title(f"Exactly ${lines[0]['cost_usd']}").count() == 1
    drawn = "() => window.Chart?.getChart(document.querySelector('.usage-chart canvas'))?.data.datasets.map((one) => one.label) ?? []"
    page.wait_for_function(f"() => ({drawn})().length > 1")
    assert page.evaluate(drawn)[0] == lines[0]["label"]

    page.get_by_role("link", name="API key", exact=True).click()
    page.get_by_role("link", name="Tokens", exact=True).click()
    page.get_by_role("link", name="7 days").click()
    assert "period=7d&by=key&show=tokens" in page.url
    page.locator(".figures tbody", has_text="nightly robot").wait_for()
    page.get_by_role("button", name="Tokens in").click()
    assert page.get_by_role("columnheader", name="Tokens in").get_attribute("aria-sort") == "descending"
    canvas = page.locator(".usage-chart canvas")
    canvas.focus()
    page.keyboard.press("End")
    page.locator(".usage-chart p", has_text=re.compile("Without a key|nightly robot")).wait_for(state="attached")
    page.reload()
    page.locator(".figures tbody", has_text="nightly robot").wait_for()
    page.go_back()
    page.wait_for_url(re.compile("by=key&show=tokens$"))

    page.get_by_role("link", name="Custom").click()
    page.get_by_label("From", exact=True).fill("2026-02-02")
    page.get_by_label("To, included").fill("2026-02-01")
    page.get_by_text("The first day is after the last one.").wait_for()
    page.get_by_label("From", exact=True).fill("2020-02-01")
    page.wait_for_url(re.compile("from=2020-02-01&to=2026-02-01"))
    page.get_by_text("Nothing was used in this time.").wait_for()
    page.get_by_role("link", name="30 days").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Export CSV").click()
    download.value.save_as(tmp_path / "usage.csv")
    with (tmp_path / "usage.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert len(found) == sum(line["calls"] for line in lines) == 600


def test_single_calls_are_filtered_read_and_lead_to_their_conversation(visit: Open) -> None:
    one = visit()
    page = one.page
    one.ask("[[sim:chunks=3]] Count me")
    one.answer()
    conversation = one.conversation_id()
    page.get_by_role("link", name="Usage").click()
    page.get_by_role("link", name="Calls", exact=True).click()
    page.get_by_label("Made for").select_option("chat")
    page.wait_for_url(re.compile("purpose=chat"))
    chat = page.locator(".calls:not([aria-busy]) tbody tr", has_text="ok")
    chat.get_by_text("Chat", exact=True).wait_for()
    [call] = mine(one, "billing/usage?purpose=chat")["results"]
    assert chat.get_by_title(f"Exactly ${call['cost_usd']}").count() == 1
    chat.get_by_role("button").click()
    page.get_by_role("dialog").get_by_text(call["call_id"]).wait_for()
    page.keyboard.press("Escape")
    page.get_by_label("Status", exact=True).select_option("failed")
    page.get_by_text("No calls in this time that pass these filters.").wait_for()
    assert "status=failed" in page.url
    page.get_by_role("link", name="Without filters").click()
    page.get_by_label("Made for").select_option("chat")
    chat.get_by_role("link", name="Open chat").click()
    page.wait_for_url(re.compile(conversation))
    page.locator(".question", has_text="Count me").wait_for()


def test_advice_is_taken_with_one_click_and_alerts_and_limits_are_changed(visit: Open, live: Live) -> None:
    one = visit()
    page = one.page
    used(one, live)
    enter(one)
    advice = page.get_by_role("region", name="Recommendations")
    advice.locator("li").first.wait_for()
    report = mine(one, "billing/recommendations")
    assert advice.locator("li h3").count() == len(report["results"])
    advice.get_by_role("button", name=re.compile("my default$")).first.click()
    advice.get_by_text("is your default for new conversations").first.wait_for()
    wanted = {line["evidence"].get("alternative") or line["evidence"].get("replaced_by") for line in report["results"]}
    assert mine(one, "auth/profile")["preferences"]["default_model"] in wanted
    advice.get_by_role("button", name="Undo").first.click()
    advice.get_by_role("button", name="Undo").wait_for(state="detached")
    assert mine(one, "auth/profile")["preferences"]["default_model"] == "auto"

    bell = page.locator(".top .bell")
    page.get_by_role("button", name="Budget alerts, 2 new").wait_for()
    bell.click()
    panel = page.get_by_role("dialog", name="Budget alerts")
    panel.get_by_text("80 % of your monthly budget is used").wait_for()
    page.get_by_role("button", name="Budget alerts", exact=True).wait_for()
    assert mine(one, "billing/alerts")["unread"] == 0
    panel.get_by_role("link", name="All alerts and limits").click()
    page.wait_for_url(re.compile("/usage/alerts$"))

    page.get_by_label("Another share in percent").fill("120")
    page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_text("A whole number from 1 to 100.").wait_for()
    page.get_by_label("Another share in percent").fill("95")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Not at 50 %").click()
    page.get_by_label("Send me an e-mail, too").uncheck()
    page.get_by_role("button", name="Save").click()
    page.get_by_text("Saved.").wait_for()
    assert mine(one, "billing/alerts")["settings"] == {"enabled": True, "by_email": False, "thresholds": [80, 95, 100]}

    one.expected.append("status of 400")
    page.get_by_role("button", name="Add a limit").click()
    page.get_by_label("For", exact=True).select_option(label="nightly robot")
    page.get_by_label("Dollars a month").fill("much")
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    page.locator("#limit-amount[aria-invalid=true]").wait_for()
    page.get_by_label("Dollars a month").fill("2.50")
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    page.get_by_role("region", name="Monthly limits").locator("tr", has_text="nightly robot").last.wait_for()
    budgets = {row["label"]: row["limit_usd"] for row in mine(one, "billing/budgets")}
    assert budgets["nightly robot"] == "2.50000000"


def test_a_part_that_fails_says_so_and_is_tried_again(visit: Open) -> None:
    one = visit()
    one.expected.append("status of 503")
    body = json.dumps({"error": {"type": "unavailable", "message": "The books are away.", "request_id": "req-1"}})
    one.page.route(re.compile("/billing/usage"), lambda route: route.fulfill(status=503, content_type="application/json", body=body))
    enter(one)
    part = one.page.get_by_role("region", name="Use over time")
    part.get_by_text("The books are away.").wait_for()
    one.page.get_by_text("Spent this month").wait_for()
    one.page.unroute_all()
    part.get_by_role("button", name="Try again").click()
    part.get_by_text("Nothing was used in this time.").wait_for()


def test_it_fits_a_phone_in_the_dark_and_the_chart_follows_the_theme(visit: Open, live: Live) -> None:
    one = visit(viewport={"width": 390, "height": 800}, is_mobile=True, has_touch=True, color_scheme="dark", reduced_motion="reduce")
    page = one.page
    used(one, live)
    colour = "() => window.Chart?.getChart(document.querySelector('.usage-chart canvas'))?.data.datasets[0]?.backgroundColor"
    enter(one)
    page.wait_for_function(f"() => ({colour})() === '#8b9bff'")
    page.evaluate("document.documentElement.dataset.theme = 'light'")
    page.wait_for_function(f"() => ({colour})() === '#3f51d8'")
    for tab in ("Calls", "Alerts and limits", "Overview"):
        page.get_by_role("link", name=tab, exact=True).click()
        page.locator(".page table.data").first.wait_for()
        assert page.evaluate("[document.documentElement.scrollWidth, document.querySelector('.page-pane').scrollWidth]") == [390, 390]
