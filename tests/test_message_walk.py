"""One message from POST /api/v1/chat/stream to the vendor and back: docs/architecture.md lists the files that it enters.

`pytest tests/test_message_walk.py -n 0 -s` prints the section; `WRITE_DOCUMENTS=1` before it writes the section, too.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from asgiref.sync import async_to_sync

from accounts import principals
from aiagents.asgi import application
from aiagents.core.db.calls import in_db
from chat.tests.conftest import key, models, quiet, vendors  # noqa: F401 - fixtures
from tests.kit.source.message_walk import Walk, recording

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "architecture.md"
SECTION = re.compile(r"(?<=### The files that one message enters\n\n).*?(?=\n\n## )", re.S)
# Lower these when files are merged or a call stays where it is. The architecture allows 30 and 4.
MOST_FILES, MOST_RETURNS = 29, 1
MOST_WALKS = 10
# The goal `best` takes the same model whatever was measured. A title would be a second call: it is off.
BODY = json.dumps({"content": "Name three rivers", "model": "auto", "goal": "best"}).encode()


async def post(api_key: str) -> list[dict[str, Any]]:
    """What the application sends for one message."""
    headers = {
        "host": "testserver",
        "authorization": f"Bearer {api_key}",
        "content-type": "application/json",
        "content-length": str(len(BODY)),
    }
    path = "/api/v1/chat/stream"
    scope = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"", "scheme": "http",
        "http_version": "1.1", "client": ("127.0.0.1", 5000), "server": ("testserver", 80), "asgi": {"version": "3.0"},
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }  # fmt: skip
    inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    inbox.put_nowait({"type": "http.request", "body": BODY, "more_body": False})
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await application(scope, inbox.get, send)
    return sent


async def walk_of_one_message(api_key: str, vendors: Any) -> Walk:  # noqa: F811 - a fixture's name
    """A message to a process that has answered others: its caches are warm when two walks enter the same files."""
    before: Walk | None = None
    async with vendors():
        for _ in range(MOST_WALKS):
            with recording() as (walk, run):
                await in_db(sys.setprofile, walk.hook)
                sent = await run(post(api_key))
                await quiet()
                await in_db(sys.setprofile, None)
            assert sent[0]["status"] == 200 and b"message.end" in b"".join(message.get("body", b"") for message in sent)
            if before is not None and walk.files == before.files and walk.returns == before.returns:
                return walk
            before = walk
    raise AssertionError("every message entered other files")


def section(walk: Walk, purposes: dict[str, str]) -> str:
    """The part of the document, in Markdown. What each file is for is kept from the document."""
    files = [f"{number}. `{file}` (`{name}`): {purposes.get(file, 'TODO')}" for number, (file, name) in enumerate(walk.files.items(), 1)]
    returns = [f"- `{into}` (`{name}`) from `{source}`" for (source, into), name in walk.returns.items()]
    return "\n".join(
        [
            f"The message enters {len(files)} files (at most 30), `aiagents/core/` and `aiagents/server/` apart. The process has answered",
            "others before: its caches are warm. In parentheses is the first function entered.",
            "`pytest tests/test_message_walk.py -n 0 -s` counts them.",
            "",
            *files,
            "",
            f"Returns into a file that a call had left: {len(returns)} (at most 4).",
            "",
            *returns,
        ]
    )


def test_the_document_lists_the_files_that_one_message_enters(key, vendors, settings, monkeypatch):  # noqa: F811 - a fixture's name
    settings.CHAT_TITLES = False
    monkeypatch.setattr(principals, "LIFE", 600)  # a slow machine takes longer for a message than an entry lives
    monkeypatch.setattr(principals, "LIFE_ALONE", 600)
    walk = async_to_sync(walk_of_one_message)(key, vendors)
    text = DOCUMENT.read_text()
    found = section(walk, dict(re.findall(r"^\d+\. `([^`]+)` \(`[^`]+`\): (.*)$", text, re.M)))
    print(f"\n{found}")
    if os.environ.get("WRITE_DOCUMENTS"):
        text = SECTION.sub(lambda _: found, text)
        DOCUMENT.write_text(text)
    stands = SECTION.search(text)[0]
    listed = re.findall(r"^\d+\. `([^`]+)`", stands, re.M)
    assert sorted(walk.files) == sorted(listed), "run it with WRITE_DOCUMENTS=1"
    assert "TODO" not in stands, "write what the new file is for"
    assert f"enters {len(listed)} files" in stands and f"had left: {len(walk.returns)} " in stands
    assert len(walk.files) <= MOST_FILES and len(walk.returns) <= MOST_RETURNS


async def test_a_call_back_out_of_a_task_counts_as_a_return():
    """The recorder itself, on files that stand in for the product's."""
    names = {"a": "chat/a.py", "b": "agents/b.py"}
    space: dict[str, Any] = {"asyncio": asyncio}
    code = "async def outer(inner, back):\n    await asyncio.get_running_loop().create_task(inner(back))\ndef back():\n    pass\n"
    exec(compile(code, str(DOCUMENT.parents[1] / names["a"]), "exec"), space)
    exec(compile("async def inner(back):\n    back()\n", str(DOCUMENT.parents[1] / names["b"]), "exec"), space)
    with recording() as (walk, run):
        await run(space["outer"](space["inner"], space["back"]))
    assert list(walk.files) == ["chat/a.py", "agents/b.py"]
    assert walk.returns == {("agents/b.py", "chat/a.py"): "back"}
