"""Every endpoint that reads a body reads a compressed one, with the same verdict and the same limit."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import brotli
import pytest

from tests.kit import cast
from tests.kit.valid_bodies import BODIES, asked
from tests.kit.wire import Answer, ask, product

pytestmark = pytest.mark.django_db
ODD = json.dumps({"a field that no endpoint has": 1, "model": "auto"}).encode()
each = pytest.mark.parametrize(("method", "path"), asked(), ids=list(BODIES))


@pytest.fixture
def token() -> str:
    return cast.person("root@example.com", admin=True).token


async def send(method: str, path: str, body: bytes, coding: str, token: str) -> Answer:
    headers = {"content-type": "application/json"} | ({"content-encoding": coding} if coding else {})
    return await ask(product, method, path, body, headers, token)


def verdict(answer: Answer) -> tuple[int, Any]:
    """Status and body without the request's id."""
    return answer.status, json.loads(answer.body.replace(answer.headers["x-request-id"].encode(), b""))


@each
async def test_a_compressed_body_gets_the_verdict_of_the_plain_one(method: str, path: str, token: str):
    plain = await send(method, path, ODD, "", token)
    assert 400 <= plain.status < 500
    for coding, body in (("gzip", gzip.compress(ODD)), ("deflate, br", brotli.compress(zlib.compress(ODD)))):
        assert verdict(await send(method, path, body, coding, token)) == verdict(plain)


@each
async def test_the_limit_of_the_endpoint_holds_for_the_unpacked_size(method: str, path: str, token: str, settings: Any):
    settings.MAX_BODY_BYTES = 64 * 1024
    body = gzip.compress(b'{"a":"%b"}' % (b" " * settings.MAX_BODY_BYTES))
    assert len(body) < 1024
    answer = await send(method, path, body, "gzip", token)
    assert answer.status == 413 and b"max_bytes" in answer.body


@each
async def test_an_unknown_coding_is_415_with_those_that_are_accepted(method: str, path: str, token: str):
    answer = await send(method, path, ODD, "snappy", token)
    assert answer.status == 415 and answer.headers["accept-encoding"] == "gzip, deflate, br, zstd"
    assert answer.error["code"] == "unsupported_content_encoding"


@each
async def test_a_body_that_is_not_of_its_coding_is_400(method: str, path: str, token: str):
    answer = await send(method, path, gzip.compress(ODD)[:-3], "gzip", token)
    assert answer.status == 400 and answer.error["code"] == "invalid_content_encoding"


async def test_a_repeated_request_may_be_packed_in_another_way(token: str):
    """An Idempotency-Key is compared with the unpacked body."""
    body = json.dumps({"title": "once"}).encode()
    answers = []
    for coding, sent in (("", body), ("gzip", gzip.compress(body))):
        headers = {"content-type": "application/json", "idempotency-key": "k"} | ({"content-encoding": coding} if coding else {})
        answers.append(await ask(product, "POST", "/api/v1/chat/conversations", sent, headers, token))
    assert answers[0].status == 201 and answers[0].body == answers[1].body
    assert answers[1].headers["idempotent-replayed"] == "true"


async def test_a_form_of_a_page_is_unpacked_as_well():
    """Its fields are read by Django's own parser."""
    form = b"username=nobody%40example.com&password=wrong"
    headers = {"content-type": "application/x-www-form-urlencoded"}
    plain = await ask(product, "POST", "/admin/login/", form, headers)
    packed = await ask(product, "POST", "/admin/login/", gzip.compress(form), headers | {"content-encoding": "gzip"})
    assert plain.status == packed.status == 403  # no CSRF token; the body was read to look for one
    refused = await ask(product, "POST", "/admin/login/", form, headers | {"content-encoding": "gzip"})
    assert refused.status == 400
