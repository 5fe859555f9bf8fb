from __future__ import annotations

import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from aiagents import backups


class Command(BaseCommand):
    help = "Fill the database from a file of `backup`, migrate it to this version, and check it. Stop everything else first."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--replace", action="store_true", help="drop the current contents of the database")

    def handle(self, *args: Any, **options: Any) -> None:
        begun = time.monotonic()
        try:
            migrations = backups.restore(options["file"], replace=options["replace"])
        except backups.Refused as exc:
            raise CommandError(str(exc)) from exc
        self.stdout.write(f"restored in {time.monotonic() - begun:.1f} s, {migrations} migrations; Valkey is empty")
        call_command("invariants", stdout=self.stdout)
