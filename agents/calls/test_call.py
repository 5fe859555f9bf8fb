"""A small, paid test call that shows staff whether a model answers. The member of staff pays."""

from __future__ import annotations

from asgiref.sync import async_to_sync

from accounts import principals
from accounts.models import User
from agents.calls import whole
from agents.calls.service import CallContext
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
    """Return the model's answer and its settlement. Raises an AppError if the model does not answer."""
    request = CompletionRequest((Message("user", (Text(_QUESTION),)),), max_output_tokens=_MOST_TOKENS)
    context = CallContext(principals.of_account(user), "test", "admin", request_id.get(), uuid7(), requested_model=model, fallbacks=())
    done = async_to_sync(whole.complete)(request, context)
    return done.text, done.settled


def model_of(connection: ProviderConnection) -> str:
    """Return the slug of the fastest model of this connection. Raises NotFound if it has none."""
    models = AIModel.objects.filter(enabled=True, embeddings=False).exclude(lifecycle=AIModel.Lifecycle.RETIRED)
    by_name = models.filter(connection=connection.slug)
    if connection.is_default:
        by_name |= models.filter(connection="", provider=connection.kind)
    found = by_name.order_by("ttft_ms", "slug").values_list("slug", flat=True).first()
    if not connection.enabled or found is None:
        raise NotFound("This connection has no enabled model, so no call was made.")
    return found
