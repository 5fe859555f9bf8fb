"""Fields of the compatible APIs reach the vendors that have them; a field with another price is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from accounts import keys
from accounts.models import User
from agents.tests.wires import CHAT, MESSAGES, MODELS, PATHS, RESPONSES, body_of, exchange
from tests.kit.valid_bodies import PNG
from tests.kit.wire import ask, product

HELLO = [{"role": "user", "content": "Hello"}]
OPENAI = (CHAT, RESPONSES)
JPEG = "/9j/4AAQSkZJRgABAQ=="
each_openai_wire = pytest.mark.parametrize("path", OPENAI)
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}


@pytest.fixture
def key(ada: User) -> str:
    return keys.create(ada, name="t", scopes=["chat"])[1]


def image(path: str, url: str, **more: Any) -> dict[str, Any]:
    """A user's message with an image."""
    if path == CHAT:
        return {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url, **more}}]}
    if path == RESPONSES:
        return {"role": "user", "content": [{"type": "input_image", "image_url": url, **more}]}
    head, _, data = url.removeprefix("data:").partition(",")
    source = {"type": "base64", "media_type": head.partition(";")[0], "data": data}
    return {"role": "user", "content": [{"type": "image", "source": source}]}


@each_openai_wire
@pytest.mark.parametrize("level", ["low", "high"])
async def test_verbosity_reaches_openai(vendor, key: str, path: str, level: str):
    more = {"verbosity": level} if path == CHAT else {"text": {"verbosity": level}}
    async with vendor() as sim:
        seen = await exchange(sim, key, path, body_of(path, "gpt-5-mini", HELLO, **more))
    assert seen.body["verbosity"] == level


@each_openai_wire
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt_cache_key", "conversation-1"),
        ("prompt_cache_retention", "24h"),
        ("safety_identifier", "user-1"),
        ("service_tier", "auto"),
        ("service_tier", "default"),
        ("user", "u"),
    ],
)
async def test_fields_of_openai_reach_openai_and_nobody_else(vendor, key: str, path: str, field: str, value: str):
    async with vendor() as sim:
        for model in MODELS.values():
            seen = await exchange(sim, key, path, body_of(path, model, HELLO, **{field: value}))
            assert seen.body.get(field) == (value if model == MODELS["openai"] else None)


@each_openai_wire
@pytest.mark.parametrize(
    ("model", "tier"),
    [(MODELS["openai"], "flex"), (MODELS["openai"], "scale"), (MODELS["openai"], "ultrafast"), (MODELS["anthropic"], "priority"),
     (MODELS["google"], "flex"), ("gpt-4", "priority")],
)  # fmt: skip
async def test_a_tier_without_a_price_is_refused_by_name(vendor, key: str, path: str, model: str, tier: str):
    async with vendor() as sim:
        seen = await exchange(sim, key, path, body_of(path, model, HELLO, service_tier=tier))
    assert seen.answer.status == 400 and not seen.sent
    assert seen.answer.error["param"] == "service_tier" and f"{tier} has no price" in seen.answer.error["message"]


@each_openai_wire
async def test_auto_takes_a_model_that_has_a_price_for_the_tier(vendor, key: str, path: str):
    async with vendor() as sim:
        seen = await exchange(sim, key, path, body_of(path, "auto", HELLO, service_tier="flex"))
        assert seen.answer.status == 200, seen.answer.body
        assert seen.body["service_tier"] == "flex"
        refused = await exchange(sim, key, path, body_of(path, "auto", HELLO, service_tier="scale"))
    assert refused.answer.status == 400 and refused.answer.error["param"] == "service_tier"


@each_openai_wire
@pytest.mark.parametrize(
    "field", [{"service_tier": "cheap"}, {"prompt_cache_retention": "1y"}, {"prompt_cache_key": 5}, {"safety_identifier": ["x"]}]
)
async def test_a_wrong_value_is_named(vendor, key: str, path: str, field: dict[str, Any]):
    async with vendor() as sim:
        seen = await exchange(sim, key, path, body_of(path, "gpt-4o-mini", HELLO, **field))
    assert seen.answer.status == 400 and seen.answer.error["param"] == next(iter(field))


@each_openai_wire
@pytest.mark.parametrize("detail", ["low", "high", "auto"])
async def test_the_detail_of_an_image_reaches_openai_and_gemini(vendor, key: str, path: str, detail: str):
    message = image(path, f"data:image/png;base64,{PNG}", detail=detail)
    async with vendor() as sim:
        sent = (await exchange(sim, key, path, body_of(path, "gpt-4o-mini", [message]))).body
        assert sent["messages"][0]["content"][0]["image_url"]["detail"] == detail
        config = (await exchange(sim, key, path, body_of(path, "gemini-2.5-flash", [message]))).body["generationConfig"]
        expected = {"low": "MEDIA_RESOLUTION_LOW", "high": "MEDIA_RESOLUTION_HIGH", "auto": None}[detail]
        assert config.get("mediaResolution") == expected
        refused = await exchange(sim, key, path, body_of(path, "gpt-4o-mini", [image(path, f"data:image/png;base64,{PNG}", detail="x")]))
    assert refused.answer.status == 400 and refused.answer.error["param"].endswith("detail")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", ["image/jpg", "image/JPEG", "image/pjpeg"])
async def test_a_jpeg_by_another_name_is_read_as_one(vendor, key: str, path: str, name: str):
    async with vendor() as sim:
        seen = await exchange(sim, key, path, body_of(path, "claude-sonnet-5", [image(path, f"data:{name};base64,{JPEG}")]))
    assert seen.body["messages"][0]["content"][0]["source"] == {"type": "base64", "media_type": "image/jpeg", "data": JPEG}


async def test_the_chat_reads_image_jpg_too(vendor, key: str):
    async with vendor() as sim:
        content = [{"type": "image", "media_type": "image/jpg", "data": JPEG}]
        answer = await ask(product, "POST", "/api/v1/chat/send", {"content": content, "model": "claude-sonnet-5"}, {}, key)
        sent = [seen.body for seen in sim.requests if seen.raw]
    assert answer.status == 200
    assert sent[0]["messages"][0]["content"][0]["source"]["media_type"] == "image/jpeg"


async def test_penalties_and_top_k_reach_gemini(vendor, key: str):
    async with vendor() as sim:
        chat = await exchange(sim, key, CHAT, body_of(CHAT, "gemini-2.5-flash", HELLO, presence_penalty=0.5, frequency_penalty=-0.5))
        assert chat.body["generationConfig"] | {"presencePenalty": 0.5, "frequencyPenalty": -0.5} == chat.body["generationConfig"]
        anthropic = await exchange(sim, key, MESSAGES, body_of(MESSAGES, "gemini-2.5-flash", HELLO, top_k=7))
        assert anthropic.body["generationConfig"]["topK"] == 7


async def test_an_older_function_call_and_its_result_stay_a_pair(vendor, key: str):
    messages = [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": '{"city":"Oslo"}'}},
        {"role": "function", "name": "weather", "content": "12 degrees"},
        {"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": '{"city":"Rome"}'}},
        {"role": "function", "name": "weather", "content": "25 degrees"},
    ]
    async with vendor() as sim:
        assert (await exchange(sim, key, CHAT, body_of(CHAT, "gpt-4o-mini", messages))).body["messages"] == messages
        sent = (await exchange(sim, key, CHAT, body_of(CHAT, "gpt-6.1-sol", messages))).body["input"]
        orphan = await exchange(sim, key, CHAT, body_of(CHAT, "gpt-4o-mini", [messages[0], messages[2]]))
    ids = [item["call_id"] for item in sent if item["type"] == "function_call"]
    assert len(set(ids)) == 2
    assert [(item["call_id"], item["output"]) for item in sent if item["type"] == "function_call_output"] == [
        (ids[0], "12 degrees"),
        (ids[1], "25 degrees"),
    ]
    assert orphan.answer.status == 400 and orphan.answer.error["param"] == "messages[1].name"


TOOLS: dict[str, list[dict[str, Any]]] = {
    CHAT: [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA, "strict": True}}],
    MESSAGES: [{"name": "weather", "input_schema": SCHEMA, "strict": True}],
    RESPONSES: [{"type": "function", "name": "weather", "parameters": SCHEMA, "strict": True}],
}


@pytest.mark.parametrize("path", PATHS)
async def test_a_strict_tool_stays_strict(vendor, key: str, path: str):
    async with vendor() as sim:
        claude = await exchange(sim, key, path, body_of(path, "claude-sonnet-5", HELLO, tools=TOOLS[path]))
        assert claude.body["tools"][0]["strict"] is True and claude.body["tools"][0]["input_schema"]["additionalProperties"] is False
        gpt = await exchange(sim, key, path, body_of(path, "gpt-4o-mini", HELLO, tools=TOOLS[path]))
        assert gpt.body["tools"][0]["function"]["strict"] is True
        TOOLS_LOOSE = [{name: value for name, value in TOOLS[MESSAGES][0].items() if name != "strict"}]
        loose = await exchange(sim, key, MESSAGES, body_of(MESSAGES, "claude-sonnet-5", HELLO, tools=TOOLS_LOOSE))
        assert "strict" not in loose.body["tools"][0]
