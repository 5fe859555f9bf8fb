"""A backup made under traffic, restored into an empty database: everything is there, the books are right, and it runs."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from tests.kit.servers.live import PASSWORD, Live, launch
from tests.kit.waiting import wait_for

pytestmark = pytest.mark.long
SLOW = "[[sim:chunks=2000,pace=50]] A story"


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    installation = launch(tmp_path_factory.mktemp("first"), os.environ.get("PYTEST_XDIST_WORKER", "") + "b1")
    yield installation
    installation.close()


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    installation = launch(tmp_path_factory.mktemp("other"), os.environ.get("PYTEST_XDIST_WORKER", "") + "b2")
    yield installation
    installation.close()


def test_a_backup_comes_back_whole_in_another_place(first: Live, other: Live, tmp_path: Path):
    conversation = first.call("POST", "/api/v1/chat/send", {"content": "Remember me", "model": "gpt-4o-mini"}).json["conversation_id"]
    task = {"name": "daily", "input": "Hello", "schedule": {"type": "interval", "every_seconds": 86400}}
    assert first.call("POST", "/api/v1/tasks/", task, key=first.access).status == 201
    spent = first.query("SELECT SUM(cost_usd) FROM billing_usagelog")[0][0]
    running = threading.Thread(target=first.call, args=("POST", "/api/v1/chat/send", {"content": SLOW, "model": "gpt-4o-mini"}))
    running.start()
    while not first.query("SELECT count(*) FROM billing_hold WHERE status = 'open'")[0][0]:
        pass
    made = first.command("backup", str(tmp_path / "night.dump"))
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "night.dump").stat().st_mode & 0o777 == 0o600
    assert first.query("SELECT count(*) FROM billing_hold WHERE status = 'open'")[0][0], "the backup was to be made while a call ran"
    turn = first.query("SELECT id FROM chat_message WHERE status = 'streaming'")[0][0]
    assert first.call("POST", f"/api/v1/chat/messages/{turn}/cancel").status == 200
    running.join()

    other.stop()
    refused = other.command("restore", str(tmp_path / "night.dump"))
    assert refused.returncode and "not empty" in refused.stderr
    done = other.command("restore", str(tmp_path / "night.dump"), "--replace")
    assert done.returncode == 0, done.stdout + done.stderr
    other.start()

    # Accounts, keys and conversations of the first are those of the second now; its own are gone.
    assert (
        other.call("GET", f"/api/v1/chat/conversations/{conversation}/messages", key=first.key).json["results"][0]["content"]
        == "Remember me"
    )
    assert other.call("POST", "/api/v1/auth/login", {"email": first.email, "password": PASSWORD}, key="").status == 200
    assert other.call("GET", "/api/v1/auth/profile", key=other.key).status == 401
    assert other.call("GET", "/api/v1/tasks/", key=first.access).json["results"][0]["name"] == "daily"
    # The call that ran during the backup is swept: paid by estimate, its turn ended, nothing held.
    assert wait_for(lambda: other.query("SELECT count(*) FROM billing_hold WHERE status = 'open'")[0][0] == 0, 60)
    assert wait_for(lambda: other.query("SELECT count(*) FROM chat_message WHERE status = 'interrupted'")[0][0] == 1, 60)
    assert Decimal(str(other.query("SELECT SUM(cost_usd) FROM billing_usagelog")[0][0])) > Decimal(str(spent))
    assert "violation" not in other.manage("invariants").lower()
    answer = other.call("POST", "/api/v1/chat/send", {"content": "Go on", "conversation_id": conversation}, key=first.key)
    assert answer.status == 200, answer.body


def test_a_backup_overwrites_nothing_and_leaves_no_half(first: Live, tmp_path: Path):
    (tmp_path / "there").write_text("another night")
    assert "exists" in first.command("backup", str(tmp_path / "there")).stderr
    assert (tmp_path / "there").read_text() == "another night"
    assert first.command("backup", str(tmp_path / "no" / "folder")).returncode
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there"]


def test_what_is_no_backup_costs_the_database_nothing(first: Live, tmp_path: Path):
    (tmp_path / "torn").write_bytes(b"PGDMP" + b"x" * 100)
    assert first.command("restore", str(tmp_path / "torn"), "--replace").returncode
    assert first.command("restore", str(tmp_path / "nothing"), "--replace").returncode
    assert first.call("GET", "/api/v1/auth/profile").status == 200
