"""Programs that tests start as forks (tests/kit/preloaded.py) behave as those that are started from nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit import preloaded

SHOWS = """
import json, os, sys
print(json.dumps([sys.argv[:3], sys.path[0], dict(os.environ), os.getcwd()]))
print("seen", file=sys.stderr)
sys.exit(3)
"""


@pytest.fixture(autouse=True)
def _forks() -> None:
    if not preloaded.enabled():
        pytest.skip("programs are started from nothing here")


def test_a_fork_sees_and_says_what_a_new_interpreter_would():
    command, env = ("manage.py", "shell", "-v0", "-c", SHOWS), os.environ | {"ONLY": "here"}
    fork = preloaded.run(sys.executable, *command, cwd=preloaded.ROOT, env=env)
    fresh = subprocess.run([sys.executable, *command], cwd=preloaded.ROOT, env=env, capture_output=True, text=True)
    assert (fork.returncode, fork.stderr) == (fresh.returncode, fresh.stderr) == (3, "seen\n")
    argv, path, seen, folder = json.loads(fork.stdout)
    assert [argv, path, seen, folder] == json.loads(fresh.stdout)


@pytest.mark.parametrize(("environment", "says"), [("production", "SECRET_KEY"), ("prod", "'development' or 'production'")])
def test_each_fork_reads_its_own_settings(environment: str, says: str):
    env = {name: value for name, value in os.environ.items() if name not in ("SECRET_KEY", "DJANGO_SETTINGS_MODULE")}
    done = preloaded.run(sys.executable, "manage.py", "check", cwd=preloaded.ROOT, env=env | {"ENVIRONMENT": environment})
    assert done.returncode == 1 and says in done.stderr, done.stderr


def test_a_fork_is_ended_and_waited_for(tmp_path: Path):
    with (tmp_path / "log").open("wb") as log:
        wanted = {"cwd": preloaded.ROOT, "env": dict(os.environ), "stdout": log, "stderr": log, "new_session": True}
        process = preloaded.popen(sys.executable, "-m", "agents.simulator", **wanted)  # type: ignore[arg-type]
    assert os.getsid(process.pid) == process.pid and process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait(10) == -signal.SIGKILL == process.poll()
