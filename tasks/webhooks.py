"""Messages to a task's webhook, signed by the specification Standard Webhooks (https://www.standardwebhooks.com).

    webhook-id         the delivery's id, the same in every try
    webhook-timestamp  Unix seconds of this try
    webhook-signature  v1,<base64 of HMAC-SHA256 over "id.timestamp.body" with the task's secret>

Delivery is at least once and in no particular order. A receiver recognises a repeated message by its id.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import logging
import os
import random
import time
from copy import copy
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import F
from django.db.models.functions import Now

from agents import secrets
from aiagents.core import expansion
from aiagents.core.db.calls import in_db
from aiagents.core.errors import AppError
from aiagents.core.jsonio import dumps
from aiagents.core.outbound import guard as outbound
from tasks.models import Task, TaskRun, WebhookDelivery
from tasks.runs import as_json as run_json
from tasks.runs import queue

logger = logging.getLogger(__name__)
State = WebhookDelivery.State
PREFIX = "whsec_"
# Seconds before the second, third, … try.
PAUSES = (5, 60, 300, 1800, 7200, 18000, 36000)
# Seconds that an attempt may take before another worker may try.
_LEASE = 60
# The most characters of a run's input, of its output, and of its variables plus error in a message; the API has the
# rest. JSON needs at most six bytes for a character, so no body is larger than MOST_BODY.
MOST_INPUT, MOST_OUTPUT, MOST_REST = 100_000, 100_000, 100_000
MOST_BODY = 2 * 1024 * 1024
_STATUS_GONE = 410


def new_secret() -> str:
    """Return a new signing secret, in the form that its owner sees once."""
    return PREFIX + base64.b64encode(os.urandom(32)).decode()


def check_secret(text: str) -> str:
    """Check and return a secret from the owner: `whsec_` and 24 to 64 bytes in base64. Raises ValueError."""
    try:
        raw = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError) as exc:
        raise ValueError from exc
    if not text.startswith(PREFIX) or not 24 <= len(raw) <= 64:
        raise ValueError
    return text


def signature(secret: str, id: str, timestamp: int, body: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(PREFIX))
    mark = hmac.new(key, b"%s.%d." % (id.encode(), timestamp) + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(mark).decode()


def announce(run: TaskRun) -> None:
    """Queue a message about the end of a run, if its task has a webhook.

    Call it in the transaction that ends the run.
    """
    task = run.task
    if not task.webhook_url or task.deleted_at is not None:
        return
    event = f"task.run.{run.status}"
    delivery, made = WebhookDelivery.objects.get_or_create(
        run=run, event=event, defaults={"task": task, "url": task.webhook_url, "body": body(run, event).decode()}
    )
    if made:
        queue.send_delivery(delivery.id)


def body(run: TaskRun, event: str) -> bytes:
    """Return the message as JSON, at most MOST_BODY bytes. `…_truncated` marks values that were cut or left out."""
    short = copy(run)
    short.input, short.output = run.input[:MOST_INPUT], run.output[:MOST_OUTPUT]
    short.error, left = _fitting(run.error or {}, MOST_REST)
    short.variables, _ = _fitting(run.variables, left)
    marks = {
        "input_truncated": len(short.input) < len(run.input),
        "output_truncated": len(short.output) < len(run.output),
        "variables_truncated": len(short.variables) < len(run.variables),
        "error_truncated": len(short.error) < len(run.error or {}),
    }
    task = {"id": str(run.task.id), "name": run.task.name}
    data = {"task": task, "run": run_json.whole(short) | marks}
    return dumps({"type": event, "timestamp": run_json.time(run.ended_at), "data": data})


def _fitting(values: dict[str, Any], most: int) -> tuple[dict[str, Any], int]:
    """Return the shortest members whose sum is at most `most` characters, and how many characters remain."""
    sizes = sorted((len(name) + expansion.characters(value), name) for name, value in values.items())
    kept = set()
    for size, name in sizes:
        if size > most:
            break
        most -= size
        kept.add(name)
    return {name: value for name, value in values.items() if name in kept}, most


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a delivery. For a minute, only this process may make it."""

    id: UUID
    number: int
    url: str
    body: bytes
    secret: str


@dataclass(frozen=True, slots=True)
class Result:
    """The result of an attempt. `final`: a retry would not help."""

    status: int | None
    error: str
    final: bool = False


async def deliver(delivery_id: UUID) -> None:
    """Make one attempt. The row records its result and the time of the next one."""
    attempt = await in_db(take_delivery, delivery_id)
    if attempt is None:
        return
    await in_db(_note, attempt, await _post(attempt))


def take_delivery(delivery_id: UUID) -> Attempt | None:
    due = WebhookDelivery.objects.filter(pk=delivery_id, state=State.PENDING, next_attempt_at__lte=Now())
    if not due.update(attempts=F("attempts") + 1, next_attempt_at=Now() + timedelta(seconds=_LEASE)):
        return None
    delivery = WebhookDelivery.objects.select_related("task").get(pk=delivery_id)
    if delivery.task.deleted_at is not None:
        _give_up(delivery_id, None, "the task was deleted")
        return None
    try:
        secret = secrets.decrypt(delivery.task.webhook_secret_encrypted)
    except AppError as exc:
        _give_up(delivery_id, None, exc.code)
        return None
    return Attempt(delivery.id, delivery.attempts, delivery.url, delivery.body.encode(), secret)


async def _post(attempt: Attempt) -> Result:
    now = int(time.time())
    headers = {
        "content-type": "application/json",
        "user-agent": f"aiagents/{settings.VERSION}",
        "webhook-id": str(attempt.id),
        "webhook-timestamp": str(now),
        "webhook-signature": signature(attempt.secret, str(attempt.id), now, attempt.body),
    }
    limits = outbound.Limits(seconds=settings.WEBHOOK_TIMEOUT_SECONDS, max_bytes=65536, redirects=0)
    try:
        answer = await outbound.fetch(
            "POST", attempt.url, headers=headers, body=attempt.body, limits=limits, allow_private=settings.WEBHOOK_ALLOW_PRIVATE_ADDRESS
        )
    except AppError as exc:
        return Result(None, exc.code, final=not exc.retryable)
    if 200 <= answer.status < 300:
        return Result(answer.status, "")
    return Result(answer.status, f"answered {answer.status}", final=answer.status == _STATUS_GONE)


def _note(attempt: Attempt, result: Result) -> None:
    mine = WebhookDelivery.objects.filter(pk=attempt.id, state=State.PENDING, attempts=attempt.number)
    if not result.error:
        mine.update(state=State.DELIVERED, delivered_at=Now(), response_status=result.status, error="")
    elif result.final or attempt.number > len(PAUSES):
        _give_up(attempt.id, result.status, result.error)
    else:
        pause = PAUSES[attempt.number - 1] * random.uniform(0.8, 1.2)
        mine.update(next_attempt_at=Now() + timedelta(seconds=pause), response_status=result.status, error=result.error[:200])


def _give_up(delivery_id: UUID, status: int | None, error: str) -> None:
    pending = WebhookDelivery.objects.filter(pk=delivery_id, state=State.PENDING)
    if pending.update(state=State.FAILED, response_status=status, error=error[:200]):
        logger.warning("webhook_given_up", extra={"delivery_id": str(delivery_id), "error": error})


def set_secret(task: Task, secret: str) -> None:
    """Store the task's signing secret, encrypted; the caller saves the row."""
    task.webhook_secret_encrypted = secrets.encrypt(secret)
