"""Preparation of a start by `up`: the embedded servers, the migrations and the catalogue."""

from __future__ import annotations

import io
import time
from concurrent.futures import ThreadPoolExecutor

from django.apps import apps
from django.conf import settings
from django.core.management import call_command
from django.db import OperationalError, connection
from django.db.migrations.executor import MigrationExecutor

from aiagents.local import embedded
from aiagents.settings.databases import database


def start_servers() -> None:
    """Start the embedded servers that the settings need, in parallel, and point Django's connection to them."""
    with ThreadPoolExecutor(2) as pool:
        postgres = pool.submit(embedded.start_postgres, settings.DATA_DIR) if settings.EMBEDDED_POSTGRES else None
        valkey = pool.submit(embedded.start_valkey, settings.DATA_DIR) if settings.EMBEDDED_VALKEY else None
        if valkey:
            valkey.result()
        if postgres:
            # The server chose its socket's folder after the settings were read.
            connection.settings_dict.update(database(postgres.result()))


def stop_servers() -> None:
    """Stop the embedded servers in parallel."""
    with ThreadPoolExecutor(2) as pool:
        if settings.EMBEDDED_VALKEY:
            pool.submit(embedded.stop_valkey, settings.DATA_DIR)
        if settings.EMBEDDED_POSTGRES:
            pool.submit(embedded.stop_postgres, settings.DATA_DIR)


def wait_for_database(seconds: float = 20) -> None:
    """Return once the database answers. Raises its OperationalError after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            connection.ensure_connection()
            return
        except OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)


def migrate() -> int:
    """Apply missing migrations; return how many. The check is cheap, so every start does it."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if plan:
        call_command("migrate", verbosity=0, interactive=False)
    return len(plan)


def load_catalogue(migrated: int) -> int:
    """Load the catalogue if it is empty or migrations were applied; return its number of models."""
    models = apps.get_model("billing", "AIModel").objects
    if migrated or not models.exists():
        call_command("catalogue", "load", stdout=io.StringIO())
    return models.count()
