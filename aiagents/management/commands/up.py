from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import signal
import sys
import time
import urllib.error
import urllib.request
from argparse import ArgumentParser
from pathlib import Path
from typing import IO, Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from accounts.sign_in import published_passwords
from aiagents import checks
from aiagents.core import private_files, storage
from aiagents.core.logs.formatting import configure
from aiagents.local import demo, prepare
from aiagents.local.disk_reserve import Reserve
from aiagents.local.launcher import Launcher
from aiagents.local.processes import Child, Children, print_line
from aiagents.local.watch_servers import ServerSupervisor
from aiagents.server import processes, static_files
from aiagents.settings.env import env, misnomers

# Seconds that each kind of process has to finish its work at the end.
WORKER_GRACE, BEAT_GRACE = 30.0, 5.0


class Command(BaseCommand):
    help = "Run everything in this terminal: the embedded servers, the web server, the worker, beat and the vendor simulator."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--no-demo", action="store_true", help="create no demo accounts, even on a local installation")
        parser.add_argument("--launcher", type=int, metavar="PID", help="end when this make process gets a signal to end")

    def handle(self, *args: Any, no_demo: bool = False, **options: Any) -> None:
        self.no_demo = "No demo accounts, as requested." if no_demo else demo.refusal()
        self.begun = time.monotonic()
        self.stopping = 0
        for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(sign, self._signalled)
        lock = _lock(Path(settings.DATA_DIR))
        if taken := private_files.tighten(Path(settings.DATA_DIR)):
            print_line("up", f"{taken} files and folders in {settings.DATA_DIR} were open to other users; this was corrected")
        try:
            listener = processes.listen(settings.HOST, settings.PORT)
        except processes.PortTaken as exc:
            raise CommandError(str(exc)) from exc
        children = Children(Path(settings.DATA_DIR))
        launcher = Launcher(options["launcher"]) if options["launcher"] else None
        servers: ServerSupervisor | None = None
        if found := children.end_leftovers():
            print_line("up", f"ended {found} processes of a run that was killed")
        try:
            try:
                self._start(children, listener.fileno())
            except ImproperlyConfigured as exc:
                raise CommandError(str(exc)) from exc
            servers = ServerSupervisor(Path(settings.DATA_DIR), postgres=settings.EMBEDDED_POSTGRES, valkey=settings.EMBEDDED_VALKEY)
            reserve = Reserve(Path(settings.DATA_DIR)) if storage.guarded() else None
            announced = False

            def tick() -> None:
                nonlocal announced
                servers.tick()
                if reserve is not None:
                    reserve.tick()
                if launcher is not None and launcher.has_ended():
                    self._signalled()
                if not announced and (found := _ready()):
                    announced = True
                    self._banner(found)

            children.watch(lambda: bool(self.stopping), tick)
        finally:
            listener.close()
            print_line("up", "stopping")
            children.end(self._impatient)
            connections.close_all()
            if servers is not None:
                servers.end(self._impatient)
            prepare.stop_servers()
            lock.close()
            print_line("up", "stopped")

    def _signalled(self, *_: object) -> None:
        """End in an orderly way; after a second signal, more than a second later, end quickly."""
        now = time.monotonic()
        if not self.stopping:
            self.stopping, self.stopped_at = 1, now
        elif now - self.stopped_at > 1:
            self.stopping += 1

    def _impatient(self) -> bool:
        return self.stopping > 1

    def _start(self, children: Children, descriptor: int) -> None:
        """Start all processes in an order with little waiting: children import modules while the migrations run."""
        configure({**settings.LOGGING, "format": os.environ.setdefault("LOG_FORMAT", "console")})
        # As root Celery prints ten lines of warning at each start, about pickle; our messages are JSON.
        os.environ.setdefault("PYTHONWARNINGS", "ignore:You're running the worker with superuser privileges")
        shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)
        Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).mkdir(parents=True)
        if _simulates():
            os.environ["SIMULATOR"] = "true"
            os.environ.setdefault("SIMULATOR_TOKEN", secrets.token_urlsafe(32))  # its record contains people's prompts
            children.add(Child("simulator", [sys.executable, "-m", "agents.simulator", str(settings.SIMULATOR_PORT)], 3, stage=2))
        prepare.start_servers()
        prepare.wait_for_database()
        migrated = prepare.migrate()
        if migrated:
            print_line("up", f"applied {migrated} migrations")
        models = prepare.load_catalogue(migrated)
        for user in published_passwords.disable_holders():
            print_line("up", f"disabled {user.email}: {published_passwords.REASON}")
        for misnomer in misnomers():
            print_line("up", str(misnomer))
        checks.refuse_if_unsafe()
        if static_files.collect():
            print_line("up", "collected the static files")
        if self.stopping:
            return
        web = [*processes.own_command(), "--fd", str(descriptor), "--processes", str(settings.WEB_PROCESSES)]
        children.add(Child("web", web, settings.DRAIN_SECONDS + 20, stage=0, pass_fds=(descriptor,)))
        celery = [sys.executable, "-m", "celery", "-q", "-A", "aiagents"]
        quiet = ["--loglevel", "WARNING", "--without-gossip", "--without-mingle"]
        children.add(Child("worker", [*celery, "worker", "-n", "worker@%h", "-Q", "celery,tasks", "-c", "4", *quiet], WORKER_GRACE))
        # Sweeps have a separate process, so that long tasks never delay them.
        children.add(Child("keeper", [*celery, "worker", "-n", "keeper@%h", "-Q", "housekeeping", "-P", "solo", *quiet], WORKER_GRACE))
        # Beat has no state in memory to save, and it can hang on SIGTERM once its output has no reader.
        children.add(Child("beat", [*celery, "beat", "--loglevel", "WARNING", "--pidfile="], BEAT_GRACE, orphaned=signal.SIGKILL))
        self.models = models
        self.logins, self.key = ([], "") if self.no_demo else demo.seed()
        connections.close_all()

    def _banner(self, found: dict[str, Any]) -> None:
        url = settings.SITE_URL
        vendors = [name for name, has in settings.VENDORS.items() if not has["api_key"]] if _simulates() else []
        lines = [f"aiagents {settings.VERSION} is up after {time.monotonic() - self.begun:.1f} s", ""]
        lines += [f"chat      {url}/", f"API       {url}/docs", f"admin     {url}/admin/", f"health    {url}/health/ready", ""]
        lines += [f"{login.role:<9} {login.email}   {login.shown}" for login in self.logins]
        lines += [self.no_demo, ""] if self.no_demo and settings.ENVIRONMENT != "production" else []
        if self.key:
            lines += [f"API key   {self.key}", f"          curl {url}/v1/models -H 'Authorization: Bearer {self.key}'", ""]
        database = "embedded PostgreSQL" if settings.EMBEDDED_POSTGRES else connections["default"].display_name
        store = "embedded Valkey" if settings.EMBEDDED_VALKEY else "your Redis"
        lines += [f"{self.models} models; {database}; {store}; data in {settings.DATA_DIR}"]
        if vendors:
            lines += [f"No key for {', '.join(vendors)}: their answers are SIMULATED. Put real keys into .env."]
        lines += [f"{name}: {check['status']}" for name, check in found.items() if check["status"] == "degraded"]
        rule = "=" * max(len(line) for line in lines)
        for line in ["", rule, *lines, rule, "Ctrl-C stops everything.", ""]:
            print_line("up", line)


def _simulates() -> bool:
    """Whether the simulator runs: not if SIMULATOR is off or every vendor has a key; in production only if SIMULATOR is on."""
    wanted = settings.SIMULATOR or ("simulator" not in env.model_fields_set and settings.ENVIRONMENT != "production")
    return wanted and not all(vendor["api_key"] for vendor in settings.VENDORS.values())


def _ready() -> dict[str, Any] | None:
    """The checks of /health/ready if it answers 200, else None."""
    host = "127.0.0.1" if settings.HOST in {"0.0.0.0", ""} else "[::1]" if settings.HOST == "::" else settings.HOST
    named = next((name for name in settings.ALLOWED_HOSTS if "*" not in name), "localhost").lstrip(".")
    request = urllib.request.Request(f"http://{host}:{settings.PORT}/health/ready", headers={"Host": named})
    try:
        with urllib.request.urlopen(request, timeout=1) as answer:
            return json.load(answer)["checks"]
    except (OSError, ValueError, KeyError):
        return None


def _lock(folder: Path) -> IO[str]:
    """Lock the folder for this process; the kernel releases the lock at its end. Raises CommandError if another holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = (folder / "up.lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        lock.seek(0)
        raise CommandError(f"aiagents already runs on {folder} (process {lock.read().strip() or 'unknown'}).") from exc
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock
