"""Fixtures of the tests that no single app owns."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.servers.live import Live, launch


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A real installation (server and simulator processes) shared by the worker's tests."""
    folder: Path = tmp_path_factory.mktemp("live")
    installation = launch(folder, os.environ.get("PYTEST_XDIST_WORKER", ""))
    yield installation
    installation.close()
