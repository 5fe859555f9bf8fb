"""Valid bodies with every node replaced by what does not belong there: no endpoint answers 5xx, each refusal has the one shape."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kit import cast
from tests.kit.access_matrix import TABLE
from tests.kit.endpoints import Endpoint, every
from tests.kit.hostile import corpus
from tests.kit.hostile.answers import WRITES, check
from tests.kit.sampling import sample
from tests.kit.valid_bodies import BODIES, WITHOUT_BODY
from tests.kit.wire import ask, product

pytestmark = [pytest.mark.django_db, pytest.mark.long]
READING = [endpoint for endpoint in WRITES if str(endpoint) in BODIES]


@pytest.fixture
def target(settings: Any):
    """Where an endpoint is asked: with ids of the caller's own rows, so that its body is really looked at."""
    settings.RATE_LIMIT_REQUESTS = 1_000_000
    ann, root = cast.person("ann@example.com"), cast.person("root@example.com", admin=True)
    owned = cast.things(ann.user) | {"user": ann.user.pk}

    def found(endpoint: Endpoint) -> tuple[str, str]:
        names = TABLE[str(endpoint)].owned or dict.fromkeys(endpoint.parameters, "user")
        token = (root if endpoint.template.startswith("/api/v1/admin/") else ann).token
        return endpoint.path(**{name: str(owned[kind]) for name, kind in names.items()}), token

    return found


def test_every_endpoint_that_reads_a_body_is_here():
    writes = {str(endpoint) for endpoint in every() if endpoint.method in ("POST", "PUT", "PATCH")}
    assert writes == set(BODIES) | WITHOUT_BODY


@pytest.mark.soak
@pytest.mark.parametrize("endpoint", READING, ids=str)
async def test_every_node_of_a_valid_body(endpoint: Endpoint, target: Any):
    path, token = target(endpoint)
    for what, body in sample(corpus.nested(BODIES[str(endpoint)]), 8, endpoint):
        answer = await ask(product, endpoint.method, path, body, {"content-type": "application/json"}, token)
        check(endpoint, what, answer)


@pytest.mark.parametrize("endpoint", READING, ids=str)
async def test_the_bodies_are_valid(endpoint: Endpoint, target: Any):
    """What is refused as a whole proves nothing about its nodes."""
    path, token = target(endpoint)
    answer = await ask(product, endpoint.method, path, BODIES[str(endpoint)], {"content-type": "application/json"}, token)
    check(endpoint, "the valid body", answer)
    assert answer.status not in (400, 413) or answer.error["code"] in KNOWN or answer.error["details"] == WRONG_PASSWORD, answer.body


# Refusals that are about the rows and tokens, not about the shape of the body.
KNOWN = {"link_invalid", "no_model_fits"}
WRONG_PASSWORD = {"current_password": ["Wrong."]}
