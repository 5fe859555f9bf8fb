from __future__ import annotations

import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from aiagents import backups


class Command(BaseCommand):
    help = "Write the whole database to one file, while the product runs. Restore it with: manage.py restore FILE."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        begun = time.monotonic()
        try:
            size = backups.backup(options["file"])
        except backups.Refused as exc:
            raise CommandError(str(exc)) from exc
        self.stdout.write(f"{options['file']}: {size / 1e6:.1f} MB in {time.monotonic() - begun:.1f} s")
        self.stdout.write("The file does not contain SECRET_KEY and ENCRYPTION_KEYS: keep them in another safe place.")
