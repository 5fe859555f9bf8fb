"""Sharing with everybody is a permission, and a stranger's agent sends nothing out unasked."""

from __future__ import annotations

import inspect
import sys
from dataclasses import replace
from uuid import UUID

import pytest
from django.test import Client

from accounts.models import AuditEvent, User
from agents.definitions import authoring, sharing
from agents.definitions import definition as definitions
from agents.definitions.definition import Definition
from agents.events import ToolCall
from agents.messages import ToolUse
from agents.models import Agent, AgentRun, AgentStep, HttpTool
from agents.runs import approvals, tool_calls
from agents.runs import service as runner
from agents.tests.conftest import ask
from agents.tests.runs import API, Probe, calls_of, drain, results_of, the_run
from agents.tools import registry
from agents.tools.declaring import BUILTINS
from aiagents.core.db.calls import in_db
from aiagents.core.errors import NotFound

SHARED = {"name": "Helper", "visibility": "shared"}
CALL = '[[call mailer {"word": "secret"}]]'


# --- who may share -------------------------------------------------------------------------------


def test_without_the_permission_nothing_is_shared_by_any_way(mine, ada):
    refused = mine.post(API, SHARED, format="json")
    error = refused.json()["error"]
    assert (refused.status_code, error["type"], error["code"], error["param"]) == (
        403, "permission_denied", "sharing_not_allowed", "visibility",
    )  # fmt: skip
    assert "permission" in error["message"] and not Agent.objects.exists()
    made = mine.post(API, {"name": "Helper"}, format="json").json()
    for call in (mine.put, mine.patch):
        answer = call(API + made["id"], SHARED, format="json")
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "sharing_not_allowed")
    kept = mine.get(API + made["id"]).json()
    assert kept["visibility"] == "private" and kept["version"] == made["version"]


@pytest.mark.parametrize("who", ["named", "staff", "admin role", "superuser"])
def test_staff_and_the_people_they_name_share(mine, ada, who):
    if who == "named":
        sharing.allow(ada)
    else:
        fields = {"staff": {"is_staff": True}, "admin role": {"role": "admin"}, "superuser": {"is_superuser": True, "is_staff": True}}
        User.objects.filter(pk=ada.pk).update(**fields[who])
    assert mine.post(API, SHARED, format="json").status_code == 201


def test_what_was_shared_before_stays_shared_and_may_be_changed(mine, ada, hers):
    sharing.allow(ada)
    made = mine.post(API, SHARED, format="json").json()
    ada.user_permissions.clear()
    assert mine.put(API + made["id"], SHARED | {"description": "new"}, format="json").status_code == 200
    assert hers.get(API + made["id"]).json()["description"] == "new"
    assert mine.patch(API + made["id"], {"visibility": "private"}, format="json").status_code == 200
    assert mine.patch(API + made["id"], {"visibility": "shared"}, format="json").status_code == 403


def test_staff_name_people_in_the_admin_and_take_the_right_back(mine, ada, hers):
    root = User.objects.create_superuser("root@example.com", "correct horse battery staple")
    client = Client()
    client.force_login(root)
    for action, note in [("allow_sharing", "user.sharing_allowed"), ("withdraw_sharing", "user.sharing_withdrawn")]:
        data = {"action": action, "_selected_action": [str(ada.pk)]}
        assert client.post("/admin/accounts/user/", data).status_code == 302
        assert AuditEvent.objects.filter(action=note, actor=root, target_id=str(ada.pk)).count() == 1
        if action == "allow_sharing":
            made = mine.post(API, SHARED, format="json").json()
            assert hers.get(API + made["id"]).status_code == 200
    assert not sharing.may(ada) and hers.get(API + made["id"]).status_code == 404


def test_staff_stop_the_sharing_of_an_agent(mine, ada, hers):
    sharing.allow(ada)
    made = mine.post(API, SHARED, format="json").json()
    root = User.objects.create_superuser("root@example.com", "correct horse battery staple")
    client = Client()
    client.force_login(root)
    assert client.post("/admin/agents/agent/", {"action": "stop_sharing", "_selected_action": [made["id"]]}).status_code == 302
    assert hers.get(API + made["id"]).status_code == 404
    assert AuditEvent.objects.filter(action="agent.unshared", actor=root).exists()


# --- whose it is -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "shown"), [("Ada", "Ada"), ("", "ada"), ("  ", "ada")])
def test_the_owners_name_stands_beside_the_agent_in_every_list(mine, ada, hers, name, shown):
    User.objects.filter(pk=ada.pk).update(name=name)
    sharing.allow(ada)
    made = mine.post(API, SHARED, format="json").json()
    assert hers.get(API + made["id"]).json()["owner"] == hers.get(API).json()["results"][0]["owner"] == shown


# --- what it may do unasked ------------------------------------------------------------------------


def shared_agent(owner: User, *tools: str) -> Agent:
    sharing.allow(owner)
    granted = [{"name": name, "approval": "never"} for name in tools]
    return authoring.create(owner, {"name": "Helper", "visibility": "shared", "model": "gpt-4o-mini", "tools": granted, "max_steps": 5})


def judged(definition: Definition, name: str) -> bool:
    """Whether a call of this tool waits for a person."""
    grants = frozenset(grant.name for grant in definition.tools if grant.ask)
    tool = registry.tools_for_sync([name])[name]
    some = replace(tool, parameters={"type": "object"})
    step = AgentStep(kind="tool")
    return tool_calls.wanted(ToolUse("call_1", name, "{}"), step, {name: some}, grants, shared=definition.shared).asks


def test_only_tools_that_send_data_need_approval_in_another_users_agent(ada, eve):
    HttpTool.objects.create(name="mail_it", description="d", url="https://example.com/", needs_approval=False)
    HttpTool.objects.create(name="careful", description="d", url="https://example.com/", needs_approval=True)
    tools = {tool.name: tool for tool in registry.catalogue_sync()}
    agent = shared_agent(ada, *tools)
    own, foreign = definitions.visible(ada, agent_id=agent.pk), definitions.visible(eve, agent_id=agent.pk)
    assert {name: judged(own, name) for name in tools} == {name: tool.needs_approval for name, tool in tools.items()}
    assert {name: judged(foreign, name) for name in tools} == {
        name: tool.needs_approval or tool.reaches_out for name, tool in tools.items()
    }
    assert judged(foreign, "mail_it") and judged(foreign, "fetch_page") and not judged(foreign, "calculator")


def test_every_built_in_tool_that_uses_the_network_is_marked():
    for name, tool in BUILTINS.items():
        function = inspect.getclosurevars(tool.run).nonlocals["function"]  # what @tool() wrapped
        source = inspect.getsource(sys.modules[function.__module__])
        uses_network = any(word in source for word in ("outbound", "httpx", "socket", "urllib.request", "aiohttp"))
        assert tool.reaches_out == uses_network, name


@pytest.fixture
def mailer():
    with Probe("mailer") as probe:
        probe.tool = BUILTINS["mailer"] = replace(probe.tool, outside=True)
        yield probe


async def test_a_run_of_a_strangers_agent_waits_for_the_one_who_runs_it(context, vendor, caller, mailer):
    owner = await in_db(lambda: User.objects.create_user("owner@example.com", "correct horse battery staple"))
    agent = await in_db(shared_agent, owner, "mailer")
    definition = await in_db(lambda: definitions.visible(caller.user, agent_id=agent.pk))
    async with vendor():
        with pytest.raises(runner.RunPaused):
            await drain(ask(CALL), context(surface="rest"), definition, pause=True)
        run = await in_db(the_run)
        assert run.status == "waiting_approval" and mailer.calls == []
        with pytest.raises(NotFound):
            await in_db(lambda: approvals.decide(owner, run.id, approve=True))
        # As a process of the version before this rule had parked it.
        await in_db(_forget_that_it_is_shared, run.id)
        await in_db(lambda: approvals.decide(caller.user, run.id, approve=True))
        ended = await runner.resume_to_end(run.id)
    assert ended.status == "succeeded" and mailer.calls == ["secret"]


async def test_a_run_parked_before_this_rule_needs_approval_from_then_on(context, vendor, caller, mailer):
    owner = await in_db(lambda: User.objects.create_user("owner@example.com", "correct horse battery staple"))
    agent = await in_db(shared_agent, owner, "mailer")
    definition = await in_db(lambda: definitions.visible(caller.user, agent_id=agent.pk))
    text = f"{CALL} then {CALL.replace('secret', 'again')}"
    async with vendor():
        with pytest.raises(runner.RunPaused):
            await drain(ask(text), context(surface="rest"), definition, pause=True)
        run = await in_db(the_run)
        await in_db(_forget_that_it_is_shared, run.id)
        state = (await in_db(the_run)).state
    from agents.runs import parked

    assert not parked.parked(state).definition.shared
    _, shared = await in_db(lambda: runner.owner_of(AgentRun.objects.select_related("user").get(), parked.parked(state).definition))
    assert shared


def _forget_that_it_is_shared(run_id: UUID) -> None:
    run = AgentRun.objects.get(pk=run_id)
    run.state["definition"].pop("shared")
    run.save(update_fields=["state"])


async def test_ones_own_agent_needs_approval_only_by_its_own_rules(context, vendor, caller, mailer):
    agent = await in_db(shared_agent, caller.user, "mailer")
    definition = await in_db(lambda: definitions.visible(caller.user, agent_id=agent.pk))
    async with vendor():
        events = await drain(ask(CALL), context(), definition)
    calls: list[ToolCall] = calls_of(events)
    assert not calls[0].needs_approval and mailer.calls == ["secret"] and results_of(events)[0].status == "ok"
