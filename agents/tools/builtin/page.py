"""Fetches a web page as text, through the outbound guard."""

from __future__ import annotations

from django.conf import settings

from agents.tools import reading
from agents.tools.base import ToolContext, ToolError
from agents.tools.declaring import tool
from aiagents.core.outbound import guard as outbound

# Characters kept free for the heading and the marks around the output.
_RESERVED_CHARACTERS = 2_000


@tool(outside=True)
async def fetch_page(context: ToolContext, url: str, start: int = 0) -> str:
    """Fetch a public web page and read it as text: HTML as paragraphs, lists and links; JSON, XML and plain text as they are.

    Only http and https addresses of the public internet; no files, no PDF, no pages behind a sign-in.

    url: the whole address, beginning with https:// or http://
    start: for a long page: the character from which to continue, as given in the previous answer
    """
    if start < 0:
        raise ToolError("start is 0 or more.")
    limits = outbound.Limits(
        seconds=min(settings.TOOL_MAX_SECONDS / 2, max(1.0, context.deadline_seconds)),
        max_bytes=settings.PAGE_MAX_BYTES,
        content_types=reading.READABLE,
    )
    answer = await outbound.fetch("GET", url, headers={"Accept": "text/html, text/*;q=0.9, application/json;q=0.8"}, limits=limits)
    if answer.status >= 400:
        raise ToolError(f"The page answered {answer.status}.")
    page = await reading.readable(answer)
    return _shown(answer, page, start)


def _shown(answer: outbound.Answer, page: reading.Page, start: int) -> str:
    most = settings.TOOL_MAX_OUTPUT_CHARS - _RESERVED_CHARACTERS
    part = page.text[start : start + most]
    if not part:
        return f"{answer.url}\n\n(The page has no text{' after this position' if start else ''}.)"
    lines = [answer.url, *([f"Title: {page.title}"] if page.title else []), "", part]
    end = start + len(part)
    if end < len(page.text):
        lines.append(f"\n[The page goes on: {len(page.text) - end} characters more. Read on with start={end}.]")
    elif answer.truncated:
        lines.append(f"\n[The page is larger than {settings.PAGE_MAX_BYTES} bytes; the rest was not fetched.]")
    return "\n".join(lines)
