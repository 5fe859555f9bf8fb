"""Templates whose product would be huge are refused before it is made."""

from __future__ import annotations

import json
import re
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings
from hypothesis import given
from hypothesis import strategies as st

from agents.tools import registry, template
from agents.tools.base import Tool, ToolError
from aiagents.core import expansion, jsonio
from aiagents.core.errors import InvalidRequest
from aiagents.core.http import error_views
from aiagents.core.outbound.destinations import MOST_URL
from tasks import variables

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
PLACE = re.compile(r"\{(\w+)\}")
LONG = "x" * 50_000
# Each would make some hundred megabytes or more of less than half a megabyte.
HUGE: dict[str, Callable[[], Any]] = {
    "a task's variable": lambda: variables.filled("{a}" * 20_000, {"a": LONG}, NOON, "UTC"),
    "fifty variables": lambda: variables.filled(
        "".join(f"{{v{n}}}" for n in range(50)) * 800, {f"v{n}": LONG for n in range(50)}, NOON, "UTC"
    ),
    "a built-in": lambda: variables.filled("{now}" * 200_000, {}, NOON, "UTC"),
    "a number": lambda: variables.filled("{n}" * 60_000, {"n": int("9" * 4000)}, NOON, "UTC"),
    "a tool's path": lambda: template.fill("https://example.com/" + "{a}/" * 2000, {"a": "y" * 200_000}),
    "a tool's path, escaped": lambda: template.fill("https://example.com/" + "{a}/" * 1000, {"a": "\U0001f600" * 2000}),
    "a tool's path of an object": lambda: template.fill("https://example.com/{a}", {"a": {"b": "\U0001f600" * 200_000}}),
    "a tool's query": lambda: template.with_query("https://example.com/", {"a": ["\U0001f600" * 1000] * 2000}),
    "a tool's query of one": lambda: template.with_query("https://example.com/", {"a": "\U0001f600" * 2_000_000}),
}


@pytest.mark.parametrize("what", HUGE)
def test_a_huge_product_is_refused_before_it_is_made(what: str):
    make = HUGE[what]
    with pytest.raises((expansion.TooLong, ToolError)):
        make()
    tracemalloc.start()
    try:
        with pytest.raises((expansion.TooLong, ToolError)) as caught:
            make()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 30_000_000, f"{what} took {peak / 1e6:.0f} MB"
    if isinstance(caught.value, expansion.TooLong):
        assert (caught.value.status, caught.value.code) == (400, "expansion_too_long") and caught.value.details["max_characters"]


@given(
    st.text(alphabet="{}abc ", max_size=60),
    st.dictionaries(st.sampled_from("abc"), st.text(alphabet="{}ab", max_size=9)),
    st.integers(0, 80),
)
def test_it_replaces_as_a_plain_substitution_does_or_refuses_exactly_what_is_longer(text: str, values: dict[str, str], most: int):
    plain = PLACE.sub(lambda match: values.get(match[1], match[0]), text)
    try:
        assert expansion.filled(PLACE, text, values.get, most) == plain and len(plain) <= most
    except expansion.TooLong:
        assert len(plain) > most


def test_the_limit_is_a_setting(settings: Any):
    settings.MAX_EXPANDED_CHARACTERS = 10
    assert variables.filled("{a}", {"a": "x" * 10}, NOON, "UTC") == "x" * 10
    with pytest.raises(expansion.TooLong):
        variables.filled("{a}", {"a": "x" * 11}, NOON, "UTC")


def test_urls_of_the_longest_length_are_still_made():
    url = template.with_query("https://example.com/", {"a": "x" * (MOST_URL - len("https://example.com/?a="))})
    assert len(url) == MOST_URL
    assert template.fill("https://example.com/{a}/{a}", {"a": "b c"})[0] == "https://example.com/b%20c/b%20c"


def test_a_page_for_an_error_is_short_whatever_the_error_says(rf: Any):
    request = rf.get("/", headers={"accept": "text/html"})
    short = error_views.render(request, InvalidRequest("<"))
    error = InvalidRequest("<" * 10_000_000)
    tracemalloc.start()
    try:
        page = error_views.render(request, error)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert page.status_code == 400 and len(page.content) < len(short.content) + 6 * error_views.MOST_MESSAGE and peak < 1_000_000


async def test_what_a_tool_sends_is_bounded_by_the_arguments_that_are_read_at_all():
    sent: list[int] = []

    async def run(arguments: dict[str, Any], context: Any) -> str:
        sent.append(len(jsonio.dumps(arguments)))
        return "ok"

    tool = Tool("t", "", {"type": "object"}, False, True, run)
    most = settings.TOOL_MAX_ARGUMENT_CHARS
    context: Any = SimpleNamespace(deadline_seconds=30)
    fits, over = json.dumps({"a": "\U0001f600" * 1000}, ensure_ascii=False), json.dumps({"a": "x" * most})
    assert await registry.call(tool, fits, context) == ("ok", "ok")
    text, status = await registry.call(tool, over, context)
    assert status == "error" and str(most) in text and len(sent) == 1 and sent[0] <= 6 * most
