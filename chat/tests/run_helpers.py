"""What tests of agent runs over HTTP use."""

from __future__ import annotations

import json

from django.test import Client

from agents.models import Agent
from aiagents.core.db.calls import in_db

CALC = '[[call calculator {"expression": "2+3"}]]'


def path(agent: Agent) -> str:
    return f"/api/v1/agents/{agent.id}/run"


async def rest(method: str, where: str, key: str, body=None):
    """A request to one of Django's views."""

    def ask():
        answer = Client().generic(
            method,
            where,
            json.dumps(body) if body is not None else "",
            content_type="application/json",
            headers={"authorization": f"Bearer {key}"},
        )
        return answer.status_code, json.loads(answer.content)

    return await in_db(ask)
