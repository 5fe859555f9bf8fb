"""Settings of the test suite: real PostgreSQL and Valkey (or SQLite by URL), cheap hashes, no external services."""

import os

os.environ.setdefault("SECRET_KEY", "tests-only-" + "x" * 50)

from aiagents.settings import *  # noqa: F403 - a Django settings module is a namespace

ENVIRONMENT = "test"
# The real bcrypt format at the lowest cost.
PASSWORD_HASHERS = ["aiagents.core.testing.FastBCryptHasher"]
# Database calls of async code run on the test's own thread, inside its transaction; see aiagents/core/db/calls.py.
DB_THREADS = 0
# Files are served from where they are, under their own names.
STORAGES["staticfiles"]["BACKEND"] = "django.contrib.staticfiles.storage.StaticFilesStorage"  # noqa: F405 - from the settings above
# WhiteNoise would list all files again for every test client: it looks each one up when it is asked for.
WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = True
STATIC_ROOT = None  # type: ignore[assignment]  # it is among the files that are listed
ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]
if "pool" in DATABASES["default"]["OPTIONS"]:  # noqa: F405 - from the settings above
    # The pool would outlive the test database.
    DATABASES["default"]["OPTIONS"].pop("pool")  # noqa: F405 - from the settings above
SIMULATOR = False
RATE_LIMIT_REQUESTS = 10_000
# Tests charge large made-up amounts; tests of the system's budget set a limit.
MONTHLY_COST_LIMIT = None
# Each test has another catalogue.
CATALOGUE_CHECK_SECONDS = 0
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):  # noqa: F405 - from the settings above
    # A file, as in production: threads on one in-memory database do not wait for each other's locks.
    DATABASES["default"]["TEST"] = {"NAME": f"{DATABASES['default']['NAME']}.test"}  # noqa: F405 - from the settings above
