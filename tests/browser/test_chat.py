"""The chat page as a person uses it, on a real server."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from tests.browser.visit import Visit
from tests.live import PASSWORD, Live

pytestmark = [pytest.mark.browser, pytest.mark.slow]
Open = Callable[..., Visit]
SLOW = "[[sim:chunks=80,pace=30]] Tell me a long story"


def messages(live: Live, visit: Visit) -> list[dict]:
    return live.call("GET", f"/api/v1/chat/conversations/{visit.conversation_id()}/messages", key=visit.access).json["results"]


def test_an_account_is_made_kept_over_a_reload_and_left(visit: Open, live: Live) -> None:
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


def test_a_question_to_auto_is_answered_in_a_stream_with_its_cost_and_reasons(visit: Open, live: Live) -> None:
    one = visit()
    one.ask("[[sim:chunks=30,pace=40]] Which bridge is the oldest?")
    one.written(20)
    assert one.page.locator(".answer").get_attribute("data-status") == "streaming"
    answer = one.answer()
    stored = messages(live, one)[-1]
    assert answer.locator(".markdown").inner_text().split() == stored["content"].split()
    assert float(stored["cost_usd"]) > 0
    assert f"Exactly ${stored['cost_usd']}" == answer.locator(".cost").get_attribute("title")
    assert answer.locator(".badge.simulated").is_visible()
    answer.get_by_role("button", name="Why this model").click()
    dialog = one.page.get_by_role("dialog", name="Why this model")
    assert dialog.locator("tbody tr").count() >= 6
    assert dialog.locator("tr.used").count() == 1
    one.page.keyboard.press("Escape")
    one.page.locator(".conversation.current").get_by_text("bridge").wait_for()


def test_stopping_keeps_what_was_written_and_it_can_be_continued(visit: Open, live: Live) -> None:
    one = visit()
    one.ask(SLOW)
    one.written(30)
    one.page.get_by_role("button", name="Stop writing").click()
    answer = one.answer("cancelled")
    kept = answer.locator(".markdown").inner_text()
    assert 30 <= len(kept) < 400
    assert messages(live, one)[-1]["status"] == "cancelled"
    answer.get_by_role("button", name="Continue").click()
    one.answer("complete")
    assert one.page.locator(".answer .branches").inner_text() == "2/2"
    assert one.page.locator(".answer .markdown").inner_text().startswith(kept[:20])


def test_regenerating_and_editing_make_branches_that_can_be_switched(visit: Open, live: Live) -> None:
    one = visit()
    one.ask("[[sim:chunks=6]] First question")
    one.answer().get_by_role("button", name="Regenerate").click()
    one.page.locator(".answer .branches", has_text="2/2").wait_for()
    one.answer()
    one.page.locator(".answer").get_by_role("button", name="Previous branch").click()
    one.page.locator(".answer .branches", has_text="1/2").wait_for()

    question = one.page.locator(".question")
    question.hover()
    question.get_by_role("button", name="Edit this question").click()
    question.get_by_role("textbox").fill("[[sim:chunks=4]] Second question")
    question.get_by_role("button", name="Send").click()
    one.page.locator(".question .branches", has_text="2/2").wait_for()
    one.answer()
    assert [message["content"] for message in messages(live, one)][0] == "[[sim:chunks=4]] Second question"
    one.page.locator(".question").get_by_role("button", name="Previous branch").click()
    one.page.locator(".question", has_text="First question").wait_for()
    assert one.page.locator(".answer .branches").count() == 1


def test_an_answer_is_complete_after_a_reload_in_the_middle(visit: Open, live: Live) -> None:
    one = visit()
    one.ask(SLOW)
    one.written(40)
    one.conversation_id()
    one.page.reload()
    one.written(60)
    answer = one.answer()
    whole = messages(live, one)[-1]["content"]
    assert len(whole) > 400
    assert answer.locator(".markdown").inner_text().split() == whole.split()


def test_a_lost_connection_is_reopened_and_no_word_is_missing_or_twice(visit: Open, live: Live) -> None:
    one = visit()
    sockets: list = []

    def through(route) -> None:
        sockets.append(route)
        server = route.connect_to_server()
        route.on_message(server.send)
        server.on_message(route.send)

    one.page.route_web_socket(re.compile("/chat/ws"), through)
    one.page.reload()
    one.page.wait_for_selector(".welcome")
    one.ask(SLOW)
    one.written(60)
    sockets[-1].close(code=1012)
    answer = one.answer()
    assert len(sockets) >= 2
    assert answer.locator(".markdown").inner_text().split() == messages(live, one)[-1]["content"].split()


def test_two_conversations_are_answered_at_the_same_time(visit: Open) -> None:
    one = visit()
    one.ask("[[sim:chunks=60,pace=40]] Slow tale")
    one.written(20)
    first = one.conversation_id()
    one.page.get_by_role("button", name="New chat").first.click()
    one.page.wait_for_selector(".welcome")
    one.ask("[[sim:chunks=20,pace=20]] Quick tale")
    one.answer()
    assert one.page.locator(".live-dot").count() == 1
    one.page.locator(f'.conversation[data-id="{first}"] a').click()
    answer = one.answer()
    assert len(answer.locator(".markdown").inner_text().split()) == 60


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

    one.page.route(re.compile("/api/v1/(billing|chat|auth/profile|auth/ws-ticket)"), refuse_once)
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


def test_a_picture_goes_with_the_question_and_a_wrong_file_does_not(visit: Open, live: Live) -> None:
    one = visit()
    picture = bytes.fromhex(
        "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360f8cf50000003010100187d6fbc0000000049454e44ae426082"
    )
    chooser = one.page.locator("input[type=file]")
    chooser.set_input_files({"name": "page.html", "mimeType": "text/html", "buffer": b"<b>"})
    one.page.get_by_text("only PNG, JPEG, GIF and WebP").wait_for()
    chooser.set_input_files({"name": "dot.png", "mimeType": "image/png", "buffer": picture})
    one.page.locator(".attachments img").wait_for()
    one.ask("What is this?")
    one.answer()
    assert one.page.locator(".question img").evaluate("image => image.naturalWidth") == 1
    assert messages(live, one)[0]["parts"][0]["media_type"] == "image/png"
    one.page.reload()
    one.answer()
    assert one.page.locator(".question img").evaluate("image => image.naturalWidth") == 1


def test_a_model_is_chosen_by_name_and_a_system_prompt_is_kept(visit: Open, live: Live) -> None:
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
    stored = live.call("GET", f"/api/v1/chat/conversations/{one.conversation_id()}", key=one.access).json["settings"]
    assert stored["model"] == messages(live, one)[-1]["model"] == "gpt-4o-mini"
    assert (stored["system_prompt"], stored["max_output_tokens"]) == ("Answer in one word.", 50)


def test_a_failure_is_told_in_words_with_its_request_id_and_can_be_retried(visit: Open) -> None:
    one = visit()
    one.ask("[[sim:chunks=40,pace=20,die=12]] Break off")
    answer = one.answer("interrupted")
    assert answer.locator(".problem .request-id").inner_text().startswith("Request ")
    assert answer.locator(".markdown").inner_text().strip()
    answer.get_by_role("button", name="Retry").click()
    one.page.locator(".answer .branches", has_text="2/2").wait_for()


def test_an_answer_can_be_rated_and_the_rating_taken_back(visit: Open, live: Live) -> None:
    one = visit()
    one.ask("[[sim:chunks=3]] Rate me")
    answer = one.answer()
    answer.get_by_role("button", name="Bad answer").click()
    answer.get_by_role("button", name="Add a comment").click()
    one.page.get_by_label("Your comment").fill("Too short")
    one.page.get_by_role("button", name="Save").click()
    answer.get_by_role("button", name="Change your comment").wait_for()
    stored = messages(live, one)[-1]
    assert (stored["feedback"], stored["feedback_comment"]) == ("down", "Too short")
    answer.get_by_role("button", name="Bad answer").click()
    answer.get_by_role("button", name="Change your comment").wait_for(state="detached")
    assert messages(live, one)[-1]["feedback"] is None


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
    one.page.get_by_role("button", name=re.compile("Account of")).click()
    one.page.get_by_role("menuitem", name="Sign out", exact=True).click()
    tab.wait_for_selector(".login-card")
