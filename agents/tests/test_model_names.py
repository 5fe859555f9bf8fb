"""A model answers to its vendor's names at every place that takes one, and the answer has its slug."""

from __future__ import annotations

import pytest

from accounts import keys
from accounts.models import User
from agents.tests.conftest import client_of
from agents.tests.wires import CHAT, MESSAGES, PATHS, body_of, exchange
from billing.models import UsageLog
from tests.kit.valid_bodies import BODIES
from tests.kit.wire import ask, product

HELLO = [{"role": "user", "content": "Hello"}]
NAMES = {
    "claude-haiku-4-5-20251001": "claude-haiku-4-5",
    "claude-3-haiku-20240307": "claude-3-haiku",
    "gpt-4o-2024-08-06": "gpt-4o",
    "o3-mini-2025-01-31": "o3-mini",
    "openai/gpt-4o": "gpt-4o",
    "anthropic/claude-sonnet-5": "claude-sonnet-5",
    "google/gemini-2.5-flash": "gemini-2.5-flash",
    "models/gemini-2.5-flash": "gemini-2.5-flash",
    "claude-sonnet-5-latest": "claude-sonnet-5",
}
each_name = pytest.mark.parametrize(("name", "slug"), NAMES.items())


@pytest.fixture
def key(ada: User) -> str:
    return keys.create(ada, name="t", scopes=["chat", "agents", "tasks"])[1]


@pytest.mark.parametrize("path", PATHS)
@each_name
async def test_each_wire_answers_with_the_slug(vendor, key: str, path: str, name: str, slug: str):
    async with vendor() as sim:
        seen = await exchange(sim, key, path, body_of(path, name, HELLO))
    assert seen.answer.status == 200 and seen.answer.json["model"] == slug
    assert seen.answer.headers["x-aiagents-model"] == slug
    log = await UsageLog.objects.aget()
    assert (log.model, log.requested_model) == (slug, slug)


@each_name
async def test_the_chat_answers_with_the_slug(vendor, key: str, name: str, slug: str):
    async with vendor():
        answer = await ask(product, "POST", "/api/v1/chat/send", {"content": "Hello", "model": name}, {}, key)
    assert answer.status == 200 and answer.json["message"]["model"] == slug


async def test_a_fallback_may_have_any_name_and_counts_once(vendor, key: str):
    body = body_of(CHAT, "auto:cheapest", HELLO, fallbacks=["openai/gpt-4o", "gpt-4o-2024-08-06", "nowhere/gpt-4o"])
    async with vendor() as sim:
        seen = await exchange(sim, key, CHAT, body)
        assert seen.answer.status == 404 and seen.answer.error["param"] == "fallbacks"
        body["fallbacks"].pop()
        assert (await exchange(sim, key, CHAT, body)).answer.status == 200


def test_an_agent_and_a_task_keep_the_slug(ada: User):
    client = client_of(ada, ("agents", "tasks"))
    agent = client.post("/api/v1/agents/", {**BODIES["POST /api/v1/agents/"], "model": "openai/gpt-4o-2024-08-06"}, format="json")
    assert agent.status_code == 201 and agent.json()["model"] == "gpt-4o"
    task = client.post("/api/v1/tasks/", {**BODIES["POST /api/v1/tasks/"], "model": "claude-haiku-4-5-20251001"}, format="json")
    assert task.status_code == 201 and task.json()["model"] == "claude-haiku-4-5"
    for url in ("/api/v1/agents/", "/api/v1/tasks/"):
        refused = client.post(url, {**BODIES[f"POST {url}"], "model": "gpt-5.6"}, format="json")
        assert refused.status_code == 400 and "gpt-5.6-luna" in refused.json()["error"]["message"] + str(refused.json()["error"]["details"])


async def test_embeddings_too(vendor, key: str):
    async with vendor():
        answer = await ask(product, "POST", "/v1/embeddings", {"model": "openai/text-embedding-3-small", "input": "a"}, {}, key)
    assert answer.status == 200 and answer.json["model"] == "text-embedding-3-small"


@pytest.mark.parametrize("path", PATHS)
async def test_a_beginning_of_names_is_refused_with_the_candidates(vendor, key: str, path: str):
    async with vendor() as sim:
        seen = await exchange(sim, key, path, body_of(path, "gpt-5.6", HELLO))
    assert seen.answer.status == 404 and seen.answer.error["details"]["candidates"] == ["gpt-5.6-luna", "gpt-5.6-terra"]


@pytest.mark.parametrize(
    ("target", "slug"),
    [
        ("gpt-4o", "gpt-4o"),
        ("openai/gpt-4o", "gpt-4o"),
        ("openai%2Fgpt-4o", "gpt-4o"),
        ("models/gemini-2.5-flash", "gemini-2.5-flash"),
        ("models%2Fgemini-2.5-flash", "gemini-2.5-flash"),
        ("claude-haiku-4-5-20251001", "claude-haiku-4-5"),
        ("auto:best", "auto:best"),
        ("auto%3Abest", "auto:best"),
    ],
)
async def test_a_models_card_is_found_by_any_name(models: None, key: str, target: str, slug: str):
    answer = await ask(product, "GET", f"/v1/models/{target}", None, {}, key)
    assert answer.status == 200 and answer.json["id"] == slug


@pytest.mark.parametrize("target", ["nowhere/gpt-4o", "gpt-5.6", "a/b/c/d", "agent:nobody", "agent%3Anobody%2Fx", "/"])
async def test_an_unknown_card_is_404(models: None, key: str, target: str):
    answer = await ask(product, "GET", f"/v1/models/{target}", None, {}, key)
    assert answer.status == 404 and answer.error["code"] == "model_not_found"


async def test_anthropics_clients_may_probe_the_root_and_name_the_beta(vendor, key: str):
    probe = await ask(product, "HEAD", "/")
    assert probe.status == 200
    async with vendor() as sim:
        for path in (MESSAGES, f"{MESSAGES}/count_tokens"):
            seen = await exchange(sim, key, f"{path}?beta=true", body_of(MESSAGES, "claude-sonnet-5", HELLO))
            assert seen.answer.status == 200
