"""Whatever answers a run with its steps answers part of them where their texts are long, and names the rest."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from django.db.models import Value
from django.db.models.functions import Repeat

from agents.models import AgentRun, AgentStep
from aiagents.core.db.calls import in_db
from aiagents.core.drf import page_bytes
from tasks.models import TaskAttempt, TaskRun
from tests.kit import cast
from tests.kit.access_matrix import TABLE
from tests.kit.endpoints import Endpoint, every
from tests.kit.wire import ask, product

pytestmark = pytest.mark.django_db
ENDPOINTS = [endpoint for endpoint in every() if str(endpoint) in TABLE and endpoint.method == "GET" and not endpoint.beside_django]
LONG, STEPS = 300_000, 20  # bytes of each output, and steps of each run
WITH_STEPS = {"GET /api/v1/agents/runs/{pk}", "GET /api/v1/tasks/{pk}/runs/{run_id}"}


@pytest.fixture
def ann() -> cast.Person:
    return cast.person("ann@example.com", admin=True)


@pytest.fixture
def rows(ann: cast.Person) -> dict[str, Any]:
    """A run that waits for approval, and a task's run with two attempts, all with long steps."""
    found = cast.things(ann.user)
    task_run = TaskRun.objects.get(pk=found["task_run"])
    for number in (1, 2):
        run = AgentRun.objects.create(user=ann.user, surface="task", input="x", status="failed", cost_usd=number)
        TaskAttempt.objects.create(run=task_run, number=number, agent_run=run, status="failed")
        add_steps(run.pk, 1)
    add_steps(found["agent_run"], 2)
    AgentStep.objects.all().update(output=Repeat(Value("é"), LONG // 2))
    return found


def add_steps(run_id: UUID, first: int) -> None:
    AgentStep.objects.bulk_create(
        AgentStep(run_id=run_id, number=first + number, kind="tool", name="probe", tool_call_id=f"call_{number}", status="ok")
        for number in range(STEPS)
    )


def path_of(endpoint: Endpoint, rows: dict[str, Any]) -> str:
    return endpoint.path(**{name: str(rows[kind]) for name, kind in TABLE[str(endpoint)].owned.items()})


def steps_of(found: Any) -> Iterator[tuple[Any, int]]:
    """What tells the steps in an answer apart, in order."""
    if isinstance(found, dict):
        for step in found["steps"] if isinstance(found.get("steps"), list) else ():
            yield found.get("number"), step["number"]
        for value in found.values():
            yield from steps_of(value)
    elif isinstance(found, list):
        for value in found:
            yield from steps_of(value)


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=str)
async def test_an_answer_with_steps_is_small_and_names_the_others(endpoint: Endpoint, ann: cast.Person, rows: dict[str, Any]):
    url: str | None = path_of(endpoint, rows)
    seen: list[tuple[Any, int]] = []
    parts = 0
    while url:
        tracemalloc.start()
        try:
            answer = await ask(product, "GET", url, None, {"accept": "application/json"}, ann.token)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        if not answer.headers.get("content-type", "").startswith("application/json"):
            return
        found = json.loads(answer.body)
        steps = list(steps_of(found))
        if not steps:
            assert str(endpoint) not in WITH_STEPS
            return
        assert len(answer.body) < page_bytes.MOST_BYTES + 100_000
        assert peak < 8 * page_bytes.MOST_BYTES
        seen, parts = seen + steps, parts + 1
        following = urlsplit(found["steps_next"]) if found["steps_next"] else None
        url = f"{following.path}?{following.query}" if following else None
    assert str(endpoint) in WITH_STEPS and parts > 1
    expected = [(None, number) for number in range(1, STEPS + 2)]
    if "tasks" in endpoint.template:
        expected = [(attempt, number) for attempt in (1, 2) for number in range(1, STEPS + 1)]
    assert seen == expected


@pytest.mark.parametrize("verb", ["approve", "reject", "cancel"])
async def test_the_answer_to_a_decision_is_bounded_too(verb: str, ann: cast.Person, rows: dict[str, Any]):
    path = f"/api/v1/agents/runs/{rows['agent_run']}/{verb}"
    answer = await ask(product, "POST", path, {}, {"accept": "application/json"}, ann.token)
    assert answer.status == 200 and answer.json["steps_next"].startswith(f"http://testserver/api/v1/agents/runs/{rows['agent_run']}?")
    assert len(answer.body) < page_bytes.MOST_BYTES + 100_000


async def test_a_later_part_still_says_what_the_run_waits_for(ann: cast.Person, rows: dict[str, Any]):
    path = f"/api/v1/agents/runs/{rows['agent_run']}?steps_after=15"
    found = (await ask(product, "GET", path, None, {"accept": "application/json"}, ann.token)).json
    assert found["waits_for"] == ["call_1"] and [step["number"] for step in found["steps"]] == list(range(16, STEPS + 2))


@pytest.mark.parametrize("path", ["/api/v1/agents/runs/{agent_run}", "/api/v1/tasks/{task}/runs/{task_run}"])
@pytest.mark.parametrize(
    "query", ["steps_after=x", "steps_after=-1", "steps_after=1.2.3", "steps_after=%D9%A1", "steps_aft=1", "steps_after=99999999"]
)
async def test_a_position_that_is_none_is_refused(path: str, query: str, ann: cast.Person):
    rows = await in_db(cast.things, ann.user)
    answer = await ask(product, "GET", f"{path.format(**rows)}?{query}", None, {"accept": "application/json"}, ann.token)
    assert answer.status == 400 and answer.error["param"] == query.partition("=")[0]
