from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from aiagents.local import demo


class Command(BaseCommand):
    help = (
        "Create the demo accounts (an admin and a user with an API key) and print their passwords, once."
        " Fails in production and if other machines can reach the installation."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--new-passwords", action="store_true", help="give both a new password, enable them, and print it")

    def handle(self, *args: Any, new_passwords: bool = False, **options: Any) -> None:
        try:
            logins, key = demo.seed(new_passwords=new_passwords)
        except ImproperlyConfigured as exc:
            raise CommandError(str(exc)) from exc
        for login in logins:
            self.stdout.write(f"{login.role:<6} {login.email}  {login.shown}")
        if key:
            self.stdout.write(f"key    {key}")
