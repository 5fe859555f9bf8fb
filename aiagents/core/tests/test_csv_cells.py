"""CSV that no spreadsheet runs, whichever separator it splits at."""

from __future__ import annotations

import csv
import io
import re
import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.utils.safestring import SafeString
from hypothesis import given
from hypothesis import strategies as st

from aiagents.core.admin import csv_cells

SIGNS = "=+-@|%\uff1d\uff0b\uff0d\uff20"
PAYLOAD = "cmd|'/c calc'!A1"
DELIMITERS = (",", ";", "\t")
BEFORE = [
    "", " ", "   ", "\t", "\r", "\n", "\r\n", ";", "; ", ";;", ';"', ';" ', "x;", "x; ", 'x;"', "x\t", "x\t ", "x\n", "x\r\n ", 'x"',
    'x";"',
    "\u00a0", "\u3000", "\ufeff", "\u200b", ";\u00a0", "\x0b", "\x0c", "\x85", "\u2028", "a;b;\tc;\n", '"', '""', '";', "\x00", "\x00;",
]  # fmt: skip


def cells(text: str, delimiter: str) -> list[str]:
    """What a reader that splits at `delimiter` makes of the file; every line break that is not quoted ends a row for it."""
    found = [cell for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) for cell in row]
    # A reader that knows no quotation marks at all sees more cells.
    for line in text.splitlines():
        found += line.split(delimiter)
    return found


def dangerous(cell: str) -> bool:
    """Whether a spreadsheet takes the cell for a formula, after what it skips in front."""
    bare = cell.lstrip(' \t\r\n\x0b\x0c\x85\xa0\u2028\u2029\u3000\ufeff\u200b"')
    return bare[:1] != "" and bare[0] in SIGNS


@pytest.mark.parametrize("delimiter", DELIMITERS)
@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("sign", SIGNS)
def test_no_reader_finds_a_formula(sign: str, before: str, delimiter: str):
    text = csv_cells.lines([["one", f"{before}{sign}{PAYLOAD}", "three"], [f"{before}{sign}1", 5, None]]).decode()
    bad = [cell for cell in cells(text, delimiter) if dangerous(cell)]
    assert not bad, text


@given(st.lists(st.lists(st.text(alphabet=SIGNS + ";,\t\r\n\"' \u3000ax1", max_size=12), min_size=1, max_size=4), min_size=1, max_size=3))
def test_no_text_at_all_makes_one(rows: list[list[str]]):
    text = csv_cells.lines(rows).decode()
    for delimiter in (";", "\t"):
        assert not [cell for cell in cells(text, delimiter) if dangerous(cell)]
    assert not [cell for row in csv.reader(io.StringIO(text, newline="")) for cell in row if dangerous(cell)]


def test_every_cell_is_quoted_and_comes_back():
    rows: list[list[Any]] = [
        ["plain", 1, -2, Decimal("-3.5"), -0.25, None, True],
        ['a "word", here', "x;y", "tab\there", "line\nbreak", "", "é", "'"],
    ]
    text = csv_cells.lines(rows).decode()
    assert text.startswith('"plain","1","-2","-3.5","-0.25","","true"\r\n')
    assert list(csv.reader(io.StringIO(text, newline=""))) == [
        ["plain", "1", "-2", "-3.5", "-0.25", "", "true"],
        ['a "word", here', "x;y", "tab\there", "line\nbreak", "", "é", "'"],
    ]


@pytest.mark.parametrize("value", [-5, -0.5, Decimal("-0.00000001"), 10**20, -(10**20)])
def test_numbers_stay_numbers(value: Any):
    cell = csv_cells.cell(value)
    assert Decimal(cell) == Decimal(str(value)) and cell.strip("-").replace(".", "").isdigit()


def test_text_that_only_looks_like_a_number_is_text():
    assert csv_cells.cell("-5") == "'-5" and csv_cells.cell("+43 660 1") == "'+43 660 1"


def test_other_values_are_written_for_machines():
    assert csv_cells.cell(datetime(2026, 1, 2, tzinfo=UTC)) == "2026-01-02T00:00:00Z"
    assert csv_cells.cell({"a": "x;=1"}) == '{"a":"x;\'=1"}'
    assert csv_cells.cell(SafeString("<b>=1</b>")) == "'=1"


def test_what_needs_nothing_is_left_alone():
    for text in ("", "a", "a=b", "mail@example.com", "1-2", "50 %", "a; b", "x, =y", "it's", "https://example.com/?a=b;c=d"):
        assert csv_cells.cell(text) == text


@pytest.mark.parametrize("text", [";" * 1_000_000, "\t " * 500_000, ";" + " " * 1_000_000, '"' * 1_000_000, (";" + " " * 99) * 10_000])
def test_a_million_characters_take_no_time(text: str):
    begun = time.process_time()
    csv_cells.cell(text)
    assert time.process_time() - begun < 1.0


def test_no_other_module_writes_csv():
    root = Path(__file__).resolve().parents[3]
    writers = set()
    for folder in ("accounts", "agents", "aiagents", "billing", "chat", "tasks"):
        for path in (root / folder).rglob("*.py"):
            if "tests" not in path.parts and re.search(r"^\s*(import csv\b|from csv import)", path.read_text(), re.MULTILINE):
                writers.add(str(path.relative_to(root)))
    assert writers == {"aiagents/core/admin/csv_cells.py"}
