"""The access log: one line for each request of any endpoint. It never holds the query, which may contain secrets."""

from __future__ import annotations

import logging

from aiagents.core.metrics import counting

log = logging.getLogger("aiagents.access")


def log_access(method: str, path: str, status: int, seconds: float, size: int, ip: str, *, ended: str = "", error: bool = False) -> None:
    """Count the request in the metrics and write its line; `ended` is how a stream ended."""
    counting.request(path, status, seconds, streamed=bool(ended), broke=error)
    level = logging.ERROR if status >= 500 or error else logging.INFO
    if not log.isEnabledFor(level):
        return
    fields = {"method": method[:20], "path": path[:500], "status": status, "ms": round(seconds * 1000, 2), "bytes": size, "ip": ip}
    if ended:
        fields["ended"] = ended
    log.log(level, "request", extra={"fields": fields})


def log_socket(path: str, seconds: float, ip: str) -> None:
    """Write the line of a WebSocket connection, once it is closed."""
    log.info("socket", extra={"fields": {"path": path[:500], "seconds": round(seconds, 1), "ip": ip}})
