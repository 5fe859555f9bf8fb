"""Request limits by user and role, by key and by address, in one command to Valkey, for DRF and streaming endpoints."""

from __future__ import annotations

from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts import keys, principals
from accounts.authentication import Principal, authenticate_sync
from accounts.models import User
from accounts.tests.conftest import PASSWORD, Caller, with_key
from aiagents.core.db.calls import in_db
from aiagents.core.errors import InvalidRequest
from aiagents.core.idempotency import begin_sync
from aiagents.core.models import IdempotentAnswer
from aiagents.core.ratelimit import buckets
from aiagents.core.ratelimit import sliding_window as ratelimit
from aiagents.core.valkey import pipeline
from tests.kit.wire import ask, product

pytestmark = pytest.mark.django_db
PROFILE, MODELS = "/api/v1/auth/profile", "/v1/models"


@pytest.fixture
def admin(db) -> User:
    return User.objects.create_user("admin@example.com", PASSWORD, role=User.Role.ADMIN)


@pytest.fixture(autouse=True)
def _few(settings):
    settings.RATE_LIMIT_REQUESTS, settings.RATE_LIMIT_WINDOW = 3, 60
    settings.RATE_LIMIT_ROLES, settings.RATE_LIMIT_IP_REQUESTS = {"admin": 6, "anonymous": 2}, 0


async def at_a_streaming_endpoint(credential: str, times: int, peer: str = "192.0.2.1") -> list[int]:
    return [(await ask(product, "GET", MODELS, None, {}, credential, peer)).status for _ in range(times)]


def through_django(credential: str, times: int, peer: str = "192.0.2.1") -> list[int]:
    client = with_key(credential) if credential else APIClient()
    return [client.get(PROFILE, REMOTE_ADDR=peer).status_code for _ in range(times)]


async def test_each_role_has_its_own_limit_at_streaming_endpoints(user: User, admin: User):
    of_user = (await in_db(lambda: keys.create(user, name="k", scopes=["chat"])))[1]
    of_admin = (await in_db(lambda: keys.create(admin, name="k", scopes=["chat"])))[1]
    assert await at_a_streaming_endpoint(of_user, 8) == [200] * 3 + [429] * 5
    assert await at_a_streaming_endpoint(of_admin, 8) == [200] * 6 + [429] * 2
    assert await at_a_streaming_endpoint("", 4) == [401] * 2 + [429] * 2


def test_each_role_has_its_own_limit_at_drf_endpoints(user: User, admin: User):
    of_user, of_admin = (keys.create(one, name="k", scopes=["billing"])[1] for one in (user, admin))
    assert through_django(of_user, 5) == [200] * 3 + [429] * 2
    assert through_django(of_admin, 8) == [200] * 6 + [429] * 2
    assert through_django("", 4) == [401] * 2 + [429] * 2


def test_a_changed_role_changes_the_limit_at_once(user: User):
    raw = keys.create(user, name="k", scopes=["billing"])[1]
    assert through_django(raw, 4)[-1] == 429
    user.role = User.Role.ADMIN
    user.save()
    assert through_django(raw, 1) == [200]


def test_a_key_stays_below_the_limit_of_its_users_role(user: User, admin: User):
    with pytest.raises(InvalidRequest):
        keys.create(user, name="k", scopes=["chat"], rate_limit=4)
    raw = keys.create(admin, name="k", scopes=["billing"], rate_limit=4)[1]
    assert through_django(raw, 5) == [200] * 4 + [429]
    User.objects.filter(pk=admin.pk).update(role=User.Role.USER)
    principals.forget()
    assert authenticate_sync({"x-api-key": raw}).rate_limit == 3


def test_user_key_and_address_each_limit_requests(user: User, other: User, settings):
    settings.RATE_LIMIT_REQUESTS, settings.RATE_LIMIT_IP_REQUESTS = 4, 6
    narrow = keys.create(user, name="narrow", scopes=["billing"], rate_limit=2)[1]
    wide, of_other = (keys.create(one, name="wide", scopes=["billing"])[1] for one in (user, other))
    assert through_django(narrow, 3) == [200, 200, 429], "the key"
    assert through_django(wide, 3) == [200, 200, 429], "the user, over both keys; what was refused counted nowhere"
    assert through_django(of_other, 3) == [200, 200, 429], "the address, over both users"
    assert through_django(of_other, 2, peer="198.51.100.7") == [200, 200]
    assert through_django("", 1) == [401], "strangers at that address have a bucket of their own"


async def test_user_key_and_address_are_one_question_to_valkey(user: User, settings, monkeypatch: pytest.MonkeyPatch):
    settings.RATE_LIMIT_IP_REQUESTS = 6
    commands: list[Any] = []
    real = pipeline.Line.call

    async def counted(self: Any, *command: Any) -> Any:
        commands.append(command)
        return await real(self, *command)

    monkeypatch.setattr(pipeline.Line, "call", counted)
    principal = Principal(user, user.auth_epoch, key_id=user.pk, rate_limit=2)
    await ratelimit.hit_all(buckets.rules(principal, "192.0.2.1"))  # the script may have to be loaded
    commands.clear()
    verdict = await ratelimit.hit_all(buckets.rules(principal, "192.0.2.1"))
    assert (verdict.limit, verdict.remaining) == (2, 0)
    (command,) = commands
    assert command[0] == "EVALSHA" and command[2] == 3
    assert [name.split(":")[1] for name in command[3:6]] == ["user", "key", "from"]


def test_without_an_address_there_is_no_bucket_of_all_addresses(user: User, settings):
    settings.RATE_LIMIT_IP_REQUESTS = 6
    assert [rule.bucket.split(":")[0] for rule in buckets.rules(Principal(user, 0), "")] == ["user"]


# --- what a missing scope is answered, and what goes with a user ----------------------------------


async def test_a_missing_scope_is_the_same_error_at_both_kinds_of_endpoint(user: User, settings):
    settings.RATE_LIMIT_REQUESTS = 100
    raw = (await in_db(lambda: keys.create(user, name="k", scopes=["tasks"])))[1]
    answers = [
        await ask(product, "GET", path, None, {"accept": "application/json"}, raw)
        for path in (PROFILE, "/api/v1/chat/stream/" + str(user.pk))
    ]
    for answer, scope in zip(answers, ("billing", "chat"), strict=True):
        assert answer.status == 403
        assert {**answer.error, "request_id": ""} == {
            "type": "permission_denied", "code": "scope_missing", "message": f"This API key lacks the scope {scope}.", "param": None,
            "details": {"scope": scope}, "request_id": "",
        }  # fmt: skip


def test_the_browsable_api_opens_for_a_key_that_may_only_read(user: User, settings):
    settings.RATE_LIMIT_REQUESTS = 100
    reader = with_key(keys.create(user, name="k", scopes=["read"])[1])
    page = reader.get("/api/v1/chat/conversations", headers={"accept": "text/html"})
    assert page.status_code == 200 and page["Content-Type"].startswith("text/html")


@pytest.mark.parametrize("how", ["one", "many"])
def test_with_a_user_goes_what_is_kept_for_replays(user: User, other: User, how: str):
    for one in (user, other):
        begin_sync(str(one.pk), "key-12345678", "fingerprint")
    gone = str(user.pk)
    user.delete() if how == "one" else User.objects.filter(pk=user.pk).delete()
    assert list(IdempotentAnswer.objects.values_list("principal", flat=True)) == [str(other.pk)] != [gone]


def test_a_deleted_users_token_is_invalid_at_once(user: User, settings):
    settings.RATE_LIMIT_REQUESTS = 100
    ann = Caller(user.email)
    User.objects.filter(pk=user.pk).delete()
    assert not ann.works()
