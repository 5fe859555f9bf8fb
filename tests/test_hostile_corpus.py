"""The corpus of tests/kit/hostile/corpus.py against every endpoint there is: no 5xx, no HTML, one error shape, no long wait.

Each endpoint gets a sample of its own, so that together they get every case; `make test-soak` sends all of them everywhere.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from typing import Any

import pytest

from tests.kit import cast
from tests.kit.endpoints import RANDOM_ID, Endpoint
from tests.kit.hostile import corpus
from tests.kit.hostile.answers import ENDPOINTS, WRITES, check, fields_of
from tests.kit.sampling import sample
from tests.kit.wire import Answer, ask, product

pytestmark = pytest.mark.django_db
# Seconds of processor, and of waiting on a machine that runs other suites too.
CPU, PATIENCE = 2.0, 20.0
# Each endpoint gets so large a part of the cases: one in so many. Fewer endpoints have a body.
ONE_IN, ONE_BODY_IN = 10, 6


class Attackers:
    """A user, and for the admin's endpoints an admin: what is refused for its credential attacks nothing."""

    def __init__(self) -> None:
        self.user, self.admin = cast.person("ann@example.com"), cast.person("root@example.com", admin=True)

    def token(self, endpoint: Endpoint) -> str:
        return (self.admin if endpoint.template.startswith("/api/v1/admin/") else self.user).token


@pytest.fixture
def ann() -> Attackers:
    return Attackers()


async def send(endpoint: Endpoint, what: str, target: str, body: Any = None, headers: Any = None, key: str = "") -> Answer:
    begun, used = time.perf_counter(), time.process_time()
    answer = await ask(product, endpoint.method, target, body, headers, key)
    took, used = time.perf_counter() - begun, time.process_time() - used
    check(endpoint, what, answer)
    assert used < CPU and took < PATIENCE, f"{endpoint} with {what} took {took:.2f} s, {used:.2f} s of processor"
    return answer


@pytest.mark.soak
@pytest.mark.parametrize("endpoint", WRITES, ids=str)
async def test_bodies(endpoint: Endpoint, ann: Attackers):
    for what, body in sample(corpus.BODIES.items(), ONE_BODY_IN, endpoint):
        answer = await send(endpoint, what, endpoint.path(), body, {"content-type": "application/json"}, ann.token(endpoint))
        if fields_of(endpoint):  # where a body is read at all, nothing of it is taken
            assert answer.status in (400, 404, 413, 429), f"{endpoint} took {what}: {answer.status} {answer.body[:300]!r}"


@pytest.mark.soak
@pytest.mark.parametrize("endpoint", WRITES, ids=str)
async def test_values_in_every_field(endpoint: Endpoint, ann: Attackers):
    bodies = list(sample(corpus.objects(fields_of(endpoint)).items(), 14, endpoint))
    if {Endpoint(endpoint.template, "PUT"), Endpoint(endpoint.template, "PATCH")} <= set(ENDPOINTS):  # one serializer: they share the work
        bodies = bodies[endpoint.method == "PUT" :: 2]
    for what, body in bodies:
        await send(endpoint, what, endpoint.path(), body, {"content-type": "application/json"}, ann.token(endpoint))


@pytest.mark.soak
@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=str)
async def test_queries(endpoint: Endpoint, ann: Attackers):
    for what, query in sample(corpus.QUERIES.items(), ONE_IN, endpoint):
        await send(endpoint, what, f"{endpoint.path()}?{query}", None, {"accept": "application/json"}, ann.token(endpoint))


@pytest.mark.parametrize("endpoint", [endpoint for endpoint in ENDPOINTS if endpoint.parameters], ids=str)
async def test_ids_in_the_path(endpoint: Endpoint, ann: Attackers):
    for what, text in corpus.IDS.items():
        answer = await send(endpoint, what, endpoint.path(**dict.fromkeys(endpoint.parameters, text)), None, {}, ann.token(endpoint))
        assert answer.status in (400, 404, 405), f"{endpoint} with id {what}: {answer.status}"


@pytest.mark.soak
@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=str)
async def test_headers(endpoint: Endpoint, ann: Attackers):
    for what, header in sample(corpus.HEADERS.items(), ONE_IN, endpoint):
        headers = [header] if header[0] == b"authorization" else [(b"authorization", f"Bearer {ann.token(endpoint)}".encode()), header]
        if header[0] != b"content-type" and endpoint.method != "GET":
            headers.append((b"content-type", b"application/json"))
        body = None if endpoint.method == "GET" else b"{}"
        answer = await send(endpoint, what, endpoint.path(), body, headers)
        assert "set-cookie" not in answer.headers or "x=1" not in answer.headers["set-cookie"]
        if header[0] == b"x-request-id":
            assert re.fullmatch(r"[A-Za-z0-9._:-]{8,64}", answer.headers["x-request-id"])


@pytest.mark.parametrize("method", ["TRACE", "PROPFIND", "CONNECT", "get", "G\u00cbT", "X" * 500])
async def test_unknown_methods(method: str, ann: Attackers):
    for endpoint in ENDPOINTS:
        if endpoint.template.startswith("/api/") and method != "get":
            answer = await ask(product, method, endpoint.path(), None, {}, ann.token(endpoint))
            assert answer.status in (400, 405, 404), f"{method[:9]} {endpoint.template}: {answer.status}"
            check(endpoint, f"method {method[:9]}", answer)


@pytest.fixture
def foreign() -> dict[str, Any]:
    return cast.things(cast.person("bob@example.com").user)


async def test_other_peoples_ids_in_fields_are_no_more_than_random_ones(ann: Attackers, foreign: dict[str, Any]):
    """Ids in bodies get the verdict of an id that does not exist (S18)."""
    for endpoint in WRITES:
        for field in fields_of(endpoint):
            if not field.endswith("_id"):
                continue
            answers = []
            for row in (RANDOM_ID, *map(str, foreign.values())):
                answer = await ask(product, endpoint.method, endpoint.path(), {"content": "x", field: row}, {}, ann.token(endpoint))
                shown = answer.body.replace(row.encode(), b"ID").replace(answer.headers["x-request-id"].encode(), b"REQUEST")
                answers.append((answer.status, shown if answer.status >= 400 else b""))
            assert len(set(answers)) == 1, f"{endpoint} tells foreign rows from none by {field}: {answers}"


@pytest.mark.parametrize(
    ("cases", "endpoints", "one_in"),
    [(corpus.BODIES, WRITES, ONE_BODY_IN), (corpus.QUERIES, ENDPOINTS, ONE_IN), (corpus.HEADERS, ENDPOINTS, ONE_IN)],
    ids=range(3),
)
def test_every_case_is_in_some_samples(cases: dict[str, Any], endpoints: list[Endpoint], one_in: int):
    """Each meets two endpoints at least."""
    met = Counter(name for endpoint in endpoints for name, _ in sample(cases.items(), one_in, endpoint))
    assert not [name for name in cases if met[name] < 2]
