"""Tools that staff make of an HTTP endpoint: the model's arguments go into its path, query or body, and nowhere else."""

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
    """The row as a tool. Arguments that its schema does not name are refused unless it says otherwise."""

    async def run(arguments: JSON, context: ToolContext) -> str:
        return await request(row, arguments, context)

    schema = {"type": "object", "properties": {}, "additionalProperties": False, **row.parameters}
    return Tool(row.name, row.description, schema, row.needs_approval, row.repeatable, run, "http", outside=True)


async def request(row: HttpTool, arguments: JSON, context: ToolContext) -> str:
    """The endpoint's answer as text. ToolError for an answer of 400 and above, with what it said."""
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
    said = f"{page.title}\n{page.text}".strip()
    if answer.status >= 300:
        raise ToolError(f"The service answered {answer.status}. {said[:2000]}".strip())
    if answer.truncated:
        said += f"\n[cut here: the answer is larger than {row.max_bytes} bytes]"
    return said or f"The service answered {answer.status} without content."


def seal_headers(headers: Mapping[str, str]) -> str:
    """Headers as they stand in the database; nothing for none."""
    return secrets.encrypt(json.dumps(dict(headers))) if headers else ""


def read_headers(row: HttpTool) -> dict[str, str]:
    """The row's headers in clear, for the request only. SecretUnreadable when their key is gone."""
    return json.loads(secrets.decrypt(row.headers_encrypted)) if row.headers_encrypted else {}


def header_names(row: HttpTool) -> list[str]:
    """Which headers are stored, for staff; never what is in them."""
    return sorted(read_headers(row))
