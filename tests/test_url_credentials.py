"""A credential in a query string, at every endpoint: refused in so many words, whatever its spelling, and written to no log."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.kit import cast
from tests.kit.endpoints import RANDOM_ID, Endpoint, every
from tests.kit.wire import ask, product

pytestmark = pytest.mark.django_db
KEY, JWT = "aia_" + "k" * 43, "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl"
REFUSED = {
    "token": "token=planted-credential",
    "token, encoded": "t%6fken=planted-credential",
    "token, encoded twice": "t%256fken=planted-credential",
    "token in capitals": "ToKeN=planted-credential",
    "token of full width": quote("ｔｏｋｅｎ") + "=planted-credential",
    "token behind another": "page_size=5&token=planted-credential",
    "token behind a semicolon": "page_size=5;token=planted-credential",
    "nested token": "auth[token]=planted-credential",
    "access_token": "access_token=planted-credential",
    "api_key": "api_key=planted-credential",
    "api-key": "api-key=planted-credential",
    "x-api-key": "x-api-key=planted-credential",
    "key": "key=planted-credential",
    "key, encoded": "k%65y=planted-credential",
    "authorization": "authorization=Bearer+planted-credential",
    "password": "password=planted-credential",
    "ticket": "ticket=planted-credential",
    "our key under another name": f"q={KEY}",
    "a JWT under another name": f"search={JWT}",
    "a JWT, padded and encoded": f"search={JWT.replace('.', '%2e')}%3D",
}
# What only looks like one.
TAKEN = (
    "/api/v1/chat/conversations?search=token",
    "/api/v1/chat/conversations?search=api_key%3Dx",
    f"/api/v1/billing/usage?key={RANDOM_ID}",
    "/api/v1/billing/usage?key=",
)


@pytest.fixture
def ann() -> cast.Person:
    return cast.person("ann@example.com")


@pytest.mark.parametrize("endpoint", every(), ids=str)
async def test_a_credential_in_the_query_is_refused_and_not_logged(endpoint: Endpoint, ann: cast.Person, caplog: Any):
    caplog.set_level("INFO")
    # Each endpoint gets some spellings, with and without a credential that is valid; all of them get every spelling.
    spellings = (
        list(REFUSED) if endpoint.template in ("/api/v1/auth/profile", "/v1/models") else list(REFUSED)[every().index(endpoint) % 4 :: 4]
    )
    for what in spellings:
        for key in (ann.token, ""):
            answer = await ask(product, endpoint.method, f"{endpoint.path()}?{REFUSED[what]}", None, {"accept": "application/json"}, key)
            assert (answer.status, answer.error["code"]) == (400, "credential_in_url"), f"{endpoint} with {what}: {answer.body[:300]!r}"
            assert "Authorization header" in answer.error["message"]
            assert b"planted" not in answer.body and KEY.encode() not in answer.body and JWT.encode() not in answer.body
    written = caplog.text + "".join(str(vars(record)) for record in caplog.records if record.name == "aiagents.access")
    for secret in ("planted-credential", KEY, JWT):
        assert secret not in written


@pytest.mark.parametrize("target", TAKEN)
async def test_what_only_looks_like_a_credential_is_taken(target: str, ann: cast.Person):
    answer = await ask(product, "GET", target, None, {}, ann.token)
    assert answer.status == 200, answer.body


async def test_the_liveness_probe_refuses_one_too():
    from aiagents.asgi import application

    answer = await ask(application, "GET", "/health?token=planted-credential")
    assert (answer.status, answer.error["code"]) == (400, "credential_in_url")
    assert (await ask(application, "GET", "/health")).status == 200
