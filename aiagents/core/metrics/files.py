"""Storage of prometheus_client's values: in memory, copied to files by ordinary writes.

prometheus_client maps its files into memory. On a full disk the first access to an unallocated page then kills the process
with SIGBUS, which no exception handler catches. Here a full disk raises OSError: the values stay in memory and the next
copy tries again. The files have prometheus_client's format, so its own collector adds them up.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import logging
import os
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from prometheus_client import values
from prometheus_client.mmap_dict import MmapedDict, mmap_key

log = logging.getLogger(__name__)
_HEADER = 8
# Kinds whose values are sums and outlive their process. A gauge ends with its process.
_SUMS = ("counter", "histogram")
Table = dict[str, list[float]]

_tables: dict[str, Table] = {}
_lock = threading.Lock()
_begun = False
_failing = False


class Value:
    """One number of one metric, with the interface of prometheus_client's `ValueClass`."""

    _multiprocess = True

    def __init__(
        self,
        typ: str,
        metric_name: str,
        name: str,
        labelnames: Any,
        labelvalues: Any,
        help_text: str,
        multiprocess_mode: str = "",
        **_: Any,
    ) -> None:
        prefix = f"{typ}_{multiprocess_mode}" if typ == "gauge" else typ
        key = mmap_key(metric_name, name, labelnames, labelvalues, help_text)
        with _lock:
            self._cell = _tables.setdefault(prefix, {}).setdefault(key, [0.0, 0.0])

    def inc(self, amount: float) -> None:
        with _lock:
            self._cell[0] += amount

    def set(self, value: float, timestamp: float | None = None) -> None:
        with _lock:
            self._cell[:] = [value, timestamp or 0.0]

    def get(self) -> float:
        return self._cell[0]

    def set_exemplar(self, exemplar: Any) -> None:
        """Do nothing: the files hold no exemplars."""

    def get_exemplar(self) -> None:
        return None


def install() -> None:
    """Make prometheus_client use `Value`. Call it before the first metric is made."""
    values.ValueClass = Value  # type: ignore[assignment,misc]  # prometheus_client has no public option for it
    os.register_at_fork(after_in_child=_forked)
    atexit.register(_write_at_exit)


def _forked() -> None:
    """Start a forked child at zero; its parent keeps its counts."""
    global _lock, _begun
    _lock, _begun = threading.Lock(), False
    for table in _tables.values():
        for cell in table.values():
            cell[:] = [0.0, 0.0]


# --- writing ------------------------------------------------------------------------------------


def write() -> bool:
    """Copy this process's values into its files. Returns False if they could not be written. Never raises."""
    global _begun, _failing
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if not folder:
        return True
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        if not _begun:  # only once: later the file with our pid is our own, and merging it would count it twice
            with locked(Path(folder)):
                merge_dead(Path(folder), own=True)
            _begun = True
        for prefix, table in list(_tables.items()):
            _write(Path(folder) / f"{prefix}_{os.getpid()}.db", table)
    except OSError as exc:
        if not _failing:
            log.warning("metrics_not_written", extra={"reason": exc.strerror or type(exc).__name__})
        _failing = True
        return False
    _failing = False
    return True


def _write(path: Path, table: Table) -> None:
    """Write the entries first, then the header with their length.

    Entries keep their position, so their disk blocks exist already. A concurrent reader gets old or new numbers, never
    half an entry.
    """
    with _lock:
        body = b"".join(_entry(key, cell) for key, cell in table.items())
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _write_all(file, body, _HEADER)
        _write_all(file, struct.pack("ii", _HEADER + len(body), 0), 0)
    finally:
        os.close(file)


def _entry(key: str, cell: list[float]) -> bytes:
    encoded = key.encode()
    padding = b" " * (8 - (len(encoded) + 4) % 8)
    return struct.pack("i", len(encoded)) + encoded + padding + struct.pack("dd", *cell)


def _write_all(file: int, data: bytes, offset: int) -> None:
    while data:
        written = os.pwrite(file, data, offset)
        data, offset = data[written:], offset + written


def _write_at_exit() -> None:
    if any(cell[0] for table in _tables.values() for cell in table.values()):
        write()


# --- reading ------------------------------------------------------------------------------------


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from merging or adding up files meanwhile. On a full disk there is no lock."""
    try:
        lock = (folder / ".lock").open("a")
    except OSError:
        yield
        return
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def readable(folder: Path) -> list[str]:
    """The files that can be read. A file that was just created, or damaged by a power failure, is omitted."""
    found = []
    for path in folder.glob("*.db"):
        try:
            _read(path)
        except (OSError, RuntimeError, ValueError, struct.error):
            continue
        found.append(str(path))
    return found


def _read(path: Path) -> dict[str, float]:
    return {key: value for key, value, _, _ in MmapedDict.read_all_values_from_file(str(path))}  # type: ignore[no-untyped-call]  # prometheus_client has no types here


def merge_dead(folder: Path, *, own: bool = False) -> None:
    """Delete the files of dead processes: drop their gauges and move their sums into one file, so that no sum decreases.

    `own`: this process has just started, so a file with its pid is a dead process's. Raises OSError on a full disk; then
    no file is deleted. The caller holds the lock.
    """
    gone = [path for path in folder.glob("*.db") if _is_of_dead_process(path, own)]
    for kind in _SUMS:
        dead = [path for path in gone if path.stem.rpartition("_")[0] == kind]
        if dead:
            _merge(folder / f"{kind}_gone.db", dead)
    for path in gone:
        path.unlink(missing_ok=True)


def _is_of_dead_process(path: Path, own: bool) -> bool:
    pid = path.stem.rpartition("_")[2]
    return pid.isdigit() and (int(pid) == os.getpid() if own else not psutil.pid_exists(int(pid)))


def _merge(into: Path, dead: list[Path]) -> None:
    sums: Table = {}
    for path in [into, *dead]:
        with contextlib.suppress(FileNotFoundError, RuntimeError, ValueError, struct.error):
            for key, value in _read(path).items():
                sums.setdefault(key, [0.0, 0.0])[0] += value
    part = into.with_suffix(".part")
    try:
        _write(part, sums)
        part.replace(into)
    finally:
        part.unlink(missing_ok=True)
