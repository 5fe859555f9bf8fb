"""What must stand before the product can start: its servers, its tables, its catalogue. Used by `up`."""

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
from aiagents.settings.base import database


def start_servers() -> None:
    """Start the embedded servers that are wanted, side by side, and have Django talk to them."""
    with ThreadPoolExecutor(2) as pool:
        postgres = pool.submit(embedded.start_postgres, settings.DATA_DIR) if settings.EMBEDDED_POSTGRES else None
        valkey = pool.submit(embedded.start_valkey, settings.DATA_DIR) if settings.EMBEDDED_VALKEY else None
        if valkey:
            valkey.result()
        if postgres:
            # The settings were read before the server chose its socket's folder.
            connection.settings_dict.update(database(postgres.result()))


def stop_servers() -> None:
    """Stop the embedded servers, side by side."""
    with ThreadPoolExecutor(2) as pool:
        if settings.EMBEDDED_VALKEY:
            pool.submit(embedded.stop_valkey, settings.DATA_DIR)
        if settings.EMBEDDED_POSTGRES:
            pool.submit(embedded.stop_postgres, settings.DATA_DIR)


def wait_for_database(seconds: float = 20) -> None:
    """Return once the database answers; its error if it does not in time."""
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
    """Apply what is missing; how many migrations that were. Asking costs little, so every start asks."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if plan:
        call_command("migrate", verbosity=0, interactive=False)
    return len(plan)


def load_catalogue(migrated: int) -> int:
    """The number of models in the catalogue, loaded when it is new or the tables changed."""
    models = apps.get_model("billing", "AIModel").objects
    if migrated or not models.exists():
        call_command("catalogue", "load", stdout=io.StringIO())
    return models.count()
