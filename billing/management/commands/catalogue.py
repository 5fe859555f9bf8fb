"""`manage.py catalogue load | diff | update`: the models and their prices."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing.catalogue import price_list, update
from billing.catalogue.update import Diff, Refused


class Command(BaseCommand):
    help = "load: add missing models and prices. diff: what update would do. update: bring both up to date; staff's edits stay."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("action", choices=["load", "diff", "update"])
        parser.add_argument("--prices", type=Path, help="a newer data.json of genai-prices instead of the installed package")
        parser.add_argument("--force", action="store_true", help="apply an update that was refused, after looking at it")

    def handle(self, *args: Any, action: str, prices: Path | None, force: bool, **options: Any) -> None:
        installed = price_list.installed()
        try:
            wanted = price_list.from_file(prices) if prices else installed
        except (OSError, ValueError) as exc:
            raise CommandError(f"{prices} cannot be read as a price list: {exc}") from exc
        try:
            diff = update.load(wanted) if action == "load" else update.update(wanted, installed, force=force, apply=action == "update")
        except Refused as exc:
            self._print(exc.diff)
            raise CommandError("refused, nothing was changed (--force applies it)") from exc
        self._print(diff)

    def _print(self, diff: Diff) -> None:
        for line in diff.lines or ["nothing to change"]:
            self.stdout.write(line)
        for line in diff.unknown:
            self.stdout.write(f"price unknown: {line}")
        for line in diff.refused:
            self.stderr.write(f"suspicious: {line}")
