"""`/api/v1/tasks/` as a client uses it."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from accounts import keys
from accounts.models import ApiKey, User
from agents import secrets
from agents.models import Agent
from aiagents.core.live import news
from billing.models import Budget
from tasks.models import Status, Task, TaskRun
from tasks.runs import due as beat
from tasks.runs import store as task_runs
from tasks.tests.caller import Api
from tasks.tests.conftest import again, fresh
from tasks.tests.making import agent_of

pytestmark = pytest.mark.django_db
HELLO = {"name": "hello", "input": "Say hello"}


@pytest.fixture
def api(owner) -> Api:
    return Api(keys.create(owner.user, name="all", scopes=ApiKey.Scope.values)[1])


def made(api: Api, **changes: Any) -> dict[str, Any]:
    answer = api("POST", "", HELLO | changes)
    assert answer.status_code == 201, answer.content
    return answer.json()


def row(task: dict[str, Any]) -> Task:
    return Task.objects.get(pk=task["id"])


def refused(answer: Any, field: str) -> None:
    assert answer.status_code == 400, answer.content
    error = answer.json()["error"]
    assert error["type"] == "invalid_request" and all(name.split(".")[0] == field for name in error["details"]), error


# --- saving --------------------------------------------------------------------------------------


def test_a_task_comes_back_as_it_was_saved(api):
    schedule = {"type": "cron", "cron": "30  9 * * 1-5", "time_zone": "Europe/Berlin"}
    task = made(
        api, description="d", variables={"a": 1}, system_prompt="Be brief", model="gpt-4o-mini", goal="cheapest", schedule=schedule,
        parameters={"temperature": 0.5}, max_retries=1, retry_seconds=5, max_seconds=60, max_cost_usd="0.5", monthly_budget_usd="3",
    )  # fmt: skip
    assert task["schedule"] == {"type": "cron", "at": None, "every_seconds": None, "cron": "30 9 * * 1-5", "time_zone": "Europe/Berlin"}
    assert (task["status"], task["kind"], task["paused"], task["last_run"]) == ("scheduled", "prompt", False, None)
    assert (task["max_cost_usd"], task["monthly_budget_usd"]) == ("0.50000000", "3.00000000")
    again = api("GET", task["id"]).json()
    assert again == task
    assert api("GET").json()["results"] == [task]
    assert Budget.objects.get(scope="task", scope_id=task["id"]).limit_usd == 3


def test_put_puts_the_whole_and_patch_a_part(api):
    task = made(api, description="d", max_retries=7, schedule={"type": "interval", "every_seconds": 600}, monthly_budget_usd="1")
    patched = api("PATCH", task["id"], {"name": "other"}).json()
    assert (patched["name"], patched["max_retries"], patched["next_run_at"]) == ("other", 7, task["next_run_at"])
    put = api("PUT", task["id"], HELLO).json()
    assert (put["description"], put["max_retries"], put["schedule"]["type"], put["next_run_at"]) == ("", 2, "manual", None)
    assert put["monthly_budget_usd"] is None


def test_another_schedule_begins_now_and_the_same_one_keeps_its_moment(api):
    hourly = {"type": "interval", "every_seconds": 3600}
    task = made(api, schedule=hourly)
    soon = timezone.now() + timedelta(minutes=1)
    Task.objects.update(next_run_at=soon)
    api("PATCH", task["id"], {"schedule": hourly})
    assert row(task).next_run_at == soon
    api("PATCH", task["id"], {"schedule": {"type": "interval", "every_seconds": 7200}})
    assert row(task).next_run_at > soon + timedelta(minutes=30)


@pytest.mark.parametrize(
    "field, value",
    [
        ("name", ""), ("name", "x" * 101), ("input", ""), ("input", "a\x00b"), ("unknown", 1), ("status", "succeeded"), ("user", 1),
        ("next_run_at", "2027-01-01T00:00:00Z"), ("model", "no-such-model"), ("model", "auto:nothing"), ("goal", "loudest"),
        ("parameters", {"temperature": 3}), ("parameters", {"seed": 1}), ("variables", {"a b": 1}), ("variables", {"a": []}),
        ("variables", []), ("max_retries", 11), ("max_retries", -1), ("max_seconds", 0), ("max_seconds", 10**6), ("max_cost_usd", "-1"),
        ("max_cost_usd", "NaN"), ("monthly_budget_usd", "1e30"), ("agent_id", "01890000-0000-7000-8000-000000000000"),
        ("webhook_url", "ftp://example.com"), ("webhook_url", "https://a:b@example.com"), ("webhook_url", "http://127.0.0.1/"),
        ("webhook_secret", "short"), ("schedule", {}), ("schedule", {"type": "weekly"}), ("schedule", "now"),
        ("schedule", {"type": "cron"}), ("schedule", {"type": "cron", "cron": "* * *"}),
        ("schedule", {"type": "cron", "cron": "0 0 30 2 *"}), ("schedule", {"type": "interval", "every_seconds": 59}),
        ("schedule", {"type": "interval", "every_seconds": True}), ("schedule", {"type": "at", "at": "2020-01-01T00:00:00Z"}),
        ("schedule", {"type": "at", "at": "9999-12-31T23:59:59"}), ("schedule", {"type": "at", "at": "tomorrow"}),
        ("schedule", {"type": "now", "cron": "* * * * *"}), ("schedule", {"type": "now", "time_zone": "Mars"}),
        ("schedule", {"type": "manual", "extra": 1}), ("schedule", {"type": "at", "at": 5}),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_and_nothing_is_saved(api, field, value):
    answer = api("POST", "", HELLO | {field: value})
    assert answer.status_code == 400, answer.content
    if value != "a\x00b":
        refused(answer, field)
    assert not Task.objects.exists()


def test_an_agent_brings_its_own_prompt_and_must_be_visible(api, owner):
    agent = agent_of(owner.user)
    task = made(api, agent_id=str(agent.pk))
    assert (task["kind"], task["agent_id"]) == ("agent", str(agent.pk))
    refused(api("POST", "", HELLO | {"agent_id": str(agent.pk), "system_prompt": "mine"}), "system_prompt")
    other = User.objects.create_user("bob@example.com", "correct horse battery staple")
    private = agent_of(other, slug="private")
    refused(api("PATCH", task["id"], {"agent_id": str(private.pk)}), "agent_id")
    Agent.objects.filter(pk=private.pk).update(visibility="shared")
    assert api("PATCH", task["id"], {"agent_id": str(private.pk)}).status_code == 200
    assert api("PATCH", task["id"], {"agent_id": None}).json()["kind"] == "prompt"


def test_the_number_of_tasks_is_limited(api, settings):
    settings.TASKS_PER_USER = 2
    first = made(api)
    made(api)
    answer = api("POST", "", HELLO)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "too_many_tasks")
    assert api("DELETE", first["id"]).status_code == 204
    made(api)


def test_the_same_key_makes_one_task_and_another_body_is_refused(api):
    first = api("POST", "", HELLO, idempotency_key="once")
    second = api("POST", "", HELLO, idempotency_key="once")
    assert (second.status_code, second.json(), second["Idempotent-Replayed"]) == (201, first.json(), "true")
    assert api("POST", "", HELLO | {"name": "x"}, idempotency_key="once").status_code == 409
    assert Task.objects.count() == 1


# --- webhooks' secrets ---------------------------------------------------------------------------


def test_a_signing_secret_is_shown_once_and_kept_encrypted(api):
    task = made(api, webhook_url="https://hooks.example.com/x")
    secret = task["webhook_secret"]
    assert secret.startswith("whsec_") and secrets.decrypt(row(task).webhook_secret_encrypted) == secret
    assert "webhook_secret" not in api("GET", task["id"]).json()
    assert "webhook_secret" not in api("PATCH", task["id"], {"name": "x"}).json()
    other = api("POST", f"{task['id']}/webhook-secret").json()["webhook_secret"]
    assert other != secret and secrets.decrypt(row(task).webhook_secret_encrypted) == other


def test_a_secret_of_ones_own_is_taken_and_not_shown(api):
    own = "whsec_" + "QUJD" * 10
    task = made(api, webhook_url="https://hooks.example.com/x", webhook_secret=own)
    assert "webhook_secret" not in task and secrets.decrypt(row(task).webhook_secret_encrypted) == own


# --- runs ----------------------------------------------------------------------------------------


def test_run_now_is_queued_with_the_request_that_asked_for_it(api, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks() as sent:
        task = made(api, schedule={"type": "now"})
    run = TaskRun.objects.get(task_id=task["id"])
    queued = [one for one in sent if getattr(one, "func", None) is not news.send_now]
    assert (task["status"], task["last_run"]["id"], run.trigger, len(queued)) == ("queued", str(run.pk), "request", 1)
    assert row(task).next_run_at is None


def test_a_run_is_asked_for_carried_out_and_read_with_its_steps(api, vendors):
    task = made(api, input="Hi {who}", model="gpt-4o-mini")
    asked = api("POST", f"{task['id']}/run", {"variables": {"who": "you"}}, x_request_id="request-from-outside")
    assert (asked.status_code, asked.json()["status"], asked.json()["request_id"]) == (202, "queued", "request-from-outside")
    busy = api("POST", f"{task['id']}/run")
    assert (busy.status_code, busy.json()["error"]["code"]) == (409, "run_in_progress")
    with vendors():
        again(TaskRun.objects.get())
    shown = api("GET", f"{task['id']}/runs/{asked.json()['id']}").json()
    assert (shown["status"], shown["input"], shown["number"], shown["attempt"]) == ("succeeded", "Hi you", 1, 1)
    step = shown["attempts"][0]["steps"][0]
    assert step["kind"] == "model" and Decimal(step["cost_usd"]) == Decimal(shown["cost_usd"]) > 0
    listed = api("GET", f"{task['id']}/runs").json()["results"]
    assert [one["id"] for one in listed] == [shown["id"]] and listed[0]["output"] == shown["output"]
    assert api("GET", f"{task['id']}/runs?status=failed").json()["results"] == []
    refused_param = api("GET", f"{task['id']}/runs?colour=red")
    assert refused_param.status_code == 400
    assert api("GET", task["id"]).json()["last_run"]["status"] == "succeeded"


def test_running_by_hand_is_idempotent_with_a_key(api):
    task = made(api)
    first = api("POST", f"{task['id']}/run", {}, idempotency_key="r1")
    assert api("POST", f"{task['id']}/run", {}, idempotency_key="r1").json() == first.json()
    assert TaskRun.objects.count() == 1


def test_runs_are_paged(api):
    task = made(api)
    for _ in range(5):
        task_runs.cancel(task_runs.open_run(row(task), TaskRun.Trigger.REQUEST).pk)
    first = api("GET", f"{task['id']}/runs?page_size=2").json()
    assert [one["number"] for one in first["results"]] == [5, 4]
    second = api("GET", first["next"]).json()
    assert [one["number"] for one in second["results"]] == [3, 2]


def test_pause_stops_the_schedule_and_resume_takes_it_up_from_now(api):
    task = made(api, schedule={"type": "interval", "every_seconds": 60})
    assert api("POST", f"{task['id']}/pause").json()["status"] == "paused"
    Task.objects.update(next_run_at=timezone.now() - timedelta(minutes=10))
    assert beat.tick() == 0
    resumed = api("POST", f"{task['id']}/resume").json()
    assert resumed["status"] == "scheduled" and row(task).next_run_at > timezone.now()
    assert api("POST", f"{task['id']}/resume").json()["next_run_at"] == resumed["next_run_at"], "resumed already"


def test_what_was_read_of_a_tasks_pause_may_be_sent_back_and_is_changed_by_its_own_endpoints(api):
    task = made(api)
    assert api("PATCH", task["id"], {"paused": False, "name": "other"}).json()["name"] == "other"
    refused = api("PATCH", task["id"], {"paused": True})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "paused")
    assert api("GET", task["id"]).json()["paused"] is False


def test_a_task_may_begin_paused_and_starts_when_resumed(api):
    task = made(api, schedule={"type": "now"}, paused=True)
    assert (task["status"], TaskRun.objects.count()) == ("paused", 0)
    assert api("POST", f"{task['id']}/resume").json()["status"] == "queued"


def test_pausing_leaves_the_open_run_alone(api, vendors):
    task = made(api, model="gpt-4o-mini", schedule={"type": "now"})
    assert api("POST", f"{task['id']}/pause").json()["status"] == "queued"
    with vendors():
        again(TaskRun.objects.get())
    assert api("GET", task["id"]).json()["status"] == "paused"
    assert fresh(TaskRun.objects.get()).status == Status.SUCCEEDED


def test_cancel_ends_what_is_open_and_calls_off_what_was_to_come(api):
    task = made(api, schedule={"type": "now"})
    assert api("POST", f"{task['id']}/cancel").json()["status"] == "cancelled"
    assert api("POST", f"{task['id']}/cancel").status_code == 409
    later = made(api, schedule={"type": "at", "at": (timezone.now() + timedelta(days=1)).isoformat()})
    called_off = api("POST", f"{later['id']}/cancel")
    assert (called_off.status_code, called_off.json()["status"]) == (200, "cancelled")
    assert api("GET", later["id"]).json()["status"] == "cancelled" and row(later).next_run_at is None
    hourly = made(api, schedule={"type": "interval", "every_seconds": 60})
    answer = api("POST", f"{hourly['id']}/cancel")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "nothing_runs")
    assert row(hourly).next_run_at is not None


def test_a_deleted_task_is_gone_and_its_open_run_is_cancelled(api, owner):
    task = made(api, schedule={"type": "now"}, webhook_url="https://hooks.example.com/x")
    assert api("DELETE", task["id"]).status_code == 204
    for method, path in (("GET", ""), ("PATCH", ""), ("POST", "/run"), ("GET", "/runs"), ("DELETE", "")):
        assert api(method, task["id"] + path, {}).status_code == 404
    assert TaskRun.objects.get().status == Status.CANCELLED
    gone = Task.objects.get()
    assert gone.webhook_secret_encrypted == "" and gone.next_run_at is None
    assert api("GET").json()["results"] == []


def test_lists_are_filtered_searched_and_ordered(api, django_assert_max_num_queries):
    scheduled = made(api, name="alpha", schedule={"type": "interval", "every_seconds": 60})
    manual = made(api, name="beta", input="find the needle")
    running = made(api, name="gamma", schedule={"type": "now"})
    failed = made(api, name="delta")
    run = task_runs.open_run(row(failed), TaskRun.Trigger.REQUEST)
    TaskRun.objects.filter(pk=run.pk).update(status="failed")
    statuses = {"scheduled": scheduled, "paused": manual, "queued": running, "failed": failed}
    for status, task in statuses.items():
        assert [one["name"] for one in api("GET", f"?status={status}").json()["results"]] == [task["name"]]
        assert api("GET", task["id"]).json()["status"] == status
    assert api("GET", "?status=succeeded").json()["results"] == []
    assert [one["name"] for one in api("GET", "?search=needle").json()["results"]] == ["beta"]
    assert [one["name"] for one in api("GET", "?ordering=name").json()["results"]] == ["alpha", "beta", "delta", "gamma"]
    assert [one["name"] for one in api("GET", "?schedule=interval").json()["results"]] == ["alpha"]
    assert api("GET", "?status=done").status_code == 400 and api("GET", "?colour=red").status_code == 400
    with django_assert_max_num_queries(6):
        api("GET")


def test_nothing_of_a_task_may_be_cached(api):
    assert api("GET")["Cache-Control"] == "no-store"


def test_by_the_rules_of_the_status_each_task_has_exactly_one(api, make, owner):
    """`status` in Python and in SQL say the same, for every mix of schedule, pause and last run."""
    lasts = [None, "scheduled", "queued", "running", "waiting_approval", "succeeded", "failed", "cancelled"]
    mixes = [(last, paused, due) for last in lasts for paused in (False, True) for due in (False, True)]
    now = timezone.now()
    for last, paused, due in mixes:
        task = make(name=f"{last} {paused} {due}")
        if last is not None:
            run = task_runs.open_run(task, TaskRun.Trigger.REQUEST)
            TaskRun.objects.filter(pk=run.pk).update(status=last)
        Task.objects.filter(pk=task.pk).update(paused_at=now if paused else None, next_run_at=now if due else None)
    for task in Task.objects.select_related("last_run"):
        by_sql = [status for status in Status.values if Task.objects.with_status(status).filter(pk=task.pk).exists()]
        assert by_sql == [task.status], task.name


# --- how much it may become ----------------------------------------------------------------------


def test_an_input_that_would_be_huge_once_filled_is_refused_wherever_it_is_given(api: Api, monkeypatch):
    seventy_kilobytes = {"input": "{a}" * 7000, "variables": {"a": "x" * 49_000}}
    refused(api("POST", "", HELLO | seventy_kilobytes), "input")
    task = made(api, input="{a}" * 7000)
    for method in ("PATCH", "PUT"):
        body = {"variables": seventy_kilobytes["variables"]} if method == "PATCH" else HELLO | seventy_kilobytes
        refused(api(method, task["id"], body), "input")
    answer = api("POST", f"{task['id']}/run", {"variables": seventy_kilobytes["variables"]})
    assert answer.status_code == 400 and answer.json()["error"]["code"] == "expansion_too_long"
    assert not TaskRun.objects.exists() and row(task).variables == {}
