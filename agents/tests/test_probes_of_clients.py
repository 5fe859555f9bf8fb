"""What coding agents and SDKs send beside their calls: `HEAD /` first, and `?beta=true` behind the path."""

from __future__ import annotations

import pytest

from accounts import keys
from agents.tests.wires import MODELS
from tests.kit.wire import ask, product

pytestmark = pytest.mark.django_db


@pytest.fixture
def key(caller) -> str:
    return str(keys.create(caller.user, name="t", scopes=["chat"])[1])


async def test_the_root_answers_a_client_that_looks_whether_the_server_is_there(db):
    for method in ("HEAD", "GET"):
        assert (await ask(product, method, "/")).status == 200


@pytest.mark.parametrize("model", MODELS.values())
async def test_beta_in_the_query_changes_nothing(model, key, vendor):
    message = {"model": model, "max_tokens": 20, "messages": [{"role": "user", "content": "Hello"}]}
    answer = {"model": model, "input": "Hello"}
    async with vendor():
        for path, body in (
            ("/v1/messages", message), ("/v1/messages/count_tokens", message), ("/v1/responses", answer),
            ("/v1/responses/input_tokens", answer),
        ):  # fmt: skip
            got = await ask(product, "POST", f"{path}?beta=true", body, {}, key)
            assert got.status == 200, got.body
