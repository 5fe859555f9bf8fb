"""Encrypt all stored secrets (provider keys, tools' headers, webhooks' secrets) again with the first of ENCRYPTION_KEYS."""

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand

from agents import secrets


def columns() -> Iterator[tuple[Any, str]]:
    """Yield (model, column) for all encrypted secrets, which are the columns named `…_encrypted`."""
    for model in apps.get_models():
        yield from ((model, field.name) for field in model._meta.concrete_fields if field.name.endswith("_encrypted"))


class Command(BaseCommand):
    help = __doc__

    def handle(self, *args: object, **options: object) -> None:
        count = unreadable = 0
        for model, column in columns():
            for pk, before in model._default_manager.exclude(**{column: ""}).values_list("pk", column):
                try:
                    after = secrets.rotate(before)
                except secrets.SecretUnreadable:
                    unreadable += 1
                    self.stderr.write(f"{model._meta.verbose_name} {pk}: not readable with the current keys; enter its secret again.")
                    continue
                # Guarded: a secret entered meanwhile stays.
                count += model._default_manager.filter(pk=pk, **{column: before}).update(**{column: after})
        self.stdout.write(f"{count} secrets encrypted with the newest key." + (f" {unreadable} unreadable." if unreadable else ""))
