"""Gemini's own API: the unchanged google-genai SDK against the product, with models of every vendor."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from google.genai import errors, types
from pydantic import BaseModel

from accounts import keys
from agents.compatible.google_generate import request as google_request
from agents.providers.google.adapter import NO_SIGNATURE as SKIP
from agents.simulator.seals import signature
from agents.tests.scripted import Scripted, google_sdk, sse
from aiagents.core.db.calls import in_db
from aiagents.core.errors import InvalidRequest
from billing.models import UsageLog
from tests.kit.wire import ask, product

pytestmark = pytest.mark.django_db
MODELS = {"google": "gemini-2.5-flash", "openai": "gpt-4o-mini", "anthropic": "claude-sonnet-5"}
EVERY = pytest.mark.parametrize("model", MODELS.values())
PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
CALLED = {"name": "weather", "args": {"city": "Oslo"}}
CALL = '[[call weather {"city": "Oslo"}]]'


class River(BaseModel):
    name: str
    kilometres: int


def weather(city: str) -> str:
    """Return the weather of a city."""
    return f"sunny in {city}"


@pytest.fixture
def key(caller) -> str:
    return str(keys.create(caller.user, name="t", scopes=["chat"])[1])


def path(model: str, method: str, version: str = "v1beta") -> str:
    return f"/{version}/models/{model}:{method}"


def body(*parts: Any, **more: Any) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": list(parts) or [{"text": "Hello"}]}], **more}


# --- The SDK, unchanged ---------------------------------------------------------------------------


@EVERY
@pytest.mark.parametrize("version", ["v1", "v1beta"])
async def test_text_whole_and_streamed(model, version, caller, vendor):
    async with vendor(), google_sdk(caller, version) as client:
        answer = await client.models.generate_content(model=model, contents="Say hello", config={"system_instruction": "Be brief."})
        assert answer.text and answer.model_version == model and answer.candidates[0].finish_reason == types.FinishReason.STOP
        assert (
            answer.usage_metadata.total_token_count
            == answer.usage_metadata.prompt_token_count + answer.usage_metadata.candidates_token_count
        )
        pieces = [piece async for piece in await client.models.generate_content_stream(model=model, contents="Say hello")]
    assert "".join(piece.text or "" for piece in pieces) and pieces[-1].usage_metadata.total_token_count > 0
    assert pieces[-1].candidates[0].finish_reason == types.FinishReason.STOP
    assert await UsageLog.objects.filter(model=model, status="ok", cost_usd__gt=0, estimated=False).acount() == 2


@EVERY
async def test_a_chat_runs_its_tools_by_itself(model, caller, vendor):
    async with vendor() as sim, google_sdk(caller) as client:
        chat = client.chats.create(model=model, config=types.GenerateContentConfig(tools=[weather]))
        answer = await chat.send_message(CALL)
        assert answer.text and len(chat.get_history()) == 4
        again = await chat.send_message("And now?")
        assert again.text
    assert "sunny in Oslo" in json.dumps(sim.requests[1].body)


@EVERY
async def test_declared_tools_forced_tools_and_streams_of_calls(model, caller, vendor):
    declared = types.Tool(function_declarations=[
        types.FunctionDeclaration(name="weather", description="Weather", parameters=types.Schema(
            type="OBJECT", properties={"city": types.Schema(type="STRING", nullable=True)}, required=["city"],
        ))
    ])  # fmt: skip
    forced = types.ToolConfig(function_calling_config=types.FunctionCallingConfig(mode="ANY", allowed_function_names=["weather"]))
    config = types.GenerateContentConfig(tools=[declared], tool_config=forced)
    async with vendor(), google_sdk(caller) as client:
        pieces = [one async for one in await client.models.generate_content_stream(model=model, contents="Oslo", config=config)]
    calls = [call for piece in pieces for call in piece.function_calls or ()]
    assert [call.name for call in calls] == ["weather"]


@EVERY
async def test_structured_output_is_parsed(model, caller, vendor):
    config = types.GenerateContentConfig(response_mime_type="application/json", response_schema=River)
    async with vendor(), google_sdk(caller) as client:
        answer = await client.models.generate_content(model=model, contents="The Rhine", config=config)
    assert isinstance(answer.parsed, River)


@EVERY
async def test_images_and_pdfs_arrive(model, caller, vendor):
    contents = [
        "What is this?",
        types.Part.from_bytes(data=PIXEL, mime_type="image/png"),
        types.Part.from_bytes(data=b"%PDF-1.4", mime_type="application/pdf"),
    ]
    async with vendor() as sim, google_sdk(caller) as client:
        await client.models.generate_content(model=model, contents=contents)
    sent = json.dumps(sim.requests[-1].body).replace("-", "+").replace("_", "/")  # the SDK's alphabet
    assert base64.b64encode(PIXEL).decode() in sent and base64.b64encode(b"%PDF-1.4").decode() in sent


@EVERY
async def test_tokens_are_counted(model, caller, vendor):
    async with vendor(), google_sdk(caller) as client:
        found = await client.models.count_tokens(model=model, contents="The committee met on Tuesday. " * 100)
    assert 600 < found.total_tokens < 1000


@pytest.mark.parametrize("model", ["gemini-embedding-001", "text-embedding-3-small"])
async def test_embeddings(model, caller, vendor):
    config = types.EmbedContentConfig(output_dimensionality=8, task_type="RETRIEVAL_QUERY")
    async with vendor() as sim, google_sdk(caller) as client:
        found = await client.models.embed_content(model=model, contents=["one", "two"], config=config)
    assert [len(one.values) for one in found.embeddings] == [8, 8]
    if model.startswith("gemini"):
        assert {one["taskType"] for one in sim.requests[-1].body["requests"]} == {"RETRIEVAL_QUERY"}


@pytest.mark.parametrize("version", ["v1", "v1beta"])
async def test_models_are_listed_page_by_page(version, caller, vendor):
    async with vendor(), google_sdk(caller, version) as client:
        pager = await client.models.list(config={"page_size": 7})
        found = [one async for one in pager]
        one = await client.models.get(model="gemini-2.5-flash")
    names = [model.name for model in found]
    assert {"models/auto", "models/gemini-2.5-flash", "models/claude-sonnet-5"} <= set(names) and len(names) == len(set(names)) > 7
    assert one.name == "models/gemini-2.5-flash" and one.input_token_limit > 100_000 and "generateContent" in one.supported_actions


async def test_openais_list_of_models_stays_for_openais_clients(key, vendor):
    answer = await ask(product, "GET", "/v1/models", None, {}, key)
    assert answer.json["object"] == "list" and answer.json["data"]


@pytest.mark.parametrize(
    ("model", "contents", "status", "kind"),
    [
        ("none-such", "Hi", 404, "NOT_FOUND"),
        ("gpt-4o-mini", types.Content(role="user", parts=[types.Part(file_data=types.FileData(file_uri="x"))]), 400, "INVALID_ARGUMENT"),
        ("text-embedding-3-small", "Hi", 400, "INVALID_ARGUMENT"),
    ],
)
async def test_errors_are_those_that_the_sdk_knows(model, contents, status, kind, caller, vendor):
    async with vendor(), google_sdk(caller) as client:
        with pytest.raises(errors.ClientError) as caught:
            await client.models.generate_content(model=model, contents=contents)
    assert (caught.value.code, caught.value.status) == (status, kind) and caught.value.message


async def test_a_wrong_key_is_unauthenticated(caller, vendor):
    answer = await ask(product, "POST", path("auto", "generateContent"), body(), {"x-goog-api-key": "aia_" + "x" * 43})
    assert (answer.status, answer.json["error"]["status"]) == (401, "UNAUTHENTICATED")


async def test_a_vendor_that_fails_is_a_server_error(caller, vendor):
    async with vendor() as sim, google_sdk(caller) as client:
        sim.always("*", "500")
        with pytest.raises(errors.ServerError) as caught:
            await client.models.generate_content(model="gpt-4o-mini", contents="Hi")
        assert caught.value.status == "UNAVAILABLE"


@pytest.mark.parametrize("model", ["gemini-2.5-flash", "gpt-4o-mini"])
async def test_a_stream_that_breaks_off_raises_in_the_sdk(model, caller, vendor):
    async with vendor() as sim, google_sdk(caller) as client:
        sim.always("*", "error,at=3")
        with pytest.raises(errors.APIError):
            async for _ in await client.models.generate_content_stream(model=model, contents="Tell a long story"):
                pass


@pytest.mark.parametrize("model", ["gemini-2.5-flash", "gpt-4o-mini"])
async def test_without_alt_the_stream_is_one_json_array(model, key, vendor):
    async with vendor() as sim:
        answer = await ask(product, "POST", path(model, "streamGenerateContent"), body({"text": "Say hello"}), {}, key)
        assert answer.headers["content-type"].startswith("application/json")
        chunks = answer.json
        assert "".join(part.get("text", "") for one in chunks for part in one["candidates"][0]["content"]["parts"])
        assert chunks[-1]["usageMetadata"]["totalTokenCount"] > 0
        sim.always("*", "error,at=3")
        failed = await ask(product, "POST", path(model, "streamGenerateContent"), body({"text": "Say hello"}), {}, key)
    assert failed.json[-1]["error"]["status"] in ("UNAVAILABLE", "INTERNAL")


# --- Google's models get the body as it came ------------------------------------------------------


async def test_google_gets_the_body_as_it_came(key, vendor):
    sent = body(
        {"text": "Hello", "futureField": 1}, safetySettings=[{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
        generationConfig={"temperature": 0.5, "responseLogprobs": True, "maxOutputTokens": 77},
        tools=[{"codeExecution": {}}], newField={"a": 1},
    )  # fmt: skip
    async with vendor(future=True) as sim:
        answer = await ask(product, "POST", path("gemini-2.5-flash", "generateContent"), sent, {}, key)
        assert answer.status == 200, answer.body
        assert sim.requests[-1].body == sent
        assert answer.json["modelVersion"] == "gemini-2.5-flash" and answer.headers["x-aiagents-cost-usd"]
        refused = await ask(product, "POST", path("gpt-4o-mini", "generateContent"), sent, {}, key)
        routed = await ask(product, "POST", path("auto", "generateContent"), sent, {}, key)
    assert refused.status == 400 and refused.json["error"]["details"][0]["reason"] in ("unknown_parameter", "unsupported_value")
    assert routed.status == 200 and routed.headers["x-aiagents-model"].startswith("gemini")


async def test_the_fields_may_be_written_with_underscores(key, vendor):
    sent = {
        "contents": [{"parts": [{"inline_data": {"mime_type": "image/png", "data": base64.b64encode(PIXEL).decode()}}]}],
        "system_instruction": {"parts": [{"text": "Be brief."}]},
        "generation_config": {"max_output_tokens": 9},
    }
    async with vendor() as sim:
        for model in MODELS.values():
            answer = await ask(product, "POST", path(model, "generateContent"), sent, {}, key)
            assert answer.status == 200, answer.body
            assert "Be brief." in json.dumps(sim.requests[-1].body) and "9" in json.dumps(sim.requests[-1].body)


async def test_signatures_of_thoughts_come_back_as_they_were(caller, vendor):
    """Gemini 3 refuses a call without its signature; a call of another vendor's model gets Google's value for it."""
    contents = [
        {"role": "user", "parts": [{"text": "Weather?"}]},
        {"role": "model", "parts": [{"functionCall": CALLED, "thoughtSignature": signature(CALLED)}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "weather", "response": {"result": "sunny"}}}]},
        {"role": "model", "parts": [{"functionCall": {"name": "weather", "args": {}}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "weather", "response": {"result": "sunny"}}}]},
    ]
    async with vendor() as sim, google_sdk(caller) as client:
        await client.models.generate_content(model="gemini-3.8-flash", contents=contents)
    signed = [part["thoughtSignature"] for one in sim.requests[-1].body["contents"] for part in one["parts"] if "functionCall" in part]
    assert signed[1] == SKIP and base64.urlsafe_b64decode(signed[0]) == base64.b64decode(signature(CALLED))


async def test_claudes_signed_thinking_returns_through_geminis_signatures(caller, vendor):
    config = types.GenerateContentConfig(tools=[types.Tool(function_declarations=[types.FunctionDeclaration(name="weather")])],
        thinking_config=types.ThinkingConfig(include_thoughts=True, thinking_budget=8000))  # fmt: skip
    async with vendor() as sim, google_sdk(caller) as client:
        first = await client.models.generate_content(model="claude-haiku-4-5", contents=CALL, config=config)
        call = first.function_calls[0]
        history = [
            types.Content(role="user", parts=[types.Part(text=CALL)]), first.candidates[0].content,
            types.Content(role="user", parts=[types.Part.from_function_response(name=call.name, response={"result": "sunny"})]),
        ]  # fmt: skip
        await client.models.generate_content(model="claude-haiku-4-5", contents=history, config=config)
        sent = sim.requests[-1].body["messages"]
        assert sent[1]["content"][0]["type"] == "thinking" and sent[1]["content"][0]["signature"]
        assert sent[2]["content"][0]["tool_use_id"] == sent[1]["content"][-1]["id"]
        await client.models.generate_content(model="gemini-2.5-flash", contents=history, config=config)
        assert "thinking" not in json.dumps(sim.requests[-1].body["contents"]) and "aiagents" not in json.dumps(sim.requests[-1].body)


# --- What is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(google_request.REFUSED))
def test_what_names_things_in_the_companys_account_is_refused(name):
    snake = "".join("_" + letter.lower() if letter.isupper() else letter for letter in name)
    for field in (name, snake):
        with pytest.raises(InvalidRequest) as caught:
            google_request.read(body(**{field: "cachedContents/1"}))
        assert caught.value.param == name


@pytest.mark.parametrize(
    ("change", "param"),
    [
        (body({"fileData": {"fileUri": "https://x/files/1"}}), "contents[0].parts[0].fileData"),
        (body({"file_data": {"file_uri": "gs://x/1"}}), "contents[0].parts[0].fileData"),
        (body({"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}}), "contents[0].parts[0].inlineData.mimeType"),
        (body(tools=[{"googleSearch": {}}]), "tools[0].googleSearch"), (body(tools=[{"google_maps": {}}]), "tools[0].googleMaps"),
        (body(tools=[{"fileSearch": {}}]), "tools[0].fileSearch"), (body(serviceTier="flex"), "serviceTier"),
        (body(generationConfig={"candidateCount": 2}), "candidateCount"),
        (body(generationConfig={"responseModalities": ["IMAGE"]}), "responseModalities"),
        (body(generationConfig={"speechConfig": {}}), "speechConfig"),
        (
            body({"functionResponse": {"name": "f", "parts": [{"fileData": {"fileUri": "x"}}]}}),
            "contents[0].parts[0].functionResponse.parts[0].fileData",
        ),
    ],
)  # fmt: skip
def test_what_costs_without_a_price_or_reaches_files_is_refused_by_name(change, param):
    with pytest.raises(InvalidRequest) as caught:
        google_request.read(change)
    assert caught.value.param == param


async def test_the_native_stream_of_a_scripted_vendor_is_passed_on(key, models, settings):
    chunk = {
        "candidates": [{"content": {"parts": [{"text": "Hi", "novel": True}], "role": "model"}, "index": 0}],
        "modelVersion": "gemini-2.5-flash",
    }
    last = {
        "candidates": [{"content": {"parts": [{"text": "", "thoughtSignature": "c2ln"}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2},
    }
    async with Scripted(sse(chunk, last)).serve(settings):
        answer = await ask(product, "POST", path("gemini-2.5-flash", "streamGenerateContent") + "?alt=sse", body(), {}, key)
    assert b'"novel": true' in answer.body and b"c2ln" in answer.body
    log = await in_db(lambda: UsageLog.objects.get())
    assert (log.input_tokens, log.output_tokens, log.estimated) == (3, 2, False)
