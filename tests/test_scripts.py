"""Every regular expression of the pages' JavaScript is found, and is linear in an engine that only backtracks.

tests/browser/test_patterns.py measures them in Chromium, which has shortcuts for some patterns that are slow elsewhere.
"""

from __future__ import annotations

import re

import pytest

from tests.kit.hostile.growth import worst
from tests.kit.source import scripts

# A method of regular expressions beside a slash.
LOOKS_LIKE_ONE = re.compile(r"\.(?:replace|replaceAll|split|match|matchAll|search)\(/|/[a-z]*\.(?:test|exec)\(")
# Calls of `RegExp` whose text is only known while the page runs, as `file: argument`, and why they are of no concern.
DYNAMIC: dict[str, str] = {}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a = b / c / d", []),
        ("x(a) / 2 + y[0] / 3", []),
        ("const a = /x\\/[/]y/gi;", ["x\\/[/]y"]),
        ("return /a+/.test(b) || !/b/.test(c) ? /c/ : /d/", ["a+", "b", "c", "d"]),
        ("// no /a/\n/* nor /b/ */ f(/c/, '/d/', \"/e/\")", ["c"]),
        ("`/a/ ${x.replace(/b/, `/c/ ${/d/}`)} /e/` / 2", ["b", "d"]),
        ("`${ {a: 1, b: {c: /x/}} } /y/`", ["x"]),
        ("x => /a/.test(x)", ["a"]),
        ("it\\'s", []),
    ],
)
def test_literals_are_told_from_divisions(text: str, wanted: list[str]):
    assert [source for source, _, _ in scripts.literals(text)] == wanted


def test_every_line_that_looks_like_a_pattern_is_found():
    """A second, cruder look."""
    found = {one.where for one in scripts.patterns()[0]}
    for where, text in scripts.sources():
        for number, line in enumerate(text.splitlines(), 1):
            if LOOKS_LIKE_ONE.search(line) and not line.startswith("//"):
                assert f"{where}:{number}" in found, line


def test_patterns_made_while_the_page_runs_are_accounted_for():
    assert set(scripts.patterns()[1]) == set(DYNAMIC)


def test_every_pattern_can_be_read():
    found = scripts.patterns()[0]
    assert len(found) > 25, "the collection of patterns finds too few"
    assert all(scripts.as_python(one) for one in found)


@pytest.mark.long
def test_every_pattern_is_linear():
    wrong = [
        f"{one.where}: /{one.source}/: {how}" for one in scripts.patterns()[0] if (how := worst(scripts.as_python(one), at_start=False))
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("source", [r"\.?0+$", r"(\.\d\d\d*?)0+$", r"\s+$"])
def test_what_is_not_linear_is_found(source: str):
    """Two patterns that stood here before, and one that is quadratic in some browsers only."""
    assert worst(scripts.as_python(scripts.Found("", source, "")), at_start=False)
