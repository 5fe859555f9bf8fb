"""The environment that the product reads and the one that is documented are the same."""

from __future__ import annotations

import re
from pathlib import Path

from aiagents.settings import names
from aiagents.settings.env import Env

ROOT = Path(__file__).resolve().parents[1]
LINE = re.compile(r"^#? ?([A-Z][A-Z0-9_]*)=(.*)$")


def documented() -> dict[str, tuple[str, str]]:
    """Name -> (value shown, the comment lines above it)."""
    found, comment = {}, []
    for line in (ROOT / ".env.example").read_text().splitlines():
        if match := LINE.match(line):
            found[match[1]] = (match[2], " ".join(comment))
            comment = []
        elif line.startswith("#"):
            comment.append(line.lstrip("# "))
        else:
            comment = []
    return found


def test_every_setting_is_documented_and_no_other():
    assert set(documented()) == {name.upper() for name in Env.model_fields}


def test_each_setting_says_what_it_is():
    mute = [name for name, (_, comment) in documented().items() if len(comment) < 8]
    assert not mute


def test_the_values_shown_are_the_defaults():
    wrong = {}
    for name, (shown, _) in documented().items():
        default = Env.model_fields[name.lower()].default
        if name == "DATA_DIR":
            expected = ".data"
        elif isinstance(default, list):
            expected = ",".join(default)
        elif isinstance(default, bool):
            expected = str(default).lower()
        else:
            expected = "" if default is None else str(default)
        if shown != expected:
            wrong[name] = (shown, expected)
    assert not wrong


def test_the_example_file_changes_nothing(tmp_path, monkeypatch):
    for name in [*Env.model_fields, *names.RENAMED]:
        monkeypatch.delenv(name.upper(), raising=False)
    filled = tmp_path / ".env"
    filled.write_text(
        "\n".join(line.removeprefix("# ") if LINE.match(line) else line for line in (ROOT / ".env.example").read_text().splitlines())
    )
    bare, copied = Env(_env_file=None), Env(_env_file=filled)
    differing = {name for name in Env.model_fields if getattr(bare, name) != getattr(copied, name)}
    assert differing <= {"data_dir"}
