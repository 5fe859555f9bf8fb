from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from aiagents import demo


class Command(BaseCommand):
    help = "Make the demo accounts (an admin and a user with an API key) and print how to sign in. Refuses in production."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            logins, key = demo.seed()
        except ImproperlyConfigured as exc:
            raise CommandError(str(exc)) from exc
        for login in logins:
            self.stdout.write(f"{login.role:<6} {login.email}  {login.password or '(password changed)'}")
        self.stdout.write(f"key    {key}")
