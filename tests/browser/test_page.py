"""The chat page around the answers: accounts, conversations, settings, small screens, keyboard."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable

import pytest

from tests.browser.visit import Visit
from tests.kit.servers.live import PASSWORD

pytestmark = [pytest.mark.browser, pytest.mark.long]
Open = Callable[..., Visit]


def test_an_account_is_made_kept_over_a_reload_and_left(visit: Open) -> None:
    one = visit(signed_in=False)
    page = one.page
    page.goto(one.url)
    page.get_by_role("button", name="Create an account").click()
    page.get_by_label("Name").fill("Grace")
    page.get_by_label("Email").fill(email := "grace@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()
    page.wait_for_selector(".welcome")
    page.reload()
    page.wait_for_selector(".welcome")
    kept = page.evaluate("JSON.stringify([localStorage, document.cookie, location.href])")
    assert "eyJ" not in kept
    assert page.evaluate("sessionStorage.getItem('aiagents.refresh')")

    page.get_by_role("button", name=re.compile("Account of")).click()
    page.get_by_role("menuitem", name="Sign out", exact=True).click()
    page.wait_for_selector(".login-card")
    assert page.evaluate("sessionStorage.length") == 0

    one.expected.append("status of 401")
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password").fill("not the password at all")
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_text("The email or the password is not right.").wait_for()


@pytest.mark.parametrize("message", ["This site takes no new accounts.", "Ask <b>Ann</b> & Bob."])
def test_where_registration_is_closed_the_page_says_so_and_has_no_form_for_it(visit: Open, message: str) -> None:
    one = visit(signed_in=False)

    def closed(route) -> None:
        answer = route.fetch()
        text = answer.text().replace('data-registration-open="true"', 'data-registration-open="false"')
        text = re.sub('data-registration-message="[^"]*"', f'data-registration-message="{html.escape(message)}"', text)
        route.fulfill(response=answer, body=text)

    one.page.route(one.url + "/", closed)
    one.page.goto(one.url)
    one.page.get_by_role("button", name="Sign in", exact=True).wait_for()
    one.page.locator(".turn", has_text=message).wait_for()
    assert one.page.get_by_role("button", name="Create an account").count() == 0
    assert one.page.get_by_text("New here?").count() == 0


def test_requests_whose_token_ended_share_one_renewal(visit: Open) -> None:
    one = visit()
    one.expected.append("status of 401")
    refused: set[str] = set()
    renewals: list[str] = []

    def refuse_once(route, request) -> None:
        path = request.url.split("?")[0]
        if path in refused:
            return route.fallback()
        refused.add(path)
        route.fulfill(
            status=401, content_type="application/json", body=json.dumps({"error": {"type": "not_authenticated", "message": "Ended."}})
        )

    one.page.route(re.compile("/api/v1/(billing/models|chat|auth/profile|auth/ws-ticket)"), refuse_once)
    one.page.on("request", lambda request: renewals.append(request.url) if request.url.endswith("/auth/refresh") else None)
    one.page.reload()
    one.page.wait_for_selector(".welcome")
    one.page.locator(".who").wait_for()
    assert len(refused) >= 3
    # One at the reload (nothing is in memory), one for all that were refused together.
    assert len(renewals) == 2


def test_a_conversation_is_renamed_pinned_archived_found_and_deleted(visit: Open) -> None:
    one = visit()
    page = one.page
    one.ask("[[sim:chunks=3]] The colour of ravens")
    one.answer()
    row = page.locator(".conversation")

    def act(name: str) -> None:
        row.hover()
        row.get_by_role("button").click()
        page.get_by_role("menuitem", name=name, exact=True).click()

    act("Rename")
    page.get_by_label("Title").fill("Ravens & crows")
    page.keyboard.press("Enter")
    page.locator(".conversation", has_text="Ravens & crows").wait_for()
    act("Pin")
    page.locator(".conversations h2", has_text="Pinned").wait_for()
    page.get_by_label("Search conversations").fill("crows")
    page.locator(".conversations h2", has_text="Found").wait_for()
    page.locator(".conversation", has_text="Ravens").wait_for()
    page.get_by_label("Search conversations").fill("")
    page.locator(".conversations h2", has_text="Pinned").wait_for()
    act("Archive")
    page.get_by_text("Your conversations will stand here.").wait_for()
    page.locator(".archive-switch").click()
    page.locator(".conversations h2", has_text="Archived").wait_for()
    act("Delete")
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.get_by_text("The archive is empty.").wait_for()
    page.wait_for_selector(".welcome")


def test_a_model_is_chosen_by_name_and_a_system_prompt_is_kept(visit: Open) -> None:
    one = visit()
    page = one.page
    page.locator(".picker").click()
    page.locator(".model-row").first.wait_for()
    page.get_by_label("Search models").fill("gpt-4o-mini")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Conversation settings").click()
    page.get_by_label("System prompt").fill("Answer in one word.")
    page.get_by_label("Longest answer").fill("50")
    page.get_by_role("button", name="Save").click()
    one.ask("[[sim:chunks=3]] Hello")
    one.answer()
    stored = one.fetch(f"{one.url}/api/v1/chat/conversations/{one.conversation_id()}")["settings"]
    assert stored["model"] == one.stored()[-1]["model"] == "gpt-4o-mini"
    assert (stored["system_prompt"], stored["max_output_tokens"]) == ("Answer in one word.", 50)


def test_it_works_at_360_pixels_with_a_drawer_and_without_sideways_scrolling(visit: Open) -> None:
    one = visit(viewport={"width": 360, "height": 700}, is_mobile=True, has_touch=True)
    page = one.page
    one.ask("[[sim:chunks=20]] " + "averyverylongword" * 12)
    one.answer()
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    sidebar = page.locator(".sidebar")
    assert sidebar.bounding_box()["x"] < -200
    page.get_by_role("button", name="Conversations", exact=True).click()
    page.wait_for_function("() => document.querySelector('.sidebar').getBoundingClientRect().x === 0")
    page.locator(".new-chat").click()
    page.wait_for_selector(".welcome")
    page.wait_for_function("() => document.querySelector('.sidebar').getBoundingClientRect().right <= 0")


def test_it_can_be_used_by_keyboard_alone(visit: Open) -> None:
    one = visit()
    page = one.page
    page.get_by_label("Your message").focus()
    page.keyboard.type("first line")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("second line")
    page.keyboard.press("Enter")
    one.answer()
    assert page.locator(".question .plain").inner_text() == "first line\nsecond line"
    account = page.get_by_role("button", name=re.compile("Account of"))
    account.focus()
    page.keyboard.press("Enter")
    page.get_by_role("menu").wait_for()
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.role") == "menuitem"
    page.keyboard.press("Escape")
    assert page.get_by_role("menu").count() == 0
    assert account.evaluate("button => button === document.activeElement")


def test_a_link_to_a_conversation_opens_signed_in_in_a_second_tab(visit: Open) -> None:
    one = visit()
    one.ask("[[sim:chunks=5]] Share me")
    one.answer()
    tab = one.new_page()
    tab.goto(one.page.url)
    tab.locator(".question", has_text="Share me").wait_for()
    # However long the first tab takes to answer: a machine that is busy, a tab in the background.
    slow = one.new_page()
    slow.add_init_script("""
      const send = BroadcastChannel.prototype.postMessage;
      BroadcastChannel.prototype.postMessage = function (data) { setTimeout(() => send.call(this, data), 1000); };
    """)
    slow.goto(one.page.url)
    slow.locator(".question", has_text="Share me").wait_for()
    one.page.get_by_role("button", name=re.compile("Account of")).click()
    one.page.get_by_role("menuitem", name="Sign out", exact=True).click()
    tab.wait_for_selector(".login-card")
