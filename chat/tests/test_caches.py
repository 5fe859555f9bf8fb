"""What is remembered between requests: right at once after a change, the same when switched off, and counted."""

from __future__ import annotations

import time
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
import redis
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts import keys, principals
from accounts.authentication import authenticate
from accounts.models import User
from agents.models import ProviderConnection
from agents.routing import connections
from aiagents.core.db.calls import in_db
from aiagents.core.errors import NotAuthenticated
from aiagents.core.metrics import counting
from aiagents.core.valkey import cache as layered
from aiagents.core.valkey.cache import Layered
from billing.catalogue import snapshot as catalogue
from billing.models import AIModel
from chat.conversations import history
from chat.models import Conversation, Message

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nothing_remembered():
    history.message_cache.forget()
    principals.forget()
    yield
    history.message_cache.forget()
    principals.forget()
    connections.invalidate()


def making(kept: bool = True) -> Layered[int, bytes]:
    return Layered(f"test-{uuid4()}", seconds=60, most_bytes=100, shared_seconds=60, dump=lambda value: value if kept else None, load=bytes)


class Source:
    """A reader that notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []

    def __call__(self, numbers: list[int]) -> dict[int, bytes]:
        self.asked.append(list(numbers))
        return {number: b"x" * 10 for number in numbers if number < 100}


# --- the layers -----------------------------------------------------------------------------------


def test_a_value_is_read_once_and_then_comes_from_here():
    cache, read = making(), Source()
    assert cache.many([1, 2], read) == cache.many([2, 1], read) == {1: b"x" * 10, 2: b"x" * 10}
    assert cache.many([1, 3], read).keys() == {1, 3}
    assert read.asked == [[1, 2], [3]]
    assert (cache._counts.hits, cache._counts.misses) == (3, 3)


def test_another_process_finds_it_in_valkey():
    cache, read = making(), Source()
    cache.many([1, 2], read)
    cache.forget()
    assert cache.many([1, 2], read).keys() == {1, 2}
    assert read.asked == [[1, 2]] and cache._shared_counts.hits == 2


def test_what_is_not_there_is_asked_for_again():
    cache, read = making(), Source()
    assert cache.many([100], read) == cache.many([100], read) == {}
    assert len(read.asked) == 2


def test_it_is_bounded_by_bytes_and_the_least_used_goes_first():
    cache, read = making(), Source()
    cache.many(range(10), read)
    cache.many([0], read)
    cache.many([50], read)
    assert len(cache._here) == 10 and cache._bytes == 100
    assert 0 in cache._here and 1 not in cache._here


def test_values_end_after_their_seconds(monkeypatch):
    cache, read = making(), Source()
    cache.many([1], read)
    later = time.monotonic() + 61
    monkeypatch.setattr(layered.time, "monotonic", lambda: later)
    assert cache._from_here([1]) == {}


def test_values_that_say_no_are_not_kept():
    cache, read = making(kept=False), Source()
    cache.many([1], read)
    cache.many([1], read)
    assert len(read.asked) == 2


def test_switched_off_everything_is_read_each_time(settings):
    cache, read = making(), Source()
    cache.many([1], read)
    settings.CACHE_ENABLED = False
    cache.many([1], read)
    assert read.asked == [[1], [1]]


def test_without_valkey_it_works_in_this_process_and_waits_little(monkeypatch):
    cache, read, tries = making(), Source(), []

    def away() -> redis.Redis:
        tries.append(1)
        return redis.Redis(port=1, socket_connect_timeout=0.1)

    monkeypatch.setattr(layered.valkey, "sync_client", away)
    for number in range(5):
        assert cache.many([1, number + 10], read)[1]
    assert sum(1 in asked for asked in read.asked) == 1 and len(tries) == 1


# --- conversations --------------------------------------------------------------------------------


def talk(user: User, length: int = 6) -> tuple[Conversation, list[UUID]]:
    conversation = Conversation.objects.create(user=user)
    parent, ids = None, []
    for number in range(length):
        role = ("user", "assistant")[number % 2]
        parent = Message.objects.create(
            conversation=conversation, parent=parent, role=role, content=f"ü {number}", parts=[{"type": "text", "text": "ü"}], model="m"
        )
        ids.append(parent.id)
    return conversation, ids


def test_a_branch_is_read_once_in_its_order_with_what_history_reads(user: User):
    _, ids = talk(user)
    first = history.read_branch(ids)
    with CaptureQueriesContext(connection) as queries:
        assert history.read_branch(ids) == first
    assert not queries
    history.message_cache.forget()
    with CaptureQueriesContext(connection) as queries:
        shared = history.read_branch(ids)
    assert not queries, "from Valkey"
    for branch in (first, shared):
        assert [(row.id, row.role, row.content, row.parts, row.model) for row in branch] == [
            (id, ("user", "assistant")[number % 2], f"ü {number}", [{"type": "text", "text": "ü"}], "m") for number, id in enumerate(ids)
        ]


def test_a_message_that_is_still_written_is_never_kept(user: User):
    _, ids = talk(user, 2)
    Message.objects.filter(id=ids[1]).update(status="streaming", content="half")
    assert history.read_branch(ids)[1].content == "half"
    Message.objects.filter(id=ids[1]).update(status="complete", content="whole")
    assert history.read_branch(ids)[1].content == "whole"


def test_large_messages_stay_in_the_database(user: User):
    _, ids = talk(user, 1)
    Message.objects.filter(id=ids[0]).update(content="x" * 300_000)
    history.read_branch(ids)
    with CaptureQueriesContext(connection) as queries:
        history.read_branch(ids)
    assert len(queries) == 1


# --- users and keys: rights -----------------------------------------------------------------------


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("change", ["disable", "role", "revoke", "delete"])
async def test_a_right_that_is_gone_is_gone_with_the_next_request(user: User, settings, enabled: bool, change: str):
    settings.CACHE_ENABLED = enabled
    key, raw = await in_db(lambda: keys.create(user, name="k", scopes=["chat"]))
    headers = {"x-api-key": raw}
    assert (await authenticate(headers)).user.role == "user"

    def act() -> None:
        fresh = User.objects.get(pk=user.pk)
        if change == "revoke":
            keys.revoke(key, actor=fresh)
        elif change == "delete":
            fresh.delete()
        else:
            setattr(fresh, {"disable": "is_active", "role": "role"}[change], {"disable": False, "role": "admin"}[change])
            fresh.save()

    await in_db(act)
    if change == "role":
        assert (await authenticate(headers)).user.role == "admin"
    else:
        with pytest.raises(NotAuthenticated):
            await authenticate(headers)


async def test_hits_of_principals_are_counted_and_none_when_switched_off(user: User, settings):
    raw = (await in_db(lambda: keys.create(user, name="k", scopes=["chat"])))[1]
    counts = counting.cache("principals")
    before = (counts.hits, counts.misses)
    for _ in range(3):
        await authenticate({"x-api-key": raw})
    assert (counts.hits - before[0], counts.misses - before[1]) == (2, 1)
    settings.CACHE_ENABLED = False
    await authenticate({"x-api-key": raw})
    assert (counts.hits - before[0], counts.misses - before[1]) == (2, 2)


# --- models, prices, connections: money -----------------------------------------------------------


@pytest.mark.parametrize("enabled", [True, False])
def test_a_new_price_holds_for_the_next_call(models, settings, enabled: bool):
    settings.CACHE_ENABLED, settings.CATALOGUE_CHECK_SECONDS = enabled, 60
    catalogue.current_sync()
    model = AIModel.objects.get(slug="gpt-4o-mini")
    model.prices.create(input=Decimal("123"), output=Decimal("456"))
    rates = catalogue.current_sync().get("gpt-4o-mini").rates
    assert rates is not None and rates.input == Decimal("123")


def test_switched_off_the_catalogue_is_the_databases(models, settings):
    settings.CACHE_ENABLED, settings.CATALOGUE_CHECK_SECONDS = False, 60
    catalogue.current_sync()
    AIModel.objects.filter(slug="gpt-4o-mini").update(enabled=False)  # tells nobody
    assert not catalogue.current_sync().get("gpt-4o-mini").enabled
    counts = counting.cache("catalogue")
    before = counts.hits
    catalogue.current_sync()
    assert counts.hits == before


async def test_switched_off_connections_are_the_databases(models, settings):
    settings.CACHE_ENABLED, settings.SIMULATOR = False, False
    settings.VENDORS = {}
    assert "gpt-4o-mini" not in await connections.configured()
    await in_db(lambda: ProviderConnection.objects.bulk_create([ProviderConnection(slug="own", kind="openai", is_default=True)]))
    assert "gpt-4o-mini" in await connections.configured()
