"""Answers of `/v1/responses` that are kept for a while, so that later requests may name them.

An answer's items are kept under their own ids, its input items under their digests, because clients send the same
conversation again and again. The answer itself holds only these names. `previous_response_id` and items of the type
`item_reference` are replaced by what is kept; no vendor is asked for them. All of it belongs to one user.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict
from uuid import UUID

from django.conf import settings

from agents.compatible.reading import JSON
from agents.messages import PromptTooLarge
from aiagents.core.errors import InvalidRequest, NotFound, Unavailable
from aiagents.core.jsonio import dumps, exact, loads
from aiagents.core.valkey.owned_values import OwnedValues

# An owner's share of all that is kept.
_SHARES = 8
_LONGEST_ID = 200
_RESPONSE, _ITEM, _INPUT = "response:", "item:", "input:"
_NOT_KEPT = "It is not stored here, or no longer; answers to requests with `store` set to false never are."


class _Record(TypedDict):
    """A kept answer. `output` and `input` are names of items, `hidden` those of the output that its client did not see."""

    response: JSON
    output: list[str]
    hidden: list[str]
    input: list[str]
    # The answers before it, oldest first.
    before: list[str]


class _Name(str):
    """The name of a kept item in the place of the item."""


@dataclass(frozen=True, slots=True)
class Expanded:
    """A request without references, and the ids of the answers before it, oldest first."""

    body: JSON
    before: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Written:
    """An answer as its client got it, and its output with all that later calls need, encrypted thinking included."""

    response: Mapping[str, Any] | bytes
    output: Sequence[Mapping[str, Any]] | None = None


def enabled() -> bool:
    return settings.RESPONSES_KEPT_SECONDS > 0


def wanted(body: Mapping[str, Any]) -> bool:
    """Return whether the answer to this request is kept."""
    return enabled() and body.get("store") is not False


def refers(body: Mapping[str, Any]) -> bool:
    """Return whether the request names answers or items that were kept."""
    return isinstance(body.get("previous_response_id"), str) or any(map(_is_reference, _items(body.get("input"))))


def _is_reference(item: object) -> bool:
    return (
        isinstance(item, Mapping)
        and isinstance(item.get("id"), str)
        and (item.get("type") == "item_reference" or (item.get("type") is None and item.keys() <= {"id", "type"}))
    )


def _items(value: object) -> Sequence[Any]:
    """Return the input as items; a text is a message of the user."""
    if isinstance(value, str):
        return [{"type": "message", "role": "user", "content": value}]
    return value if isinstance(value, list) else []


def _store() -> OwnedValues:
    return OwnedValues(
        "responses", settings.RESPONSES_KEPT_SECONDS, settings.RESPONSES_KEPT_BYTES // _SHARES, settings.RESPONSES_KEPT_BYTES
    )


async def expanded(body: JSON, owner: str, most_values: int | None) -> Expanded:
    """Return the request with the items that it names in place of their names.

    Raises InvalidRequest (400) for an unknown previous response, NotFound (404) for an unknown item, PromptTooLarge, and
    Unavailable while the store does not answer.
    """
    store = _store()
    items: list[Any] = []
    before: tuple[str, ...] = ()
    if isinstance(previous := body.get("previous_response_id"), str):
        items, before = await _conversation(store, owner, previous)
    items += _items(body.get("input"))
    names = [_ITEM + item["id"] for item in items if _is_reference(item)]
    found = await _read(store, owner, [*names, *(item for item in items if isinstance(item, _Name))])
    for name in names:
        if name not in found:
            raise NotFound(f"Item with id {name.removeprefix(_ITEM)[:_LONGEST_ID]!r} not found. {_NOT_KEPT}", param="input")
    whole = await asyncio.to_thread(_joined, items, found, most_values)
    return Expanded({name: value for name, value in body.items() if name != "previous_response_id"} | {"input": whole}, before)


async def _conversation(store: OwnedValues, owner: str, previous: str) -> tuple[list[Any], tuple[str, ...]]:
    """Return the names of the items before the request, input and output of each answer, and the ids of these answers."""
    last = await _record(store, owner, previous)
    before = (*last["before"], previous) if last is not None else (previous,)
    found = await _read(store, owner, [_RESPONSE + id for id in before])
    names: list[Any] = []
    for id in before:
        if (record := _parsed(found.get(_RESPONSE + id))) is None:
            raise InvalidRequest(
                f"Previous response with id {id[:_LONGEST_ID]!r} not found. {_NOT_KEPT}",
                param="previous_response_id", code="previous_response_not_found",
            )  # fmt: skip
        names += map(_Name, (*record["input"], *record["output"]))
    return names, before


def _joined(items: list[Any], blobs: Mapping[str, bytes], most_values: int | None) -> list[Any]:
    """Return the items, those that are names or references replaced by what is kept under them."""
    parts: list[bytes] = []
    size = 0
    for item in items:
        name = item if isinstance(item, _Name) else _ITEM + item["id"] if _is_reference(item) else None
        part = dumps(item) if name is None else blobs.get(name)
        if part is None:
            raise NotFound(f"An item of the previous response is no longer stored. {_NOT_KEPT}", param="previous_response_id")
        size += len(part)
        if size > settings.MAX_PROMPT_CHARACTERS:
            raise PromptTooLarge(details={"max_characters": settings.MAX_PROMPT_CHARACTERS})
        parts.append(part)
    return list(loads(b"[" + b",".join(parts) + b"]", most_values=most_values, nul=True))


async def keep(body: JSON, before: Sequence[str], owner: str, written: Written) -> None:
    """Keep the answer to a request for its user. `before` are the ids of the answers before it.

    While the store does not answer nothing is kept, and the answer goes out all the same.
    """
    values = await asyncio.to_thread(_values, body, before, written)
    if values:
        with contextlib.suppress(Unavailable):
            await _store().keep(owner, values)


def _values(body: JSON, before: Sequence[str], written: Written) -> dict[str, bytes]:
    """Return what is kept of an answer, by name: its items, then itself."""
    try:
        response = written.response if isinstance(written.response, Mapping) else _response_of(written.response)
    except ValueError:
        return {}
    if response is None or not isinstance(response.get("id"), str) or not isinstance(shown := response.get("output"), list):
        return {}
    values: dict[str, bytes] = {}
    inputs = []
    for item in _items(body.get("input")):
        if _is_reference(item):
            inputs.append(_ITEM + item["id"])
        else:
            text = dumps(item)
            inputs.append(_INPUT + hashlib.sha256(text).hexdigest()[:32])
            values[inputs[-1]] = text
    visible = {item.get("id") for item in shown if isinstance(item, Mapping)}
    output = []
    for number, item in enumerate(shown if written.output is None else written.output):
        output.append(_ITEM + str(item.get("id") or f"{response['id']}_{number}"))
        values[output[-1]] = dumps(item)
    record: _Record = {
        "response": {name: value for name, value in response.items() if name != "output"},
        "output": output,
        "hidden": [] if written.output is None else [name for name in output if name.removeprefix(_ITEM) not in visible],
        "input": inputs,
        "before": list(before),
    }
    values[_RESPONSE + response["id"]] = dumps(record)
    return values


def _response_of(data: bytes) -> Mapping[str, Any] | None:
    """Return the response in a whole body, or in the events of a stream that end it."""
    if data.lstrip()[:1] != b"{":
        data = next((line[5:] for line in reversed(data.splitlines()) if line.startswith(b"data:") and b'"response"' in line), b"{}")
    found = exact(data)
    response = found.get("response", found) if isinstance(found, dict) else None
    return response if isinstance(response, dict) else None


async def retrieve(id: str, owner: str) -> Mapping[str, Any]:
    """Return a kept answer as its client got it. Raises NotFound, and Unavailable while the store does not answer."""
    record = await _record(_store(), owner, id) if enabled() else None
    if record is None:
        raise NotFound("Response not found.")
    shown = [name for name in record["output"] if name not in record["hidden"]]
    found = await _read(_store(), owner, shown)
    if len(found) < len(set(shown)):
        raise NotFound("Response not found.")
    return {**record["response"], "output": [exact(found[name]) for name in shown]}


async def delete(id: str, owner: str) -> None:
    """Delete a kept answer with its output items. Raises NotFound, and Unavailable while the store does not answer."""
    record = await _record(_store(), owner, id) if enabled() else None
    if record is None:
        raise NotFound("Response not found.")
    await _store().drop(owner, [_RESPONSE + id, *record["output"]])


def forget(user_id: UUID) -> None:
    """Delete everything that is kept for a user."""
    _store().forget(str(user_id))


async def _record(store: OwnedValues, owner: str, id: str) -> _Record | None:
    if len(id) > _LONGEST_ID:
        return None
    return _parsed((await store.read(owner, [_RESPONSE + id])).get(_RESPONSE + id))


def _parsed(blob: bytes | None) -> _Record | None:
    return None if blob is None else exact(blob)


async def _read(store: OwnedValues, owner: str, names: Sequence[str]) -> dict[str, bytes]:
    return await store.read(owner, [name for name in names if len(name) <= _LONGEST_ID + len(_RESPONSE)])
