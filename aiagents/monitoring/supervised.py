"""The state of the embedded servers under `manage.py up`, in a file of DATA_DIR that readiness checks read."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TypedDict

NAME = "servers.json"


class Supervised(TypedDict):
    """One server. `state` is "restarting" or "running", `since` its time, `restarts` how often `up` restarted the server."""

    state: str
    since: str
    restarts: int


def read(folder: Path) -> dict[str, Supervised]:
    """The servers by the name of their check; empty if none was restarted, or if another program runs them."""
    try:
        found = json.loads((folder / NAME).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write(folder: Path, check: str, state: str, restarts: int) -> None:
    """Store the state of one server. Raises OSError when the disk is full."""
    since = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    every = read(folder) | {check: Supervised(state=state, since=since, restarts=restarts)}
    part = folder / f"{NAME}.part"
    part.write_text(json.dumps(every))
    part.replace(folder / NAME)


def clear(folder: Path) -> None:
    with contextlib.suppress(OSError):
        (folder / NAME).unlink(missing_ok=True)
