"""Hostile text in every place that shows text: nothing runs, nothing is fetched, the policy has nothing to refuse."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from tests.browser.hostile import HOSTILE
from tests.browser.visit import Visit

pytestmark = [pytest.mark.browser, pytest.mark.long]
Open = Callable[..., Visit]
ID = "01900000-0000-7000-8000-%012d"
# What may never stand inside the page, whatever was said.
FOUND = """
() => {
  const found = [];
  const allowed = ":not([type=search]):not([type=file]):not(.field)";
  const bad = "script,iframe,object,embed,form:not(.composer):not(.login-card),base,meta,link,style,template,svg:not(.icon),video,"
    + "audio,source,input" + allowed;
  for (const el of document.querySelectorAll("#app *")) {
    if (el.matches(bad)) found.push(el.outerHTML.slice(0, 200));
    for (const { name, value } of el.attributes) {
      const hidden = name === "style" && el.closest(".markdown");
      if (name.startsWith("on") || name === "srcset" || name === "ping" || hidden) found.push(`${name} in ${el.outerHTML.slice(0, 200)}`);
      const leads = ["href", "xlink:href"].includes(name) && el.closest(".messages");
      if (leads && !/^(https?:|mailto:)/.test(value)) found.push(`${name}=${value}`);
      if (name === "src" && !value.startsWith("data:image/")) found.push(`src=${value}`);
    }
    if (el.tagName === "A" && el.closest(".messages") && !(el.rel.includes("noopener") && el.target === "_blank")) found.push(el.outerHTML);
  }
  return found;
}
"""
SPLIT = """
async (texts) => {
  const { streamedMarkdown } = await import("/static/shared/streamed_markdown.js");
  const box = document.createElement("div");
  box.className = "messages";
  document.getElementById("app").append(box);
  const views = texts.map((text) => [text, streamedMarkdown()]);
  for (const [, view] of views) box.append(view.el);
  const longest = Math.max(...texts.map((text) => text.length));
  for (let length = 1; length <= longest; length += 1) {
    for (const [text, view] of views) if (length <= text.length) view.show(text.slice(0, length), false);
    await new Promise(requestAnimationFrame);
  }
  for (const [text, view] of views) view.show(text, true);
  await new Promise((resolve) => setTimeout(resolve, 500));
  return views.filter(([, view]) => !view.el.textContent && !view.el.querySelector("*")).length;
}
"""
SAME = """
async (text) => {
  const { streamedMarkdown } = await import("/static/shared/streamed_markdown.js");
  const { renderMarkdown: render } = await import("/static/shared/markdown.js");
  const html = (node) => {
    const box = document.createElement("div");
    box.append(...[...node.childNodes].map((one) => one.cloneNode(true)));
    return box.innerHTML.replace(/\\n/g, "");
  };
  render("$x$");
  await new Promise((resolve) => setTimeout(resolve, 400));  // KaTeX is there now
  const view = streamedMarkdown();
  document.body.append(view.el);
  for (let length = 1; length <= text.length; length += 3) {
    const drawn = new Promise((resolve) => view.el.addEventListener("drawn", resolve, { once: true }));
    view.show(text.slice(0, length), false);
    await drawn;
    const whole = html(render(text.slice(0, length)));
    if (html(view.el) !== whole) return [text.slice(0, length), html(view.el), whole];
  }
  return [];
}
"""


def message(number: int, role: str, text: str, **fields: object) -> dict:
    return {
        "id": ID % number,
        "conversation_id": ID % 0,
        "parent_id": None,
        "role": role,
        "status": "complete",
        "content": text,
        "siblings": [],
        **fields,
    }


def thread(texts: list[str]) -> list[dict]:
    """A conversation in which every field that an outsider may influence is hostile."""
    found = []
    for number, text in enumerate(texts, 1):
        step = {"type": "tool.call", "call_id": "c", "name": text, "arguments": json.dumps({text: text})}
        result = {"type": "tool.result", "call_id": "c", "name": text, "status": "ok", "output": text, "latency_ms": 1}
        # The members of the contract (agents' routes in the OpenAPI document): whatever is a text is hostile.
        candidate = {"model": text, "provider": text, "estimated_cost_usd": "0.01", "price_known": False, "removed": None}
        route = {
            "requested": text,
            "goal": text,
            "chosen": text,
            "reason": text,
            "candidates": [
                {**candidate, "probability": 0.5, "value_usd": "0.02", "expected_seconds": 1.5},
                {**candidate, "removed": text},
            ],
            "baseline": {"model": text, "estimated_cost_usd": "0.02", "saving_usd": "0.01"},
            "tried": [{"model": text, "code": text, "reason": text}, {"model": "b", "code": text, "reason": text}],
        }
        error = {"type": "provider_error", "code": text, "message": text, "request_id": text}
        found.append(
            message(
                2 * number, "user", text, parts=[{"type": "file", "name": text}, {"type": "image", "url": "https://evil.example/a.png"}]
            )
        )
        found.append(
            message(
                2 * number + 1,
                "assistant",
                text,
                status="failed",
                reasoning=text,
                steps=[step, result],
                model=text,
                provider=text,
                route=route,
                error=error,
                cost_usd=text,
            )
        )
    return found


def test_hostile_text_is_shown_as_text_wherever_it_stands(visit: Open) -> None:
    one = visit()
    page = one.page
    rows = [
        {"id": ID % number, "title": text, "pinned": False, "archived": False, "settings": {}, "updated_at": "2026-01-01T00:00:00Z"}
        for number, text in enumerate(HOSTILE)
    ]

    def answer(route, request) -> None:
        path = request.url.split("?")[0]
        if path.endswith("/messages"):
            body: object = {"next": None, "previous": None, "results": thread(HOSTILE)}
        elif path.endswith("/conversations"):
            body = {"next": None, "previous": None, "results": [] if "pinned=true" in request.url else rows}
        else:
            body = rows[0]
        route.fulfill(status=200, content_type="application/json", body=json.dumps(body))

    page.route(re.compile("/api/v1/chat/conversations"), answer)
    page.goto(f"{one.url}/?c={ID % 0}")
    page.locator(".answer").nth(len(HOSTILE) - 1).wait_for(state="attached")
    page.locator(".conversation").nth(len(HOSTILE) - 1).wait_for(state="attached")
    page.wait_for_timeout(500)  # KaTeX comes late and draws again
    assert page.locator(".conversation .title").first.inner_text() == HOSTILE[0]
    assert page.evaluate(FOUND) == []
    page.locator(".why").first.click()
    assert HOSTILE[0] in page.get_by_role("dialog").inner_text()
    assert page.title() == f"{HOSTILE[0]} · aiagents"


def test_hostile_answers_stay_harmless_when_they_arrive_letter_by_letter(visit: Open) -> None:
    one = visit(signed_in=False)
    one.page.goto(one.url)
    one.page.wait_for_selector(".login-card")
    one.page.evaluate(SPLIT, HOSTILE)
    assert one.page.evaluate(FOUND) == []


def test_a_growing_answer_looks_like_the_whole_one(visit: Open) -> None:
    one = visit(signed_in=False)
    one.page.goto(one.url)
    text = (
        "Intro *with* `code`\nsecond line\n***\n# Title\n\n1. one\n\n   more\n2. two\n   - nested\n\n> quote\nlazy\n\n"
        "```python\nx = 1\n\n# no heading\n```\n"
        "|a|b|\n|-|:-:|\n|1|2|\n\nSetext\n===\n\n- [x] done\n- [ ] to do\n\n<b>no html</b>\n\n$$\nx^2\n$$\n\nEnd with $y$ and https://example.org/x.\n"
    )
    assert one.page.evaluate(SAME, text) == []


def test_no_answer_makes_the_browser_call_home(visit: Open) -> None:
    one = visit()
    one.ask("![spy](https://evil.example/track.png) and https://evil.example/ and `code`")
    answer = one.answer()
    link = answer.locator("a.image-link")
    assert link.get_attribute("href") == "https://evil.example/track.png"
    assert "evil.example" in link.inner_text()
    assert answer.locator("img").count() == 0
    # Every request of the visit is checked at its end: see Visit.check.
    policy = one.page.request.get(one.url).headers["content-security-policy"]
    assert "script-src 'self'" in policy and "style-src 'self'" in policy and "unsafe" not in policy


def test_plain_text_is_not_taken_for_a_formula(visit: Open) -> None:
    one = visit(signed_in=False)
    one.page.goto(one.url)
    count = "async (text) => (await import('/static/shared/markdown.js')).renderMarkdown(text).querySelectorAll('math, code').length"
    for text in ("$5 and $10", "a_b_c and 2 * 3 * 4", "C:\\(x86)\\n", "cost: $ 3 or 4 $"):
        assert one.page.evaluate(count, text) == 0, text
