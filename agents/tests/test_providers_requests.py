"""What each vendor is sent: the product's request in the vendor's own words, and nothing the model does not take."""

from __future__ import annotations

import base64

import pytest

from agents.messages import CompletionRequest, File, Image, Message, Reasoning, Text, ToolOutput, ToolSpec, ToolUse
from agents.providers.errors import ProviderBadRequest
from agents.simulator import Simulator
from agents.tests.vendors import KEY, KINDS, WEATHER, ask, hear, sent, target

PNG = "iVBORw0KGgo="
PDF = base64.b64encode(b"%PDF-1.7").decode()
NOTE = base64.b64encode("a note — written".encode()).decode()


def user(*parts) -> CompletionRequest:
    return CompletionRequest((Message("user", parts),))


async def test_openai_is_addressed_signed_and_asked_for_usage():
    async with Simulator() as sim:
        await hear("openai", ask("Hello", system="Be brief."), target(sim, "openai"))
        seen = sim.requests[0]
    assert (seen.path, seen.headers["authorization"]) == ("/v1/chat/completions", f"Bearer {KEY}")
    assert seen.headers["accept-encoding"] == "identity"
    assert not [name for name in seen.headers if name.startswith("openai-")]
    assert seen.body == {
        "model": "sim-model",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def test_anthropic_is_addressed_and_signed_also_when_its_address_ends_in_v1():
    async with Simulator() as sim:
        for url in (sim.url, sim.url + "/v1", sim.url + "/v1/"):
            where = target(sim, "anthropic")
            object.__setattr__(where, "base_url", url)
            await hear("anthropic", ask("Hello", system="Be brief."), where, whole=True)
        assert {seen.path for seen in sim.requests} == {"/v1/messages"}
        seen = sim.requests[0]
    assert seen.headers["authorization"] == f"Bearer {KEY}" and seen.headers["anthropic-version"] >= "2026"
    assert seen.body == {
        "model": "sim-model",
        "max_tokens": 1000,
        "system": "Be brief.",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}],
    }


@pytest.mark.parametrize(
    ("model", "suffix", "version"),
    [("gemini-x", "", "v1"), ("gemini-flash-latest", "", "v1beta"), ("gemini-x-preview", "", "v1beta"), ("gemini-x", "/v1beta", "v1beta")],
)
@pytest.mark.parametrize("whole", [False, True])
async def test_gemini_is_addressed_by_the_sdk(model: str, suffix: str, version: str, whole: bool):
    async with Simulator() as sim:
        where = target(sim, "google", model=model)
        object.__setattr__(where, "base_url", sim.url + suffix)
        await hear("google", ask("Hello", system="Be brief."), where, whole=whole)
        seen = sim.requests[0]
    verb = "generateContent" if whole else "streamGenerateContent?alt=sse"
    assert seen.path == f"/{version}/models/{model}:{verb}"
    assert seen.headers["x-goog-api-key"] == KEY and "google-genai-sdk" in seen.headers["user-agent"]
    assert seen.body == {
        "contents": [{"role": "user", "parts": [{"text": "Hello"}]}],
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "generationConfig": {},
    }


async def test_a_gemini_address_is_asked_for_once_per_model_and_key(monkeypatch):
    from google import genai

    made = []
    original = genai.Client.__init__
    monkeypatch.setattr(genai.Client, "__init__", lambda self, **options: made.append(1) or original(self, **options))
    async with Simulator() as sim:
        for _ in range(5):
            await hear("google", ask("Hello"), target(sim, "google", model="asked-once"))
    assert len(made) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("asked", [None, 50, 5000])
async def test_the_output_limit_is_the_callers_within_the_models(kind: str, asked: int | None):
    body = await sent(kind, ask("Hi", max_output_tokens=asked))
    unlimited = 1000 if kind == "anthropic" else None  # the one that demands a limit
    field = {"openai": "max_completion_tokens", "google": "maxOutputTokens"}.get(kind, "max_tokens")
    assert (body["generationConfig"] if kind == "google" else body).get(field) == {None: unlimited, 50: 50, 5000: 1000}[asked]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("takes", [True, False])
async def test_sampling_goes_only_to_models_that_take_it(kind: str, takes: bool):
    extra = {"presence_penalty": 0.5, "user": "u1", "api_base": "http://127.0.0.1:1"}
    request = ask("Hi", temperature=0.2, top_p=0.9, seed=7, stop=("END",), extra=extra)
    body = await sent(kind, request, temperature=takes)
    found = body["generationConfig"] if kind == "google" else body
    names = {"temperature", "topP" if kind == "google" else "top_p", "seed"}
    assert names <= found.keys() if takes and kind != "anthropic" else not names & found.keys()
    assert "api_base" not in str(body)
    if kind.startswith("openai"):
        assert ("presence_penalty" in body) is ("stop" in body) is takes
        assert body["user"] == "u1"
    elif kind == "anthropic":
        assert body["stop_sequences"] == ["END"]
    else:
        assert found["stopSequences"] == ["END"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("choice", ["auto", "none", "required", "weather"])
async def test_tools_are_offered_and_chosen_in_the_vendors_format(kind: str, choice: str):
    body = await sent(kind, ask("Hi", tools=(WEATHER,), tool_choice=choice, parallel_tool_calls=False))
    if kind == "anthropic":
        assert body["tools"] == [{"name": "weather", "description": WEATHER.description, "input_schema": WEATHER.parameters}]
        only = {"disable_parallel_tool_use": True}
        expected = {"auto": {"type": "auto"} | only, "none": {"type": "none"}, "required": {"type": "any"} | only}
        assert body["tool_choice"] == expected.get(choice, {"type": "tool", "name": "weather"} | only)
    elif kind == "google":
        declared = {"name": "weather", "description": WEATHER.description, "parametersJsonSchema": WEATHER.parameters}
        assert body["tools"] == [{"functionDeclarations": [declared]}]
        modes = {
            "auto": None,
            "none": {"mode": "NONE"},
            "required": {"mode": "ANY"},
            "weather": {"mode": "ANY", "allowedFunctionNames": ["weather"]},
        }
        assert body.get("toolConfig", {}).get("functionCallingConfig") == modes[choice]
    else:
        function = {"name": "weather", "description": WEATHER.description, "parameters": WEATHER.parameters}
        assert body["tools"] == [{"type": "function", "function": function}]
        expected = {"auto": None, "weather": {"type": "function", "function": {"name": "weather"}}}.get(choice, choice)
        assert body.get("tool_choice") == expected
        assert body["parallel_tool_calls"] is False


async def test_a_strict_tool_stays_strict_and_a_choice_without_tools_is_left_out():
    strict = ToolSpec("t", "d", {"type": "object", "properties": {}, "additionalProperties": False}, strict=True)
    assert (await sent("openai", ask("Hi", tools=(strict,))))["tools"][0]["function"]["strict"] is True
    for kind in KINDS:
        assert "tool_choice" not in await sent(kind, ask("Hi", tool_choice="required", parallel_tool_calls=True))
    assert "tool_choice" not in await sent("anthropic", ask("Hi", tools=(WEATHER,)))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("openai", {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}),
        ("anthropic", {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}),
        ("google", {"inlineData": {"mimeType": "image/png", "data": PNG}}),
    ],
)
async def test_images_go_as_data(kind: str, expected: dict):
    async with Simulator() as sim:
        heard = await hear(kind, user(Text("What is this?"), Image("image/png", PNG)), target(sim, kind))
        body = sim.requests[0].body
    parts = body["contents"][0]["parts"] if kind == "google" else body["messages"][0]["content"]
    assert parts[1] == expected
    assert "1 image" in heard.text


async def test_images_by_address_go_to_those_that_take_them():
    image = Image(url="https://example.com/a.png")
    assert (await sent("openai", user(image)))["messages"][0]["content"] == [
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    ]
    assert (await sent("anthropic", user(image)))["messages"][0]["content"] == [
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
    ]
    async with Simulator() as sim:
        with pytest.raises(ProviderBadRequest):
            await hear("google", user(image), target(sim, "google"))
        assert not sim.requests


@pytest.mark.parametrize(
    ("kind", "pdf", "note"),
    [
        (
            "openai",
            {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}},
            {"type": "text", "text": "File n.txt:\na note — written"},
        ),
        (
            "anthropic",
            {"type": "document", "title": "a.pdf", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}},
            {"type": "document", "title": "n.txt", "source": {"type": "text", "media_type": "text/plain", "data": "a note — written"}},
        ),
        ("google", {"inlineData": {"mimeType": "application/pdf", "data": PDF}}, {"text": "File n.txt:\na note — written"}),
    ],
)
async def test_files_go_as_the_vendor_takes_them(kind: str, pdf: dict, note: dict):
    body = await sent(kind, user(Text("Read"), File("application/pdf", PDF, "a.pdf"), File("text/plain", NOTE, "n.txt")))
    parts = body["contents"][0]["parts"] if kind == "google" else body["messages"][0]["content"]
    assert parts[1:] == [pdf, note]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", [File("application/zip", PDF), File("", PDF), File("text/plain", "%%%not base64")])
async def test_other_files_are_refused_before_anything_is_sent(kind: str, part: File):
    async with Simulator() as sim:
        with pytest.raises(ProviderBadRequest) as caught:
            await hear(kind, user(part), target(sim, kind))
        assert not sim.requests
    assert caught.value.param == "content" and not caught.value.opens_breaker


@pytest.mark.parametrize("kind", KINDS)
async def test_a_long_dialogue_keeps_its_order_and_loses_what_is_empty(kind: str):
    messages = (
        Message("user", (Text("one"),)),
        Message(
            "assistant",
            (Reasoning("hm", "", "other"), Text("two"), ToolUse("c1", "weather", '{"city":"Oslo"}'), ToolUse("c2", "weather", "[1]")),
        ),
        Message("tool", (ToolOutput("c1", "weather", "cold"), ToolOutput("c2", "weather", "no", is_error=True))),
        Message("assistant", (Text("three"),)),
        Message("user", (Text(""), Text("four"))),
        Message("user", ()),
    )
    body = await sent(kind, CompletionRequest(messages, tools=(WEATHER,)))
    if kind == "google":
        assert [content["role"] for content in body["contents"]] == ["user", "model", "user", "model", "user"]
        assert body["contents"][1]["parts"][2]["functionCall"]["args"] == {"arguments": [1]}
    elif kind == "anthropic":
        assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user", "assistant", "user"]
        assert [block["type"] for block in body["messages"][1]["content"]] == ["text", "tool_use", "tool_use"]
        assert body["messages"][4]["content"] == [{"type": "text", "text": "four"}]
    else:
        roles = [message["role"] for message in body["messages"]]
        assert roles == ["user", "assistant", "tool", "tool", "assistant", "user"]
        assert body["messages"][1]["tool_calls"][1] == {"id": "c2", "type": "function", "function": {"name": "weather", "arguments": "[1]"}}
        assert body["messages"][3] == {"role": "tool", "tool_call_id": "c2", "content": "Error: no"}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_reasoning_effort_goes_only_to_models_that_reason(kind: str):
    assert "effort" not in str(await sent(kind, ask("Hi", reasoning_effort="high"), reasoning=False))
    body = await sent(kind, ask("Hi", reasoning_effort="high"))
    if kind == "anthropic":
        assert body["thinking"] == {"type": "adaptive"} and body["output_config"] == {"effort": "high"}
        assert "thinking" not in await sent(kind, ask("Hi", reasoning_effort="none"))
        # A forced tool and thinking exclude each other.
        assert "thinking" not in await sent(kind, ask("Hi", reasoning_effort="high", tools=(WEATHER,), tool_choice="required"))
    elif kind == "google":
        assert body["generationConfig"]["thinkingConfig"] == {"thinkingLevel": "HIGH", "includeThoughts": True}
        budgeted = await sent(kind, ask("Hi", reasoning_effort="low"), model="gemini-2.5-flash")
        assert budgeted["generationConfig"]["thinkingConfig"] == {"thinkingBudget": 1024, "includeThoughts": True}
        off = await sent(kind, ask("Hi", reasoning_effort="none"), model="gemini-2.5-flash")
        assert off["generationConfig"]["thinkingConfig"] == {"thinkingBudget": 0, "includeThoughts": False}
        least = (await sent(kind, ask("Hi", reasoning_effort="none")))["generationConfig"]["thinkingConfig"]
        assert least == {"thinkingLevel": "MINIMAL", "includeThoughts": False}
    else:
        assert body["reasoning_effort"] == "high"


async def test_redacted_thinking_goes_back_as_it_came():
    said = Message("assistant", (Reasoning("", "redacted:b64", "anthropic"), Text("x")))
    body = await sent("anthropic", CompletionRequest((Message("user", (Text("a"),)), said, Message("user", (Text("b"),)))))
    assert body["messages"][1]["content"][0] == {"type": "redacted_thinking", "data": "b64"}


async def test_a_json_schema_is_sent_in_the_vendors_format():
    closed = {"type": "object", "properties": {}, "additionalProperties": False}
    wanted = {"type": "json_schema", "name": "n", "schema": closed, "strict": True}
    assert (await sent("openai", ask("Hi", response_format=wanted)))["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "n", "schema": closed, "strict": True},
    }
    assert (await sent("anthropic", ask("Hi", response_format=wanted)))["output_config"] == {
        "format": {"type": "json_schema", "schema": {"type": "object", "properties": {}, "additionalProperties": False}}
    }
    config = (await sent("google", ask("Hi", response_format=wanted)))["generationConfig"]
    assert (config["responseMimeType"], config["responseJsonSchema"]) == ("application/json", closed)
    assert (await sent("openai", ask("Hi, JSON", response_format={"type": "json_object"})))["response_format"] == {"type": "json_object"}
    system = (await sent("anthropic", ask("Hi", system="S", response_format={"type": "json_object"})))["system"]
    assert system.startswith("S\n\n") and "JSON" in system


def test_a_targets_representation_has_no_key():
    assert KEY not in repr(target(Simulator(), "openai"))
