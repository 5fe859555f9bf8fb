"""`manage.py rollups catch-up | rebuild --from … --to … | verify`."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing.budgets import budgets
from billing.models import UsageLog
from billing.reports import rollups


def moment(text: str) -> datetime:
    """Parse a day or a time; without a zone it is UTC."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as exc:
        raise ArgumentTypeError("write 2026-03-31 or 2026-03-31T12:00:00Z") from exc
    return found if found.tzinfo else found.replace(tzinfo=UTC)


class Command(BaseCommand):
    help = "catch-up: roll up new usage. rebuild: compute days again from the usage log. verify: compare both; exit 1 if they differ."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("action", choices=["catch-up", "rebuild", "verify"])
        parser.add_argument("--from", dest="from_", type=moment, help="first day of a rebuild; default: the first day with usage")
        parser.add_argument("--to", type=moment, help="end of a rebuild (not included); default: now")

    def handle(self, *args: Any, action: str, from_: datetime | None, to: datetime | None, **options: Any) -> None:
        match action:
            case "catch-up":
                self.stdout.write(f"{rollups.catch_up()} hours were rolled up")
            case "rebuild":
                first = from_ or UsageLog.objects.order_by("created_at").values_list("created_at", flat=True).first()
                days = rollups.rebuild(first, to or budgets.database_now()) if first else 0
                self.stdout.write(f"{days} days were computed again")
            case _:
                found = list(rollups.differences())
                for one in found:
                    self.stdout.write(str(one))
                if found:
                    raise CommandError(f"{len(found)} buckets differ from the usage log")
                self.stdout.write("the rollups equal the usage log")
