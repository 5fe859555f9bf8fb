"""Settings of the running product; the test suite uses `aiagents.settings.test`."""

import sys

from django.core.exceptions import ImproperlyConfigured

try:
    from aiagents.settings.accounts import *  # noqa: F403 - a Django settings module is a namespace
    from aiagents.settings.ai import *  # noqa: F403 - a Django settings module is a namespace
    from aiagents.settings.api import *  # noqa: F403 - a Django settings module is a namespace
    from aiagents.settings.base import *  # noqa: F403 - a Django settings module is a namespace
    from aiagents.settings.celery import *  # noqa: F403 - a Django settings module is a namespace
    from aiagents.settings.databases import *  # noqa: F403 - a Django settings module is a namespace
    from aiagents.settings.mail import *  # noqa: F403 - a Django settings module is a namespace
    from aiagents.settings.pages import *  # noqa: F403 - a Django settings module is a namespace
except ImproperlyConfigured as exc:
    # Every program that imports the settings (manage.py, Celery, an ASGI server, pytest) exits with the reason, without a traceback.
    sys.exit(f"aiagents does not start. {exc}")
