"""Encrypt every stored provider key anew with the first of ENCRYPTION_KEYS."""

from django.core.management.base import BaseCommand

from agents import secrets
from agents.models import ProviderConnection


class Command(BaseCommand):
    help = __doc__

    def handle(self, *args: object, **options: object) -> None:
        count = 0
        for row in ProviderConnection.objects.exclude(api_key_encrypted=""):
            before = row.api_key_encrypted
            # Guarded: a key entered meanwhile stays.
            count += ProviderConnection.objects.filter(pk=row.pk, api_key_encrypted=before).update(api_key_encrypted=secrets.rotate(before))
        self.stdout.write(f"{count} secrets encrypted with the newest key.")
