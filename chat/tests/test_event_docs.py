"""Every event that a stream may carry stands in the documentation, with the members of its data."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from django.conf import settings

from agents import events
from chat.api import news as socket_news
from chat.api.openapi import OPERATIONS
from tasks.api.http import EVENTS as TASK_EVENTS

PAGE = Path(settings.BASE_DIR, "docs/streaming.md").read_text()
EVENTS, NEWS = PAGE.split("\n## News\n")
SAMPLES = [
    events.TurnStarted("c", "u", "m", "model", "provider", {}), events.Rewound(3, 10, 2, 1), events.RouteFallback("a", "b", "timeout"),
    events.TextDelta("x"), events.ReasoningDelta("x"), events.ToolCall("1", "clock", "{}", needs_approval=True, run_id="r"),
    events.ToolResult("1", "clock", "12"), events.TurnEnded({}), events.Failed({}),
]  # fmt: skip


def test_the_samples_are_the_whole_vocabulary() -> None:
    assert {type(sample) for sample in SAMPLES} == set(get_args(events.TurnEvent))


def test_the_table_names_every_event_and_every_member_of_its_data() -> None:
    rows = dict(re.findall(r"^\| `([a-z.]+)`[^|]*\|(.*)\|$", EVENTS, re.M))
    rows |= {"tool.call": rows["tool.call"], "tool.result": rows["tool.result"]}
    for name, data in map(events.encode, SAMPLES):
        assert all(f"`{member}`" in rows[name] for member in data), name
    assert set(rows) == {name for name, _ in map(events.encode, SAMPLES)}


def test_the_openapi_document_names_every_event_and_states_the_bound() -> None:
    for operation in ("stream", "reattach"):
        description = OPERATIONS[operation]["responses"]["200"]["description"]
        for name, _data in map(events.encode, SAMPLES):
            assert name in description, (operation, name)
        assert all(f"`{member}`" in description for member in ("seq", "length", "reasoning_length", "steps"))
        assert f"{settings.TURN_LOG_MOST_AHEAD} events" in description
    assert "message.rewind" in TASK_EVENTS["description"]
    own = [events.RunStatus("r", "t", "running", 1, None, None), events.TaskStatus("t", "active", None, None, "now")]
    assert {type(sample) for sample in own} == set(get_args(events.TaskEvent))
    assert all(f"`{name}`" in TASK_EVENTS["description"] for name, _data in map(events.encode, own))


def test_the_page_states_the_bound_as_it_is_set() -> None:
    assert f"{settings.TURN_LOG_MOST_AHEAD} events (`TURN_LOG_MOST_AHEAD`)" in PAGE
    assert f"after {settings.TURN_LOG_BATCH_SECONDS * 1000:g} ms" in " ".join(PAGE.split())
    assert settings.PROGRESS_INTERVAL_SECONDS == 1.0, "every second, says the page"


def test_the_table_of_news_names_every_kind_and_the_scope_that_a_key_needs() -> None:
    rows = dict(re.findall(r"^\| `([a-z.]+)` \|.*\| ([^|]*) \|$", NEWS, re.M))
    scopes = {kind.value: f"`{scope}`" if scope else "none: signed-in users only" for kind, scope in socket_news.SCOPES.items()}
    assert rows == scopes
