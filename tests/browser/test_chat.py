"""The chat page while answers are asked for and come."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.browser.visit import Visit

pytestmark = pytest.mark.browser
Open = Callable[..., Visit]
SLOW = "[[sim:chunks=80,pace=30]] Tell me a long story"


def test_a_question_to_auto_is_answered_in_a_stream_with_its_cost_and_reasons(visit: Open) -> None:
    one = visit()
    one.ask("[[sim:chunks=60,pace=40]] Which bridge is the oldest?")
    one.page.locator('.answer[data-status="streaming"]').wait_for()
    one.written(20)
    answer = one.answer()
    stored = one.stored()[-1]
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


def test_stopping_keeps_what_was_written_and_it_can_be_continued(visit: Open) -> None:
    one = visit()
    one.ask(SLOW)
    one.written(30)
    one.page.get_by_role("button", name="Stop writing").click()
    answer = one.answer("cancelled")
    kept = answer.locator(".markdown").inner_text()
    assert 30 <= len(kept) < 400
    assert one.stored()[-1]["status"] == "cancelled"
    answer.get_by_role("button", name="Continue").click()
    one.answer("complete")
    assert one.page.locator(".answer .branches").inner_text() == "2/2"
    assert one.page.locator(".answer .markdown").inner_text().startswith(kept[:20])


def test_regenerating_and_editing_make_branches_that_can_be_switched(visit: Open) -> None:
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
    assert one.stored()[0]["content"] == "[[sim:chunks=4]] Second question"
    one.page.locator(".question").get_by_role("button", name="Previous branch").click()
    one.page.locator(".question", has_text="First question").wait_for()
    assert one.page.locator(".answer .branches").count() == 1


def test_an_answer_is_complete_after_a_reload_in_the_middle(visit: Open) -> None:
    one = visit()
    one.ask(SLOW)
    one.written(40)
    one.conversation_id()
    one.page.reload()
    one.written(60)
    answer = one.answer()
    whole = one.stored()[-1]["content"]
    assert len(whole) > 400
    assert answer.locator(".markdown").inner_text().split() == whole.split()


def test_a_lost_connection_is_reopened_and_no_word_is_missing_or_twice(visit: Open) -> None:
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
    assert answer.locator(".markdown").inner_text().split() == one.stored()[-1]["content"].split()


def test_two_conversations_are_answered_at_the_same_time(visit: Open) -> None:
    one = visit()
    one.ask("[[sim:chunks=200,pace=40]] Slow tale")  # eight seconds, also for a busy machine
    one.written(20)
    first = one.conversation_id()
    one.page.get_by_role("button", name="New chat").first.click()
    one.page.wait_for_selector(".welcome")
    one.ask("[[sim:chunks=20,pace=20]] Quick tale")
    one.answer()
    assert one.page.locator(".live-dot").count() == 1
    one.page.locator(f'.conversation[data-id="{first}"] a').click()
    answer = one.answer()
    assert len(answer.locator(".markdown").inner_text().split()) == 200


def test_a_picture_goes_with_the_question_and_a_wrong_file_does_not(visit: Open) -> None:
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
    assert one.stored()[0]["parts"][0]["media_type"] == "image/png"
    one.page.reload()
    one.answer()
    assert one.page.locator(".question img").evaluate("image => image.naturalWidth") == 1


def test_a_failure_is_told_in_words_with_its_request_id_and_can_be_retried(visit: Open) -> None:
    one = visit()
    one.ask("[[sim:chunks=40,pace=20,die=12]] Break off")
    answer = one.answer("interrupted")
    assert answer.locator(".problem .request-id").inner_text().startswith("Request ")
    assert answer.locator(".markdown").inner_text().strip()
    answer.get_by_role("button", name="Retry").click()
    one.page.locator(".answer .branches", has_text="2/2").wait_for()


def test_an_answer_can_be_rated_and_the_rating_taken_back(visit: Open) -> None:
    one = visit()
    one.ask("[[sim:chunks=3]] Rate me")
    answer = one.answer()
    answer.get_by_role("button", name="Bad answer").click()
    answer.get_by_role("button", name="Add a comment").click()
    one.page.get_by_label("Your comment").fill("Too short")
    one.page.get_by_role("button", name="Save").click()
    answer.get_by_role("button", name="Change your comment").wait_for()
    stored = one.stored()[-1]
    assert (stored["feedback"], stored["feedback_comment"]) == ("down", "Too short")
    answer.get_by_role("button", name="Bad answer").click()
    answer.get_by_role("button", name="Change your comment").wait_for(state="detached")
    assert one.stored()[-1]["feedback"] is None
