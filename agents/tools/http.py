"""HTTP endpoints as tools. The model's arguments go into path, query or body, and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Mapping

from django.conf import settings

from agents import secrets
from agents.models import HttpTool
from agents.tools import reading, template
from agents.tools.base import JSON, Tool, ToolContext, ToolError
from aiagents.core import jsonio
from aiagents.core.outbound import guard as outbound

_BODIES = ("POST", "PUT", "PATCH")
_REDIRECTS = 3


def tool_of(row: HttpTool) -> Tool:
    """Return the row as a tool. Its schema refuses unknown arguments unless it sets `additionalProperties`."""

    async def run(arguments: JSON, context: ToolContext) -> str:
        return await request(row, arguments, context)

    schema = {"type": "object", "properties": {}, "additionalProperties": False, **row.parameters}
    return Tool(row.name, row.description, schema, row.needs_approval, row.repeatable, run, "http", outside=True)


async def request(row: HttpTool, arguments: JSON, context: ToolContext) -> str:
    """Call the endpoint and return its answer as text. Raises ToolError with that text for a status of 300 or more."""
    url, rest = template.fill(row.url, arguments)
    headers, body = read_headers(row), None
    if row.method in _BODIES:
        body = jsonio.dumps(rest)
        headers = {"Content-Type": "application/json"} | headers
    else:
        url = template.with_query(url, rest)
    limits = outbound.Limits(
        seconds=max(1.0, min(row.timeout_seconds, settings.TOOL_MAX_SECONDS, context.deadline_seconds)),
        max_bytes=row.max_bytes,
        redirects=_REDIRECTS,
        content_types=reading.READABLE,
    )
    answer = await outbound.fetch(row.method, url, headers=headers, body=body, limits=limits, allow_private=row.allow_private_address)
    page = await reading.readable(answer)
    text = f"{page.title}\n{page.text}".strip()
    if answer.status >= 300:
        raise ToolError(f"The service answered {answer.status}. {text[:2000]}".strip())
    if answer.truncated:
        text += f"\n[cut here: the answer is larger than {row.max_bytes} bytes]"
    return text or f"The service answered {answer.status} without content."


def encrypt_headers(headers: Mapping[str, str]) -> str:
    """Return the headers encrypted for the database; empty for no headers."""
    return secrets.encrypt(json.dumps(dict(headers))) if headers else ""


def read_headers(row: HttpTool) -> dict[str, str]:
    """Return the row's decrypted headers, for the request only. Raises SecretUnreadable if their key is missing."""
    return json.loads(secrets.decrypt(row.headers_encrypted)) if row.headers_encrypted else {}


def header_names(row: HttpTool) -> list[str]:
    """Return the names of the stored headers, for staff, without their values."""
    return sorted(read_headers(row))
