"""The people of the generated tests: what each may present, and what belongs to the first of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from asgiref.sync import async_to_sync

from accounts import keys, principals
from accounts.models import ApiKey, User
from accounts.sign_in import tokens
from agents.compatible.openai_responses import kept
from agents.definitions import authoring
from agents.models import AgentRun, AgentStep
from aiagents.core.ids import uuid7
from tests.kit.people import PASSWORD


@dataclass
class Person:
    user: User
    # An access token: the user in person.
    token: str = ""
    # A key with every scope.
    key: str = ""


def person(email: str, *, admin: bool = False) -> Person:
    """A user with a session and a key for everything."""
    user = User.objects.create_user(email, PASSWORD, **({"role": User.Role.ADMIN} if admin else {}))
    found = Person(user, tokens.sign_in(user).access)
    found.key = keys.create(user, name="all", scopes=ApiKey.Scope.values)[1]
    return found


def scoped_keys(user: User) -> dict[str, str]:
    """A key for each scope, by the scope."""
    return {scope: keys.create(user, name=scope, scopes=[scope])[1] for scope in ApiKey.Scope.values}


def disable(someone: Person) -> None:
    User.objects.filter(pk=someone.user.pk).update(is_active=False)
    principals.forget()


def things(owner: User) -> dict[str, Any]:
    """One of each kind of row that belongs to somebody, by the name that the access table uses."""
    from chat.models import Conversation, Message
    from tasks.models import Task, TaskRun

    conversation = Conversation.objects.create(user=owner, title="mine")
    question = Message.objects.create(conversation=conversation, role="user", content="a secret question", status="complete")
    answer = Message.objects.create(
        conversation=conversation, parent=question, role="assistant", content="a secret answer", status="complete"
    )
    key = keys.create(owner, name="owned", scopes=["chat"])[0]
    agent = authoring.create(owner, {"name": "a secret agent", "system_prompt": "a secret prompt"})
    run = AgentRun.objects.create(user=owner, agent=agent, surface="rest", input="a secret input", status="waiting_approval")
    AgentStep.objects.create(run=run, number=1, kind="tool", name="probe", tool_call_id="call_1", status="waiting")
    ended_run = AgentRun.objects.create(user=owner, agent=agent, surface="rest", input="a secret input", status="succeeded")
    task = Task.objects.create(user=owner, name="a secret task", input="a secret prompt")
    task_run = TaskRun.objects.create(
        task=task,
        user=owner,
        number=1,
        trigger="request",
        status="succeeded",
        input="a secret prompt",
        output="a secret result",
        last_seq=1,
    )
    Task.objects.filter(pk=task.pk).update(last_run=task_run, runs_count=1)
    kept_answer = {
        "id": str(uuid7()),
        "object": "response",
        "output": [{"id": "msg_kept", "type": "message", "content": "a secret answer"}],
    }
    async_to_sync(kept.keep)({"input": "a secret question"}, (), str(owner.pk), kept.Written(kept_answer))
    return {
        "kept_answer": kept_answer["id"],
        "task": task.pk,
        "task_run": task_run.pk,
        "agent_run": run.pk,
        "ended_run": ended_run.pk,
        "conversation": conversation.pk,
        "question": question.pk,
        "answer": answer.pk,
        "api_key": key.pk,
        "agent": agent.pk,
    }
