"""Every exception from a check (`noqa`, `type: ignore`) names its rule and its reason, on its line or in a comment above."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.source.tree import APPS, ROOT, TOP, text_files

FOLDERS = (*APPS, TOP, "tests", "benchmarks")
EXCEPTION = re.compile(r"#\s*(?:ruff:\s*)?(?:noqa|type:\s*ignore)\b", re.I)
CODES = re.compile(r"#\s*(?:ruff:\s*)?(?:noqa:\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*|type:\s*ignore\[[a-z-]+(?:,\s*[a-z-]+)*\])")


def without_reason(source: str) -> Iterator[int]:
    """The lines with an exception that has no rule, or no reason."""
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT or not EXCEPTION.search(token.string):
            continue
        above = lines[token.start[0] - 2].strip() if token.start[0] > 1 else ""
        explained = above.startswith("#") and not EXCEPTION.search(above)
        words = re.findall(r"\w{2,}", CODES.sub("", token.string))
        if EXCEPTION.search(CODES.sub("", token.string)) or not (explained or words):
            yield token.start[0]


def files() -> list[Path]:
    return [path for path in text_files(".py") if path.parent == ROOT or path.relative_to(ROOT).parts[0] in FOLDERS]


def test_every_exception_has_a_reason():
    wrong = []
    for path in files():
        text = path.read_text()
        if EXCEPTION.search(text):
            wrong += [f"{path.relative_to(ROOT)}:{line}" for line in without_reason(text)]
    assert not wrong, "write why the rule does not apply: " + ", ".join(wrong)


WITHOUT = [
    "x = 1  # noqa",
    "x = 1  # noqa: E402",
    "x = 1  # noqa - a reason without a rule",
    "x = 1  # type: ignore",
    "x = 1  # type: ignore[misc]",
    "# ruff: noqa: E501",
    "# noqa: E402 - of this line\nx = 1  # noqa: E402",
]
WITH = [
    "x = 1  # noqa: E402 - after the setup",
    "x = 1  # type: ignore[misc]  # the stubs are wrong",
    "# The stubs are wrong.\nx = 1  # type: ignore[misc]",
    "text = '# noqa'",
]


@pytest.mark.parametrize("source", WITHOUT)
def test_an_exception_without_a_rule_or_a_reason_is_found(source: str):
    assert list(without_reason(source + "\n"))


@pytest.mark.parametrize("source", WITH)
def test_an_exception_with_both_is_left_alone(source: str):
    assert not list(without_reason(source + "\n"))
