"""tests/kit/access_matrix.py against the product: every endpoint × nobody, a stranger, the owner, keys, an admin, a disabled user."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.models import ApiKey
from aiagents.core.db.calls import in_db
from tests.kit import cast
from tests.kit.access_matrix import TABLE, Row
from tests.kit.endpoints import Endpoint, every
from tests.kit.wire import Answer, ask, product

pytestmark = pytest.mark.django_db
ENDPOINTS = [endpoint for endpoint in every() if str(endpoint) in TABLE]
OWNED = [endpoint for endpoint in ENDPOINTS if TABLE[str(endpoint)].owned]
DENIED = (401, 403)
SCOPES = tuple(ApiKey.Scope.values)


def test_every_endpoint_has_its_row_and_every_row_its_endpoint():
    endpoints = {str(endpoint) for endpoint in every()}
    assert not endpoints - set(TABLE), "endpoints without a row in tests/kit/access_matrix.py: say who may call them"
    assert not set(TABLE) - endpoints, "rows of tests/kit/access_matrix.py without an endpoint"


def test_every_parameter_of_a_private_path_names_what_is_owned():
    for endpoint in ENDPOINTS:
        row = TABLE[str(endpoint)]
        missing = set(endpoint.parameters) - set(row.owned) - {"model"}
        assert not missing or row.who in ("public", "admin"), f"{endpoint}: whose is {missing}?"


@pytest.fixture
def ann() -> cast.Person:
    return cast.person("ann@example.com")


@pytest.fixture
def scoped(ann: cast.Person) -> dict[str, str]:
    return cast.scoped_keys(ann.user)


@pytest.fixture
def bob() -> cast.Person:
    return cast.person("bob@example.com")


@pytest.fixture
def root() -> cast.Person:
    return cast.person("root@example.com", admin=True)


@pytest.fixture
def of_bob(bob: cast.Person) -> dict[str, Any]:
    return cast.things(bob.user)


async def call(endpoint: Endpoint, credential: str, ids: dict[str, str] | None = None) -> Answer:
    row = TABLE[str(endpoint)]
    body = None if endpoint.method in ("GET", "DELETE") else row.body or {}
    return await ask(product, endpoint.method, endpoint.path(**(ids or {})), body, {"accept": "application/json"}, credential)


def ids_of(row: Row, rows: dict[str, Any]) -> dict[str, str]:
    return {parameter: str(rows[kind]) for parameter, kind in row.owned.items()}


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=str)
async def test_nobody_gets_in_without_a_credential_that_works(endpoint: Endpoint, ann: cast.Person):
    row = TABLE[str(endpoint)]
    answers = [await call(endpoint, credential) for credential in ("", "aia_" + "x" * 43, "a.b.c")]
    await in_db(cast.disable, ann)
    answers += [await call(endpoint, credential) for credential in (ann.token, ann.key)]
    if row.who == "public":
        # Some of them read a credential in the body, and say 401 of that.
        assert all(answer.status != 403 for answer in answers)
    else:
        assert [answer.status for answer in answers] == [401] * 5
        shapes = {answer.body.replace(answer.headers["x-request-id"].encode(), b"") for answer in answers}
        assert len(shapes) == 1, "what is wrong with a credential is nobody's business"
        assert all("www-authenticate" in answer.headers for answer in answers)


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=str)
async def test_each_credential_opens_what_its_row_says(endpoint: Endpoint, ann: cast.Person, root: cast.Person, scoped: dict[str, str]):
    row = TABLE[str(endpoint)]
    may = {
        "user in person": row.who != "admin",
        "admin in person": True,
        "admin's key": row.who in ("public", "user"),
        **{f"key with {scope}": row.who == "public" or (row.who == "user" and _may(row, endpoint, scope)) for scope in SCOPES},
    }
    # Keys first: some endpoints end the session that calls them.
    credentials = {f"key with {scope}": scoped[scope] for scope in SCOPES}
    credentials |= {"admin's key": root.key, "user in person": ann.token, "admin in person": root.token}
    for name, credential in credentials.items():
        answer = await call(endpoint, credential)
        denied = answer.status == 403 or (answer.status == 401 and row.who != "public")
        assert denied is not may[name], f"{endpoint}: {name} got {answer.status} {answer.body[:300]!r}"


def _may(row: Row, endpoint: Endpoint, scope: str) -> bool:
    return row.scope is None or scope == row.scope or (scope == "read" and endpoint.method == "GET")


@pytest.mark.parametrize("endpoint", OWNED, ids=str)
async def test_what_is_anothers_is_not_there(
    endpoint: Endpoint, ann: cast.Person, root: cast.Person, bob: cast.Person, of_bob: dict[str, Any]
):
    row = TABLE[str(endpoint)]
    foreign = ids_of(row, of_bob)
    for stranger in (ann.token, ann.key, root.token):
        if row.who == "person" and stranger == ann.key:
            continue
        one, none = await call(endpoint, stranger, foreign), await call(endpoint, stranger)
        assert (one.status, none.status) == (404, 404), f"{endpoint}: {one.body[:200]!r} and {none.body[:200]!r}"
        hidden = {parameter: value.encode() for parameter, value in foreign.items()}
        for answer in (one, none):
            assert not any(value in answer.body for value in hidden.values())
        assert _without_id(one) == _without_id(none), f"{endpoint} tells a foreign row from none"
    owner = await call(endpoint, bob.token, foreign)
    assert owner.status not in (401, 403, 404), f"{endpoint}: its owner got {owner.status} {owner.body[:300]!r}"


def _without_id(answer: Answer) -> bytes:
    return answer.body.replace(answer.headers["x-request-id"].encode(), b"ID")


@pytest.mark.parametrize("endpoint", [endpoint for endpoint in ENDPOINTS if endpoint.method == "GET" and not endpoint.parameters], ids=str)
async def test_lists_hold_nothing_of_anothers(endpoint: Endpoint, ann: cast.Person, of_bob: dict[str, Any]):
    if TABLE[str(endpoint)].who == "public":
        return
    answer = await call(endpoint, ann.token)
    for kind, row in of_bob.items():
        assert str(row).encode() not in answer.body, f"{endpoint} shows another's {kind}"
    assert b"bob@example.com" not in answer.body and b"a secret" not in answer.body
    found = await ask(product, "GET", endpoint.path() + "?search=secret", None, {}, ann.token)
    assert b"a secret" not in found.body
