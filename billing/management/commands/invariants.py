"""`manage.py invariants`: check all invariants; the exit status is 1 if one is violated."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing import invariants


class Command(BaseCommand):
    help = "Check the money (and what other apps registered) against the database; exit 1 when something is wrong."

    def handle(self, *args: Any, **options: Any) -> None:
        found = invariants.violations()
        for one in found:
            self.stdout.write(f"{one.rule}: {one.what}")
        if found:
            raise CommandError(f"{len(found)} violations")
        self.stdout.write("all invariants hold")
