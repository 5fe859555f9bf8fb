"""A message of 100,000 characters is drawn in time proportional to its length, whatever marks of formulas it repeats."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.browser.visit import Visit

pytestmark = [pytest.mark.browser, pytest.mark.long]
Open = Callable[..., Visit]
# Opening marks of formulas that are never closed, alone and before what a look for the closing mark stops at.
PIECES = ["\\(", "\\(a", "\\[", "\\[\n", "\\[a\n", "\\(`", "\\([", "\\(<", "\\(a\\[", "$a ", "$$a\n", "$`", "$["]
TAILS = ["x", " `a` \\) \\]", "\n```\n\\) \\]", "\n\\] x", " ](a) \\)"]
# Growth of the time from 25,000 to 100,000 characters: 4 is linear, 16 quadratic. Milliseconds below which it says nothing.
MOST, FLOOR = 9, 150
_DRAW = r"""
async ([pieces, tails, most, floor]) => {
  const { renderMarkdown: render } = await import("/static/shared/markdown.js");
  render("$x$ `a`\n```py\n1\n```");
  await new Promise((resolve) => setTimeout(resolve, 1500)); // KaTeX arrives
  const time = (text) => {
    const begun = performance.now();
    render(text);
    return performance.now() - begun;
  };
  const slow = [];
  for (const piece of pieces)
    for (const tail of tails) {
      const [shorter, longer] = [25000, 100000].map((size) => piece.repeat(Math.floor(size / piece.length)) + tail);
      const short = time(shorter);
      let long = time(longer);
      if (long > most * Math.max(short, floor)) long = Math.min(long, time(longer));
      if (long > most * Math.max(short, floor)) slow.push([piece, tail, Math.round(short), Math.round(long)]);
    }
  return slow;
}
"""


def test_a_long_message_does_not_freeze_the_page(visit: Open) -> None:
    assert visit().page.evaluate(_DRAW, [PIECES, TAILS, MOST, FLOOR]) == []
