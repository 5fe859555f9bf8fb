"""Settings of the running product; the suite uses `aiagents.settings.test`."""

import sys

from django.core.exceptions import ImproperlyConfigured

try:
    from aiagents.settings.ai import *  # noqa: F403  (a Django settings module is a namespace)
    from aiagents.settings.base import *  # noqa: F403
except ImproperlyConfigured as exc:
    # Whatever imports them (manage.py, Celery, an ASGI server, pytest) ends with the reason and without a traceback.
    sys.exit(f"aiagents does not start. {exc}")
