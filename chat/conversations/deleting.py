"""Deletes conversations: hides them at once and erases them after DELETED_RETENTION_DAYS, or at once on request.

A conversation is erased with its agent runs and their steps, its stored idempotent answers, and its event logs and cached
messages in Valkey. Usage logs stay; they hold ids and costs, but no content.
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
from aiagents.core.live import news, process_group
from aiagents.core.valkey import clients as valkey
from aiagents.core.valkey.clients import AWAY
from chat.conversations import history
from chat.models import Conversation, Message
from chat.turns.running import CANCEL, FORGET, cancel_key
from chat.turns.stored import event_log

logger = logging.getLogger(__name__)
# Conversations erased by one pass of the sweep, and message ids in one Valkey command.
_MOST, _AT_ONCE = 200, 500
# Seconds that an immediate deletion waits for running answers to stop, and between two checks.
STOP_WAITS, _CHECK_SECONDS = 5.0, 0.1
# After this time a process that was writing to a turn's log when it was deleted has stopped.
_LATE_WRITES = timedelta(minutes=2)


def hide(conversation: Conversation) -> None:
    """Hide the conversation and stop its running answers."""
    with transaction.atomic():
        Conversation.objects.filter(pk=conversation.pk, deleted_at=None).update(deleted_at=Now(), leaf=None)
        run_store.hide(conversation.pk)
        news.send(conversation.user_id, news.Kind.CONVERSATION_DELETED, conversation.pk)
    _stop(conversation.pk)
    # Its stored answer shows the title. Other stored answers refer to messages, which are hidden already.
    idempotency.withdraw_references(str(conversation.user_id), [{"conversation_id": str(conversation.pk)}])


def erase_now(conversation: Conversation) -> bool:
    """Hide and erase the conversation. False if an answer in it does not stop in time; then the sweep erases it."""
    hide(conversation)
    Conversation.objects.filter(pk=conversation.pk).update(erase_at=Now())
    deadline = time.monotonic() + STOP_WAITS
    while not erase(conversation.pk):
        if time.monotonic() > deadline:
            return False
        time.sleep(_CHECK_SECONDS)
    return True


def sweep() -> int:
    """Erase due conversations, one per transaction, and return their number. Safe to run twice at the same time."""
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
    """Erase a hidden conversation with all of its content. True if it is erased.

    False while an answer in it runs (which is stopped), or while Valkey, which also holds its texts, is unreachable.
    """
    with transaction.atomic():
        # A new turn updates this row before all others: either we see it here, or it finds no conversation.
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
            # Not Django's collector, which needs one query per level of `parent`, for thousands of messages.
            messages._raw_delete(messages.db)  # type: ignore[attr-defined]  # the stubs leave out this method
            conversation.delete()
            # Again after the commit: a reader may have cached a message meanwhile.
            transaction.on_commit(lambda: _forget_in_valkey(ids))
    if not stopped:
        _stop(conversation_id)
    return stopped


def _stop(conversation_id: UUID) -> None:
    """Stop the running answers of this conversation in all processes. Without Valkey they run to their end."""
    running = Message.objects.filter(conversation_id=conversation_id, status__in=Message.RUNNING)
    try:
        client = valkey.sync_client()
        for pk in running.values_list("pk", flat=True):
            client.set(cancel_key(pk), 1, ex=60)
            process_group.send_sync(CANCEL, [pk])
    except AWAY:
        logger.warning("turns_not_stopped", extra={"conversation_id": str(conversation_id)})


def _forget_in_valkey(ids: list[UUID]) -> bool:
    """Delete event logs and cached messages in Valkey and in all web processes. False if Valkey is unreachable."""
    try:
        client = valkey.sync_client()
        for first in range(0, len(ids), _AT_ONCE):
            some = ids[first : first + _AT_ONCE]
            # First the processes, so that none writes a deleted log again.
            process_group.send_sync(FORGET, some)
            client.delete(*[key(pk) for pk in some for key in _KEYS])
            history.forget(some)
    except AWAY:
        logger.warning("logs_not_deleted")
        return False
    return True


_KEYS: tuple[Callable[[UUID], str], ...] = (event_log.key, cancel_key)


def _forget_answers(conversation: Conversation, ids: list[UUID]) -> None:
    references = [{"message_id": str(pk)} for pk in ids] + [{"conversation_id": str(conversation.pk)}]
    idempotency.forget_references(str(conversation.user_id), references)


def _hide_late_runs() -> None:
    """Hide runs of turns that were starting when their conversation was hidden."""
    lately: QuerySet[Conversation] = Conversation.objects.filter(deleted_at__gte=timezone.now() - _LATE_WRITES)
    for pk in lately.values_list("pk", flat=True):
        run_store.hide(pk)
