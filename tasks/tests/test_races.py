"""Two of everything at once, over real connections: no moment is started twice, no run is held twice, no limit is passed."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from tasks import invariants, webhooks
from tasks import service as task_service
from tasks.models import Status, Task, TaskRun, WebhookDelivery
from tasks.runs import due as beat
from tasks.runs import store as task_runs
from tasks.runs import sweep as run_sweep
from tasks.schedule import Kind, Plan
from tasks.tests.conftest import begin, fresh
from tests.kit.racing import at_once

pytestmark = pytest.mark.django_db(transaction=True)
HOURLY = Plan(Kind.INTERVAL, every_seconds=3600)


def due(task: Task, ago: timedelta = timedelta(seconds=1)) -> Task:
    Task.objects.filter(pk=task.pk).update(next_run_at=timezone.now() - ago)
    return task


def sound() -> None:
    assert [str(one) for one in invariants.check()] == []


def test_many_beats_at_once_start_each_task_once(make):
    tasks = [due(make(HOURLY, name=str(n))) for n in range(15)]
    answers = at_once(6, lambda _: beat.tick())
    assert sum(answers) == len(tasks), answers
    assert TaskRun.objects.count() == len(tasks) and set(TaskRun.objects.values_list("number", flat=True)) == {1}
    assert not Task.objects.filter(next_run_at__lte=timezone.now()).exists()
    sound()


def test_many_workers_at_one_run_are_one(make, owner):
    run = begin(owner, make())
    answers = at_once(8, lambda number: task_runs.claim(run.pk, f"worker {number}"))
    winners = [answer for answer in answers if answer is not None]
    assert len(winners) == 1 and isinstance(winners[0], task_runs.Claimed)
    assert (fresh(run).attempt, fresh(run).claim, run.attempts.count()) == (1, 1, 1)
    sound()


def test_a_users_places_are_never_passed(make, owner, settings):
    settings.TASK_RUNS_PER_USER = 3
    queued = [begin(owner, make(name=str(n))) for n in range(12)]
    answers = at_once(12, lambda number: task_runs.claim(queued[number].pk, "w"))
    assert sum(isinstance(answer, task_runs.Claimed) for answer in answers) == 3 == TaskRun.objects.filter(status=Status.RUNNING).count()


def test_two_who_ask_for_a_run_get_one(make, owner):
    task = make()
    answers = at_once(6, lambda _: begin(owner, task))
    assert sorted(type(answer).__name__ for answer in answers) == ["Busy"] * 5 + ["TaskRun"]
    task.refresh_from_db()
    assert (task.runs_count, task.runs.count()) == (1, 1)
    sound()


def test_a_cancellation_and_a_claim_agree(make, owner):
    for _ in range(5):
        run = begin(owner, make())
        claimed, cancelled = at_once(2, lambda number: task_runs.claim(run.pk, "w") if number == 0 else task_runs.cancel(run.pk))  # noqa: B023 - called within this turn of the loop
        row = fresh(run)
        if claimed is None:
            assert row.status == Status.CANCELLED
        else:
            assert row.status == Status.RUNNING and row.cancel_asked_at is not None, cancelled
            task_runs.finish(claimed.token, task_runs.Result(Status.CANCELLED), 0)
    sound()


def test_the_zombie_and_the_sweeper_write_one_end(make, owner):
    for _ in range(5):
        run = begin(owner, make(max_retries=0))
        claimed = task_runs.claim(run.pk, "w")
        TaskRun.objects.filter(pk=run.pk).update(heartbeat_at=timezone.now() - timedelta(minutes=5))

        done, token = task_runs.Result(Status.SUCCEEDED), claimed.token
        ends = at_once(2, lambda number: task_runs.finish(token, done, 3) if number == 0 else run_sweep.sweep())  # noqa: B023 - called within this turn of the loop
        row = fresh(run)
        assert row.status == (Status.SUCCEEDED if ends[0] is not None else Status.FAILED)
        assert run.attempts.get().status == row.status
    sound()


def test_one_of_two_senders_sends(make, owner):
    run = begin(owner, make(webhook_url="https://hooks.example.com/x"))
    task_runs.cancel(run.pk)
    delivery = WebhookDelivery.objects.get(run=run)
    answers = at_once(4, lambda _: webhooks.take_delivery(delivery.pk))
    assert sum(answer is not None for answer in answers) == 1


def test_the_number_of_tasks_is_never_passed(make, owner, settings):
    settings.TASKS_PER_USER = 3
    at_once(6, lambda number: make(name=str(number)))
    assert Task.objects.count() == 3


# --- what was missed ------------------------------------------------------------------------------


def test_all_that_was_missed_is_one_run_and_the_beat_is_kept(make):
    task = make(Plan(Kind.INTERVAL, every_seconds=60))
    slot = timezone.now() - timedelta(minutes=10, seconds=5)
    Task.objects.filter(pk=task.pk).update(next_run_at=slot)
    assert (beat.tick(), beat.tick()) == (1, 0)
    run = TaskRun.objects.get()
    task.refresh_from_db()
    assert run.scheduled_for == slot and run.trigger == "schedule"
    assert task.next_run_at == slot + timedelta(minutes=11)


def test_what_was_missed_for_long_is_left_out(make):
    task = due(make(Plan(Kind.CRON, cron="0 * * * *")), timedelta(hours=5))
    assert beat.tick() == 0
    task.refresh_from_db()
    assert not TaskRun.objects.exists() and task.next_run_at > timezone.now()


def test_a_single_time_that_was_missed_for_long_is_a_failed_run_that_says_so(make):
    task = due(make(Plan(Kind.AT, timezone.now() + timedelta(minutes=1))), timedelta(hours=5))
    beat.tick()
    run = TaskRun.objects.get()
    task.refresh_from_db()
    assert (run.status, run.error["code"], task.next_run_at, task.status) == (Status.FAILED, "schedule_missed", None, Status.FAILED)


def test_a_slot_that_comes_while_the_last_run_is_open_is_left_out(make, owner):
    task = due(make(HOURLY))
    begin(owner, task)
    assert beat.tick() == 0
    task.refresh_from_db()
    assert task.runs.count() == 1 and task.next_run_at > timezone.now()


def test_paused_and_deleted_tasks_do_not_start(make, owner):
    paused, deleted = due(make(HOURLY)), due(make(HOURLY))
    task_service.pause(paused)
    task_service.delete(deleted)
    assert beat.tick() == 0 and not TaskRun.objects.exists()
