"""The pages' modules that need no browser: their unit tests run in Node."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "tests" / "javascript").glob("*.test.js"))
# The first that takes a file without package.json for a module by itself.
OLDEST = (20, 19)


def test_the_modules_that_need_no_browser() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is not installed here")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < OLDEST:
        pytest.skip(f"Node {version.strip()} is older than {OLDEST[0]}.{OLDEST[1]}")
    done = subprocess.run([node, "--test", *map(str, FILES)], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    # None of the files may have been left out.
    assert int(re.findall(r"(?:#|ℹ) pass (\d+)", done.stdout)[-1]) >= 30, done.stdout
