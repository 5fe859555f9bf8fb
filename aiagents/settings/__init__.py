"""Settings of the running product; the suite uses `aiagents.settings.test`."""

from aiagents.settings.ai import *  # noqa: F403  (a Django settings module is a namespace)
from aiagents.settings.base import *  # noqa: F403
