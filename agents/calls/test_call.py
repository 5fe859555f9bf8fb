"""One small, paid call through the door, for staff who want to know whether a model answers. The member of staff pays."""

from __future__ import annotations

from asgiref.sync import async_to_sync

from accounts import principals
from accounts.models import User
from agents.calls import service as calls
from agents.events import Settled
from agents.messages import CompletionRequest, Message, Text
from agents.models import ProviderConnection
from aiagents.core.errors import NotFound
from aiagents.core.ids import uuid7
from aiagents.core.logs.context import request_id
from billing.models import AIModel

_QUESTION = "Answer with the one word OK."
_MOST_TOKENS = 64


def call(user: User, model: str) -> tuple[str, Settled]:
    """What the model said and what it cost. AppError when it did not answer."""
    request = CompletionRequest((Message("user", (Text(_QUESTION),)),), max_output_tokens=_MOST_TOKENS)
    context = calls.CallContext(
        principals.of_account(user), "test", "admin", request_id.get(), uuid7(), requested_model=model, fallbacks=()
    )
    done = async_to_sync(calls.complete)(request, context)
    return done.text, done.settled


def model_of(connection: ProviderConnection) -> str:
    """A model that is reached by this connection, the one that answers fastest. NotFound when there is none."""
    models = AIModel.objects.filter(enabled=True, embeddings=False).exclude(lifecycle=AIModel.Lifecycle.RETIRED)
    by_name = models.filter(connection=connection.slug)
    if connection.is_default:
        by_name |= models.filter(connection="", provider=connection.kind)
    found = by_name.order_by("ttft_ms", "slug").values_list("slug", flat=True).first()
    if not connection.enabled or found is None:
        raise NotFound("No model that is switched on is reached by this connection; nothing was called.")
    return found
