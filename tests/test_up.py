"""`manage.py up`, as `make run` starts it: from nothing to a login, through Ctrl-C, kill -9 and dying children."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from aiagents.local import demo, embedded
from tests.kit.servers.installation import Installation
from tests.kit.servers.server_process import ROOT, wait_for

# One installation for the whole file, whose tests follow one another: `--dist loadfile` keeps them together. A start takes
# some fifteen seconds of processor, so what one test has started is ended by the next.
pytestmark = pytest.mark.long
CHILDREN = ("web", "worker", "keeper", "beat", "simulator")
# Seconds for what takes a moment on a machine that does nothing else.
PATIENCE = 30


@pytest.fixture(scope="module")
def installation():
    # Not under pytest's folder: every pytest that starts closes that to others, and as root PostgreSQL is another user.
    folder = Path(tempfile.mkdtemp(prefix="aiagents-up-"))
    made = Installation(folder)
    yield made
    if made.runs:
        made.stop(signal.SIGKILL)
    embedded.remove(made.data)
    shutil.rmtree(folder, ignore_errors=True)


def make_run(installation: Installation, folder: Path) -> subprocess.Popen:
    """`make run` as an operator without a terminal starts it, on this installation's data, with what is installed here."""
    venv = folder / "venv"
    venv.mkdir(exist_ok=True)
    (venv / ".base").touch()  # nothing is to be installed
    return subprocess.Popen(
        ["make", "run", f"VENV={venv}", f"PY={sys.executable}"], cwd=ROOT, env=installation.env, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def gone(processes: list[psutil.Process]) -> bool:
    return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)


def test_from_nothing_to_a_login(installation: Installation):
    installation.start(120)
    for text in (f"http://localhost:{installation.port}/", "SIMULATED", "aia_"):
        assert installation.said(re.escape(text)), text
    for email in (demo.ADMIN, demo.USER):
        assert installation.login(email, installation.password_of(email)) == 200
    assert installation.password_of(demo.ADMIN) != installation.password_of(demo.USER)
    # The worker took beat's heartbeat from the queue: everything is connected with everything.
    assert wait_for(lambda: installation.call("/health/ready")[1]["status"] == "ok", 60), installation.call("/health/ready")


def test_the_same_folder_and_the_same_port_are_refused_in_words(installation: Installation):
    second = installation.command()
    assert f"already runs on {installation.data}" in second.communicate(timeout=60)[0]
    assert second.returncode == 1
    elsewhere = Installation(installation.data.parent / "elsewhere")
    elsewhere.env["PORT"] = str(installation.port)
    third = elsewhere.command()
    assert re.search(r"Cannot listen on .*PORT=", third.communicate(timeout=60)[0])
    assert third.returncode == 1
    assert installation.call("/health")[0] == 200


@pytest.mark.parametrize("name", CHILDREN)
def test_a_child_that_dies_is_said_and_replaced(installation: Installation, name: str):
    assert wait_for(lambda: installation.lives(name), PATIENCE)  # another may have died before and be about to return
    victim = installation.child(name)
    victim.kill()
    assert wait_for(lambda: installation.said(rf"{name} died \(exit -9\)"), PATIENCE)

    def replaced() -> bool:
        try:
            return installation.child(name).pid != victim.pid
        except (StopIteration, psutil.NoSuchProcess):
            return False

    assert wait_for(replaced, PATIENCE)
    if name == "web":
        assert wait_for(lambda: _answers(installation), 60)


@pytest.mark.parametrize("name", ["PostgreSQL", "Valkey"])
def test_an_embedded_server_that_is_killed_is_started_again_and_nobody_else_has_to_be(installation: Installation, name: str):
    # Beat's first heartbeats have come through the queues: everything works before it is broken.
    assert wait_for(lambda: installation.status() == "ok", 60), installation.call("/health/ready")
    kept = f"{name.lower()}@example.com"
    assert installation.call("/api/v1/auth/register", {"email": kept, "password": "a-long-enough-secret"})[0] == 201
    children = {child: installation.child(child).pid for child in ("web", "worker", "keeper", "beat")}
    victim = installation.server(name)
    victim.kill()
    check = {"PostgreSQL": "database", "Valkey": "valkey"}[name]

    def noted() -> bool:
        return installation.call("/health/ready")[1]["checks"][check].get("server", {}).get("state") in ("restarting", "running")

    assert wait_for(lambda: installation.said(f"{name} died after"), PATIENCE)
    assert wait_for(noted, PATIENCE), installation.call("/health/ready")
    assert wait_for(lambda: installation.said(f"{name} runs again"), 60), installation.lines[-20:]
    assert installation.server(name).pid != victim.pid
    assert wait_for(lambda: installation.login(kept, "a-long-enough-secret") == 200, PATIENCE)
    assert wait_for(lambda: installation.status() == "ok", 60), installation.call("/health/ready")
    assert installation.call("/health/ready")[1]["checks"][check]["server"]["restarts"] >= 1
    key = next(line for line in installation.lines if "API key" in line).split()[-1]
    answer = installation.call("/api/v1/chat/send", {"content": "Hello", "model": "gpt-4o-mini"}, key)
    assert answer[0] == 200, answer
    assert {child: installation.child(child).pid for child in children} == children, [line for line in installation.lines if "died" in line]
    installation.manage("invariants")


def _answers(installation: Installation) -> bool:
    try:
        return installation.call("/health")[0] == 200
    except OSError:
        return False


def test_the_demos_first_task_succeeds(installation: Installation):
    key = next(line for line in installation.lines if "API key" in line).split()[-1]

    def first_run() -> str:
        task = installation.call("/api/v1/tasks/", key=key)[1]["results"][0]
        return (installation.call(f"/api/v1/tasks/{task['id']}/runs", key=key)[1]["results"] or [{"status": "none"}])[-1]["status"]

    assert wait_for(lambda: first_run() in ("succeeded", "failed", "cancelled"), 120)
    assert first_run() == "succeeded"


def open_to_others(folder: Path) -> list[str]:
    """What other users of the machine may touch. The folder itself: PostgreSQL's group may pass, when root started it."""
    allowed = 0o010 if os.geteuid() == 0 else 0
    found = [f"{folder} {oct(folder.stat().st_mode)}"] if folder.stat().st_mode & 0o077 & ~allowed else []
    for parent, folders, files in os.walk(folder):
        for path in (Path(parent, name) for name in [*folders, *files]):
            with contextlib.suppress(FileNotFoundError):
                mode = path.lstat().st_mode
                if mode & 0o077 and not stat.S_ISLNK(mode):
                    found.append(f"{path.relative_to(folder)} {oct(mode)}")
    return found


def test_no_other_user_of_the_machine_can_read_a_file_of_the_installation(installation: Installation):
    (installation.data / "backups").mkdir(mode=0o700)
    installation.manage("backup", str(installation.data / "backups" / "now.dump"))
    installation.manage("collectstatic", "--noinput", "-v0")
    aof = list((installation.data / "valkey" / "appendonlydir").glob("*.aof"))
    assert aof and (installation.data / "logs" / "aiagents.log").exists() and list((installation.data / "metrics").glob("*.db"))
    assert open_to_others(installation.data) == []


def test_ctrl_c_ends_everything_and_the_next_start_finds_all_data_soon(installation: Installation, tmp_path: Path):
    status, _ = installation.call("/api/v1/auth/register", {"email": "kept@example.com", "password": "a-long-enough-secret"})
    assert status == 201
    shown = next(line for line in installation.lines if "API key" in line).split()[-1]
    family = installation.everyone()
    assert installation.stop(signal.SIGINT) == 0
    assert wait_for(lambda: gone(family), PATIENCE), [process for process in family if process.is_running()]
    order = [line for line in installation.lines if "drained" in line or "Warm shutdown" in line]
    assert "drained" in order[0]  # the web server first: what it started may still need the others

    for path in installation.data.rglob("*"):  # as an earlier version left it
        path.chmod(path.lstat().st_mode | (0o055 if path.is_dir() else 0o044))
    shown_once = {email: installation.password_of(email) for email in (demo.ADMIN, demo.USER)}
    with seen_until_all_is_well(installation) as seen:
        waited = installation.start(process=make_run(installation, tmp_path))
        used = sum(sum(process.cpu_times()[:4]) for process in installation.everyone())
    # Until their first heartbeat the workers are starting, and never down. They may be well before the web server answers.
    assert not {status for _, status in seen} - {"starting", "ok"}, seen
    # 15 seconds on an idle machine of two cores. Processor time counts where other tests take their share of them.
    assert waited < 15 or used < 30, (waited, used)
    print(f"up after {waited:.1f} s and {used:.1f} s of processor time")
    for email, password in shown_once.items():
        assert installation.password_of(email) == demo.HOW_TO_RESET and not installation.said(re.escape(password))
        assert installation.login(email, password) == 200
    assert open_to_others(installation.data) == []
    assert installation.login("kept@example.com", "a-long-enough-secret") == 200
    assert next(line for line in installation.lines if "API key" in line).split()[-1] == shown


@contextlib.contextmanager
def seen_until_all_is_well(installation: Installation) -> Iterator[set[tuple[str, str]]]:
    """What /health/ready says of the worker and of beat from here on; at the end it has said of both that they are well."""
    seen: set[tuple[str, str]] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.05):
            with contextlib.suppress(OSError, ValueError):
                checks = installation.call("/health/ready")[1]["checks"]
                seen.update((name, checks[name]["status"]) for name in ("worker", "beat"))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
        assert wait_for(lambda: {("worker", "ok"), ("beat", "ok")} <= seen, 60), seen
    finally:
        over.set()
        thread.join()


# SIGTERM follows further below. SIGHUP comes while the processes are starting, the others once all is well.
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGHUP, signal.SIGKILL], ids=lambda sign: sign.name)
def test_a_signal_to_make_alone_ends_everything(installation: Installation, tmp_path: Path, sign: signal.Signals):
    if not installation.runs:
        installation.begin(make_run(installation, tmp_path))
    if sign == signal.SIGHUP:
        assert wait_for(lambda: all(installation.lives(name) for name in CHILDREN), 60), installation.lines
    else:
        installation.is_up()
    ends_with_make(installation, sign)


def ends_with_make(installation: Installation, sign: signal.Signals) -> None:
    family = installation.everyone()
    os.kill(installation.process.pid, sign)  # make's own pid, not its group
    assert wait_for(lambda: gone(family), 60), [process for process in family if process.is_running()]
    installation.process.wait(PATIENCE)
    assert wait_for(lambda: installation.said("stopped"), PATIENCE), installation.lines


def test_after_kill_9_nothing_is_left_but_the_databases_and_the_next_start_recovers(installation: Installation, tmp_path: Path):
    installation.start()
    children = [installation.child(name) for name in CHILDREN]
    servers = [process for process in installation.everyone() if process.name() in {"valkey-server", "postgres"}]
    assert len(servers) > 2
    stored = "bcrypt_sha256$$2b$04$BYAXkt.CHtgwZTRAvIoip.uiVVmu6hbohbcEhSnSxCsFZ9zLZ5oRi"  # of a password that was published once
    change_admin(installation, password=stored)
    installation.stop(signal.SIGKILL)
    assert wait_for(lambda: gone(children), PATIENCE), [child for child in children if child.is_running()]
    for server in servers:  # the power goes
        with contextlib.suppress(psutil.NoSuchProcess):
            server.kill()
    installation.start(process=make_run(installation, tmp_path))
    assert installation.login("kept@example.com", "a-long-enough-secret") == 200
    assert installation.said(f"disabled {demo.ADMIN}: its password was published in a public repository")
    assert installation.said(re.escape(f"{demo.ADMIN}   {demo.HOW_TO_ENABLE}"))
    assert "was disabled" in installation.manage("doctor")
    renewed = installation.manage("seed", "--new-passwords")
    assert installation.login(demo.ADMIN, re.search(rf"{demo.ADMIN}\s+(\S+)", renewed)[1]) == 200
    change_admin(installation, email="own@example.com")  # for the next test
    ends_with_make(installation, signal.SIGTERM)


def change_admin(installation: Installation, **fields: str) -> None:
    code = f"from accounts.models import User; assert User.objects.filter(email={demo.ADMIN!r}).update(**{fields})"
    installation.manage("shell", "-v0", "-c", code)


def test_without_demo_accounts_none_is_made_and_the_banner_says_so(installation: Installation):
    installation.start(process=installation.command("--no-demo"))
    assert installation.said("No demo accounts, as requested.")
    for shown in (demo.ADMIN, demo.USER, "aia_", demo.HOW_TO_RESET):
        assert not installation.said(re.escape(shown)), shown
    found = installation.manage(
        "shell", "-v0", "-c", f"from accounts.models import User; print(User.objects.filter(email={demo.ADMIN!r}).count())"
    )
    assert found.strip() == "0"
    assert installation.call("/health/ready")[0] == 200
    family = installation.everyone()
    assert installation.stop(signal.SIGTERM) == 0
    assert wait_for(lambda: gone(family), PATIENCE), [process for process in family if process.is_running()]
