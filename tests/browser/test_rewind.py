"""The page cuts what it shows to what stands, and goes on from there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from tests.browser.visit import Visit

pytestmark = [pytest.mark.browser, pytest.mark.long]
Open = Callable[..., Visit]


def test_an_answer_is_cut_to_the_characters_that_stand_and_ends(visit: Open) -> None:
    """The socket breaks in the middle; what re-attaching brings is played by the test, as after a kill."""
    one = visit()
    # `broken`: the test closed the socket; what follows comes from the test and not from the server.
    state = {"broken": False, "after": -1, "kept": ""}
    stands = "🌍 héllo "

    def through(route) -> None:
        server = route.connect_to_server()

        def to_server(message) -> None:
            frame = json.loads(message)
            if not state["broken"] or frame["type"] != "resume":
                return server.send(message)
            state["after"], ids = frame["after"], {"message_id": frame["message_id"]}
            rewind = {"type": "message.rewind", "seq": 1, **ids, "length": len(stands), "reasoning_length": 2, "steps": 1}
            route.send(json.dumps(rewind))
            state["kept"] = one.page.locator(".answer .markdown").inner_text
            error = {
                "type": "unavailable",
                "code": "interrupted",
                "message": "The process is gone; the text is kept.",
            }
            route.send(json.dumps({"type": "content.delta", "seq": 2, **ids, "text": "and more"}))
            route.send(json.dumps({"type": "error", "seq": 3, **ids, "error": error}))

        def to_page(message) -> None:
            if not state["broken"]:
                frame = json.loads(message)
                if frame["type"] == "content.delta" and frame["seq"] == 1:
                    frame["text"] = stands
                route.send(json.dumps(frame))

        route.on_message(to_server)
        server.on_message(to_page)
        state["route"] = route

    one.page.route_web_socket(re.compile("/chat/ws"), through)
    one.page.reload()
    one.page.wait_for_selector(".welcome")
    one.page.route(re.compile(r"/chat/conversations/[^/]+/messages"), lambda route: route.abort())  # the stored text would hide it
    one.expected.append("ERR_FAILED")
    one.ask("[[sim:chunks=200,pace=30]] Tell me a long story")
    one.written(60)
    state["broken"] = True
    state["route"].close(code=1012)
    answer = one.answer("failed")
    assert state["after"] > 5
    assert answer.locator(".markdown").inner_text().strip() == (stands + "and more").strip()


def test_the_cut_counts_code_points(visit: Open) -> None:
    one = visit()
    cut = "async ([text, length]) => (await import('/static/shared/rewind.js')).cut(text, length)"
    for text in ("", "abc", "🌍a🌍", "é́x", "𝔘nicode"):
        for length in range(len(text) + 3):
            assert one.page.evaluate(cut, [text, length]) == text[:length]
