"""A task's events: live, taken up again from anywhere, from the row when the log is gone."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from accounts import keys
from accounts.models import ApiKey
from agents.runs import approvals
from agents.tests.runs import Probe
from aiagents.core.db.calls import in_db
from aiagents.core.valkey.clients import sync_client
from chat.tests.caller import Answer, call, whole
from tasks import service as task_service
from tasks.api import http as task_http
from tasks.models import Status, Task
from tasks.runs import store as task_runs
from tasks.runs import sweep as run_sweep
from tasks.runs.stored import event_log
from tasks.tests.conftest import aboard, again_here, at_work, begin, fresh
from tasks.tests.making import agent_of, silence

pytestmark = pytest.mark.django_db
SLOW = "[[sim:chunks=40,pace=30]] story"


@pytest.fixture
def key(owner) -> str:
    return keys.create(owner.user, name="all", scopes=ApiKey.Scope.values)[1]


async def follow(task: Task, key: str, after: int | None = None, query: str = "") -> Answer:
    headers = {} if after is None else {"last-event-id": str(after)}
    return await call("GET", f"/api/v1/tasks/{task.pk}/events{query}", key=key, headers=headers)


async def events_of(task: Task, key: str, after: int | None = None, query: str = "") -> list[tuple[int | None, str, Any]]:
    return (await (await follow(task, key, after, query)).read()).events


def numbered(events: list[tuple[int | None, str, Any]]) -> list[tuple[int, str, Any]]:
    return [(seq, kind, data) for seq, kind, data in events if seq is not None]


def text(events: list[Any]) -> str:
    return "".join(data["text"] for _, kind, data in events if kind == "content.delta")


async def test_a_run_is_followed_while_it_is_written(make, owner, vendors, key):
    task = await in_db(lambda: make(input=SLOW))
    run = await in_db(begin, owner, task)
    async with aboard(vendors):
        viewer = asyncio.create_task(events_of(task, key))
        await again_here(run)
        events = await viewer
    assert events[0][:2] == (None, "task.status") and events[0][2]["status"] in ("queued", "running")
    seen = numbered(events)
    assert [seq for seq, _, _ in seen] == [task_http.PER_RUN + n for n in range(len(seen))]
    kinds = [kind for _, kind, _ in seen]
    assert kinds[:2] == ["run.status", "message.start"] and kinds[-1] == "message.end" and kinds.count("message.start") == 1
    end = seen[-1][2]
    assert text(seen) == end["content"] == (await in_db(fresh, run)).output
    assert end["status"] == "succeeded" and end["run"]["id"] == str(run.pk)


async def test_taken_up_again_anywhere_there_is_no_gap_and_no_repeat(make, owner, vendors, key):
    task = await in_db(lambda: make(input=SLOW))
    run = await in_db(begin, owner, task)
    async with aboard(vendors):
        async with at_work(run):
            viewer = await follow(task, key)
            await viewer.read_events(9)
            first = numbered(viewer.events or (await viewer.read_events(9)))
            await viewer.hang_up()
            rest = await events_of(task, key, first[-1][0])
        everything = numbered(await events_of(task, key))
        assert first + numbered(rest) == everything
        for cut in (0, 3, len(everything) // 2, len(everything) - 2):
            assert numbered(await events_of(task, key, everything[cut][0])) == everything[cut + 1 :]
        assert numbered(await events_of(task, key, everything[-1][0])) == everything[-1:], "a viewer that has seen the end gets it again"


async def test_the_end_comes_from_the_row_when_the_log_is_gone(make, owner, vendors, key):
    task = await in_db(lambda: make())
    run = await in_db(begin, owner, task)
    async with aboard(vendors):
        await again_here(run)
        before = numbered(await events_of(task, key))
        sync_client().delete(event_log.key(run.pk))
        after = numbered(await events_of(task, key))
        middle = numbered(await events_of(task, key, before[3][0]))
    assert [kind for _, kind, _ in after] == ["content.delta", "message.end"]
    assert text(after) == text(before) and after[-1] == before[-1]
    assert middle == before[-1:]


async def test_a_failed_run_ends_with_its_error_and_keeps_what_was_written(make, owner, vendors, key):
    async with aboard(vendors) as sim:
        task = await in_db(lambda: make(max_retries=0))
        sim.plan("gpt-4o-mini", ["die:3,chunks:10"])
        await again_here(await in_db(begin, owner, task))
        seen = numbered(await events_of(task, key))
    kind, data = seen[-1][1:]
    assert kind == "error" and data["error"]["code"] and data["message"]["status"] == "failed"
    assert data["message"]["content"] == text(seen) != ""


async def test_a_retry_and_its_wait_come_in_one_stream(make, owner, vendors, key, settings):
    settings.LLM_MAX_ATTEMPTS = 1
    async with aboard(vendors) as sim:
        task = await in_db(lambda: make())
        sim.plan("gpt-4o-mini", ["503", "ok"])
        run = await in_db(begin, owner, task)
        viewer = asyncio.create_task(events_of(task, key))
        await again_here(run)
        assert await in_db(task_runs.requeue, run.pk, was=Status.SCHEDULED)
        await again_here(run)
        seen = numbered(await viewer)
    assert [seq for seq, _, _ in seen] == [task_http.PER_RUN + n for n in range(len(seen))]
    states = [(data["status"], data["attempt"]) for _, kind, data in seen if kind == "run.status"]
    assert states == [("running", 1), ("scheduled", 1), ("running", 2)] and seen[-1][1] == "message.end"


async def test_the_death_of_a_worker_is_an_event_and_the_next_continues_in_the_same_stream(make, owner, vendors, key):
    async with aboard(vendors):
        task = await in_db(lambda: make(input=SLOW, max_retries=1))
        run = await in_db(begin, owner, task)
        async with at_work(run) as crew:
            await crew.events.work[run.id].broadcast.log_caught_up(10.0)
            await in_db(silence, run)
            assert await in_db(run_sweep.sweep) >= 1
        assert await in_db(task_runs.requeue, run.pk, was=Status.SCHEDULED)
        await again_here(run)
        seen = numbered(await events_of(task, key))
    states = [(data["status"], data["attempt"]) for _, kind, data in seen if kind == "run.status"]
    assert states[0] == ("running", 1) and states[-1] == ("running", 2)
    assert [seq for seq, _, _ in seen] == list(range(seen[0][0], seen[0][0] + len(seen)))
    last = max(index for index, (_, kind, _) in enumerate(seen) if kind == "run.status")
    assert text(seen[last:]) == seen[-1][2]["content"]


async def test_a_run_cancelled_in_the_queue_ends_its_viewers_stream(make, owner, key):
    task = await in_db(lambda: make())
    run = await in_db(begin, owner, task)
    viewer = asyncio.create_task(events_of(task, key))
    await asyncio.sleep(0.2)  # the viewer waits for the run
    await in_db(task_runs.cancel, run.pk)
    events = numbered(await asyncio.wait_for(viewer, 5))
    assert [(kind, data["status"]) for _, kind, data in events] == [("message.end", "cancelled")]


async def test_a_viewer_of_a_task_that_never_ran_waits_for_its_first_run(make, owner, vendors, key):
    task = await in_db(lambda: make())
    async with aboard(vendors):
        viewer = await follow(task, key)
        assert (await viewer.read_events(1))[0][1] == "task.status"
        await again_here(await in_db(begin, owner, task))
        assert (await viewer.read()).events[-1][1] == "message.end"


async def test_an_older_run_is_found_by_its_id_and_a_newer_one_after_its_end(make, owner, vendors, key):
    task = await in_db(lambda: make())
    async with aboard(vendors):
        ids = []
        for _ in range(2):
            run = await in_db(begin, owner, task)
            ids.append(run.pk)
            await again_here(run)
        first = numbered(await events_of(task, key, query=f"?run_id={ids[0]}"))
        newest = numbered(await events_of(task, key))
        following = numbered(await events_of(task, key, first[-1][0]))
    assert first[-1][2]["run"]["number"] == 1 and first[0][0] == task_http.PER_RUN
    assert newest == following and newest[0][0] == 2 * task_http.PER_RUN


@pytest.mark.parametrize("given", ["x", "-1", "1.5", "9" * 16, "٣"])
async def test_an_id_that_is_none_is_refused(make, key, given):
    task = await in_db(lambda: make())
    answer = await whole("GET", f"/api/v1/tasks/{task.pk}/events?after={given}", key=key)
    assert (answer.status, answer.error["param"]) == (400, "Last-Event-ID")


async def test_anothers_and_deleted_tasks_are_not_there(make, owner, key):
    task = await in_db(lambda: make())
    run = await in_db(begin, owner, await in_db(lambda: make()))
    foreign = await whole("GET", f"/api/v1/tasks/{task.pk}/events?run_id={run.pk}", key=key)
    assert foreign.status == 404, "a run of another task"
    await in_db(task_service.delete, task)
    assert (await whole("GET", f"/api/v1/tasks/{task.pk}/events", key=key)).status == 404


async def test_tool_calls_and_a_wait_for_approval_are_events(make, owner, vendors, key):

    with Probe("deploy"):
        agent = await in_db(agent_of, owner.user, "deploy", ask=("deploy",))
        async with aboard(vendors):
            task = await in_db(lambda: make(agent_id=agent.pk, input='[[call deploy {"word": "x"}]]'))
            run = await in_db(begin, owner, task)
            viewer = asyncio.create_task(events_of(task, key))
            await again_here(run)
            attempt = await in_db(lambda: run.attempts.get())
            await in_db(approvals.decide, owner.user, attempt.agent_run_id, approve=True)
            await in_db(run_sweep.sweep)
            await again_here(run)
            seen = numbered(await viewer)
    kinds = [kind for _, kind, _ in seen]
    asked = seen[kinds.index("tool.call")][2]
    assert asked["needs_approval"] and asked["run_id"] == str(attempt.agent_run_id)
    assert ("run.status", "waiting_approval") in [(kind, data.get("status")) for _, kind, data in seen]
    assert json.dumps(seen[kinds.index("tool.result")][2]).find("probed x") > 0 and kinds[-1] == "message.end"


async def test_a_later_id_than_what_stands_of_a_run_is_rewound_first(make, owner, vendors, key):
    task = await in_db(lambda: make(input="[[sim:chunks=5]] story"))
    run = await in_db(begin, owner, task)
    async with aboard(vendors):
        await again_here(run)
    everything = numbered(await events_of(task, key))
    end = everything[-1][0]
    for log in ("there", "lost"):
        if log == "lost":
            sync_client().delete(event_log.key(run.pk))
        for ahead in (1, 400):
            events = await events_of(task, key, end + ahead, f"?run_id={run.pk}")
            assert events[0][1] == "task.status"
            seq, kind, data = events[1]
            assert (seq, kind) == (end - 1, "message.rewind")
            assert data == {"seq": end - 1, "length": len(everything[-1][2]["content"]), "reasoning_length": 0, "steps": 0}
            assert [(seq, kind) for seq, kind, _ in events[2:]] == [(end, "message.end")], log
    beyond = await events_of(task, key, 9 * task_http.PER_RUN, f"?run_id={run.pk}")
    assert beyond[1][:2] == (task_http.PER_RUN - 1, "message.rewind") and beyond[1][2]["length"] == 0
    assert beyond[2][0] == task_http.PER_RUN
