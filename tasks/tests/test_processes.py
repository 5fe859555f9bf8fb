"""Real workers, a real beat, a real broker: many runs in one worker, kill -9, SIGTERM, a schedule that fires."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psutil
import pytest

from tests.live import Live, launch

pytestmark = pytest.mark.slow
TASKS = "/api/v1/tasks/"
MODEL = "gpt-4o-mini"
ENDED = {"succeeded", "failed", "cancelled"}


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """An installation with its keeper and its beat; the workers are the tests' own."""
    name = os.environ.get("PYTEST_XDIST_WORKER", "") + "t"
    live = launch(tmp_path_factory.mktemp("plant"), name, TASK_RUNS_PER_USER="200", TASKS_PER_USER="2000")
    live.spawn("keeper", *_celery("worker", "-n", "keeper@%h", "-Q", "housekeeping", "-P", "solo"))
    live.spawn("beat", *_celery("beat", "--pidfile="))
    yield live
    live.close()


def _celery(*arguments: str) -> list[str]:
    return ["-m", "celery", "-q", "-A", "aiagents", *arguments, "--loglevel", "WARNING"]


def start_worker(live: Live, processes: int = 2) -> None:
    """A worker that takes messages."""
    live.spawn(
        "worker", *_celery("worker", "-n", "worker@%h", "-Q", "celery,tasks", "-c", str(processes), "--without-gossip", "--without-mingle")
    )
    task = make(live, "ready?")
    assert wait_for(lambda: status(live, task) in ENDED, 60), log(live)


def end_worker(live: Live, seconds: float = 60) -> float:
    """SIGTERM to its main process, as `up` and a container's runtime send it; how long it took to end."""
    process, began = live.processes.pop("worker"), time.monotonic()
    process.terminate()
    process.wait(seconds)
    return time.monotonic() - began


def log(live: Live) -> str:
    return (live.folder / "worker.log").read_text()[-6000:]


def make(live: Live, text: str, **values: Any) -> str:
    """A task that runs at once; its id."""
    body = {"name": "t", "input": text, "model": MODEL, "schedule": {"type": "now"}, "retry_seconds": 1} | values
    answer = live.call("POST", TASKS, body, key=live.access)
    assert answer.status == 201, answer.body
    return answer.json["id"]


def last_run(live: Live, task: str) -> dict[str, Any] | None:
    return live.call("GET", TASKS + task, key=live.access).json["last_run"]


def status(live: Live, task: str) -> str:
    return (last_run(live, task) or {"status": "none"})["status"]


def wait_for(condition, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.1)
    return False


def test_fifty_runs_that_wait_two_seconds_each_take_a_few_in_one_worker(plant: Live, record_property):
    start_worker(plant)
    try:
        plant.query("DELETE FROM tasks_webhookdelivery")
        for _ in range(4):  # both processes have loaded what a first call loads
            make(plant, "warm")
        assert wait_for(lambda: not plant.query("SELECT 1 FROM tasks_taskrun WHERE status IN ('queued', 'running')"), 30)
        paused = [make(plant, "[[sim:slow-first=2]] hello", paused=True) for _ in range(50)]
        began = time.monotonic()
        for task in paused:
            assert plant.call("POST", f"{TASKS}{task}/resume", key=plant.access).status == 200
        asked = time.monotonic() - began
        done = "SELECT count(*) FROM tasks_taskrun r JOIN tasks_task t ON t.id = r.task_id WHERE t.input LIKE %s AND r.status = 'succeeded'"
        assert wait_for(lambda: plant.query(done, "%slow-first=2%")[0][0] == 50, 40), log(plant)
        took = time.monotonic() - began
        print(f"\n50 runs of 2 s each: {took:.1f} s, of which asking for them {asked:.1f} s")
        assert took - asked < 8, "fifty waits of two seconds, one after the other in two slots, would be fifty seconds"
    finally:
        end_worker(plant)


def test_twenty_of_twenty_runs_whose_worker_is_killed_end_and_are_paid_once(plant: Live):
    killed: list[str] = []
    for round in range(4):
        start_worker(plant)
        tasks = [make(plant, "[[sim:chunks=120,pace=50]] a long story", max_retries=n % 2) for n in range(5)]
        assert wait_for(lambda: all(status(plant, task) == "running" for task in tasks), 20), log(plant)  # noqa: B023
        time.sleep(random.uniform(0.0, 2.0))
        plant.stop("worker", signal.SIGKILL)
        left = [task for task in tasks if status(plant, task) == "running"]
        assert left, f"round {round}: nothing was running when the worker was killed"
        killed += left
    assert len(killed) == 20
    start_worker(plant)
    try:
        assert wait_for(lambda: all(status(plant, task) in ENDED for task in killed), 120), [status(plant, task) for task in killed]
        assert wait_for(lambda: not plant.query("SELECT 1 FROM billing_hold WHERE status = 'open'"), 60)
        assert wait_for(lambda: all(cost_is_exact(plant, task) for task in killed), 30)
        ends: list[str] = []
        for number, task in enumerate(killed):
            run = last_run(plant, task)
            detail = plant.call("GET", f"{TASKS}{task}/runs/{run['id']}", key=plant.access).json
            ends.append(detail["status"])
            calls = plant.query("SELECT group_id FROM billing_usagelog WHERE task_id = %s", task)
            assert len(calls) == len(set(calls)) <= detail["attempt"], "one call and one charge for each attempt"
            if number % 5 % 2:
                assert (detail["status"], detail["attempt"]) == ("succeeded", 2)
            else:
                assert (detail["status"], detail["error"]["code"]) == ("failed", "interrupted")
        assert ends.count("succeeded") == 8 and ends.count("failed") == 12
        assert "all invariants hold" in plant.manage("invariants")
    finally:
        end_worker(plant)


def cost_is_exact(live: Live, task: str) -> bool:
    logged = live.query("SELECT cost_usd FROM billing_usagelog WHERE task_id = %s", task)
    told = live.query("SELECT cost_usd FROM tasks_taskrun WHERE task_id = %s", task)
    total = sum((Decimal(str(row[0])) for row in logged), Decimal(0))
    return total > 0 and total == Decimal(str(told[0][0]))


def test_sigterm_lets_short_runs_end_and_hands_long_ones_to_the_next_worker(plant: Live):
    start_worker(plant)
    short = make(plant, "[[sim:chunks=30,pace=50]] short", max_retries=0)
    assert wait_for(lambda: status(plant, short) == "running", 20), log(plant)
    took = end_worker(plant)
    assert status(plant, short) == "succeeded", log(plant)
    assert took < 15
    plant.env["TASK_DRAIN_SECONDS"] = "1"
    start_worker(plant)
    try:
        long = make(plant, "[[sim:chunks=600,pace=50]] long", max_retries=0, max_seconds=60)
        assert wait_for(lambda: status(plant, long) == "running", 20)
        time.sleep(1)
        end_worker(plant)
        assert status(plant, long) == "queued", log(plant)
    finally:
        plant.env.pop("TASK_DRAIN_SECONDS")
    plant.call("PATCH", TASKS + long, {"input": "short now"}, key=plant.access)
    start_worker(plant)
    assert wait_for(lambda: status(plant, long) == "succeeded", 60)
    end_worker(plant)


def test_a_running_run_is_cancelled_from_the_web_within_two_seconds(plant: Live):
    start_worker(plant)
    try:
        task = make(plant, "[[sim:chunks=600,pace=50]] long", max_seconds=60)
        assert wait_for(lambda: status(plant, task) == "running", 20)
        time.sleep(0.7)
        began = time.monotonic()
        answer = plant.call("POST", f"{TASKS}{task}/cancel", key=plant.access)
        took = time.monotonic() - began
        assert (answer.status, answer.json["status"]) == (200, "cancelled") and answer.json["output"]
        assert took < 2.0
        assert Decimal(answer.json["cost_usd"]) > 0
    finally:
        end_worker(plant)


def test_beat_fires_what_is_due_and_two_beats_fire_it_once(plant: Live):
    start_worker(plant)
    plant.spawn("beat2", *_celery("beat", "--pidfile="))
    try:
        at = (datetime.now(UTC) + timedelta(seconds=4)).isoformat()
        tasks = [make(plant, "hello", schedule={"type": "at", "at": at}) for _ in range(10)]
        assert {plant.call("GET", TASKS + task, key=plant.access).json["status"] for task in tasks} == {"scheduled"}
        assert wait_for(lambda: all(status(plant, task) == "succeeded" for task in tasks), 40), log(plant)
        time.sleep(3)
        marks = ",".join(["%s"] * len(tasks))
        runs = plant.query(f"SELECT task_id, count(*) FROM tasks_taskrun WHERE task_id IN ({marks}) GROUP BY task_id", *tasks)
        assert [row[1] for row in runs] == [1] * 10
        lines = [json.loads(line) for line in (plant.folder / "worker.log").read_text().splitlines() if line.startswith("{")]
        assert all("exception" not in line for line in lines), [line for line in lines if "exception" in line][:2]
    finally:
        plant.stop("beat2")
        end_worker(plant)


def test_the_worker_does_not_grow_a_thread_or_a_child_for_each_run(plant: Live):
    start_worker(plant)
    try:
        main = psutil.Process(plant.processes["worker"].pid)
        tasks = [make(plant, "hi") for _ in range(30)]
        assert wait_for(lambda: all(status(plant, task) == "succeeded" for task in tasks), 40)
        assert len(main.children(recursive=True)) == 2
        assert all(child.num_threads() < 40 for child in main.children(recursive=True))
    finally:
        end_worker(plant)
