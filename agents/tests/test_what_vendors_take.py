"""What a vendor would refuse is made to fit, or refused by name before the call, so that `auto` takes another model."""

from __future__ import annotations

import json
from typing import Any

import pytest

from accounts import keys
from agents.messages import CompletionRequest, Image, Message, NativeBody, Text, ToolOutput, ToolSpec, ToolUse
from agents.providers.anthropic.adapter import Anthropic
from agents.providers.base import Target
from agents.providers.errors import ModelCannotTake
from agents.providers.openai.schemas import is_strict
from agents.simulator import Simulator
from agents.tests.vendors import KINDS, ask, hear, sent, target
from agents.tests.wires import CHAT, MESSAGES, RESPONSES, body_of, exchange

pytestmark = pytest.mark.django_db
HELLO: list[dict[str, Any]] = [{"role": "user", "content": "Hi"}]
PLAIN = {"type": "object", "properties": {}}
OPTIONAL = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}
CLOSED = OPTIONAL | {"required": ["a"]}
NAMES = ["mcp:files.read", "weather in Oslo", "1st", "x" * 100, "größe"]
SAMPLING = {"temperature": 0.5, "top_k": 5}


@pytest.fixture
def key(user, models) -> str:
    return keys.create(user, name="t", scopes=["chat"])[1]


# --- names of tools --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("whole", [False, True])
async def test_a_tool_may_have_any_name_at_any_vendor_and_is_called_by_it(kind: str, name: str, whole: bool):
    tool = ToolSpec(name, "d", PLAIN)
    first = Message("user", (Text("Use the tool"),))
    called = Message("assistant", (ToolUse("call_1", name, "{}"),))
    result = Message("tool", (ToolOutput("call_1", name, "12"),))
    async with Simulator() as sim:
        heard = await hear(kind, CompletionRequest((first,), tools=(tool,), tool_choice=name), target(sim, kind), whole=whole)
        assert [call.name for call in heard.calls] == [name]
        await hear(kind, CompletionRequest((first, called, result), tools=(tool,)), target(sim, kind), whole=whole)
        assert all(not seen.extra for seen in sim.requests)


async def test_names_that_fit_are_sent_as_they_are_and_two_that_do_not_stay_two():
    body = await sent(
        "openai", ask("Hi", tools=(ToolSpec("weather_1-a", "", PLAIN), ToolSpec("a b", "", PLAIN), ToolSpec("a.b", "", PLAIN)))
    )
    names = [tool["function"]["name"] for tool in body["tools"]]
    assert names[0] == "weather_1-a" and len(set(names)) == 3


# --- Anthropic -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "version", "kept"),
    [
        ("claude-haiku-4-5", "2023-06-01", True),
        ("claude-haiku-4-5", "2026-10-21", False),
        ("claude-haiku-4-5", "", False),
        ("claude-sonnet-5", "2023-06-01", False),
    ],
)
async def test_sampling_reaches_claude_where_the_clients_version_and_the_model_take_it(vendor, key, model: str, version: str, kept: bool):
    headers = {"anthropic-version": version} if version else {}
    async with vendor() as sim:
        made = await exchange(sim, key, MESSAGES, body_of(MESSAGES, model, HELLO, **SAMPLING), **headers)
    assert {name: made.body[name] for name in SAMPLING if name in made.body} == (SAMPLING if kept else {})


async def test_a_budget_of_thinking_stays_below_a_limit_that_is_ours(vendor, key):
    def body(limit: int, budget: int) -> dict[str, Any]:
        return {
            **body_of(MESSAGES, "claude-haiku-4-5", HELLO),
            "max_tokens": limit,
            "thinking": {"type": "enabled", "budget_tokens": budget},
        }

    async with vendor() as sim:
        lowered = await exchange(sim, key, MESSAGES, body(100_000, 80_000))
        assert lowered.body["max_tokens"] == 64_000 and lowered.body["thinking"]["budget_tokens"] == 32_000
        own = await exchange(sim, key, MESSAGES, body(2000, 3000))
    # The client's own mistake stays its own: the vendor's refusal comes back.
    assert own.answer.status == 400 and b"budget_tokens" in own.answer.body


async def test_thinking_ends_where_our_limit_has_no_room_for_it():
    small = Target("anthropic", "claude-haiku-4-5", "http://127.0.0.1", "k", 1500)
    native = {"max_tokens": 9000, "thinking": {"type": "enabled", "budget_tokens": 8000}, "messages": HELLO, "model": "m"}
    request = CompletionRequest((Message("user", (Text("Hi"),)),), max_output_tokens=9000, native=NativeBody("anthropic", native))
    made = json.loads(Anthropic().native_content(request, small, stream=False))
    assert "thinking" not in made and made["max_tokens"] == 1500


# --- OpenAI ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("schema", [OPTIONAL, CLOSED, {"type": "object", "properties": {"a": {"anyOf": [OPTIONAL]}}}])
@pytest.mark.parametrize("model", ["gpt-4o-mini", "gpt-5.4"])
async def test_a_schema_that_only_anthropic_takes_as_strict_is_not_strict_at_openai(vendor, key, model: str, schema: dict[str, Any]):
    wanted = {"output_config": {"format": {"type": "json_schema", "schema": schema}}}
    tools = {"tools": [{"name": "t", "input_schema": schema, "strict": True}]}
    async with vendor() as sim:
        for more in (wanted, tools):
            made = await exchange(sim, key, MESSAGES, body_of(MESSAGES, model, HELLO, **more))
            assert ('"strict": true' in json.dumps(made.body)) is is_strict(schema)


@pytest.mark.parametrize("model", ["gpt-4o-mini", "gpt-5.4"])
async def test_json_that_is_asked_for_in_the_system_message_is_asked_for_at_openai(vendor, key, model: str):
    messages = [{"role": "system", "content": "Answer as JSON."}, *HELLO]
    async with vendor() as sim:
        made = await exchange(sim, key, CHAT, body_of(CHAT, model, messages, response_format={"type": "json_object"}))
        assert made.answer.status == 200
        given = body_of(RESPONSES, "gpt-4o-mini", HELLO, instructions="As JSON.", text={"format": {"type": "json_object"}})
        assert (await exchange(sim, key, RESPONSES, given)).answer.status == 200


@pytest.mark.parametrize(("kind", "most"), [("openai", 4), ("openai_compatible", 4), ("google", 5)])
async def test_more_stop_sequences_than_the_vendor_takes_are_refused_by_name(kind: str, most: int):
    marks = tuple(f"END{number}" for number in range(most + 1))
    assert await sent(kind, ask("Hi", stop=marks[:most]))
    with pytest.raises(ModelCannotTake) as refused:
        await sent(kind, ask("Hi", stop=marks))
    assert refused.value.param == "stop"


async def test_a_list_of_texts_and_tokens_is_refused_as_at_openai(vendor, key):
    async with vendor() as sim:
        made = await exchange(sim, key, "/v1/embeddings", {"model": "text-embedding-3-small", "input": ["one", [5, 6]]})
    assert made.answer.status == 400 and made.answer.error["param"] == "input" and not made.sent


# --- Google ----------------------------------------------------------------------------------------


async def test_gemini_gets_no_image_that_it_does_not_take_and_auto_takes_another_model(vendor, key):
    gif = {
        "role": "user",
        "content": [{"type": "text", "text": "?"}, {"type": "image_url", "image_url": {"url": "data:image/gif;base64,aGk="}}],
    }
    async with vendor() as sim:
        refused = await exchange(sim, key, CHAT, body_of(CHAT, "gemini-2.5-flash", [gif]))
        assert refused.answer.status == 400 and not refused.sent
        assert refused.answer.error["code"] == "model_cannot_take" and "image/gif" in refused.answer.error["message"]
        other = await exchange(sim, key, CHAT, body_of(CHAT, "gemini-2.5-flash", [gif], fallbacks=["gpt-4o-mini"]))
        assert other.answer.status == 200 and other.body["model"] == "gpt-4o-mini"
    with pytest.raises(ModelCannotTake):
        await sent("google", CompletionRequest((Message("user", (Image(url="https://a.example/a.png"),)),)))


@pytest.mark.parametrize(("model", "in_words"), [("gemini-2.5-flash", True), ("gemini-3.8-flash", False)])
async def test_json_beside_tools_is_asked_for_in_words_where_gemini_takes_one_of_them(model: str, in_words: bool):
    shape = {"type": "json_schema", "name": "n", "schema": CLOSED}
    for wanted in (shape, {"type": "json_object"}):
        body = await sent("google", ask("Hi", tools=(ToolSpec("t", "", PLAIN),), response_format=wanted, system="Be brief."), model=model)
        words = body["systemInstruction"]["parts"][0]["text"]
        assert ("responseMimeType" in body["generationConfig"]) is not in_words
        assert ("JSON" in words) is in_words and words.startswith("Be brief.")
        assert ("additionalProperties" in words) is (in_words and wanted is shape)


@pytest.mark.parametrize("seed", [0, 5, 2**31, -1, 2**63 - 1])
async def test_a_seed_of_openais_size_is_one_of_geminis(seed: int):
    config = (await sent("google", ask("Hi", seed=seed)))["generationConfig"]
    assert 0 <= config["seed"] < 2**31 and (config["seed"] == seed or not 0 <= seed < 2**31)
