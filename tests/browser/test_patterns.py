"""Every regular expression of the pages takes time in proportion to its text, in the browser's own engine.

Chromium has shortcuts that other browsers lack: tests/test_scripts.py measures the same patterns in Python's engine.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.kit.hostile import pumping
from tests.kit.source import scripts

pytestmark = [pytest.mark.browser, pytest.mark.long]
# Milliseconds for a text of the last size. A linear pattern needs a few, a quadratic one seconds.
MOST = 150
# In small steps at first: an exponential pattern must be found before it takes for ever.
SIZES = [*range(16, 36, 2), 100, 300, 1000, 3000, 10_000, 30_000, 100_000]
_MEASURE = """
([source, flags, pumps, end, sizes, most]) => {
  const pattern = new RegExp(source, [...new Set(flags + "g")].join(""));
  for (const [opening, piece] of pumps)
    for (const size of sizes) {
      const text = opening + piece.repeat(Math.max(1, Math.floor(size / piece.length))) + end;
      let best = Infinity;
      for (let turn = 0; turn < 3 && best > most; turn += 1) {
        const begun = performance.now();
        text.replace(pattern, "");
        best = Math.min(best, performance.now() - begun);
      }
      if (best > most) return `${JSON.stringify(text.slice(0, 60))}… of ${text.length} characters took ${Math.round(best)} ms`;
    }
  return null;
}
"""


@pytest.fixture
def page(chromium: Any) -> Iterator[Any]:
    context = chromium.new_context()
    yield context.new_page()
    context.close()


def worst(page: Any, found: scripts.Found) -> str | None:
    """The text that takes longest to try at every position, where one takes too long."""
    pumps = list(pumping.pumps(scripts.as_python(found)))
    return page.evaluate(_MEASURE, [found.source, found.flags, pumps, pumping.END, SIZES, MOST])


def test_every_pattern_of_the_pages_is_linear(page: Any) -> None:
    wrong = [f"{one.where}: /{one.source}/: {how}" for one in scripts.patterns()[0] if (how := worst(page, one))]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("source", [r"\.?0+$", r"(\.\d\d\d*?)0+$", r"(?:a|aa)+$", r"<!--[\s\S]*?-->"])
def test_the_texts_show_what_is_not_linear(page: Any, source: str) -> None:
    """Two patterns that stood here before, and what many people write once."""
    assert worst(page, scripts.Found("", source, ""))
