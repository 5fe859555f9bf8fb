"""API keys: shown once, scoped, ended at once."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from accounts import hooks, keys
from accounts.authentication import authenticate
from accounts.models import ApiKey, AuditEvent, User
from accounts.tests.conftest import Caller, with_key
from aiagents.core.db.calls import in_db
from aiagents.core.errors import InvalidRequest, NotAuthenticated, PermissionDenied

KEYS, PROFILE = "/api/v1/auth/api-keys", "/api/v1/auth/profile"


def make(caller: Caller, **changes):
    return caller.post(KEYS, {"name": "ci", "scopes": ["read"], **changes}, format="json")


@pytest.fixture
def budgets():
    """A keeper of budgets, as billing registers one."""
    kept: dict = {}
    before = hooks.registered_hooks
    hooks.register(set_key_budget=kept.__setitem__, key_budgets=lambda ids: {id: kept[id] for id in ids if id in kept})
    yield kept
    hooks.registered_hooks = before


def test_a_key_is_shown_once_and_only_its_digest_stays(ann: Caller, budgets):
    ends = timezone.now() + timedelta(days=30)
    answer = make(ann, scopes=["tasks", "chat"], expires_at=ends.isoformat(), monthly_budget_usd="12.50", rate_limit=60)
    assert answer.status_code == 201 and answer["Cache-Control"] == "no-store"
    body = answer.json()
    raw = body.pop("key")
    assert raw.startswith("aia_") and len(raw) >= 4 + 32 and body["prefix"] == raw[:12]
    assert body["scopes"] == ["chat", "tasks"] and body["monthly_budget_usd"] == "12.50000000" and body["rate_limit"] == 60
    row = ApiKey.objects.get()
    assert raw not in str(vars(row)) and row.digest not in answer.content.decode()
    assert budgets == {row.id: Decimal("12.50")}
    listed = ann.get(KEYS).json()
    assert set(listed) == {"next", "previous", "results"} and listed["results"] == [body]


def test_a_key_without_further_words_may_chat(ann: Caller):
    body = ann.post(KEYS, {"name": "ci"}, format="json").json()
    assert (body["scopes"], body["monthly_budget_usd"], body["rate_limit"], body["expires_at"]) == (["chat"], None, None, None)


def test_the_browsable_form_makes_a_key(user: User):
    browser = APIClient()
    browser.force_login(user)
    form = {
        "name": "ci",
        "scopes": ["chat", "read"],
        "monthly_budget_usd": "",
        "rate_limit": "",
        "expires_at": "",
        "csrfmiddlewaretoken": "x",
    }
    assert browser.post(KEYS, form, headers={"accept": "text/html"}).status_code == 201
    assert ApiKey.objects.get().scopes == ["chat", "read"]


def test_a_key_works_by_both_headers_and_stops_with_the_next_request_after_its_end(ann: Caller):
    made = make(ann).json()
    callers = [with_key(made["key"]), with_key(made["key"], "x-api-key")]
    assert [caller.get(PROFILE).status_code for caller in callers] == [200, 200]
    assert ann.delete(f"{KEYS}/{made['id']}").status_code == 204
    assert [caller.get(PROFILE).status_code for caller in callers] == [401, 401]
    assert ann.delete(f"{KEYS}/{made['id']}").status_code == 404
    assert ann.get(KEYS).json()["results"] == []
    assert AuditEvent.objects.filter(action="api_key.revoke", target_id=made["id"]).count() == 1


def test_an_expired_key_and_the_key_of_a_disabled_user_are_401(ann: Caller, user: User):
    caller = with_key(make(ann).json()["key"])
    ApiKey.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert caller.get(PROFILE).status_code == 401
    ApiKey.objects.update(expires_at=None)
    assert caller.get(PROFILE).status_code == 200
    user.is_active = False
    user.save()
    assert caller.get(PROFILE).status_code == 401


def test_anothers_key_is_404_and_lives_on(ann: Caller, other: User):
    made = make(Caller(other.email)).json()
    assert ann.delete(f"{KEYS}/{made['id']}").status_code == 404
    assert ann.get(KEYS).json()["results"] == []
    assert with_key(made["key"]).get(PROFILE).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [("get", KEYS), ("post", KEYS), ("delete", f"{KEYS}/01a206b6-c5f9-738c-9092-25c7c242dcf4"), ("post", "/api/v1/auth/password"),
     ("post", "/api/v1/auth/logout-all"), ("patch", PROFILE)],
)  # fmt: skip
def test_a_key_of_every_scope_may_not_touch_the_account(ann: Caller, method: str, path: str):
    caller = with_key(make(ann, scopes=list(ApiKey.Scope.values)).json()["key"])
    answer = getattr(caller, method)(path, {"name": "x", "scopes": ["chat"]}, format="json")
    assert answer.status_code == 403
    assert ApiKey.objects.count() == 1


@pytest.mark.parametrize(("scopes", "status"), [(["read"], 200), (["billing"], 200), (["chat"], 403), (["chat", "agents", "tasks"], 403)])
def test_the_profile_is_read_by_keys_that_read(ann: Caller, scopes: list[str], status: int):
    answer = with_key(make(ann, scopes=scopes).json()["key"]).get(PROFILE)
    assert answer.status_code == status
    if status == 200:
        assert answer.json()["permissions"] == scopes


@pytest.mark.parametrize(
    "changes",
    [{"scopes": []}, {"scopes": ["admin"]}, {"scopes": "chat"}, {"name": ""}, {"name": "x" * 101}, {"expires_at": "2020-01-01T00:00:00Z"},
     {"expires_at": "soon"}, {"monthly_budget_usd": "-1"}, {"monthly_budget_usd": "NaN"}, {"rate_limit": 0}, {"rate_limit": 10**6},
     {"digest": "0" * 64}, {"user": "x"}, {"prefix": "aia_"}, {"id": "01a206b6-c5f9-738c-9092-25c7c242dcf4"}, {"last_used_at": None}],
)  # fmt: skip
def test_what_a_key_may_not_be_is_400(ann: Caller, changes: dict):
    assert make(ann, **changes).status_code == 400
    assert not ApiKey.objects.exists()


def test_no_key_may_approve_unless_it_was_asked_for(ann: Caller, user: User):
    """Approvals are a person's: the scope comes with no default, and with no other scope."""
    assert "approve" not in make(ann).json()["scopes"]
    assert "approve" in make(ann, scopes=["approve"]).json()["scopes"]
    for one in ApiKey.Scope.values:
        caller = with_key(make(ann, scopes=[one]).json()["key"])
        status = caller.post("/api/v1/agents/runs/01a206b6-c5f9-738c-9092-25c7c242dcf4/approve", {}, format="json").status_code
        assert status == (404 if one == "approve" else 403), one


def test_a_key_cannot_make_a_stronger_key(user: User):
    with pytest.raises(PermissionDenied):
        keys.create(user, name="k", scopes=["chat", "tasks"], creator_scopes=frozenset({"chat"}))
    key, _ = keys.create(user, name="k", scopes=["chat"], creator_scopes=frozenset({"chat"}))
    assert key.scopes == ["chat"]


def test_a_budget_without_a_registered_hook_undoes_the_key(user: User, budgets):
    def broken(key_id, limit):
        raise InvalidRequest("no such budget")

    hooks.register(set_key_budget=broken)
    with pytest.raises(InvalidRequest):
        keys.create(user, name="k", scopes=["chat"], monthly_budget_usd=Decimal(1))
    assert not ApiKey.objects.exists() and not AuditEvent.objects.exists()


def test_there_is_an_end_to_how_many_keys(ann: Caller, monkeypatch):
    monkeypatch.setattr(keys, "MAX_PER_USER", 2)
    assert [make(ann).status_code for _ in range(3)] == [201, 201, 409]


def test_the_list_is_paged(ann: Caller):
    for n in range(5):
        make(ann, name=f"k{n}")
    first = ann.get(KEYS, {"page_size": 3}).json()
    second = ann.get(first["next"]).json()
    assert [key["name"] for key in first["results"] + second["results"]] == ["k4", "k3", "k2", "k1", "k0"]


async def test_a_keys_own_limit_never_exceeds_the_installations(user: User, settings):
    _, raw = await in_db(keys.create, user, name="k", scopes=["chat"], rate_limit=100)
    settings.RATE_LIMIT_REQUESTS = 50
    assert (await authenticate({"x-api-key": raw})).rate_limit == 50


def test_a_use_is_written_once_a_minute(ann: Caller):
    caller = with_key(make(ann).json()["key"])
    caller.get(PROFILE)
    first = ApiKey.objects.get().last_used_at
    assert first is not None
    caller.get(PROFILE)
    assert ApiKey.objects.get().last_used_at == first
    keys.last_use_noted_at.clear()  # another process: the row itself says that the minute is not over
    caller.get(PROFILE)
    assert ApiKey.objects.get().last_used_at == first
    keys.last_use_noted_at.clear()
    ApiKey.objects.update(last_used_at=first - timedelta(seconds=61))
    caller.get(PROFILE)
    assert ApiKey.objects.get().last_used_at > first - timedelta(seconds=1)


async def test_the_hot_path_only_remembers_uses_and_writes_them_together(user: User):
    raws = [(await in_db(keys.create, user, name=str(n), scopes=["chat"]))[1] for n in range(3)]
    for raw in raws:
        await authenticate({"authorization": f"Bearer {raw}"})
    unused = ApiKey.objects.filter(last_used_at=None)
    assert await unused.acount() == 3
    await keys.flush_uses()
    assert await unused.acount() == 0


async def test_a_key_is_compared_whole(user: User):
    _, raw = await in_db(keys.create, user, name="k", scopes=["chat"])
    assert (await authenticate({"x-api-key": raw})).scopes == {"chat"}
    swapped = raw[:-1] + ("A" if raw[-1] != "A" else "B")
    for wrong in (swapped, raw[:-1], raw + "A", raw.upper(), raw[:12], keys.digest(raw), "aia_" + keys.digest(raw), "aia_"):
        with pytest.raises(NotAuthenticated):
            await authenticate({"x-api-key": wrong})


def test_a_key_in_query_cookie_or_form_is_not_read(ann: Caller):
    raw = make(ann).json()["key"]
    anonymous = APIClient()
    anonymous.cookies["authorization"] = anonymous.cookies["x-api-key"] = anonymous.cookies["access"] = raw
    for name in ("api_key", "key", "token", "access_token", "authorization", "x-api-key"):
        refused = anonymous.get(PROFILE, {name: raw})
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "credential_in_url")
        assert anonymous.patch(PROFILE, {name: raw}, format="multipart").status_code == 401
