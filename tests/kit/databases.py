"""Databases that are filled once and copied: to migrate an empty one takes seconds, to copy it a fraction of one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import psycopg
from psycopg import sql

# Any number; no other part of the suite takes an advisory lock of the server's own database.
_LOCK = 20261123


def copy(server: str, kind: str, root: Path, target: str, fill: Callable[[str], None]) -> None:
    """Make the database `target` as a copy of the one that `fill(name)` once filled with what the product under `root` is now.

    `server` is the URL of a database of that server. The filled database stays for other processes and for later runs.
    """
    filled = f"aiagents_{kind}_filled_{_digest(root)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [_LOCK])  # one process fills, the others wait; ends with the connection
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [filled]).fetchone():
            half = f"{filled}_half"
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(half)))
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(half)))
            fill(half)
            connection.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(half), sql.Identifier(filled)))
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(target)))
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(target), sql.Identifier(filled)))


def drop(server: str, name: str) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _digest(root: Path) -> str:
    """Of all that may decide what a filled database holds: migrations, models, what is made after a migration, the catalogue."""
    apps = ("accounts", "agents", "aiagents", "billing", "chat", "tasks")
    files = (path for app in apps for path in (root / app).rglob("*") if path.suffix in (".py", ".json", ".toml", ".yaml"))
    made_by = sorted(path for path in files if "tests" not in path.relative_to(root).parts)
    copied = root / "tests" / "kit" / "catalogue.py"
    made_by += [copied] if copied.exists() else []  # an earlier checkout has none
    return hashlib.sha256(b"".join(path.read_bytes() for path in made_by)).hexdigest()[:16]
