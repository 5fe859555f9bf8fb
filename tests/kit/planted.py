"""A planted text, looked for in every column of every table and in every key of Valkey."""

from __future__ import annotations

import base64
from collections.abc import Iterator

from django.db import connection

from aiagents.core.valkey import clients as valkey

CANARY = "kanarie-7f3a-planted-text"
ENCODED = base64.b64encode(CANARY.encode()).decode()


def in_tables() -> dict[str, int]:
    """Rows with the canary, by table: every column of every table, whatever its type."""
    found = {}
    for table in connection.introspection.table_names():
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")  # our own names
            hits = sum(any(_holds(value) for value in row) for row in cursor.fetchall())
        if hits:
            found[table] = hits
    return found


def _holds(value: object) -> bool:
    text = bytes(value).decode(errors="replace") if isinstance(value, memoryview | bytes) else str(value)
    return CANARY in text or ENCODED in text


def in_valkey() -> list[str]:
    """Keys whose name or value, of whatever type, holds the canary."""
    client = valkey.sync_client()
    return [key.decode(errors="replace") for key in client.scan_iter(count=1000) if _holds(key) or any(map(_holds, _values(client, key)))]


def _values(client, key: bytes) -> Iterator[object]:
    match client.type(key):
        case b"string":
            yield client.get(key)
        case b"stream":
            yield client.xrange(key)
        case b"hash":
            yield client.hgetall(key)
        case b"list":
            yield client.lrange(key, 0, -1)
        case b"set":
            yield client.smembers(key)
        case b"zset":
            yield client.zrange(key, 0, -1)
