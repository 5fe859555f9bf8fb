"""`/api/v1/agents/`: made, changed into versions, shared, deleted; and nobody else's."""

from __future__ import annotations

import json
import threading
import uuid
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from accounts.models import AuditEvent, User
from agents.definitions import authoring, sharing
from agents.definitions import definition as definitions
from agents.definitions.definition import AgentNotFound, Grant
from agents.models import Agent, AgentVersion, HttpTool
from agents.tests.conftest import client_of
from agents.tests.runs import API
from agents.tools import http
from billing.models import AIModel

WHOLE = {
    "name": "Travel planner",
    "description": "Plans trips.",
    "system_prompt": "  You plan trips.\n",
    "model": "gpt-4o",
    "goal": "best",
    "parameters": {"temperature": 0.3, "top_p": 0.9, "max_output_tokens": 2000, "reasoning_effort": "low", "stop": ["\n\n", "END"]},
    "tools": [{"name": "calculator", "approval": "never"}, {"name": "fetch_page", "approval": "always"}],
    "max_steps": 8,
    "max_cost_usd": "0.25",
    "max_seconds": 120,
    "visibility": "private",
}


def make(client: APIClient, **fields: Any) -> dict[str, Any]:
    answer = client.post(API, {"name": "Helper"} | fields, format="json")
    assert answer.status_code == 201, answer.content
    return answer.json()


def test_an_agent_is_made_read_changed_and_deleted(mine, ada):
    made = make(mine, **WHOLE)
    assert made == WHOLE | {
        "id": made["id"], "slug": "travel-planner", "max_cost_usd": "0.25000000", "enabled": True, "version": 1, "mine": True,
        "owner": "Ada",
        "created_at": made["created_at"], "updated_at": made["updated_at"],
    }  # fmt: skip
    path = API + made["id"]
    assert mine.get(path).json() == made
    changed = mine.patch(path, {"model": "auto:cheapest", "max_cost_usd": None}, format="json").json()
    assert (changed["version"], changed["model"], changed["max_cost_usd"]) == (2, "auto:cheapest", None)
    assert changed["tools"] == made["tools"] and changed["system_prompt"] == made["system_prompt"], "what was not given stays"
    replaced = mine.put(path, {"name": "Planner"}, format="json").json()
    assert (replaced["version"], replaced["name"], replaced["model"], replaced["tools"], replaced["slug"]) == (
        3,
        "Planner",
        "auto",
        [],
        "travel-planner",
    )
    assert [row["number"] for row in mine.get(path + "/versions").json()["results"]] == [3, 2, 1]
    assert mine.delete(path).status_code == 204
    assert mine.get(path).status_code == mine.patch(path, {"name": "x"}, format="json").status_code == mine.delete(path).status_code == 404
    assert mine.get(API).json()["results"] == [] and Agent.objects.get().versions.count() == 3, "runs still find what they used"
    with pytest.raises(AgentNotFound):
        definitions.visible(ada, agent_id=uuid.UUID(made["id"]))
    assert make(mine, name="Travel planner")["slug"] == "travel-planner", "a deleted agent's slug is free"


def test_only_a_changed_definition_is_a_new_version(mine, ada):
    sharing.allow(ada)
    made = make(mine, **WHOLE)
    path = API + made["id"]
    for same in ({"name": "Other"}, {"description": "d"}, {"visibility": "shared"}, {"slug": "other"}, {"model": "gpt-4o"},
                 {"max_cost_usd": "0.2500"},
                 {"tools": WHOLE["tools"]}, {"parameters": WHOLE["parameters"]}, {}):  # fmt: skip
        assert mine.patch(path, same, format="json").json()["version"] == 1, same
    for number, other in enumerate(
        ({"system_prompt": "x"}, {"goal": ""}, {"parameters": {}}, {"tools": []}, {"max_steps": 1}, {"max_seconds": 1}), 2
    ):
        assert mine.patch(path, other, format="json").json()["version"] == number, other
    versions = mine.get(path + "/versions").json()["results"]
    assert versions[0]["current"] and not versions[1]["current"] and versions[-1]["system_prompt"] == WHOLE["system_prompt"]
    page = mine.get(path + "/versions?page_size=3").json()
    assert [row["number"] for row in mine.get(page["next"]).json()["results"]] == [4, 3, 2]


def test_a_definition_is_what_a_run_works_by(mine, ada, settings):
    HttpTool.objects.create(name="ticket", description="t", url="https://example.com/", parameters={})
    made = make(mine, **WHOLE | {"tools": [*WHOLE["tools"], {"name": "ticket"}]})
    found = definitions.visible(ada, agent_id=uuid.UUID(made["id"]))
    assert found == definitions.visible(ada, slug="travel-planner")
    assert found.tools == (Grant("calculator", False), Grant("fetch_page", True), Grant("ticket", True)), "the tool itself demands it"
    assert (found.model, found.max_steps, found.max_cost_usd, found.max_seconds) == ("gpt-4o", 8, Decimal("0.25"), 120)
    settings.AGENT_MAX_STEPS, settings.AGENT_MAX_SECONDS = 3, 60
    found = definitions.visible(ada, slug="travel-planner")
    assert (found.max_steps, found.max_seconds) == (3, 60), "a limit that was lowered later holds at once"
    assert definitions.bare(max_steps=99, max_seconds=99).max_steps == 3
    HttpTool.objects.update(enabled=False)
    assert definitions.visible(ada, slug="travel-planner").tools[2] == Grant("ticket", False)


@pytest.mark.parametrize(
    "field, values",
    [
        ("name", ["", "   ", "x" * 101, None, [], "a\x00"]),
        ("slug", ["", "Upper", "a b", "-a", "a-", "a--b", "a_b", "ü", "x" * 61, None]),
        ("description", ["x" * 2001, None, {}]),
        ("system_prompt", ["x" * 100_001, None, [], "a\x00"]),
        ("model", ["", "no-such-model", "auto:", "auto:whatever", "AUTO", "old-model", "off-model", None, "x" * 101, 5]),
        ("goal", ["fast", None, 1]),
        ("parameters", [None, [], "x", {"temperature": 2.1}, {"temperature": -1}, {"temperature": "hot"}, {"temperature": None},
                        {"top_p": 1.1},
                        {"max_output_tokens": 0}, {"max_output_tokens": 1.5}, {"reasoning_effort": "extreme"}, {"stop": []},
                        {"stop": ["a"] * 5},
                        {"stop": [""]}, {"stop": "x"}, {"stop": ["x" * 201]}, {"n": 5}, {"api_base": "http://evil"},
                        {"stop": [1] * 10_000}]),
        ("tools", [None, {}, "calculator", ["calculator"], [{"name": "no_such_tool"}], [{"name": "off_tool"}],
                   [{"approval": "always"}],
                   [{"name": "calculator", "approval": "maybe"}], [{"name": "calculator", "needs_approval": False}],
                   [{"name": "calculator"}] * 2,
                   [{"name": "calculator"}] * 33]),
        ("max_steps", [0, -1, 51, 1.5, "many", None]),
        ("max_cost_usd", ["0", "-1", "NaN", "Infinity", "10001", "1e-20", "x", True, "1" * 50, []]),
        ("max_seconds", [0, 3601, None]),
        ("visibility", ["public", None, 1]),
    ],
)  # fmt: skip
def test_what_is_not_valid_is_named(mine, field, values):
    HttpTool.objects.create(name="off_tool", description="t", url="https://example.com/", parameters={}, enabled=False)
    AIModel.objects.filter(slug="gpt-4o-mini").update(slug="off-model", enabled=False)
    AIModel.objects.filter(slug="gpt-4.1").update(slug="old-model", lifecycle="retired")
    path = API + make(mine)["id"]
    for value in values:
        for answer in (mine.post(API, {"name": "x", field: value}, format="json"), mine.patch(path, {field: value}, format="json")):
            assert answer.status_code == 400, (field, value, answer.content[:300])
            error = answer.json()["error"]
            where = (error["param"] or "").split(".")[0]
            assert error["type"] == "invalid_request" and (where == field or error["code"] == "invalid_text"), (value, error)
    assert Agent.objects.count() == 1 and AgentVersion.objects.count() == 1


@pytest.mark.parametrize(
    "field", ["id", "user", "user_id", "owner", "mine", "enabled", "version", "version_id", "number", "created_by", "created_at",
              "updated_at",
              "deleted_at", "runs", "versions", "__class__", "agent"],
)  # fmt: skip
def test_nothing_else_can_be_set(mine, eve, field):
    made = make(mine)
    for value in (str(eve.pk), None, True, 5):
        for answer in (mine.post(API, {"name": "x", field: value}, format="json"),
                       mine.patch(API + made["id"], {field: value}, format="json"),
                       mine.put(API + made["id"], {"name": "x", field: value}, format="json")):  # fmt: skip
            assert answer.status_code == 400 and field in answer.json()["error"]["details"], (field, answer.content)
    assert mine.get(API + made["id"]).json() == made


def test_a_model_without_tools_is_not_given_any(mine):
    AIModel.objects.filter(slug="gpt-4o").update(tools=False)
    answer = mine.post(API, {"name": "x", "model": "gpt-4o", "tools": [{"name": "calculator"}]}, format="json")
    assert answer.status_code == 400 and answer.json()["error"]["param"] == "model"
    path = API + make(mine, model="gpt-4o")["id"]
    assert mine.patch(path, {"tools": [{"name": "calculator"}]}, format="json").status_code == 400
    assert mine.patch(path, {"tools": [{"name": "calculator"}], "model": "auto"}, format="json").status_code == 200
    assert mine.patch(path, {"model": "gpt-4o"}, format="json").status_code == 400
    assert mine.patch(path, {"name": "y"}, format="json").status_code == 200


def test_a_private_agent_is_hidden_from_other_users(mine, hers, eve):
    made = make(mine, name="Secret plans")
    path, none = API + made["id"], API + str(uuid.uuid4())
    for call in ("get", "put", "patch", "delete"):
        body = () if call == "get" else ({"name": "x"},)
        foreign, missing = (getattr(hers, call)(one, *body, format="json") for one in (path, none))
        assert foreign.status_code == missing.status_code == 404
        assert _said(foreign) == _said(missing)
    assert hers.get(path + "/versions").status_code == 404
    for query in ("", "?search=Secret", "?slug=secret-plans", "?mine=false", "?visibility=private"):
        assert hers.get(API + query).json()["results"] == [], query
    for by in ({"agent_id": uuid.UUID(made["id"])}, {"slug": "secret-plans"}):
        with pytest.raises(AgentNotFound):
            definitions.visible(eve, **by)
    assert mine.get(path).json() == made


def test_a_shared_agent_is_seen_and_run_by_others_and_changed_by_its_owner(mine, hers, ada, eve):
    sharing.allow(ada)
    made = make(mine, name="For all", visibility="shared")
    path = API + made["id"]
    seen = hers.get(path).json()
    assert seen == made | {"mine": False} and "ada@example.com" not in json.dumps(seen)
    assert definitions.visible(eve, slug="for-all").agent_id == uuid.UUID(made["id"])
    for answer in (hers.patch(path, {"name": "x"}, format="json"), hers.put(path, {"name": "x"}, format="json"), hers.delete(path),
                   hers.get(path + "/versions")):  # fmt: skip
        assert answer.status_code == 403 and answer.json()["error"]["code"] == "not_owner"
    assert hers.patch(path, {"nonsense": 1}, format="json").status_code == 403, "no word about what would be valid"
    mine.patch(path, {"visibility": "private"}, format="json")
    assert hers.get(path).status_code == 404
    with pytest.raises(AgentNotFound):
        definitions.visible(eve, slug="for-all")
    assert list(AuditEvent.objects.filter(action__startswith="agent.").order_by("id").values_list("action", flat=True)) == [
        "agent.shared",
        "agent.unshared",
    ]


def test_staff_can_stop_an_agent(mine, hers, ada, eve):
    sharing.allow(ada)
    made = make(mine, name="Stopped", visibility="shared")
    Agent.objects.update(enabled=False)
    assert mine.get(API + made["id"]).json()["enabled"] is False and hers.get(API + made["id"]).status_code == 404
    with pytest.raises(AgentNotFound) as caught:
        definitions.visible(ada, slug="stopped")
    assert caught.value.code == "agent_disabled"
    with pytest.raises(AgentNotFound) as caught:
        definitions.visible(eve, slug="stopped")
    assert caught.value.code == "agent_not_found"


def test_slugs_are_made_kept_apart_and_changed(mine, hers):
    assert make(mine, name="Über uns: Öl & Co.")["slug"] == "uber-uns-ol-co"
    first, second = make(mine, name="Twin"), make(hers, name="Twin")
    assert first["slug"] == "twin" and second["slug"].startswith("twin-") and len(second["slug"]) == 11
    assert make(mine, name="計画")["slug"] == "agent" and make(mine, name="x" * 100)["slug"] == "x" * 52
    assert make(mine, name="a_b__c - d")["slug"] == "a-b-c-d"
    for answer in (
        hers.post(API, {"name": "x", "slug": "twin"}, format="json"),
        hers.patch(API + second["id"], {"slug": "twin"}, format="json"),
    ):
        assert (answer.status_code, answer.json()["error"]["code"], answer.json()["error"]["param"]) == (400, "slug_taken", "slug")
    assert mine.patch(API + first["id"], {"slug": "one-of-two"}, format="json").json()["slug"] == "one-of-two"
    assert hers.patch(API + second["id"], {"slug": "twin"}, format="json").json()["slug"] == "twin"
    assert mine.patch(API + first["id"], {"slug": "one-of-two"}, format="json").status_code == 200


def test_the_list_is_searched_filtered_ordered_and_paged(mine, hers, ada, eve):
    sharing.allow(ada)
    sharing.allow(eve)
    rivers, lakes = make(mine, name="Rivers", description="about water"), make(mine, name="Lakes", model="gpt-4o", visibility="shared")
    theirs = make(hers, name="Annas", visibility="shared")
    make(hers, name="Hidden")

    def found(query: str = "") -> list[str]:
        answer = mine.get(API + query)
        assert answer.status_code == 200, answer.content
        return [row["name"] for row in answer.json()["results"]]

    assert found() == ["Annas", "Lakes", "Rivers"]
    assert found("?mine=true") == ["Lakes", "Rivers"] and found("?mine=false") == ["Annas"]
    assert (
        found("?visibility=shared") == ["Annas", "Lakes"]
        and found(f"?slug={rivers['slug']}") == ["Rivers"]
        and found("?model=gpt-4o") == ["Lakes"]
    )
    assert found("?search=WATER") == ["Rivers"] and found("?search=hidden") == [] and found("?search=%25") == []
    assert found("?ordering=name") == ["Annas", "Lakes", "Rivers"] and found("?ordering=-name") == ["Rivers", "Lakes", "Annas"]
    first = mine.get(API + "?page_size=2").json()
    assert [row["id"] for row in first["results"]] == [theirs["id"], lakes["id"]]
    assert [row["id"] for row in mine.get(first["next"]).json()["results"]] == [rivers["id"]]
    for hostile in (
        "?ordering=user__password",
        "?user=1",
        "?user__is_staff=1",
        "?mine=perhaps",
        "?page_size=0",
        "?visibility=x",
        "?cursor=x",
    ):
        assert mine.get(API + hostile).status_code == 400, hostile


def test_a_page_of_agents_takes_a_fixed_number_of_queries(mine, django_assert_max_num_queries):
    for number in range(3):
        make(mine, name=f"n{number}")
    with CaptureQueriesContext(connection) as few:
        mine.get(API)
    few_queries = len(few)
    assert few_queries < 9
    for number in range(12):
        make(mine, name=f"m{number}")
    with django_assert_max_num_queries(few_queries):
        assert len(mine.get(API).json()["results"]) == 15


def test_one_idempotency_key_makes_one_agent(mine):
    answers = [mine.post(API, {"name": "Once"}, format="json", headers={"Idempotency-Key": "a-1"}) for _ in range(2)]
    assert answers[0].json() == answers[1].json() and answers[1]["Idempotent-Replayed"] == "true" and Agent.objects.count() == 1
    assert mine.post(API, {"name": "Twice"}, format="json", headers={"Idempotency-Key": "a-1"}).status_code == 409


def test_a_user_has_so_many_agents_and_no_more(mine, settings):
    settings.MAX_AGENTS_PER_USER = 2
    first = make(mine)
    make(mine)
    answer = mine.post(API, {"name": "x"}, format="json")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "too_many_agents")
    mine.delete(API + first["id"])
    make(mine)


def test_the_browsable_api_shows_them(mine, ada):
    made = make(mine, **WHOLE | {"name": "<script>alert(1)</script>", "system_prompt": "</textarea><script>alert(2)</script>"})
    browser = Client()
    browser.force_login(ada)
    for path in ("", made["id"], f"{made['id']}/versions", "tools"):
        page = browser.get(API + path, headers={"Accept": "text/html"})
        assert page.status_code == 200 and page["Content-Type"].startswith("text/html"), path
        assert b"<script>alert(" not in page.content


def test_keys_need_the_scope(ada):
    reader, chatter = client_of(ada, ("read",)), client_of(ada, ("chat",))
    assert reader.get(API).status_code == 200 and reader.post(API, {"name": "x"}, format="json").status_code == 403
    assert chatter.get(API).status_code == chatter.get(API + "tools").status_code == 403


def test_the_tools_are_listed_without_what_staff_keep_secret(mine):
    HttpTool.objects.create(
        name="ticket", description="Open a ticket", url="https://desk.internal.example/planted",
        parameters={"properties": {"title": {"type": "string"}}},
        headers_encrypted=http.encrypt_headers({"Authorization": "planted-secret"}),
    )  # fmt: skip
    HttpTool.objects.create(name="off_tool", description="t", url="https://example.com/", parameters={}, enabled=False)
    found = {tool["name"]: tool for tool in mine.get(API + "tools").json()["results"]}
    assert set(found) == {"calculator", "current_time", "fetch_page", "ticket"}
    assert found["ticket"] == {
        "name": "ticket", "kind": "http", "description": "Open a ticket", "needs_approval": True, "repeatable": False,
        "parameters": {"type": "object", "properties": {"title": {"type": "string"}}, "additionalProperties": False},
    }  # fmt: skip
    assert "planted" not in json.dumps(found)
    assert [tool["name"] for tool in mine.get(API + "tools?kind=http").json()["results"]] == ["ticket"]
    assert mine.get(API + "tools?kind=mcp").status_code == 400


@pytest.mark.django_db(transaction=True)
def test_changes_at_the_same_time_are_each_a_version_and_none_is_lost(models):
    """Twelve people's tabs at once, each with another field: all of it is in the last version."""
    user = User.objects.create_user("ada@example.com", "correct horse battery staple")
    sharing.allow(user)
    agent = authoring.create(user, {"name": "Busy", "parameters": {}, "tools": []})
    changes: list[dict[str, Any]] = [
        {"system_prompt": "new"}, {"model": "gpt-4o"}, {"goal": "best"}, {"max_steps": 3}, {"max_seconds": 30},
        {"max_cost_usd": Decimal("0.5")}, {"parameters": {"temperature": 0.5}}, {"tools": [{"name": "calculator", "approval": "never"}]},
    ]  # fmt: skip
    faces: list[dict[str, Any]] = [{"name": "Renamed"}, {"description": "told"}, {"visibility": "shared"}, {"slug": "busy-bee"}]
    start, wrong = threading.Barrier(len(changes + faces)), []

    def change(fields: dict[str, Any]) -> None:
        try:
            start.wait()
            authoring.change(user, agent.pk, fields)
        except Exception as exc:
            wrong.append(exc)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=change, args=(fields,)) for fields in changes + faces]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    agent = Agent.objects.select_related("version").get()
    assert sorted(agent.versions.values_list("number", flat=True)) == list(range(1, len(changes) + 2))
    for fields in changes:
        for name, value in fields.items():
            assert getattr(agent.version, name) == value, name
    for fields in faces:
        for name, value in fields.items():
            assert getattr(agent, name) == value, name
    assert agent.version.number == len(changes) + 1


@pytest.mark.django_db(transaction=True)
def test_agents_made_at_the_same_time_get_slugs_of_their_own(models):
    user = User.objects.create_user("ada@example.com", "correct horse battery staple")
    start, wrong = threading.Barrier(8), []

    def create() -> None:
        try:
            start.wait()
            authoring.create(user, {"name": "Same"})
        except Exception as exc:
            wrong.append(exc)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [] and Agent.objects.values("slug").distinct().count() == 8
    assert connection.vendor and all(agent.version.number == 1 for agent in Agent.objects.select_related("version"))


def _said(answer: Any) -> dict[str, Any]:
    return answer.json()["error"] | {"request_id": ""}
