"""What `manage.py up` does about the embedded servers, for readiness checks in other processes: one small file of DATA_DIR."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TypedDict

NAME = "servers.json"


class Supervised(TypedDict):
    """`state` is "restarting" or "running", `since` when that began, `restarts` how often `up` has started it again."""

    state: str
    since: str
    restarts: int


def read(folder: Path) -> dict[str, Supervised]:
    """By the name of the check; empty when nothing has been restarted, or when another program runs the servers."""
    try:
        found = json.loads((folder / NAME).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write(folder: Path, check: str, state: str, restarts: int) -> None:
    """Raises OSError when the disk is full."""
    since = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    every = read(folder) | {check: Supervised(state=state, since=since, restarts=restarts)}
    part = folder / f"{NAME}.part"
    part.write_text(json.dumps(every))
    part.replace(folder / NAME)


def clear(folder: Path) -> None:
    with contextlib.suppress(OSError):
        (folder / NAME).unlink(missing_ok=True)
