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
from pathlib import Path

import psutil
import pytest

from aiagents.local import demo, embedded
from tests.kit.installation import Installation
from tests.kit.server_process import ROOT, wait_for

# One installation for the whole file: `--dist loadfile` keeps its tests together when the suite runs in parallel.
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def installation():
    # Not under pytest's folder: every pytest that starts closes that to others, and as root PostgreSQL is another user.
    folder = Path(tempfile.mkdtemp(prefix="aiagents-up-"))
    made = Installation(folder)
    yield made
    if made.process is not None and made.process.poll() is None:
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
    assert wait_for(lambda: installation.call("/health/ready")[1]["status"] == "ok", 30), installation.call("/health/ready")


def test_the_same_folder_and_the_same_port_are_refused_in_words(installation: Installation):
    second = installation.command()
    assert f"already runs on {installation.data}" in second.communicate(timeout=30)[0]
    assert second.returncode == 1
    elsewhere = Installation(installation.data.parent / "elsewhere")
    elsewhere.env["PORT"] = str(installation.port)
    third = elsewhere.command()
    assert re.search(r"Cannot listen on .*PORT=", third.communicate(timeout=30)[0])
    assert third.returncode == 1
    assert installation.call("/health")[0] == 200


@pytest.mark.parametrize("name", ["web", "worker", "keeper", "beat", "simulator"])
def test_a_child_that_dies_is_said_and_replaced(installation: Installation, name: str):
    assert wait_for(lambda: _lives(installation, name), 20)  # another may have died before and be about to return
    victim = installation.child(name)
    victim.kill()
    assert wait_for(lambda: installation.said(rf"{name} died \(exit -9\)"), 5)

    def replaced() -> bool:
        try:
            return installation.child(name).pid != victim.pid
        except (StopIteration, psutil.NoSuchProcess):
            return False

    assert wait_for(replaced, 10)
    if name == "web":
        assert wait_for(lambda: _answers(installation), 60)


@pytest.mark.parametrize("name", ["PostgreSQL", "Valkey"])
def test_an_embedded_server_that_is_killed_is_started_again_and_nobody_else_has_to_be(installation: Installation, name: str):
    # Beat's first heartbeats have come through the queues: everything works before it is broken.
    assert wait_for(lambda: installation.status() == "ok", 40), installation.call("/health/ready")
    kept = f"{name.lower()}@example.com"
    assert installation.call("/api/v1/auth/register", {"email": kept, "password": "a-long-enough-secret"})[0] == 201
    children = {child: installation.child(child).pid for child in ("web", "worker", "keeper", "beat")}
    victim = installation.server(name)
    victim.kill()
    check = {"PostgreSQL": "database", "Valkey": "valkey"}[name]

    def noted() -> bool:
        return installation.call("/health/ready")[1]["checks"][check].get("server", {}).get("state") in ("restarting", "running")

    assert wait_for(lambda: installation.said(f"{name} died after"), 5)
    assert wait_for(noted, 10), installation.call("/health/ready")
    assert wait_for(lambda: installation.said(f"{name} runs again"), 40), installation.lines[-20:]
    assert installation.server(name).pid != victim.pid
    assert wait_for(lambda: installation.login(kept, "a-long-enough-secret") == 200, 20)
    assert wait_for(lambda: installation.status() == "ok", 60), installation.call("/health/ready")
    assert installation.call("/health/ready")[1]["checks"][check]["server"]["restarts"] >= 1
    key = next(line for line in installation.lines if "API key" in line).split()[-1]
    answer = installation.call("/api/v1/chat/send", {"content": "Hello", "model": "gpt-4o-mini"}, key)
    assert answer[0] == 200, answer
    assert {child: installation.child(child).pid for child in children} == children, [line for line in installation.lines if "died" in line]
    installation.manage("invariants")


def _lives(installation: Installation, name: str) -> bool:
    try:
        return installation.child(name).is_running()
    except (StopIteration, psutil.NoSuchProcess):
        return False


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


def test_ctrl_c_ends_everything_and_the_next_start_finds_all_data_soon(installation: Installation):
    status, _ = installation.call("/api/v1/auth/register", {"email": "kept@example.com", "password": "a-long-enough-secret"})
    assert status == 201
    shown = next(line for line in installation.lines if "API key" in line).split()[-1]
    family = installation.everyone()
    assert installation.stop(signal.SIGINT) == 0
    assert wait_for(lambda: gone(family), 2), [process for process in family if process.is_running()]
    order = [line for line in installation.lines if "drained" in line or "Warm shutdown" in line]
    assert "drained" in order[0]  # the web server first: what it started may still need the others

    for path in installation.data.rglob("*"):  # as an earlier version left it
        path.chmod(path.lstat().st_mode | (0o055 if path.is_dir() else 0o044))
    shown_once = {email: installation.password_of(email) for email in (demo.ADMIN, demo.USER)}
    waited = installation.start()
    used = sum(sum(process.cpu_times()[:4]) for process in installation.everyone())
    # 15 seconds on an idle machine of two cores. Processor time counts where other tests take their share of them.
    assert waited < 15 or used < 30, (waited, used)
    print(f"up after {waited:.1f} s and {used:.1f} s of processor time")
    for email, password in shown_once.items():
        assert installation.password_of(email) == demo.HOW_TO_RESET and not installation.said(re.escape(password))
        assert installation.login(email, password) == 200
    assert open_to_others(installation.data) == []
    assert installation.login("kept@example.com", "a-long-enough-secret") == 200
    assert next(line for line in installation.lines if "API key" in line).split()[-1] == shown


def test_after_kill_9_nothing_is_left_but_the_databases_and_the_next_start_recovers(installation: Installation):
    names = ("web", "worker", "keeper", "beat", "simulator")
    children = [installation.child(name) for name in names]
    servers = [process for process in installation.everyone() if process.name() in {"valkey-server", "postgres"}]
    assert len(servers) > 2
    stored = "bcrypt_sha256$$2b$04$BYAXkt.CHtgwZTRAvIoip.uiVVmu6hbohbcEhSnSxCsFZ9zLZ5oRi"  # of a password that was published once
    installation.manage(
        "shell", "-v0", "-c", f"from accounts.models import User; User.objects.filter(email={demo.ADMIN!r}).update(password={stored!r})"
    )
    installation.stop(signal.SIGKILL)
    assert wait_for(lambda: gone(children), 15), [child for child in children if child.is_running()]
    for server in servers:  # the power goes
        try:
            server.kill()
        except psutil.NoSuchProcess:
            continue
    installation.start()
    assert installation.login("kept@example.com", "a-long-enough-secret") == 200
    assert installation.said(f"disabled {demo.ADMIN}: its password was published in a public repository")
    assert installation.said(re.escape(f"{demo.ADMIN}   {demo.HOW_TO_ENABLE}"))
    assert "was disabled" in installation.manage("doctor")
    renewed = installation.manage("seed", "--new-passwords")
    assert installation.login(demo.ADMIN, re.search(rf"{demo.ADMIN}\s+(\S+)", renewed)[1]) == 200
    family = installation.everyone()
    assert installation.stop(signal.SIGTERM) == 0
    assert wait_for(lambda: gone(family), 2)


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL], ids=lambda sign: sign.name)
def test_a_signal_to_make_alone_ends_everything(installation: Installation, tmp_path: Path, sign: signal.Signals):
    installation.start(process=make_run(installation, tmp_path))
    family = installation.everyone()
    os.kill(installation.process.pid, sign)  # make's own pid, not its group
    assert wait_for(lambda: gone(family), 60), [process for process in family if process.is_running()]
    installation.process.wait(5)
    assert installation.said("stopped")


def test_until_their_first_heartbeat_workers_are_starting_and_never_down(installation: Installation):
    seen = set()

    def look() -> bool:
        try:
            checks = installation.call("/health/ready")[1]["checks"]
        except (OSError, ValueError):
            return False
        seen.update((name, checks[name]["status"]) for name in ("worker", "beat"))
        return checks["worker"]["status"] == checks["beat"]["status"] == "ok"

    installation.process = installation.command()
    threading.Thread(target=installation._read, args=(installation.process,), daemon=True).start()
    assert wait_for(look, 60), seen
    assert ("worker", "starting") in seen
    assert not {status for _, status in seen} - {"starting", "ok"}
    assert installation.stop() == 0


def test_without_demo_accounts_none_is_made_and_the_banner_says_so(installation: Installation):
    installation.start()
    installation.manage(
        "shell", "-v0", "-c", f"from accounts.models import User; User.objects.filter(email={demo.ADMIN!r}).update(email='own@example.com')"
    )
    assert installation.stop() == 0
    installation.start(process=installation.command("--no-demo"))
    assert installation.said("No demo accounts, as requested.")
    for shown in (demo.ADMIN, demo.USER, "aia_", demo.HOW_TO_RESET):
        assert not installation.said(re.escape(shown)), shown
    assert (
        installation.manage(
            "shell", "-v0", "-c", f"from accounts.models import User; print(User.objects.filter(email={demo.ADMIN!r}).count())"
        ).strip()
        == "0"
    )
    assert installation.call("/health/ready")[0] == 200
    assert installation.stop() == 0
