"""The OpenAPI document against the running product, by schemathesis: no 5xx, no answer that it does not describe.

Valid and invalid requests to every operation, as nobody, as a user and as an admin, over real HTTP. The suite makes a few of
each; `SOAK=1 pytest tests/test_schemathesis.py -s` makes a hundred, and prints what was answered.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.kit.hostile import api_fuzz
from tests.kit.hostile.answers import openapi_document
from tests.kit.hostile.api_fuzz import Caller, Operation, operations, probe
from tests.kit.sampling import examples
from tests.kit.servers.live import Live, launch

pytestmark = pytest.mark.long
EXAMPLES = examples(2, 100)


@pytest.fixture(scope="module")
def described() -> list[Operation]:
    return operations(openapi_document())


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """An installation of its own: its users' accounts suffer."""
    installation = launch(tmp_path_factory.mktemp("fuzz"), os.environ.get("PYTEST_XDIST_WORKER", "") + "z", MAX_BODY_BYTES="2000000")
    yield installation
    installation.close()


@pytest.fixture(scope="module")
def callers(product: Live) -> dict[str, Caller]:
    user, _ = product.new_user("fuzzed@example.com")
    admin, _ = product.new_user("fuzzing-admin@example.com")
    product.query("UPDATE accounts_user SET role = 'admin' WHERE email = %s", "fuzzing-admin@example.com")
    return {
        "nobody": Caller(product, ""),
        "user": Caller(product, user, "fuzzed@example.com"),
        "admin": Caller(product, admin, "fuzzing-admin@example.com"),
    }


def tried(operation: Operation, who: str) -> int:
    """One request, and not a few, where its sender is refused before it is read, and of an admin where an admin is a user like others."""
    for_admins = "/admin/" in operation.name
    few = who == "nobody" or for_admins != (who == "admin")
    return 1 if few and EXAMPLES < 10 else EXAMPLES


@pytest.mark.soak
@pytest.mark.parametrize("who", ["nobody", "user", "admin"])
def test_every_answer_is_as_the_document_says(described: list[Operation], callers: dict[str, Caller], who: str):
    api_fuzz.COUNTED.clear()
    wrong = [line for operation in described for line in probe(operation, callers[who], tried(operation, who))]
    print(f"\n{who}: {sum(api_fuzz.COUNTED.values())} requests, answers {dict(sorted(api_fuzz.COUNTED.items()))}")
    assert not wrong, f"{len(wrong)} answers:\n" + "\n".join(dict.fromkeys(wrong))
    assert api_fuzz.COUNTED, "nothing was asked"


def test_the_callers_are_who_they_claim(callers: dict[str, Caller], product: Live):
    """A session that ended on the way would turn the test above into 401 everywhere."""
    for who, status in {"nobody": 401, "user": 200, "admin": 200}.items():
        assert product.call("GET", "/api/v1/auth/profile", key=callers[who].credential or "").status == status, who
    assert product.call("GET", "/api/v1/admin/users", key=callers["user"].credential).status == 403
    assert product.call("GET", "/api/v1/admin/users", key=callers["admin"].credential).status == 200
