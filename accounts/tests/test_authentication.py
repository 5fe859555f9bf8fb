"""Authentication of every endpoint: the headers that are read, the cache, and its invalidation."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from uuid import uuid4

import pytest
from asgiref.sync import async_to_sync
from django.apps import apps
from django.db import connection
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from rest_framework.test import APIClient

from accounts import authentication, credentials, keys, principals
from accounts.authentication import authenticate, authenticate_sync, may, require_scope, still_valid
from accounts.models import ApiKey, TokenFamily, User
from accounts.principals import CredentialRef, Principal
from accounts.sign_in import tokens
from accounts.tests.conftest import Caller
from aiagents.core.db.calls import in_db
from aiagents.core.errors import NotAuthenticated, PermissionDenied
from aiagents.core.valkey import clients as valkey
from tests.kit.sampling import examples
from tests.kit.waiting import until


def bearer(raw: str) -> dict[str, str]:
    return {"authorization": f"Bearer {raw}"}


@pytest.fixture
def access(user: User) -> str:
    return tokens.sign_in(user).access


@pytest.fixture
def alone(monkeypatch):
    """A process that does not hear Valkey."""
    monkeypatch.setattr(principals, "start_listening", lambda: None)
    monkeypatch.setattr(principals, "last_message_at", float("-inf"))


@pytest.fixture
def hearing(monkeypatch):
    """A process that received a message from Valkey a moment ago."""
    monkeypatch.setattr(principals, "start_listening", lambda: None)
    monkeypatch.setattr(principals, "last_message_at", time.monotonic() + 60)


async def outcome(raw: str) -> bool:
    try:
        await authenticate(bearer(raw))
    except NotAuthenticated:
        return False
    return True


async def test_a_token_gives_the_user_in_person(user: User, access: str):
    principal = await authenticate(bearer(access))
    assert principal.user == user and principal.auth_epoch == 0 and principal.scopes is None and principal.key_id is None
    assert principal.family_id == (await TokenFamily.objects.aget()).id
    assert principal.expires_at == pytest.approx(time.time() + 1800, abs=5)


def test_a_second_request_costs_no_query(access: str, hearing, django_assert_num_queries):
    with django_assert_num_queries(1):
        first = async_to_sync(authenticate)(bearer(access))
    with django_assert_num_queries(0):
        assert async_to_sync(authenticate)(bearer(access)) is first


@pytest.mark.parametrize("carrier", ["authorization", "x-api-key"])
@pytest.mark.parametrize("endpoint", ["streaming", "drf"])
async def test_every_header_and_endpoint_gives_one_principal(user: User, carrier: str, endpoint: str):
    key, raw = await in_db(keys.create, user, name="k", scopes=["chat"], rate_limit=7)
    headers = bearer(raw) if carrier == "authorization" else {"x-api-key": raw}
    principal = await authenticate(headers) if endpoint == "streaming" else await in_db(authenticate_sync, headers)
    assert principal == Principal(user, 0, key_id=key.id, scopes=frozenset({"chat"}), rate_limit=7)


@pytest.mark.parametrize(
    "headers",
    [{}, {"authorization": ""}, {"authorization": "Bearer"}, {"authorization": "Bearer "}, {"authorization": "Basic YTpi"},
     {"authorization": "Bearer a, Bearer b"}, {"authorization": "Bearer aia_' OR '1'='1"}, {"authorization": "Bearer " + "x" * 65536},
     {"authorization": "Bearer " + "[" * 2000 + "." * 2}, {"x-api-key": "\x00"}, {"x-api-key": "é" * 10}, {"x-api-key": "sk-123"},
     {"authorization": "Bearer .W1tbW1tbW1s.", "x-api-key": ""}, {"authorization": "Bearer a.bnVsbA.c"}, {"cookie": "access=x"}],
)  # fmt: skip
async def test_what_is_no_credential_is_not_authenticated(db, headers: dict):
    with pytest.raises(NotAuthenticated):
        await authenticate(headers)
    with pytest.raises(NotAuthenticated):
        await in_db(authenticate_sync, headers)


async def test_two_different_credentials_are_none(user: User, other: User, access: str):
    _, raw = await in_db(keys.create, other, name="k", scopes=["chat"])
    with pytest.raises(NotAuthenticated):
        await authenticate(bearer(access) | {"x-api-key": raw})
    assert (await authenticate(bearer(raw) | {"x-api-key": raw})).user == other


@pytest.mark.django_db
@given(value=st.text(max_size=300) | st.binary(max_size=300).map(lambda raw: raw.decode("latin-1")))
@pytest.mark.soak
@hypothesis_settings(max_examples=examples(60, 1500), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_in_a_credential_header_is_401_and_nothing_else(value: str):
    for headers in ({"authorization": value}, {"authorization": f"Bearer {value}"}, {"x-api-key": value}, {"x-api-key": f"aia_{value}"}):
        with pytest.raises(NotAuthenticated):
            authenticate_sync(headers)


def test_credentials_that_differ_anywhere_never_share_what_is_remembered(access: str, user: User):
    raw = keys.create(user, name="k", scopes=["chat"])[1]
    for whole in (access, raw):
        offered = authentication.credential(bearer(whole))
        for n in range(len(whole)):
            changed = whole[:n] + ("A" if whole[n] != "A" else "B") + whole[n + 1 :]
            assert authentication.credential(bearer(changed)).digest != offered.digest


async def test_what_is_remembered_of_one_user_is_not_given_to_another(user: User, other: User, access: str, hearing):
    await authenticate(bearer(access))
    digest = authentication.credential(bearer(access)).digest
    assert principals.get(digest, str(user.id)) is not None
    assert principals.get(digest, str(other.id)) is None


ENDINGS = {
    "disabled": lambda user: (setattr(user, "is_active", False), user.save()),
    "password": lambda user: (user.set_password("a wholly new password"), user.save()),
    "role": lambda user: (setattr(user, "role", "admin"), user.save()),
    "logout_all": lambda user: user.end_sessions(reason="logout_all"),
    "session revoked": lambda user: tokens.revoke(TokenFamily.objects.get(), "staff"),
    "deleted": lambda user: user.delete(),
}


@pytest.mark.parametrize("ending", list(ENDINGS))
async def test_what_ends_a_session_ends_it_with_the_next_request_though_remembered(user: User, access: str, hearing, ending: str):
    principal = await authenticate(bearer(access))
    assert await still_valid(principal)
    await in_db(ENDINGS[ending], user)
    assert not await outcome(access)
    assert not await still_valid(principal)


async def test_a_revoked_key_ends_though_remembered(user: User, hearing):
    key, raw = await in_db(keys.create, user, name="k", scopes=["chat"])
    principal = await authenticate(bearer(raw))
    assert await still_valid(principal)
    await in_db(keys.revoke, key, actor=user)
    assert not await outcome(raw) and not await still_valid(principal)


async def test_many_credentials_are_asked_about_with_one_query_for_each_kind(user: User, hearing, django_assert_num_queries):
    def some() -> list[CredentialRef]:
        made = [keys.create(user, name=f"k{number}", scopes=["chat"])[0] for number in range(5)]
        keys.revoke(made[0], actor=user)
        families = [TokenFamily.objects.create(user=user, expires_at=timezone.now() + timedelta(days=1)) for _ in range(5)]
        tokens.revoke(families[0], "staff")
        by_key = [CredentialRef(user.id, 0, key_id=key.id) for key in made]
        by_family = [CredentialRef(user.id, 0, family_id=family.id) for family in families]
        # Signed in, with the current and with an old epoch; a key with another user's id.
        return [*by_key, *by_family, CredentialRef(user.id, 0), CredentialRef(user.id, 1), CredentialRef(uuid4(), 0, key_id=made[1].id)]

    credential_refs = await in_db(some)

    def valid() -> set[CredentialRef]:
        with django_assert_num_queries(3):
            return credentials.filter_valid(credential_refs)

    assert await in_db(valid) == {*credential_refs[1:5], *credential_refs[6:10], credential_refs[10]}


async def test_a_remembered_credential_ends_at_its_own_time(user: User, hearing):
    _key, raw = await in_db(keys.create, user, name="k", scopes=["chat"], expires_at=timezone.now() + timedelta(seconds=1.5))
    assert await outcome(raw)
    await asyncio.sleep(1.6)  # until it expires
    assert not await outcome(raw)


@pytest.mark.parametrize(
    ("process", "seconds", "still"), [("hearing", 4.5, True), ("hearing", 5.5, False), ("alone", 0.5, True), ("alone", 1.5, False)]
)
async def test_how_long_a_silent_change_stays_unseen(
    user: User, access: str, request, process: str, seconds: float, still: bool, monkeypatch
):
    request.getfixturevalue(process)
    assert await outcome(access)
    await User.objects.aupdate(is_active=False)  # past save(): nothing is announced
    now = time.monotonic()
    monkeypatch.setattr(principals.time, "monotonic", lambda: now + seconds)
    assert await outcome(access) is still


async def test_a_reading_older_than_a_change_is_not_remembered(user: User, access: str, hearing):
    mark = principals.changes()
    offered = authentication.credential(bearer(access))
    principal = await in_db(credentials.find, offered.raw)
    principals.forget(user.id)
    principals.put(offered.digest, offered.subject, principal, mark)
    assert principals.get(offered.digest, offered.subject) is None


def test_what_is_remembered_has_a_bound(user: User, monkeypatch, hearing):
    monkeypatch.setattr(principals, "MAX_ENTRIES", 50)
    for n in range(200):
        principals.put(n.to_bytes(32), "x", Principal(user, 0), principals.changes())
    assert len(principals.cached_principals) <= 50


async def test_a_change_in_another_process_invalidates_the_cache_at_once(user: User, access: str):
    async def listens() -> bool:
        await authenticate(bearer(access))
        return time.monotonic() - principals.last_message_at < 1

    await until(listens)
    await authenticate(bearer(access))
    await User.objects.aupdate(is_active=False)
    assert await outcome(access)  # still remembered here …
    assert await valkey.client().publish(principals.CHANNEL, str(user.id)) >= 1  # … until another process speaks

    async def ended() -> bool:
        return not await outcome(access)

    await until(ended)


async def test_a_lost_valkey_shortens_the_memory_and_its_return_is_noticed(user: User, access: str, settings):
    url, settings.REDIS_URL = settings.REDIS_URL, "redis://127.0.0.1:1"
    principals.last_message_at = float("-inf")
    assert await outcome(access)
    await asyncio.sleep(0.1)  # nothing is to come
    assert principals.last_message_at == float("-inf")
    settings.REDIS_URL = url
    await until(lambda: principals.last_message_at >= 0)


def rows() -> list[str]:
    """Every text in every table: what a dump of the database would give away."""
    found = []
    for model in apps.get_models():
        for row in model._default_manager.values_list():
            found += [str(value) for value in row if isinstance(value, str) and len(value) >= 8]
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, digest, prefix FROM accounts_apikey")
        found += [str(value) for row in cursor.fetchall() for value in row]
    return found


def test_nothing_in_a_dump_of_the_database_is_a_credential(ann: Caller):
    ann.post("/api/v1/auth/api-keys", {"name": "k", "scopes": ["chat", "read"]}, format="json")
    ann.post("/api/v1/auth/ws-ticket")
    ann.refresh()
    texts = rows()
    assert any(len(text) == 64 for text in texts)  # the dump does hold the key's digest
    for text in {*texts, *(f"aia_{text}" for text in texts)}:
        with pytest.raises(NotAuthenticated):
            authenticate_sync(bearer(text))
        with pytest.raises(NotAuthenticated):
            tokens.rotate(text)


def test_without_a_credential_the_response_is_401_with_one_body(db):
    answers = [APIClient().get("/api/v1/auth/profile", headers=headers) for headers in ({}, bearer("nonsense"), {"x-api-key": "aia_x"})]
    assert {answer.status_code for answer in answers} == {401}
    assert {answer["WWW-Authenticate"] for answer in answers} == {'Bearer realm="api"'}
    bodies = [answer.json()["error"] | {"request_id": ""} for answer in answers]
    assert bodies[1] == bodies[2]


def test_scopes():
    user = User(id=uuid4())
    person, chat, read = Principal(user, 0), Principal(user, 0, scopes=frozenset({"chat"})), Principal(user, 0, scopes=frozenset({"read"}))
    assert may(person, "chat") and may(person, None)
    assert may(chat, "chat") and not may(chat, "tasks") and not may(chat, None)
    assert may(read, "tasks", safe=True) and not may(read, "tasks") and not may(read, None, safe=True)
    require_scope(chat, "chat")
    with pytest.raises(PermissionDenied) as refused:
        require_scope(read, "chat")
    assert refused.value.details == {"scope": "chat"}


async def test_a_forgotten_scope_in_a_row_gives_no_right(user: User):
    _key, raw = await in_db(keys.create, user, name="k", scopes=["chat"])
    await ApiKey.objects.aupdate(scopes=["chat", "admin", "everything"])
    assert (await authenticate(bearer(raw))).scopes == {"chat"}
