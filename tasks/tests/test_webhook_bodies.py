"""The message to a webhook is bounded before it is made, and what is left out of it is marked."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from aiagents.core import expansion
from tasks import webhooks
from tasks.models import Status, Task, TaskRun
from tasks.runs import as_json as run_json

# Control characters take six bytes each in JSON, the most that there is.
WORST = "\x01"
LONG = {"control": WORST, "quotes": '"', "plain": "x", "astral": "\U0001f600"}


def run_of(**values: Any) -> TaskRun:
    now = timezone.now()
    given = {"status": Status.SUCCEEDED, "ended_at": now, "created_at": now, "variables": {}, "number": 1, "trigger": "manual"} | values
    return TaskRun(task=Task(name=WORST * 100), **given)


def body_of(run: TaskRun) -> bytes:
    return webhooks.body(run, "task.run.succeeded")


@pytest.mark.parametrize("sign", LONG.values(), ids=LONG)
@pytest.mark.parametrize("what", ["input", "output", "variables", "numbers", "error", "all"])
def test_the_largest_run_makes_a_message_within_the_bound_in_little_memory(what: str, sign: str):
    values: dict[str, Any] = {
        "input": sign * 1_000_000,
        "output": sign * 8_000_000,
        "variables": {f"v{n}": sign * 50_000 for n in range(50)},
        "numbers": {f"v{n}": int("9" * 4000) for n in range(50)},
        "error": {"type": "x", "code": "x", "message": sign * 50_000, "details": {"tried": [{"reason": sign * 99_000}] * 50}},
    }
    chosen = {what: values[what]} if what != "all" else values | {"variables": values["variables"] | values["numbers"]}
    if "numbers" in chosen:
        chosen["variables"] = chosen.pop("numbers") | chosen.get("variables", {})
    run = run_of(**chosen)
    tracemalloc.start()
    try:
        body = body_of(run)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(body) <= webhooks.MOST_BODY
    assert peak < 6 * webhooks.MOST_BODY, peak
    sent = json.loads(body)["data"]["run"]
    for name in ("input", "output", "error"):
        assert sent[f"{name}_truncated"] == (what in (name, "all")), name
    assert sent["variables_truncated"] == (len(sent["variables"]) < len(run.variables))
    assert sent["variables"].items() <= run.variables.items()
    assert run.input == chosen.get("input", "") and run.output == chosen.get("output", ""), "the row itself is left alone"


def test_a_usual_run_stands_in_full():
    run = run_of(input="Hello", output="World", variables={"a": "b", "n": 3, "t": True, "z": None}, error={"code": "x", "message": "y"})
    sent = json.loads(body_of(run))["data"]["run"]
    whole = json.loads(json.dumps(run_json.whole(run), default=str))
    assert {name: sent[name] for name in whole} == whole
    assert {name for name in sent if name not in whole} == {f"{name}_truncated" for name in ("input", "output", "variables", "error")}
    assert not any(sent[f"{name}_truncated"] for name in ("input", "output", "variables", "error"))


@hypothesis_settings(max_examples=100, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text("ab"),
        lambda inner: st.lists(inner) | st.dictionaries(st.text("ab"), inner),
        max_leaves=20,
    )
)
@example([[], []])
def test_the_count_of_characters_is_no_less_than_what_is_written(value: Any):
    assert expansion.characters(value) >= len(json.dumps(value, separators=(",", ":")))
