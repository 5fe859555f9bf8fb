"""`python -m aiagents.server`: the web server, in one process or several, on HOST and PORT or on an inherited socket."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from importlib import import_module

# The working directory is on the import path, so Django's settings are found from there.
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aiagents.settings")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m aiagents.server", description=__doc__)
    parser.add_argument("--host", help="instead of HOST")
    parser.add_argument("--port", type=int, help="instead of PORT")
    parser.add_argument("--fd", type=int, help="a listening socket that was inherited, instead of host and port")
    parser.add_argument("--processes", type=int, help="instead of WEB_PROCESSES")
    parser.add_argument("--application", default="aiagents.asgi:application", help="module:attribute")
    options = parser.parse_args()
    # Before the settings are read: they depend on whether other machines can reach this address (e.g. open registration).
    for name, value in (("HOST", options.host), ("PORT", options.port)):
        if value is not None:
            os.environ[name] = str(value)

    from django.conf import settings
    from django.core.exceptions import ImproperlyConfigured

    try:
        wanted = options.processes or settings.WEB_PROCESSES
    except ImproperlyConfigured as exc:
        print(f"aiagents does not start. {exc}", file=sys.stderr)
        return 1

    from aiagents.core import private_files
    from aiagents.server import processes

    private_files.tighten(settings.DATA_DIR)
    try:
        listener = processes.adopt(options.fd) if options.fd is not None else processes.listen(settings.HOST, settings.PORT)
    except processes.PortTaken as exc:
        print(exc, file=sys.stderr)
        return 1
    # With an inherited socket, the parent process has already logged them.
    log_unknown_settings = options.fd is None
    serves_pages = options.application == parser.get_default("application")
    if wanted > 1:
        _refuse_if_unsafe(log_unknown_settings)
        if serves_pages:
            _collect_static_files()
        command = [*processes.own_command(), "--application", options.application]
        return processes.Supervisor(command, listener, wanted, settings.DRAIN_SECONDS + 15).run()

    from aiagents.server.core import Server  # installs the reactor, before Django loads the app "daphne"

    _refuse_if_unsafe(log_unknown_settings)
    if serves_pages:
        _collect_static_files()
    module, _, attribute = options.application.partition(":")
    application = getattr(import_module(module), attribute)
    if module == "aiagents.asgi":
        from aiagents import warming  # needs the apps

        warming.web()
    Server(application, listener).run()
    return 0


def _refuse_if_unsafe(log_unknown_settings: bool) -> None:
    """Exit with the reasons if the settings are unsafe. Log a warning for each name that looks like a setting but is not one."""
    import django
    from django.conf import settings
    from django.core.exceptions import ImproperlyConfigured

    django.setup()
    from aiagents.settings.env import misnomers

    for misnomer in misnomers() if log_unknown_settings else ():
        logging.getLogger("aiagents.settings").warning("%s", misnomer)
    if settings.ENVIRONMENT != "production":
        return
    from aiagents import checks  # needs the apps

    try:
        checks.refuse_if_unsafe()
    except ImproperlyConfigured as exc:
        sys.exit(str(exc))


def _collect_static_files() -> None:
    from django.core.exceptions import ImproperlyConfigured

    from aiagents.server import static_files  # needs the settings

    try:
        static_files.collect()
    except ImproperlyConfigured as exc:
        sys.exit(str(exc))


if __name__ == "__main__":
    sys.exit(main())
