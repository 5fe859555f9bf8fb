"""Settings of the server processes that tests/test_server_*.py start: the same code, limits small enough to meet."""

from aiagents.settings.test import *  # noqa: F403 - a Django settings module is a namespace

MAX_BODY_BYTES = 600_000
VIEWER_STALL_SECONDS = 1.0
DRAIN_SECONDS = 2
