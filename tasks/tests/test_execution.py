"""One attempt of a run: from the queue to its end in the row, and what it cost."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from asgiref.sync import async_to_sync
from django.utils import timezone

from accounts import keys
from accounts.authentication import Principal
from accounts.models import User
from agents.models import Agent, AgentRun, AgentStep
from agents.runs import approvals
from agents.runs import ends as run_ends
from agents.runs import store as run_store
from agents.tests.runs import Probe
from agents.tools.declaring import BUILTINS
from aiagents.core.db.calls import in_db
from aiagents.core.errors import NotFound, Unavailable
from aiagents.core.live import liveness, outage_heartbeat
from billing.budgets import budgets
from billing.models import UsageLog
from tasks import service as task_service
from tasks.models import Status, Task, TaskAttempt, TaskRun
from tasks.runs import due
from tasks.runs import store as task_runs
from tasks.runs import sweep as run_sweep
from tasks.tests.conftest import MODEL, aboard, again, again_here, at_work, begin, done, due_now, fresh
from tasks.tests.making import SLOW, agent_of, silence

pytestmark = pytest.mark.django_db


def costs(run: TaskRun) -> Decimal:
    return sum(UsageLog.objects.filter(task_id=run.task_id).values_list("cost_usd", flat=True), Decimal(0))


# --- well ----------------------------------------------------------------------------------------


def test_a_prompt_is_answered_stored_and_paid_exactly(make, owner, vendors):
    with vendors():
        task = make(input="Tell {who} about {date}", variables={"who": "Ann"})
        run = done(task, owner)
    assert (run.status, run.attempt, run.error) == (Status.SUCCEEDED, 1, None)
    assert run.input == f"Tell Ann about {timezone.now():%Y-%m-%d}"
    assert run.output and run.model == MODEL and run.simulated
    log = UsageLog.objects.get(task_id=task.id)
    assert (log.purpose, log.surface, log.request_id, log.group_id) == ("task", "worker", run.request_id, run.attempts.get().agent_run_id)
    assert run.cost_usd == log.cost_usd > 0 and run.input_tokens == log.input_tokens
    task.refresh_from_db()
    assert task.status == Status.SUCCEEDED and run.started_at <= run.ended_at


def test_an_input_that_became_too_long_ends_its_run_with_that_word_and_costs_nothing(make, owner, vendors):
    """Saved before there was the limit, or under a higher one."""
    with vendors():
        task = make(input="{a}" * 7000)
        Task.objects.filter(pk=task.pk).update(variables={"a": "x" * 49_000})
        run = begin(owner, make())
        TaskRun.objects.filter(pk=run.pk).update(task=task, variables={"a": "x" * 49_000})
        again(run)
    run = fresh(run)
    assert run.status == Status.FAILED and run.error["code"] == "expansion_too_long", run.error
    assert run.attempt == 1 and not run.input and not UsageLog.objects.exists()


def test_variables_of_a_run_win_over_the_tasks_own(make, owner, vendors):
    with vendors():
        run = done(make(input="{a} and {b}", variables={"a": 1, "b": 2}), owner, b="two")
    assert run.input == "1 and two"


def test_an_agents_run_has_its_steps_and_costs_their_sum(make, owner, vendors):
    agent = agent_of(owner.user, "calculator")
    with vendors():
        run = done(make(agent_id=agent.id, input='[[call calculator {"expression": "6*7"}]]'), owner)
    assert run.status == Status.SUCCEEDED, run.error
    steps = list(AgentStep.objects.filter(run__task_attempt__run=run).order_by("number"))
    assert [step.kind for step in steps] == ["model", "tool", "model"] and "42" in steps[1].output
    assert run.cost_usd == costs(run) == sum(step.cost_usd for step in steps) > 0


def test_one_run_of_a_task_at_a_time(make, owner):
    task = make()
    begin(owner, task)
    with pytest.raises(task_runs.Busy):
        begin(owner, task)
    assert TaskRun.objects.filter(task=task).count() == 1
    task.refresh_from_db()
    assert task.runs_count == 1, "what was refused leaves no trace"


# --- failures ------------------------------------------------------------------------------------


def test_a_failure_that_may_pass_is_tried_again_later_and_every_attempt_is_paid(make, owner, vendors, settings):
    settings.LLM_MAX_ATTEMPTS = 1
    with vendors() as sim:
        task = make(max_retries=2)
        sim.plan(MODEL, ["503", "503", "ok"])
        run = done(task, owner)
        assert (run.status, run.attempt) == (Status.SCHEDULED, 1) and run.error["code"] == "no_model_available"
        assert timedelta(0) < run.not_before - timezone.now() <= timedelta(seconds=1)
        assert not task_runs.claim(run.id, "nobody"), "not before its time"
        due_now(run)
        again(run)
        run = fresh(run)
        assert (run.status, run.attempt) == (Status.SCHEDULED, 2)
        due_now(run)
        again(run)
    run = fresh(run)
    assert (run.status, run.attempt, run.error) == (Status.SUCCEEDED, 3, None)
    assert [attempt.status for attempt in run.attempts.order_by("number")] == ["failed", "failed", "succeeded"]
    assert run.cost_usd == costs(run)


def test_an_error_whose_writing_the_database_delays_is_reported_and_retried(make, owner, vendors, settings, monkeypatch):
    """The end of an agent run is written behind whoever waits for it: nobody may read its row as still open and call it dead."""
    settings.LLM_MAX_ATTEMPTS = 1
    monkeypatch.setattr(run_ends, "WAIT_SECONDS", 0.05)
    end, tries = run_store.end, []

    def away_at_first(*args, **kwargs):
        tries.append(args)
        if len(tries) < 3:
            raise Unavailable
        return end(*args, **kwargs)

    monkeypatch.setattr(run_store, "end", away_at_first)
    with vendors() as sim:
        sim.plan(MODEL, ["503"])
        run = done(make(max_retries=1), owner)
    assert len(tries) == 3
    assert (run.status, run.error["code"]) == (Status.SCHEDULED, "no_model_available")


def test_an_end_that_never_came_into_its_row_is_tried_again(make, owner, vendors, settings, monkeypatch):
    settings.LLM_MAX_ATTEMPTS = 1

    def away(*args, **kwargs):
        raise Unavailable

    monkeypatch.setattr(liveness, "STEP_PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(run_store, "end", away)
    with vendors() as sim:
        sim.plan(MODEL, ["503"])
        run = done(make(max_retries=1), owner)
        assert run.attempts.get().agent_run.status == AgentRun.Status.RUNNING
    assert (run.status, run.error["code"]) == (Status.SCHEDULED, "interrupted")


def test_after_its_last_retry_a_run_has_failed(make, owner, vendors, settings):
    settings.LLM_MAX_ATTEMPTS = 1
    with vendors() as sim:
        sim.plan(MODEL, ["503"] * 5)
        run = done(make(max_retries=1), owner)
        due_now(run)
        again(run)
    run = fresh(run)
    assert (run.status, run.attempt) == (Status.FAILED, 2) and run.ended_at


def test_a_failure_that_will_not_pass_is_not_repeated(make, owner, vendors):
    with vendors() as sim:
        sim.plan(MODEL, ["400"])
        run = done(make(max_retries=5), owner)
    assert (run.status, run.attempt) == (Status.FAILED, 1)


def test_a_budget_that_is_used_up_fails_the_run_and_says_so(make, owner, vendors):
    with vendors():
        task = make()
        budgets.set_limit("task", task.id, Decimal("0.0000001"))
        run = done(task, owner)
    assert run.status == Status.FAILED and run.error["type"] == "budget_exceeded"
    assert run.cost_usd == 0


def test_a_run_that_would_cost_more_than_it_may_fails(make, owner, vendors):
    with vendors():
        run = done(make(max_cost_usd=Decimal("0.0000001")), owner)
    assert run.status == Status.FAILED and run.error["type"] == "budget_exceeded" and run.cost_usd == 0


def test_a_retry_has_what_is_left_of_the_runs_money_only(make, owner, vendors, settings):
    settings.LLM_MAX_ATTEMPTS = 1
    with vendors() as sim:
        sim.plan(MODEL, ["cut,chunks:40", "ok"])
        task = make(max_cost_usd=Decimal("0.000001"), input="x", parameters={"max_output_tokens": 10})
        # A price of a fraction of a millionth: the first attempt fits, and eats most of it.
        settings.UNKNOWN_PRICE_CEILING_PER_MTOK = 1
        run = done(task, owner)
    assert run.cost_usd == costs(run) <= task.max_cost_usd * 2


def test_a_run_that_takes_too_long_fails_with_what_it_had_written(make, owner, vendors):
    with vendors():
        run = done(make(input="[[sim:chunks=400,pace=50]] story", max_seconds=3), owner)
    assert (run.status, run.error["code"], run.finish_reason) == (Status.FAILED, "time_limit", "max_seconds")
    assert run.output and run.cost_usd > 0 and run.attempt == 1


def test_a_disabled_owner_runs_nothing(make, owner, vendors):
    task = make()
    run = begin(owner, task)
    User.objects.filter(pk=owner.user_id).update(is_active=False)
    with vendors() as sim:
        again(run)
        assert not sim.requests
    assert (fresh(run).status, fresh(run).error["code"]) == (Status.FAILED, "owner_disabled")


def test_a_revoked_key_ends_its_tasks_and_saving_in_person_mends_them(make, owner, vendors):
    key = keys.create(owner.user, name="k", scopes=["tasks"])[0]
    by_key = Principal(owner.user, owner.auth_epoch, key_id=key.id, scopes=frozenset({"tasks"}))
    task = make()
    task_service.update(by_key, task.pk, {}, None, request_id="x" * 8)
    task.refresh_from_db()
    keys.revoke(key, actor=owner.user)
    with vendors():
        run = task_runs.open_run(task, TaskRun.Trigger.SCHEDULE, key_id=task.api_key_id)
        again(run)
        assert (fresh(run).status, fresh(run).error["code"]) == (Status.FAILED, "api_key_revoked")
        task_service.update(owner, task.pk, {}, None, request_id="x" * 8)
        task.refresh_from_db()
        assert task.api_key_id is None
        assert (done(task, owner)).status == Status.SUCCEEDED


def test_a_keys_calls_count_in_its_own_budget(make, owner, vendors):
    key = keys.create(owner.user, name="k", scopes=["tasks"], monthly_budget_usd=Decimal("0.0000001"))[0]
    by_key = Principal(owner.user, owner.auth_epoch, key_id=key.id, scopes=frozenset({"tasks"}))
    with vendors():
        run = done(make(), by_key)
    assert run.status == Status.FAILED and run.error["type"] == "budget_exceeded"


@pytest.mark.parametrize("how", ["deleted", "disabled", "unshared", "gone"])
def test_an_agent_that_is_lost_fails_its_runs_and_says_so(make, owner, vendors, how):
    other = User.objects.create_user("bob@example.com", "correct horse battery staple")
    agent = agent_of(other, visibility="shared")
    task = make(agent_id=agent.id)
    match how:
        case "deleted":
            Agent.objects.filter(pk=agent.pk).update(deleted_at=timezone.now())
        case "disabled":
            Agent.objects.filter(pk=agent.pk).update(enabled=False)
        case "unshared":
            Agent.objects.filter(pk=agent.pk).update(visibility="private")
        case "gone":
            Agent.objects.filter(pk=agent.pk).update(version=None)
            agent.refresh_from_db()
            agent.delete()
            task.refresh_from_db()
    with vendors():
        run = done(task, owner)
    assert (run.status, run.error["code"]) == (Status.FAILED, "agent_gone")


def test_a_password_changed_in_mid_run_does_not_end_the_run_for_good(make, owner, vendors):
    """The run's next call is refused (the session's epoch has passed); the next attempt has the new one."""
    agent = agent_of(owner.user, "probe")
    with Probe() as probe:

        async def change(arguments, context) -> str:
            await in_db(lambda: User.objects.get(pk=owner.user_id).end_sessions(reason="password"))
            return "done"

        BUILTINS["probe"] = replace(probe.tool, run=change)
        with vendors():
            run = done(make(agent_id=agent.id, input="[[call probe {}]]", max_retries=1), owner)
            assert (run.status, run.error["type"]) == (Status.SCHEDULED, "not_authenticated")
            BUILTINS["probe"] = probe.tool
            due_now(run)
            again(run)
            assert fresh(run).status == Status.SUCCEEDED


def test_what_may_not_be_called_twice_keeps_a_failed_run_from_being_repeated(make, owner, vendors, settings):
    settings.LLM_MAX_ATTEMPTS = 1
    for repeatable, expected in ((False, Status.FAILED), (True, Status.SCHEDULED)):
        agent = agent_of(owner.user, "probe", slug=f"a-{repeatable}".lower())
        with Probe(repeatable=repeatable) as probe:
            with vendors() as sim:
                sim.plan(MODEL, ["ok", "503"])
                run = done(make(agent_id=agent.id, input="[[call probe {}]]"), owner)
            assert (run.status, len(probe.calls)) == (expected, 1)


# --- who may run it, and when --------------------------------------------------------------------


def test_a_users_places_are_limited_and_freed_in_order(make, owner, vendors, settings):
    settings.TASK_RUNS_PER_USER = 2
    waiting = [begin(owner, make(name=str(n))) for n in range(3)]
    claimed = [task_runs.claim(run.id, "w") for run in waiting]
    assert [one is not None for one in claimed] == [True, True, False]
    assert fresh(waiting[2]).status == Status.QUEUED
    with vendors():
        task_runs.finish(claimed[0].token, task_runs.Result(Status.CANCELLED), 0)
        task_runs.finish(claimed[1].token, task_runs.Result(Status.CANCELLED), 0)
        again(waiting[2])
        assert fresh(waiting[2]).status == Status.SUCCEEDED


def test_a_second_message_for_a_run_finds_nothing_to_claim(make, owner, vendors):
    with vendors() as sim:
        run = done(make(), owner)
        again(run)
        assert len(sim.requests) == 1
    assert fresh(run).attempt == 1


# --- cancelled -----------------------------------------------------------------------------------


def test_a_queued_run_is_cancelled_at_once(make, owner, vendors):
    run = begin(owner, make())
    assert (task_runs.cancel(run.id)).status == Status.CANCELLED
    with vendors() as sim:
        again(run)
        assert not sim.requests


async def test_a_running_run_hears_of_its_cancellation_within_two_seconds(make, owner, vendors):
    def check(run: TaskRun) -> None:
        run = fresh(run)
        assert run.status == Status.CANCELLED and run.output and run.cost_usd == costs(run) > 0
        assert AgentRun.objects.get(task_attempt__run=run).status == AgentRun.Status.CANCELLED

    run = await in_db(lambda: begin(owner, make(input=SLOW)))
    async with aboard(vendors):
        async with at_work(run):
            asked = await in_db(task_runs.cancel, run.id)
            assert asked.status == Status.RUNNING and asked.cancel_asked_at
            began = time.monotonic()
        assert time.monotonic() - began < 4.0  # two seconds, where no other tests run beside
        await in_db(check, run)


def test_cancelling_what_has_ended_changes_nothing(make, owner, vendors):
    with vendors():
        run = done(make(), owner)
    assert (task_runs.cancel(run.id)).status == Status.SUCCEEDED


# --- approval ------------------------------------------------------------------------------------


def test_a_run_that_needs_a_person_lets_its_worker_go_and_goes_on_when_decided(make, owner, vendors):
    with Probe("deploy") as probe:
        agent = agent_of(owner.user, "deploy", ask=("deploy",))
        with vendors():
            run = done(make(agent_id=agent.id, input='[[call deploy {"word": "now"}]]'), owner)
            assert (run.status, probe.calls) == (Status.WAITING_APPROVAL, [])
            assert not TaskRun.objects.filter(status=Status.RUNNING).exists()
            attempt = run.attempts.get()
            approvals.decide(owner.user, attempt.agent_run_id, approve=True)
            run_sweep.sweep()  # a test's transaction does not commit, so the decision is not announced
            assert fresh(run).status == Status.QUEUED
            again(run)
    run = fresh(run)
    assert (run.status, run.attempt, probe.calls) == (Status.SUCCEEDED, 1, ["now"])
    assert run.cost_usd == costs(run) > 0


def test_a_task_with_a_strangers_agent_waits_for_the_tasks_owner_before_a_tool_reaches_out(make, owner, vendors):
    other = User.objects.create_user("bob@example.com", "correct horse battery staple")
    with Probe("mailer") as probe:
        BUILTINS["mailer"] = replace(probe.tool, outside=True)
        agent = agent_of(other, "mailer", visibility="shared")
        with vendors():
            run = done(make(agent_id=agent.id, input='[[call mailer {"word": "now"}]]'), owner)
            assert (run.status, probe.calls) == (Status.WAITING_APPROVAL, [])
            attempt = run.attempts.get()
            with pytest.raises(NotFound):
                approvals.decide(other, attempt.agent_run_id, approve=True)
            approvals.decide(owner.user, attempt.agent_run_id, approve=True)
            run_sweep.sweep()
            again(run)
    assert (fresh(run).status, probe.calls) == (Status.SUCCEEDED, ["now"])


def test_the_hook_takes_a_tasks_run_and_no_others(make, owner, vendors):
    from tasks.runs import decisions

    with Probe("deploy"):
        agent = agent_of(owner.user, "deploy", ask=("deploy",))
        with vendors():
            run = done(make(agent_id=agent.id, input="[[call deploy {}]]"), owner)
            row = AgentRun.objects.get(task_attempt__run=run)
            assert decisions.on_decision(row)
            assert fresh(run).status == Status.QUEUED
            again(run)
            assert fresh(run).status == Status.WAITING_APPROVAL, "woken without a decision it waits again"
            assert not decisions.on_decision(AgentRun(user=owner.user))
            task_runs.cancel(run.id)
    row.refresh_from_db()
    assert (fresh(run).status, row.status) == (Status.CANCELLED, AgentRun.Status.CANCELLED)
    assert TaskAttempt.objects.get(run=run).status == Status.CANCELLED


# --- workers that die or leave -------------------------------------------------------------------


def test_the_run_of_a_dead_worker_is_tried_again(make, owner, vendors):
    run = begin(owner, make())
    dead = task_runs.claim(run.id, "dead")
    run_sweep.sweep()
    assert fresh(run).status == Status.RUNNING, "not before it has been silent for long"
    silence(run)
    assert run_sweep.sweep() == 1
    assert fresh(run).status == Status.SCHEDULED
    assert task_runs.finish(dead.token, task_runs.Result(Status.SUCCEEDED), 5) is None, "the zombie writes nothing"
    assert due_now(run)
    with vendors():
        again(run)
    run = fresh(run)
    assert (run.status, run.attempt) == (Status.SUCCEEDED, 2)
    assert run.attempts.get(number=1).error["code"] == "interrupted"


def test_the_run_of_a_worker_that_only_cannot_reach_the_database_is_left_to_it(make, owner):
    run = begin(owner, make())
    task_runs.claim(run.id, "cut off")
    silence(run)
    async_to_sync(outage_heartbeat.say)("tasks", [run.id], 15)
    assert run_sweep.sweep() == 0
    assert fresh(run).status == Status.RUNNING


def test_without_a_retry_left_the_run_of_a_dead_worker_has_failed(make, owner):
    run = begin(owner, make(max_retries=0))
    task_runs.claim(run.id, "dead")
    silence(run)
    run_sweep.sweep()
    assert (fresh(run).status, fresh(run).error["code"]) == (Status.FAILED, "interrupted")


async def test_a_worker_that_slept_finds_its_run_taken_and_stops(make, owner, vendors):
    run = await in_db(lambda: begin(owner, make(input=SLOW, max_retries=0)))
    async with aboard(vendors):
        async with at_work(run):
            await in_db(silence, run)
            await in_db(run_sweep.sweep)
            assert (await in_db(fresh, run)).status == Status.FAILED
        await in_db(run_sweep.sweep)  # the cost of the call that was still being settled

        def check() -> None:
            ended = fresh(run)
            assert ended.status == Status.FAILED and ended.cost_usd == costs(run) > 0

        await in_db(check)


async def test_a_worker_that_leaves_hands_back_what_may_be_done_again_and_it_is_not_counted(make, owner, vendors):
    run = await in_db(lambda: begin(owner, make(input=SLOW, max_retries=0)))
    async with aboard(vendors):
        async with at_work(run) as crew:
            await crew.leave(0.1)

        def check() -> None:
            left = fresh(run)
            assert (left.status, left.attempts.get().status) == (Status.QUEUED, Status.CANCELLED)
            Task.objects.filter(pk=run.task_id).update(input="short")

        await in_db(check)
        await again_here(run)

        def ended() -> None:
            last = fresh(run)
            assert (last.status, last.attempt) == (Status.SUCCEEDED, 2)
            assert last.cost_usd == costs(run) > 0

        await in_db(ended)


def test_a_lost_message_is_sent_again(make, owner, django_capture_on_commit_callbacks):
    run = begin(owner, make())
    assert due.tick() == 0
    TaskRun.objects.filter(pk=run.pk).update(queued_at=timezone.now() - timedelta(minutes=1))
    assert due.tick() == 1
    assert due.tick() == 0
