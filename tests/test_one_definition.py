"""The closed set of goals and the maximum of an amount are each defined once; every endpoint reads an amount alike."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from accounts.models import User
from agents.routing.candidates import GOALS
from billing.money.amounts import MOST_COST_USD, read_cost
from chat import turn_request
from tests.kit import cast
from tests.kit.hostile import corpus
from tests.kit.hostile.answers import WRITES, fields_of
from tests.kit.source.tree import parse
from tests.kit.wire import ask, product

ROOT = Path(__file__).parents[1]
APPS = ("accounts", "billing", "agents", "chat", "tasks", "aiagents")
# Where each is defined.
GOALS_AT, MOST_AT = "accounts/models/users.py", "billing/money/amounts.py"
BAD_AMOUNTS = [
    "abc", "", "NaN", "Infinity", "-1", "0", "1e999", "1_000", "١٢", "0x10", "1,5", "$5", " ", "1 2", "9" * 60, True, [], {}, [1], {"a": 1},
    -1, 0, 1e300, "0.0000000000001",
]  # fmt: skip


def sources():
    for app in APPS:
        for path in (ROOT / app).rglob("*.py"):
            if not {"tests", "migrations"} & set(path.parts):
                yield path.relative_to(ROOT).as_posix(), parse(path.read_text())


def collections_of_goals(tree: ast.AST):
    """Places where most of the goals stand together as literals: a class, a tuple, a dict, a Literal[…], a text such as `a|b|c`."""
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef():
                values = [one.value for one in node.body if isinstance(one, ast.Assign)]
            case ast.Tuple() | ast.List() | ast.Set():
                values = node.elts
            case ast.Dict():
                values = [key for key in node.keys if key is not None]
            case ast.Constant(value=str() as text) if len(text) < 200:
                if len(set(re.split(r"\W+", text)) & set(GOALS)) >= 3 and "|" in text:
                    yield node.lineno
                continue
            case _:
                continue
        found = {one.value for one in values if isinstance(one, ast.Constant) and isinstance(one.value, str)}
        if len(found & set(GOALS)) >= 3:
            yield node.lineno


def test_goals_are_defined_once():
    assert tuple(User.Goal.values) == GOALS
    places = [(path, line) for path, tree in sources() for line in collections_of_goals(tree)]
    assert [path for path, _ in places] == [GOALS_AT], places


def test_the_largest_cost_is_defined_once():
    """No other module names a maximum of a cost, or turns a client's value into a Decimal."""
    found = []
    for path, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and any(isinstance(one, ast.Name) and "MOST_COST" in one.id for one in node.targets):
                found.append(path)
            if "InvalidOperation" in (getattr(node, "attr", ""), getattr(node, "id", "")):
                found.append(f"{path} reads decimals by itself")
    # A title's own limit is no client's; the calculator, the price arithmetic and the prices of staff read no amounts of clients.
    known = {
        "billing/models/beside.py",
        "chat/conversations/titles.py",
        "agents/tools/builtin",
        "billing/pricing.py",
        "billing/money/exact_sums.py",
        "aiagents/dashboards",
    }
    assert [path for path in found if not path.startswith(tuple(known))] == [MOST_AT], found


@pytest.mark.parametrize("value", BAD_AMOUNTS, ids=repr)
def test_a_wrong_amount_is_refused_in_words(value):
    with pytest.raises(ValueError, match="decimal") as refused:
        read_cost(value)
    assert not corpus.LEAKS.search(str(refused.value).encode())
    with pytest.raises(turn_request.InvalidRequest) as answered:  # the reader of REST, SSE and WebSocket frames
        turn_request.read({"content": "x", "max_cost_usd": value})
    assert answered.value.param == "max_cost_usd" and not corpus.LEAKS.search(answered.value.message.encode())


@pytest.mark.parametrize("value", ["0.05", 1, 0.5, "10000", str(MOST_COST_USD), "1e-3"])
def test_an_amount_is_read(value):
    assert 0 < read_cost(value) <= MOST_COST_USD


@pytest.fixture
def people(db) -> tuple[cast.Person, cast.Person]:
    return cast.person("ann@example.com"), cast.person("root@example.com", admin=True)


@pytest.mark.parametrize("endpoint", [one for one in WRITES if any(name.endswith("_usd") for name in fields_of(one))], ids=str)
async def test_every_amount_of_every_endpoint_is_refused_in_words_and_by_name(endpoint, people):
    token = people[endpoint.template.startswith("/api/v1/admin/")].token
    needed = {"input": "x", "content": "x", "name": "x", "messages": [{"role": "user", "content": "x"}], "model": "auto", "max_tokens": 9}
    base = {name: value for name, value in needed.items() if name in fields_of(endpoint)}
    for field in (name for name in fields_of(endpoint) if name.endswith("_usd")):
        for value in ("abc", "NaN", "1e999", [], {}, "1_0x"):
            answer = await ask(product, endpoint.method, endpoint.path(), base | {field: value}, {}, token)
            assert answer.status in (400, 404), f"{endpoint} {field}={value!r}: {answer.status} {answer.body[:300]!r}"
            assert not corpus.LEAKS.search(answer.body), answer.body
            if answer.status == 400:
                assert field in (answer.error["param"], *(answer.error.get("details") or {})), (
                    f"{endpoint} {field}={value!r}: {answer.body!r}"
                )
