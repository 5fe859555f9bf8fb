"""A deleted task: out of sight at once, out of the database and Valkey by the sweep or on request; costs stay."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db.models import Sum
from django.utils import timezone

from accounts import keys
from accounts.models import ApiKey
from agents.calls import running as running_calls
from agents.models import AgentRun, AgentStep
from agents.tests.runs import Probe
from aiagents.core.db.calls import in_db
from aiagents.core.errors import NotFound
from aiagents.core.ids import uuid7
from aiagents.core.models import IdempotentAnswer
from aiagents.core.valkey import clients as valkey
from billing.models import UsageLog
from chat.tests.caller import call
from tasks import deleting, invariants
from tasks import service as task_service
from tasks.models import ENDED, OPEN, Status, Task, TaskAttempt, TaskRun, WebhookDelivery
from tasks.runs import store as task_runs
from tasks.runs import stored
from tasks.runs.execute import Crew
from tasks.tasks import sweep_deleted
from tasks.tests.caller import Api
from tasks.tests.conftest import aboard, again, at_work, begin, fresh
from tasks.tests.making import SLOW, agent_of
from tests.kit.planted import CANARY, in_tables, in_valkey
from tests.kit.racing import at_once

pytestmark = pytest.mark.django_db
RUNS = "/api/v1/agents/runs/"


@pytest.fixture
def key(owner) -> str:
    return keys.create(owner.user, name="all", scopes=ApiKey.Scope.values)[1]


@pytest.fixture
def api(key) -> Api:
    return Api(key)


def planted(api: Api, owner: Any, vendors: Any) -> dict[str, Any]:
    """A task with the planted text in every place that one fills: an agent's run, a prompt's that fails, a webhook."""
    agent = agent_of(owner.user, "probe")
    body = {
        "name": CANARY, "description": CANARY, "input": CANARY + ' {what} [[call probe {"word": "' + CANARY + '"}]]',
        "variables": {"what": CANARY}, "agent_id": str(agent.pk), "webhook_url": f"https://hooks.example.com/{CANARY}",
        "max_retries": 0,
    }  # fmt: skip
    made = api("POST", "", body, idempotency_key="made")
    assert made.status_code == 201, made.content
    task = made.json()
    with vendors():
        with Probe() as probe:
            asked = api("POST", f"{task['id']}/run", {"variables": {"what": CANARY}}, idempotency_key="run")
            assert asked.status_code == 202
            again(TaskRun.objects.get())
            assert probe.calls == [CANARY]
        wrong = {"agent_id": None, "system_prompt": CANARY, "input": f"[[sim:error=400]] {CANARY}", "model": "gpt-4o-mini"}
        assert api("PATCH", task["id"], wrong).status_code == 200
        assert api("POST", f"{task['id']}/run", {}).status_code == 202
        again(TaskRun.objects.get(number=2))
    assert list(TaskRun.objects.order_by("number").values_list("status", flat=True)) == ["succeeded", "failed"]
    api("POST", f"{task['id']}/webhook-secret", {}, idempotency_key="secret")
    return task


def costs() -> tuple[int, Any]:
    return UsageLog.objects.count(), UsageLog.objects.aggregate(sum=Sum("cost_usd"))["sum"]


def long_ago(**values: Any) -> None:
    Task.objects.update(deleted_at=timezone.now() - timedelta(days=7, seconds=1), **values)


def get(api: Api, path: str) -> Any:
    return api.client.get(path, headers={"authorization": f"Bearer {api.raw}"})


def test_a_planted_text_is_found_nowhere_after_the_deletion(api, owner, vendors):
    task = planted(api, owner, vendors)
    before = in_tables()
    wanted = {"tasks_task", "tasks_taskrun", "tasks_webhookdelivery", "agents_agentrun", "agents_agentstep"}
    assert wanted <= set(before), before
    assert any(key.startswith("chat:turn:") for key in in_valkey())
    assert IdempotentAnswer.objects.count() == 3
    spent = costs()
    assert spent[1] > 0
    agent_run, run = AgentRun.objects.first(), TaskRun.objects.first()

    # Out of sight at once.
    assert api("DELETE", task["id"]).status_code == 204
    for seen in ("/api/v1/tasks/", f"/api/v1/tasks/?search={CANARY}", RUNS, f"{RUNS}?task={task['id']}"):
        answer = get(api, seen)
        assert answer.status_code == 200 and CANARY not in answer.content.decode(), seen
    for gone in ("", "/runs", f"/runs/{run.pk}", "/events"):
        assert get(api, f"/api/v1/tasks/{task['id']}{gone}").status_code == 404, gone
    assert get(api, f"{RUNS}{agent_run.pk}").status_code == 404
    for path, body, name in ((f"{task['id']}/webhook-secret", {}, "secret"), (f"{task['id']}/run", {"variables": {"what": CANARY}}, "run")):
        replay = api("POST", path, body, idempotency_key=name)
        assert replay.status_code == 404 and CANARY not in replay.content.decode() and "whsec_" not in replay.content.decode()
    assert set(WebhookDelivery.objects.values_list("state", flat=True)) == {"failed"}

    # Kept for the days of grace, then erased.
    kept = in_tables()
    assert sweep_deleted() == 0 and in_tables() == kept
    long_ago()
    assert sweep_deleted() == 1
    assert in_tables() == {} and in_valkey() == []
    for model in (Task, TaskRun, TaskAttempt, WebhookDelivery, AgentRun, AgentStep):
        assert not model.objects.exists(), model
    assert costs() == spent, "costs stay"
    assert [str(one) for one in invariants.check()] == []


@pytest.mark.parametrize("first", [False, True], ids=["at once", "a second time"])
def test_now_erases_at_once_and_a_repeated_request_makes_nothing_anew(api, owner, vendors, first):
    task = planted(api, owner, vendors)
    if first:
        assert api("DELETE", task["id"]).status_code == 204
        assert api("DELETE", task["id"]).status_code == 404
    assert api("DELETE", f"{task['id']}?now=true").status_code == 204
    assert in_tables() == {} and in_valkey() == []
    assert api("DELETE", f"{task['id']}?now=true").status_code == 404


def test_a_replayed_creation_tells_that_its_task_was_deleted(api):
    body = {"name": CANARY, "input": "x"}
    task = api("POST", "", body, idempotency_key="made").json()
    assert api("DELETE", f"{task['id']}?now=true").status_code == 204
    replay = api("POST", "", body, idempotency_key="made")
    assert (replay.status_code, replay.json()["error"]["code"], replay["Idempotent-Replayed"]) == (404, "not_found", "true")
    assert not Task.objects.exists() and in_tables() == {}


def test_only_the_owner_erases_and_now_is_true_or_false(api, make, django_user_model):
    task = make()
    other = django_user_model.objects.create_user("bob@example.com", "correct horse battery staple")
    stranger = Api(keys.create(other, name="t", scopes=ApiKey.Scope.values)[1])
    for query in ("", "?now=true"):
        assert stranger("DELETE", f"{task.pk}{query}").status_code == 404
    wrong = api("DELETE", f"{task.pk}?now=yes")
    assert wrong.status_code == 400 and wrong.json()["error"]["param"] == "now"
    assert Task.objects.get().deleted_at is None
    assert api("DELETE", f"{task.pk}?now=false").status_code == 204
    assert Task.objects.get().deleted_at is not None


async def test_a_running_run_is_cancelled_and_its_text_goes_too(make, owner, vendors, key, monkeypatch):
    monkeypatch.setattr(deleting, "STOP_WAITS", 0.2)
    run = await in_db(lambda: begin(owner, make(input=f"{SLOW} {CANARY}")))
    async with aboard(vendors):
        async with at_work(run):
            erased = await in_db(deleting.erase_now, run.task)
            assert not erased and await in_db(sweep_deleted) == 0, "nothing is erased while it runs"
            assert (await in_db(fresh, run)).cancel_asked_at is not None
        assert (await in_db(fresh, run)).status == Status.CANCELLED
        assert await in_db(sweep_deleted) == 1
    assert await in_db(in_tables) == {} and await in_db(in_valkey) == []
    assert (await UsageLog.objects.aget(task_id=run.task_id)).cost_usd > 0


def test_a_run_that_waits_for_a_person_goes_with_its_task(api, make, owner, vendors):
    agent = agent_of(owner.user, "deploy", ask=("deploy",))
    with Probe("deploy") as probe, vendors():
        run = begin(owner, make(agent_id=agent.pk, input=f'{CANARY} [[call deploy {{"word": "{CANARY}"}}]]'))
        again(run)
        assert fresh(run).status == Status.WAITING_APPROVAL
        assert api("DELETE", f"{run.task_id}?now=true").status_code == 204
    assert in_tables() == {} and in_valkey() == [] and probe.calls == []


async def test_events_on_their_way_are_not_kept(make, owner, vendors, key, settings):
    """The run has ended, its events are still to be written: the erasure comes between."""
    settings.TURN_LOG_BATCH_SECONDS = 1.0
    run = await in_db(lambda: begin(owner, make(input=f"{CANARY} [[say {CANARY}]]")))
    async with aboard(vendors):
        crew = Crew()
        await crew.run(run.id)
        assert not crew.events.work[run.id].broadcast.is_logged, "the log is behind"
        assert await in_db(deleting.erase_now, run.task)
        await crew.events.settled(10.0)
        await running_calls.finish_settlements()
    assert await in_db(in_tables) == {} and await in_db(in_valkey) == []


async def test_a_viewer_of_a_task_that_is_deleted_hears_of_its_end(make, owner, key, monkeypatch):
    monkeypatch.setattr("tasks.api.http.LOOK_EVERY", 0.05)
    task = await in_db(lambda: make())
    answer = await call("GET", f"/api/v1/tasks/{task.pk}/events", key=key)
    await in_db(deleting.erase_now, task)
    events = (await answer.read()).events
    assert [kind for _, kind, _ in events] == ["task.status", "error"] and events[-1][2]["error"]["code"] == "not_found"


async def test_a_viewer_of_a_run_whose_rows_are_gone_hears_of_its_end(make, owner):
    run = await in_db(lambda: begin(owner, make()))
    await in_db(lambda: task_runs.cancel(run.pk))
    await in_db(deleting.erase_now, run.task)
    assert [kind async for _, kind, _ in stored.follow(run, -1)] == ["error"]


def test_nothing_begins_or_changes_in_a_deleted_task(make, owner):
    task = make(webhook_url="https://hooks.example.com/x")
    task_service.delete(task)
    for late in (
        lambda: begin(owner, task),
        lambda: task_service.new_secret(task),
        lambda: task_service.update(owner, task.pk, {"name": CANARY}, None, request_id="r"),
        lambda: task_service.get(owner, task.pk),
    ):
        with pytest.raises(NotFound):
            late()
    assert not TaskRun.objects.exists() and in_tables() == {} and Task.objects.get().webhook_secret_encrypted == ""


def test_nothing_is_erased_while_valkey_is_away_and_it_is_made_good(make, owner, vendors, monkeypatch):
    run = begin(owner, make(input=CANARY))
    with vendors():
        again(run)
    with monkeypatch.context() as patch:
        patch.setattr(valkey, "sync_client", lambda: (_ for _ in ()).throw(ConnectionError()))
        assert not deleting.erase_now(run.task)
        assert sweep_deleted() == 0 and TaskRun.objects.count() == 1
    assert sweep_deleted() == 1 and in_tables() == {} and in_valkey() == []


def test_thousands_of_runs_go_in_batches(make, owner, django_assert_max_num_queries, monkeypatch):
    task = make()
    made = [TaskRun(task=task, user=owner.user, number=n, trigger="schedule", status="succeeded", input=CANARY) for n in range(1, 1101)]
    TaskRun.objects.bulk_create(made)
    agent_runs = [AgentRun(user=owner.user, surface="worker", task_id=task.pk, status="succeeded", input=CANARY) for _ in made]
    AgentRun.objects.bulk_create(agent_runs)
    TaskAttempt.objects.bulk_create(
        TaskAttempt(run=run, number=1, agent_run=row, status="succeeded") for run, row in zip(made, agent_runs, strict=True)
    )
    deleting.hide(task)
    with django_assert_max_num_queries(150):
        assert deleting.erase(task.pk, float("inf"))
    assert in_tables() == {} and not TaskAttempt.objects.exists()
    assert not deleting.erase(make().pk, float("inf")), "a task that is not deleted is never erased"


def test_the_sweep_hides_late_runs_and_erases_those_without_a_task(make, owner):
    task = make()
    task_service.delete(task)
    late = AgentRun.objects.create(user=owner.user, surface="worker", task_id=task.pk, input=CANARY, status="succeeded")
    stray = AgentRun.objects.create(user=owner.user, surface="worker", task_id=uuid7(), input=CANARY, status="running")
    AgentStep.objects.create(run=stray, number=1, kind="model", input={"text": CANARY})
    sweep_deleted()
    assert AgentRun.objects.get().pk == late.pk and AgentRun.objects.get().hidden_at is not None
    assert not AgentStep.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_two_sweeps_at_once_erase_each_task_once(make, owner):
    for number in range(8):
        task = make(name=f"{CANARY} {number}")
        TaskRun.objects.create(task=task, user=owner.user, number=1, trigger="request", status="succeeded", output=CANARY)
    long_ago()
    answers = at_once(2, lambda _: deleting.sweep())
    assert all(isinstance(answer, int) for answer in answers), answers
    assert not Task.objects.exists() and sum(answers) >= 8
    assert in_tables() == {}


@pytest.mark.django_db(transaction=True)
def test_a_run_and_a_deletion_agree(make, owner):
    for _ in range(5):
        task = make()
        asked, erased = at_once(2, lambda number: begin(owner, task) if number == 0 else deleting.erase_now(task))  # noqa: B023 - called within this turn of the loop
        assert isinstance(asked, TaskRun | NotFound) and erased is True, (asked, erased)
        assert not TaskRun.objects.filter(status__in=OPEN).exists() and not Task.objects.exists()
    assert not TaskRun.objects.exclude(status__in=ENDED).exists()
