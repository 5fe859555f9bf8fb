"""The account page: preferences the chat takes over, a password, and keys that are seen once and work."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from collections.abc import Callable

import pytest

from tests.browser.visit import Visit
from tests.kit.servers.live import PASSWORD, Live

pytestmark = [pytest.mark.browser, pytest.mark.long]
Open = Callable[..., Visit]


def mine(one: Visit, path: str) -> dict:
    return one.fetch(f"{one.url}/api/v1/{path}")


def status_with(one: Visit, key: str) -> int:
    request = urllib.request.Request(f"{one.url}/v1/models", headers={"Authorization": f"Bearer {key}"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as refused:
        return refused.code


def test_a_key_is_made_seen_once_works_and_is_revoked(visit: Open) -> None:
    one = visit()
    page = one.page
    page.locator(".account").click()
    page.get_by_role("menuitem", name="Account and keys").click()
    page.get_by_role("link", name="API keys").click()
    page.get_by_text("No key yet.").wait_for()
    page.get_by_role("button", name="New key").click()
    page.get_by_label("Dollars a month").fill("a lot")
    page.get_by_label("Name").fill("nightly report")
    page.get_by_label("billing Read usage and costs").check()
    page.get_by_label("Ends").select_option("30")
    page.get_by_role("button", name="Make key").click()
    page.get_by_text(re.compile("valid number", re.IGNORECASE)).wait_for()
    assert page.get_by_label("Name").input_value() == "nightly report", "nothing that was typed is lost"
    page.get_by_label("Dollars a month").fill("2.50")
    page.get_by_role("button", name="Make key").click()
    key = page.get_by_label("The key", exact=True).inner_text()
    assert key.startswith("aia_") and status_with(one, key) == 200
    assert f"{one.url}/v1" in page.locator(".sample").first.inner_text()
    page.get_by_role("button", name="I have kept it").click()
    (stored,) = mine(one, "auth/api-keys")["results"]
    assert (stored["name"], stored["scopes"], stored["monthly_budget_usd"]) == ("nightly report", ["billing", "chat"], "2.50000000")
    page.get_by_role("row", name=re.compile("nightly report")).wait_for()
    assert key not in page.content()
    page.get_by_role("button", name="Revoke nightly report").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    page.get_by_text("No key yet.").wait_for()
    assert status_with(one, key) == 401
    one.expected.append("status of 400")


def test_preferences_are_saved_and_the_chat_takes_them_over(visit: Open) -> None:
    one = visit()
    page = one.page
    one.expected.append("status of 400")
    page.goto(f"{one.url}/account")
    page.get_by_label("Name").fill("Ada of the Engine")
    page.get_by_label("Time zone").fill("Nowhere/At all")
    page.get_by_role("button", name="Save").click()
    page.get_by_text("There is no such time zone.").wait_for()
    page.get_by_label("Time zone").fill("Europe/Lisbon")
    page.get_by_label("What automatic choice looks for").select_option("cheapest")
    page.get_by_label("Colours").select_option("dark")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.get_by_role("button", name="Save").click()
    page.locator(".who", has_text="Ada of the Engine").wait_for()
    preferences = mine(one, "auth/profile")["preferences"]
    assert preferences == {"default_model": "auto", "goal": "cheapest", "time_zone": "Europe/Lisbon"}
    page.get_by_role("button", name="New chat").first.click()
    page.get_by_role("button", name="Model: Auto · Cheapest").wait_for()


def test_a_changed_password_keeps_this_session_and_ends_the_others(visit: Open, live: Live) -> None:
    email = "changes-a-password@example.com"
    made = live.call("POST", "/api/v1/auth/register", {"email": email, "password": PASSWORD}, key="")
    other = live.call("POST", "/api/v1/auth/login", {"email": email, "password": PASSWORD}, key="").json["access"]
    one = visit(signed_in=False)
    page = one.page
    one.expected.append("status of 400")
    one.enter(made.json["refresh"])
    page.goto(f"{one.url}/account")
    page.get_by_label("Present password").fill("something else entirely")
    page.get_by_label("New password", exact=True).fill("a new and better password")
    page.get_by_label("New password again").fill("a new and worse password")
    page.get_by_role("button", name="Change password").click()
    page.get_by_text("The two are not the same.").wait_for()
    page.get_by_label("New password again").fill("a new and better password")
    page.get_by_role("button", name="Change password").click()
    page.locator(".form-error", has_text=re.compile("\\w")).first.wait_for()
    assert page.get_by_label("Present password").get_attribute("aria-invalid") == "true"
    page.get_by_label("Present password").fill(PASSWORD)
    page.get_by_role("button", name="Change password").click()
    page.get_by_text("The password is changed").wait_for()
    answer = live.call("POST", "/api/v1/auth/login", {"email": email, "password": "a new and better password"}, key="")
    assert answer.status == 200
    assert live.call("GET", "/api/v1/auth/profile", key=other).status == 401
    page.get_by_role("button", name="New chat").first.click()
    one.ask("[[sim:chunks=3]] Am I still signed in?")
    one.answer()


def test_on_a_phone_nothing_runs_over_the_edge(visit: Open) -> None:
    one = visit(viewport={"width": 390, "height": 780}, color_scheme="dark")
    for path in ("/account", "/account/keys"):
        one.page.goto(one.url + path)
        one.page.locator(".account-page .panel").first.wait_for()
        assert one.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
