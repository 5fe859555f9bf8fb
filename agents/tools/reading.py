"""Converts fetched answers to text. A separate process parses HTML (html_text.py): a hostile page can crash only that."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from agents.tools import html_text
from agents.tools.base import ToolError
from aiagents.core.outbound import charsets
from aiagents.core.outbound.guard import Answer

# Content types of readable pages, for `Limits.content_types`.
READABLE = ("text/", "application/json", "application/xml", "+json", "+xml")
_HTML = ("text/html", "application/xhtml+xml")
_META = re.compile(rb"<meta[^>]{1,200}?charset=[\"']?([A-Za-z0-9._:-]{1,40})", re.IGNORECASE)
# Wall-clock limit. The process limits its own processor time, which does not pass on a busy machine.
_SECONDS = 10.0
# Pages parsed at the same time; further pages wait.
_readers = ThreadPoolExecutor(4, thread_name_prefix="pages")


@dataclass(frozen=True, slots=True)
class Page:
    title: str
    text: str


async def readable(answer: Answer) -> Page:
    """Return the answer's title and text. Text that is not HTML stays unchanged. Raises ToolError if parsing fails."""
    if answer.media_type in _HTML or (not answer.media_type and answer.body[:200].lstrip().lower().startswith((b"<!", b"<html"))):
        title, text = await asyncio.get_running_loop().run_in_executor(_readers, _read_in_process, _decoded(answer), answer.url)
        return Page(title, text)
    return Page("", answer.text.strip())


def _decoded(answer: Answer) -> str:
    """Return the text decoded by the charset of the header, else by the one in the page's <meta>."""
    named = _META.search(answer.body[:2048])
    if named is None or "charset=" in answer.headers.get("content-type", "").lower():
        return answer.text
    return charsets.decode(answer.body, named[1].decode())


def _read_in_process(html: str, address: str) -> tuple[str, str]:
    # Isolated (-I) and without our environment, so a hostile page finds no secrets.
    command = [sys.executable, "-I", html_text.__file__]
    sent = json.dumps(address).encode() + b"\n" + html.encode("utf-8", "replace")
    try:
        done = subprocess.run(command, input=sent, capture_output=True, env={}, timeout=_SECONDS, check=True)
        title, text = json.loads(done.stdout)
    except (subprocess.SubprocessError, ValueError):
        raise ToolError("The page is too complex to be read.") from None
    return title, text
