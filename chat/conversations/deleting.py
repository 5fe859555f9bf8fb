"""Deleting conversations: out of sight at once, out of the database after DELETED_RETENTION_DAYS, or at once on request.

What a conversation leaves elsewhere goes with it: agent runs and their steps, stored idempotent answers, the turns' logs and
cached messages in Valkey. Usage logs stay; they hold ids and costs, no content.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from agents.runs import store as run_store
from aiagents.core import idempotency
from aiagents.core.valkey import clients as valkey
from aiagents.core.valkey.clients import AWAY
from chat.conversations import message_cache
from chat.models import Conversation, Message
from chat.turns.running import CONTROL, FORGET, cancel_key
from chat.turns.stored import event_log

logger = logging.getLogger(__name__)
# Conversations erased by one pass of the sweep, and message ids in one Valkey command.
_MOST, _AT_ONCE = 200, 500
# Seconds that a deletion `now` waits for running answers to stop, and between two looks.
_STOP_WAITS, _LOOK_EVERY = 5.0, 0.1
# A process that was writing to a turn's log while it was deleted has stopped after this long.
_LATE_WRITES = timedelta(minutes=2)


def hide(conversation: Conversation) -> None:
    """Take the conversation out of sight and stop the answers that are being written in it."""
    with transaction.atomic():
        Conversation.objects.filter(pk=conversation.pk, deleted_at=None).update(deleted_at=Now(), leaf=None)
        run_store.hide(conversation.pk)
    _stop(conversation.pk)
    # Its stored answer shows the title; what else is stored leads to messages, which cannot be read any more.
    idempotency.withdraw_references(str(conversation.user_id), [{"conversation_id": str(conversation.pk)}])


def erase_now(conversation: Conversation) -> bool:
    """Hide the conversation and erase it. False if an answer in it did not stop in time: the sweep erases it within minutes."""
    hide(conversation)
    Conversation.objects.filter(pk=conversation.pk).update(erase_at=Now())
    deadline = time.monotonic() + _STOP_WAITS
    while not erase(conversation.pk):
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_EVERY)
    return True


def sweep() -> int:
    """Erase what is due, each conversation in a transaction of its own. How many. Safe to run twice at the same time."""
    since = Now() - timedelta(days=settings.DELETED_RETENTION_DAYS)
    due = Conversation.objects.filter(Q(erase_at__lte=Now()) | Q(deleted_at__lte=since), ~Q(deleted_at=None))
    erased = 0
    for pk in due.order_by("deleted_at").values_list("pk", flat=True)[:_MOST]:
        try:
            erased += erase(pk)
        except AWAY:
            logger.warning("erase_waits_for_valkey")
            break
    _hide_late_runs()
    return erased


def erase(conversation_id: UUID) -> bool:
    """Delete a hidden conversation and all that it left, without a trace of content. True if it is gone.

    False while an answer in it is still being written (it is asked to stop) or Valkey, which holds its texts too, is away.
    """
    with transaction.atomic():
        # A turn that begins updates this row before it writes any other: it comes first and is seen here, or finds nothing.
        rows = Conversation.objects.select_for_update().filter(pk=conversation_id)
        conversation = rows.exclude(deleted_at=None).first()
        if conversation is None:
            return not rows.exists()
        messages = Message.objects.filter(conversation_id=conversation_id)
        if messages.filter(status__in=Message.RUNNING).exists() or run_store.running_in(conversation_id):
            stopped = False
        else:
            stopped = True
            ids = list(messages.values_list("pk", flat=True))
            if not _forget_in_valkey(ids):
                return False
            _forget_answers(conversation, ids)
            run_store.erase(conversation_id)
            Conversation.objects.filter(pk=conversation_id).update(leaf=None)
            # Not Django's collector: it follows `parent` one level a query, down branches of thousands of messages.
            messages._raw_delete(messages.db)  # type: ignore[attr-defined]
            conversation.delete()
            # Once more when no reader can find the rows: one may have cached a message meanwhile.
            transaction.on_commit(lambda: _forget_in_valkey(ids))
    if not stopped:
        _stop(conversation_id)
    return stopped


def _stop(conversation_id: UUID) -> None:
    """Ask whichever processes write answers of this conversation to stop. With Valkey away they end by themselves."""
    running = Message.objects.filter(conversation_id=conversation_id, status__in=Message.RUNNING)
    try:
        client = valkey.sync_client()
        for pk in running.values_list("pk", flat=True):
            client.set(cancel_key(pk), 1, ex=60)
            client.publish(CONTROL, str(pk))
    except AWAY:
        logger.warning("turns_not_stopped", extra={"conversation_id": str(conversation_id)})


def _forget_in_valkey(ids: list[UUID]) -> bool:
    """Delete logs and cached messages, and have every web process drop what it still keeps. False: Valkey is away."""
    try:
        client = valkey.sync_client()
        for first in range(0, len(ids), _AT_ONCE):
            some = ids[first : first + _AT_ONCE]
            # First the processes, so that none writes a log anew that was just deleted.
            client.publish(CONTROL, FORGET + " ".join(map(str, some)))
            client.delete(*[key(pk) for pk in some for key in _KEYS])
            message_cache.forget(some)
    except AWAY:
        logger.warning("logs_not_deleted")
        return False
    return True


_KEYS: tuple[Callable[[UUID], str], ...] = (event_log.key, cancel_key)


def _forget_answers(conversation: Conversation, ids: list[UUID]) -> None:
    references = [{"message_id": str(pk)} for pk in ids] + [{"conversation_id": str(conversation.pk)}]
    idempotency.forget_references(str(conversation.user_id), references)


def _hide_late_runs() -> None:
    """Runs of turns that were just beginning when their conversation was hidden."""
    lately: QuerySet[Conversation] = Conversation.objects.filter(deleted_at__gte=timezone.now() - _LATE_WRITES)
    for pk in lately.values_list("pk", flat=True):
        run_store.hide(pk)
