"""`Idempotency-Key`: a repeated request gets the first response and does not run again.

A claim is a row whose `status` is 0 while the first request runs. Its process updates the row's heartbeat. After `STALE`
without a heartbeat another request may take the claim over or replay it from its `reference`. Only responses below 400 are
stored. They are encrypted with the key itself, because a response may show a secret that is stored nowhere else.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from aiagents.core.db.calls import in_db
from aiagents.core.errors import AppError, Conflict, InvalidRequest, NotFound
from aiagents.core.jsonio import dumps
from aiagents.core.live.heartbeat import BEAT_SECONDS, Heart
from aiagents.core.models import IdempotentAnswer

# How long a response is stored, and after how long without a heartbeat a running request counts as dead.
KEPT, STALE = timedelta(hours=24), timedelta(seconds=4 * BEAT_SECONDS)
RETRY_AFTER = 2
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
# Tasks that abandon the claims of requests that were cancelled; the set keeps them from being collected.
_abandoning: set[asyncio.Future[None]] = set()


@dataclass(slots=True)
class Claim:
    """The first request with a key holds it. `reference` names what it started, for a replay after a crash."""

    id: int
    principal: str
    key: str
    reference: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Replay:
    """The first response. `status` is 0 if the first request died after it had stored `reference`."""

    status: int
    body: bytes
    content_type: str
    reference: dict[str, Any]


def valid_key(key: str) -> str:
    """Return the key. Raises InvalidRequest unless it has 1 to 255 visible ASCII characters."""
    if not _KEY.fullmatch(key):
        raise InvalidRequest("An Idempotency-Key is 1 to 255 visible ASCII characters.", param="Idempotency-Key")
    return key


def fingerprint(method: str, path: str, body: bytes) -> str:
    """A digest that is equal for equal requests."""
    return hashlib.sha256(b"%b\n%b\n%b" % (method.encode(), path.encode("utf-8", "surrogatepass"), body)).hexdigest()


async def begin(principal_id: str, key: str, fingerprint: str) -> Replay | Claim:
    """A claim for the first request, the response for a later one. Raises Conflict for another body or while the first runs.

    A caller that is cancelled meanwhile leaves no claim behind.
    """
    return await _kept_or_abandoned(in_db(begin_sync, principal_id, key, fingerprint))


async def note(claim: Claim, reference: dict[str, Any]) -> None:
    """Store what this request started, so that a replay finds it even if this process dies."""
    claim.reference = reference
    await in_db(note_sync, claim, reference)


async def finish(
    claim: Claim, status: int, body: bytes, content_type: str = "application/json", reference: dict[str, Any] | None = None
) -> None:
    """Store the response."""
    await in_db(finish_sync, claim, status, body, content_type, reference)


async def abandon(claim: Claim) -> None:
    """Delete the claim; the same key may be used again."""
    await in_db(abandon_sync, claim)


async def release(claim: Claim) -> None:
    """Stop the claim's heartbeat and keep its row: once it is stale, a replay is answered from its reference."""
    _heart.stop(claim.id)


async def take_over(principal_id: str, key: str) -> Claim:
    """Take over the claim of a dead request whose reference cannot be replayed. Raises Conflict if another request did."""
    claim = await _kept_or_abandoned(in_db(take_over_sync, principal_id, key))
    assert isinstance(claim, Claim)
    return claim


async def _kept_or_abandoned(claiming: Coroutine[Any, Any, Replay | Claim]) -> Replay | Claim:
    """What `claiming` returns. If the caller is cancelled the claim is abandoned: its heartbeat would go on without an owner."""
    task = asyncio.ensure_future(claiming)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        abandoning = asyncio.ensure_future(_abandon_when_made(task))
        _abandoning.add(abandoning)
        abandoning.add_done_callback(_abandoning.discard)
        raise


async def _abandon_when_made(task: asyncio.Future[Replay | Claim]) -> None:
    try:
        made = await task
        if isinstance(made, Claim):
            await abandon(made)
    except AppError:
        return


def begin_sync(principal_id: str, key: str, fingerprint: str) -> Replay | Claim:
    row = IdempotentAnswer(principal=principal_id, key=key, fingerprint=fingerprint, created_at=Now(), heartbeat_at=Now())
    for _ in range(3):  # another process may delete the row between two statements
        try:
            with transaction.atomic():
                row.save(force_insert=True)
            return _claimed(row)
        except IntegrityError:
            row.pk = None
        found = IdempotentAnswer.objects.filter(principal=principal_id, key=key)
        if found.filter(created_at__lt=Now() - KEPT).exclude(status=0).delete()[0]:
            continue
        old = found.first()
        if old is None:
            continue
        if old.fingerprint != fingerprint:
            raise Conflict("This Idempotency-Key was used for another request.", code="idempotency_key_reused", param="Idempotency-Key")
        if old.status:
            return _replay(old)
        dead = found.filter(status=0, heartbeat_at=old.heartbeat_at, heartbeat_at__lt=Now() - STALE)
        if old.reference and dead.exists():
            return Replay(0, b"", "", old.reference)
        if not old.reference and dead.update(heartbeat_at=Now()):
            return _claimed(old)
        break
    raise _running()


def _running() -> Conflict:
    return Conflict(
        "The first request with this Idempotency-Key is still running.", code="idempotency_in_progress", retry_after=RETRY_AFTER
    )


def take_over_sync(principal_id: str, key: str) -> Claim:
    row = IdempotentAnswer.objects.filter(principal=principal_id, key=key, status=0, heartbeat_at__lt=Now() - STALE).first()
    if row is None or not IdempotentAnswer.objects.filter(pk=row.pk, status=0, heartbeat_at=row.heartbeat_at).update(
        heartbeat_at=Now(), reference={}
    ):
        raise _running()
    row.reference = {}
    return _claimed(row)


def note_sync(claim: Claim, reference: dict[str, Any]) -> None:
    claim.reference = reference
    IdempotentAnswer.objects.filter(pk=claim.id, status=0).update(reference=reference)


def finish_sync(
    claim: Claim, status: int, body: bytes, content_type: str = "application/json", reference: dict[str, Any] | None = None
) -> None:
    _heart.stop(claim.id)
    sealed = _box(claim.principal, claim.key).encrypt(body)
    values = {"status": status, "body": sealed, "content_type": content_type[:100], "reference": reference or claim.reference}
    IdempotentAnswer.objects.filter(pk=claim.id, status=0).update(**values)


def abandon_sync(claim: Claim) -> None:
    _heart.stop(claim.id)
    IdempotentAnswer.objects.filter(pk=claim.id, status=0).delete()


def forget(principal_id: str) -> None:
    """Delete everything stored for a principal, when the user is deleted."""
    IdempotentAnswer.objects.filter(principal=principal_id).delete()


def forget_references(principal_id: str, references: Iterable[Mapping[str, Any]]) -> None:
    """Delete a principal's stored responses about deleted objects, named as in `Claim.reference`."""
    IdempotentAnswer.objects.filter(pk__in=_about(principal_id, references)).delete()


def withdraw_references(principal_id: str, references: Iterable[Mapping[str, Any]]) -> None:
    """Replace stored responses about deleted objects by a 404: a replay neither shows nor creates them again."""
    body = dumps(NotFound("The object that this request created was deleted.").body(""))
    for row in IdempotentAnswer.objects.filter(pk__in=_about(principal_id, references)).defer("body"):
        sealed = _box(row.principal, row.key).encrypt(body)
        IdempotentAnswer.objects.filter(pk=row.pk).update(status=NotFound.status, body=sealed, content_type="application/json")


def _about(principal_id: str, references: Iterable[Mapping[str, Any]]) -> list[int]:
    gone = [dict(one) for one in references]
    mine = IdempotentAnswer.objects.filter(principal=principal_id).exclude(reference={})
    return [pk for pk, reference in mine.values_list("pk", "reference") if any(one.items() <= reference.items() for one in gone)]


def sweep() -> int:
    """Delete expired responses and claims that died long ago; return how many."""
    return IdempotentAnswer.objects.filter(created_at__lt=Now() - KEPT, heartbeat_at__lt=Now() - STALE).delete()[0]


def stop_heartbeats() -> None:
    """Stop the heartbeats of all claims of this process, as its death would."""
    _heart.stop_all()


def _claimed(row: IdempotentAnswer) -> Claim:
    _heart.start(row.pk)
    return Claim(row.pk, row.principal, row.key, dict(row.reference))


def _replay(row: IdempotentAnswer) -> Replay:
    try:
        body = _box(row.principal, row.key).decrypt(bytes(row.body))
    except InvalidToken as exc:  # SECRET_KEY was changed meanwhile
        raise Conflict("The first answer can no longer be read; use a new Idempotency-Key.", code="idempotency_key_reused") from exc
    return Replay(row.status, body, row.content_type, row.reference)


def _box(principal: str, key: str) -> Fernet:
    secret = hashlib.sha256(b"\0".join((b"idempotency", settings.SECRET_KEY.encode(), principal.encode(), key.encode()))).digest()
    return Fernet(base64.urlsafe_b64encode(secret))


def _beat(claims: list[int]) -> None:
    IdempotentAnswer.objects.filter(pk__in=claims, status=0).update(heartbeat_at=Now())


_heart = Heart(_beat)
