"""Real workers, a real beat, a real broker: many runs in one worker, kill -9, SIGTERM, a schedule that fires."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psutil
import pytest

from tests.kit.servers.live import Live, launch
from tests.kit.waiting import wait_for

pytestmark = pytest.mark.long
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


@contextmanager
def worker(live: Live, processes: int = 2) -> Iterator[None]:
    """A worker that takes messages; killed at the end, if the test has not ended it."""
    quiet = ["--without-gossip", "--without-mingle"]
    live.spawn("worker", *_celery("worker", "-n", "worker@%h", "-Q", "celery,tasks", "-c", str(processes), *quiet))
    try:
        ready = make(live, "ready?")
        assert wait_for(lambda: status(live, ready) in ENDED, 180), log(live)
        yield
    finally:
        live.stop("worker", signal.SIGKILL)


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


def test_fifty_runs_that_wait_two_seconds_each_take_a_few_in_one_worker(plant: Live):
    with worker(plant):
        for _ in range(6):  # both processes have loaded what a first call loads
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


def test_twenty_of_twenty_runs_whose_worker_is_killed_end_and_are_paid_once(plant: Live):
    killed: list[str] = []
    for _ in range(2):
        with worker(plant):
            tasks = [make(plant, "[[sim:chunks=120,pace=50]] a long story", max_retries=n % 2) for n in range(10)]
            assert wait_for(lambda: all(status(plant, task) == "running" for task in tasks), 20), log(plant)  # noqa: B023 - called within this turn of the loop
            time.sleep(random.uniform(0.0, 2.0))  # killed at any moment
            plant.stop("worker", signal.SIGKILL)
        assert {status(plant, task) for task in tasks} == {"running"}, "all of them were running when their worker was killed"
        killed += tasks
    assert len(killed) == 20
    with worker(plant):
        assert wait_for(lambda: all(status(plant, task) in ENDED for task in killed), 120), [status(plant, task) for task in killed]
        assert wait_for(lambda: not plant.query("SELECT 1 FROM billing_hold WHERE status = 'open'"), 60)
        assert wait_for(lambda: all(cost_is_exact(plant, task) for task in killed), 30)
        ends = []
        for number, task in enumerate(killed):
            run = last_run(plant, task)
            detail = plant.call("GET", f"{TASKS}{task}/runs/{run['id']}", key=plant.access).json
            ends.append(detail["status"])
            calls = plant.query("SELECT group_id FROM billing_usagelog WHERE task_id = %s", task)
            assert len(calls) == len(set(calls)) <= detail["attempt"], "one call and one charge for each attempt"
            if number % 10 % 2:  # its second attempt may have met the next kill
                assert detail["attempt"] == 2 and (detail["status"] == "succeeded" or detail["error"]["code"] == "interrupted")
            else:
                assert (detail["status"], detail["attempt"], detail["error"]["code"]) == ("failed", 1, "interrupted")
        assert ends.count("succeeded") + ends.count("failed") == 20 and "succeeded" in ends[10:]
        assert "all invariants hold" in plant.manage("invariants")


def cost_is_exact(live: Live, task: str) -> bool:
    logged = live.query("SELECT cost_usd FROM billing_usagelog WHERE task_id = %s", task)
    told = live.query("SELECT cost_usd FROM tasks_taskrun WHERE task_id = %s", task)
    total = sum((Decimal(str(row[0])) for row in logged), Decimal(0))
    return total > 0 and total == Decimal(str(told[0][0]))


def test_sigterm_lets_short_runs_end_and_hands_long_ones_to_the_next_worker(plant: Live):
    with worker(plant):
        short = make(plant, "[[sim:chunks=30,pace=50]] short", max_retries=0)
        assert wait_for(lambda: status(plant, short) == "running", 20), log(plant)
        assert end_worker(plant) < 15
        assert status(plant, short) == "succeeded", log(plant)
    plant.env["TASK_DRAIN_SECONDS"] = "1"
    try:
        with worker(plant):
            long = make(plant, "[[sim:chunks=600,pace=50]] long", max_retries=0, max_seconds=60)
            assert wait_for(lambda: status(plant, long) == "running", 20)
            time.sleep(1)  # in the middle of the run
            end_worker(plant)
            assert status(plant, long) == "queued", log(plant)
    finally:
        plant.env.pop("TASK_DRAIN_SECONDS")
    plant.call("PATCH", TASKS + long, {"input": "short now"}, key=plant.access)
    with worker(plant):
        assert wait_for(lambda: status(plant, long) == "succeeded", 60)


def test_a_running_run_is_cancelled_from_the_web_within_two_seconds(plant: Live):
    with worker(plant):
        task = make(plant, "[[sim:chunks=600,pace=50]] long", max_seconds=60)
        assert wait_for(lambda: status(plant, task) == "running", 20)
        time.sleep(0.7)  # in the middle of the run
        began = time.monotonic()
        answer = plant.call("POST", f"{TASKS}{task}/cancel", key=plant.access)
        took = time.monotonic() - began
        assert (answer.status, answer.json["status"]) == (200, "cancelled") and answer.json["output"]
        assert took < 4.0  # two seconds, where no other tests run beside
        assert Decimal(answer.json["cost_usd"]) > 0


def test_beat_fires_what_is_due_and_two_beats_fire_it_once(plant: Live):
    with worker(plant):
        plant.spawn("beat2", *_celery("beat", "--pidfile="))
        at = (datetime.now(UTC) + timedelta(seconds=5)).isoformat()
        tasks = [make(plant, "hello", schedule={"type": "at", "at": at}) for _ in range(10)]
        assert {plant.call("GET", TASKS + task, key=plant.access).json["status"] for task in tasks} == {"scheduled"}
        assert wait_for(lambda: all(status(plant, task) == "succeeded" for task in tasks), 40), log(plant)
        time.sleep(3)  # nothing is to come
        plant.stop("beat2")
        marks = ",".join(["%s"] * len(tasks))
        runs = plant.query(f"SELECT task_id, count(*) FROM tasks_taskrun WHERE task_id IN ({marks}) GROUP BY task_id", *tasks)
        assert [row[1] for row in runs] == [1] * 10


def test_runs_take_no_thread_and_no_child_each_and_their_lines_carry_their_ids(plant: Live):
    with worker(plant):
        main = psutil.Process(plant.processes["worker"].pid)
        tasks = [make(plant, "hi") for _ in range(30)]
        assert wait_for(lambda: all(status(plant, task) == "succeeded" for task in tasks), 40)
        children = main.children(recursive=True)
        assert len(children) == 2 and all(child.num_threads() < 40 for child in children)
        failing = make(plant, "[[sim:400]] no", max_retries=0)
        assert wait_for(lambda: status(plant, failing) == "failed", 20)
        lines = [json.loads(line) for line in (plant.folder / "worker.log").read_text().splitlines() if line.startswith("{")]
        assert [line for line in lines if "exception" in line] == []
        ids = {line["task_id"] for line in lines if "task_id" in line and line.get("event") == "task_run_ended"}
        assert set(tasks) <= ids and failing in ids
