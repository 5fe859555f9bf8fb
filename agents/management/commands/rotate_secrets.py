"""Encrypt every stored provider key and every tool's headers anew with the first of ENCRYPTION_KEYS."""

from typing import Any

from django.core.management.base import BaseCommand

from agents import secrets
from agents.models import HttpTool, ProviderConnection

# Every column of the product that holds an encrypted secret.
COLUMNS: list[tuple[Any, str]] = [(ProviderConnection, "api_key_encrypted"), (HttpTool, "headers_encrypted")]


class Command(BaseCommand):
    help = __doc__

    def handle(self, *args: object, **options: object) -> None:
        count = unreadable = 0
        for model, column in COLUMNS:
            for pk, before in model.objects.exclude(**{column: ""}).values_list("pk", column):
                try:
                    after = secrets.rotate(before)
                except secrets.SecretUnreadable:
                    unreadable += 1
                    self.stderr.write(f"{model._meta.verbose_name} {pk}: not readable with the present keys; enter its secret again.")
                    continue
                # Guarded: a secret entered meanwhile stays.
                count += model.objects.filter(pk=pk, **{column: before}).update(**{column: after})
        self.stdout.write(f"{count} secrets encrypted with the newest key." + (f" {unreadable} unreadable." if unreadable else ""))
