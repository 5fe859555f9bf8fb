"""The suite's servers. Loaded by `-p tests.kit.plugins.stores`: Django reads its settings before any conftest is imported.

The suite has servers of its own beside those of `make run`, under TEST_DATA_DIR (default .data/test);
DATABASE_URL / REDIS_URL choose others. xdist workers share the servers, each with its own database.
"""

from __future__ import annotations

import gc
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

import psycopg
import pytest

from aiagents.local import embedded
from tests.kit.servers import preloaded

preloaded.enable()
# Hundreds of processes import these files: each is compiled once, also where the environment asks for no files beside them.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# What the suite imports and collects stays; looking through it again and again is a tenth of its time.
gc.set_threshold(50_000, 20, 50)
if not os.environ.get("PYTEST_DEBUG_TEMPROOT"):
    # A second run closes the common folder to other users, and with it to a database that this run started for root.
    os.environ["PYTEST_DEBUG_TEMPROOT"] = _temporary = tempfile.mkdtemp(prefix="aiagents-")
else:
    _temporary = ""
DATA_DIR = Path(os.environ.get("TEST_DATA_DIR") or Path(__file__).resolve().parents[3] / ".data" / "test")
os.environ["DATA_DIR"] = str(DATA_DIR)
# The servers that tests start share what the first of them collects.
os.environ["STATIC_ROOT"] = str(DATA_DIR / "static")
_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(DATA_DIR / f"metrics{_WORKER}")
_own_postgres = _own_valkey = False
if not os.environ.get("DATABASE_URL"):
    os.environ["DATABASE_URL"], _own_postgres = embedded.start_postgres(DATA_DIR), True
if _own_postgres and not _WORKER:
    # Nothing here needs to outlive a power cut; every test that empties tables would wait for the disk.
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as _connection:
        for _setting in ("fsync", "synchronous_commit", "full_page_writes"):
            _connection.execute(f"ALTER SYSTEM SET {_setting} = off")
        _connection.execute("SELECT pg_reload_conf()")
if not os.environ.get("REDIS_URL"):
    os.environ["REDIS_URL"], _own_valkey = embedded.start_valkey(DATA_DIR, databases=256), True
if _WORKER:
    os.environ["REDIS_URL"] = f"{os.environ['REDIS_URL'].split('?')[0]}?db={_WORKER.removeprefix('gw')}"


# The files that last longest, as `--cpu-report` shows them. A worker that takes one of them last keeps the others waiting.
FIRST = (
    "tests/browser", "tests/test_up.py", "tests/test_outage.py", "tests/test_back_office.py", "tests/test_stream_credentials.py",
    "tasks/tests/test_processes.py", "tests/test_schemathesis.py", "tests/test_logs.py", "tests/test_kill_runs.py", "tests/test_kill.py",
    "tests/test_full_disk.py", "tests/test_backup.py", "tests/test_hostile_frames.py", "tests/test_server_drain.py",
    "tests/test_admin_lookups.py", "tests/test_news_outage.py", "tests/test_server_resets.py", "tests/test_hostile_nested.py",
    "tests/test_hostile_corpus.py", "tests/test_access_matrix.py", "tasks/tests/test_api.py", "agents/tests/test_agents_api.py",
    "tasks/tests/test_execution.py",
)  # fmt: skip


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Skip files without a test of the chosen part by their text: to import them all takes each worker some ten seconds."""
    wanted = str(config.option.markexpr)
    if collection_path.suffix != ".py" or not collection_path.name.startswith("test_") or wanted not in ("long", "soak", "not long"):
        return None
    text = collection_path.read_text()
    if wanted == "not long":
        return bool(re.search(r"^pytestmark = .*\bmark\.long\b", text, re.MULTILINE)) or None
    return f"mark.{wanted}" not in text or None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        path = item.nodeid  # the file's path from the root, and the test
        return next((at for at, name in enumerate(FIRST) if path.startswith(name)), len(FIRST))

    items.sort(key=place)


def pytest_unconfigure(config: pytest.Config) -> None:
    """The controller stops what it started, unless KEEP_TEST_SERVERS asks for a faster next run."""
    if _WORKER or os.environ.get("KEEP_TEST_SERVERS"):
        return
    if _temporary:
        shutil.rmtree(_temporary, ignore_errors=True)
    if _own_valkey:
        embedded.stop_valkey(DATA_DIR)
    if _own_postgres:
        embedded.stop_postgres(DATA_DIR)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say it when nobody looked at the pages: a green line must not hide it."""
    left_out = [report for report in terminalreporter.stats.get("skipped", []) if "browser" in report.keywords]
    if left_out:
        terminalreporter.write_line(f"{len(left_out)} browser tests were left out: no Chromium was found.", yellow=True)
