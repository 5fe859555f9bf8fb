"""Enter of an input method, and formulas beside code and links."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.browser.visit import Visit, api

pytestmark = [pytest.mark.browser, pytest.mark.long]
Open = Callable[..., Visit]
STATIC = Path(__file__).resolve().parents[2] / "static"
# The Enter that ends a word: in Chromium and Firefox while composing, in Safari after it.
ENTERS = [{"isComposing": True, "keyCode": 229}, {"isComposing": True, "keyCode": 13}, {"isComposing": False, "keyCode": 229}]
_PRESS = """(field, options) => {
  const event = new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true, ...options });
  return field.dispatchEvent(event);
}"""


def press(field, **options) -> bool:
    """Whether the browser may do with the key what it does by itself."""
    return field.evaluate(_PRESS, options)


def test_the_enter_that_ends_a_word_sends_nothing_in_any_text_box(visit: Open) -> None:
    one = visit()
    page = one.page
    agent = api(one, "POST", "agents/", {"name": "Typist", "model": "gpt-4o-mini"})
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.method != "GET" else None)
    field = page.get_by_label("Your message")
    field.fill("にほんご")
    for enter in ENTERS:
        assert press(field, **enter), "the key is the input method's"
    assert field.input_value() == "にほんご" and page.locator(".question").count() == 0

    page.keyboard.press("Enter")
    one.answer()
    question = page.locator(".question")
    question.hover()
    question.get_by_role("button", name="Edit this question").click()
    edit = question.get_by_role("textbox")
    edit.fill("かんじ")
    for enter in ENTERS:
        press(edit, **enter)
    assert edit.input_value() == "かんじ" and len(one.stored()) == 2

    page.locator(".picker").click()
    search = page.get_by_label("Search models and agents")
    search.fill("gpt")
    for enter in ENTERS:
        press(search, **enter)
    page.get_by_role("dialog").wait_for()
    page.keyboard.press("Escape")

    sent.clear()
    page.goto(f"{one.url}/agents/{agent['id']}/runs")
    box = page.get_by_label("Input")
    box.fill("かな")
    for enter in ENTERS:
        press(box, **enter, ctrlKey=True)
    page.goto(f"{one.url}/usage/alerts")
    assert not [url for url in sent if "/run" in url]


def test_every_text_box_asks_the_same_question_about_enter() -> None:
    """A listener that compares the key itself would send on Safari's Enter."""
    found = [
        f"{path.relative_to(STATIC)}: {line.strip()[:120]}"
        for path in STATIC.rglob("*.js")
        if "vendor" not in path.parts and path.name != "dom.js"
        for line in path.read_text().splitlines()
        if re.search(r"[\"']Enter[\"']|keyCode|isComposing", line)
    ]
    assert not found


# Text, how many formulas it holds, and words that must stand in code or in a link.
FORMULAS = [
    ("$x^2$", 1, []),
    ("$$x^2$$", 1, []),
    (r"\(x\) and \[y\]", 2, []),
    ("pay $5 or `echo $HOME`", 0, ["echo $HOME"]),
    ("$a and `b$` c", 0, ["b$"]),
    ("$a ``b ` $`` c", 0, ["b ` $"]),
    ("$a `b$", 1, []),  # a lone backtick begins no code
    (r"\(a `b\)` c", 0, [r"b\)"]),
    ("$$a `b$$` c", 0, ["b$$"]),
    ("see `$x$` and $y$", 1, ["$x$"]),
    ("$a [b$](https://example.com) c", 0, ["b$"]),
    ("$a [b](https://example.com/$c) d", 0, ["b"]),
    ("[a $b](https://example.com/x) c$", 0, ["a $b"]),
    ("[$x$](https://example.com/x)", 1, []),
    ("$a <https://example.com/$b> c", 0, ["https://example.com/$b"]),
    ("$a https://example.com/$b c", 0, ["https://example.com/$b"]),
    ("$a www.example.com/$b c", 0, []),
    ("$a [b$][r] c\n\n[r]: https://example.com/z", 0, ["b$"]),
    ("$f[x](y)$", 1, []),
    ("$x \\in [0, 1)$ and $]0,1[$", 2, []),
    ("$a<b$ and $c>d$", 2, []),
    (r"$a \$ b$", 1, []),
    ("$$\na\n```\nb $$\n```", 0, ["b $$\n"]),
    ("$$\na\n\n    b $$", 0, ["b $$\n"]),
    ("$$\na `b $$` c", 0, ["b $$"]),
    ("$$\nx\n$$", 1, []),
    ("$$\nx\n$$ and more", 1, []),
    ("```\n$x$\n```", 0, ["$x$\n"]),
    ("    $x$\n", 0, ["$x$\n"]),
    ("$5 and $10", 0, []),
    ("cost: $ 3 or 4 $", 0, []),
]
_DRAW = """async (text) => {
  const { renderMarkdown: render } = await import("/static/shared/markdown.js");
  const box = document.createElement("div");
  const draw = () => box.replaceChildren(render(text));
  draw();
  for (let n = 0; n < 100 && !globalThis.katex; n += 1) await new Promise((next) => setTimeout(next, 50));
  draw();
  const parts = [...box.querySelectorAll("code, a")].map((one) => one.firstChild?.data ?? one.textContent);
  return [box.querySelectorAll("math").length, parts, box.textContent];
}"""


def test_a_closing_mark_is_never_taken_from_code_or_a_link(visit: Open) -> None:
    one = visit()
    one.page.evaluate(_DRAW, "$x$")
    wrong = []
    for text, formulas, kept in FORMULAS:
        count, parts, whole = one.page.evaluate(_DRAW, text)
        if count != formulas or any(word not in parts for word in kept) or ("and more" in text and "and more" not in whole):
            wrong.append((text, count, parts))
    assert not wrong, wrong
