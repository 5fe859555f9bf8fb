"""Programs that tests start as forks (tests/kit/servers/preloaded.py) behave as those that are started from nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from tests.kit.servers import preloaded
from tests.kit.servers.server_process import wait_for

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
        process = preloaded.popen(sys.executable, "-m", "agents.simulator", **wanted)
    assert os.getsid(process.pid) == process.pid and process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait(10) == -signal.SIGKILL == process.poll()


def test_when_the_tests_process_is_killed_its_forks_and_their_parent_end(tmp_path: Path):
    """One of the forks ends at SIGTERM; the other ignores it."""
    tests_process = textwrap.dedent("""
        import os, sys, time
        from tests.kit.servers import preloaded
        preloaded.enable()
        for number, program in enumerate(("import time; time.sleep(600)",
                                          "import signal, time; signal.signal(15, 1); print('ready', flush=True); time.sleep(600)")):
            with open(f"{sys.argv[1]}/{number}", "wb") as out:
                fork = preloaded.popen(sys.executable, "manage.py", "shell", "-v0", "-c", program, cwd=preloaded.ROOT, env=dict(os.environ),
                                       stdout=out, stderr=out, new_session=True)
            print(fork.pid, flush=True)
        time.sleep(600)
    """)
    command = [sys.executable, "-c", tests_process, str(tmp_path)]
    with subprocess.Popen(command, cwd=preloaded.ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        forks = [psutil.Process(int(process.stdout.readline())) for _ in range(2)]
        parent = forks[0].parent()
        assert parent is not None and parent.ppid() == process.pid
        assert wait_for(lambda: b"ready" in (tmp_path / "1").read_bytes(), 60), (tmp_path / "1").read_text()
        process.kill()
    _, alive = psutil.wait_procs([*forks, parent], timeout=preloaded.GRACE + 30)
    for left in alive:
        left.kill()
    assert not alive
