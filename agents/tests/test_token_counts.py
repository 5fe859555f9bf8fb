"""Token counts: what clients are shown before an answer, apart from the upper bound that is held."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import time
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from accounts import keys
from agents.calls import service as calls
from agents.compatible.anthropic_messages import request as anthropic_request
from agents.counting import estimate, images, kinds, tokenizer
from agents.counting import service as counting
from agents.counting.estimate import Counted
from agents.messages import CompletionRequest, File, Image, Message, Text, ToolOutput, ToolSpec, ToolUse, estimate_input, most_tokens
from agents.models import ProviderConnection
from agents.providers.anthropic.adapter import COUNTED
from agents.routing import connections
from agents.routing.candidates import Facts, dearest, row
from agents.secrets import encrypt
from agents.simulator import Simulator
from agents.tests.scripted import anthropic_sdk, openai_sdk
from billing import pricing
from billing.catalogue import snapshot as catalogue
from tests.kit.wire import ask, product

pytestmark = pytest.mark.django_db
ENGLISH = "The committee met on Tuesday to discuss the budget for the coming year, and most members agreed that it was too small. "
SAMPLES = {
    "prose": ENGLISH * 20,
    "German": "Größere Änderungen müssen geprüft werden, bevor sie veröffentlicht werden; das gilt für alle Beteiligten. " * 20,
    "code": "def total(rows: list[Row]) -> int:\n    return sum(row.amount for row in rows if row.kind == 'charge')\n\n" * 20,
    "JSON": json.dumps([{"id": f"user_{n}", "email": f"someone{n}@example.com", "tags": ["a", "b"], "active": True} for n in range(60)]),
    "numbers": "\n".join(f"{n * 7919 % 10007},{n * 104729 % 1000003}" for n in range(300)),
    "hexadecimal": "".join(f"{n * 2654435761 % 2**32:08x}" for n in range(300)),
    "base64": base64.b64encode(bytes(n * n * 31 % 251 for n in range(3000))).decode(),
    "Chinese": "每一次调用模型都要经过同一个函数,它选择模型、预留资金、调用供应商,然后结算费用。" * 20,
    "Japanese": "モデルの呼び出しはすべて一つの関数を通り、モデルを選び、費用を確保し、結果を返します。" * 20,
    "Russian": "Каждый вызов модели проходит через одну функцию, которая выбирает модель и резервирует деньги. " * 20,
    "Arabic": "كل استدعاء للنموذج يمر عبر دالة واحدة تختار النموذج وتحجز المال ثم تسوي التكلفة. " * 20,
    "Hindi": "मॉडल की हर कॉल एक ही फ़ंक्शन से होकर जाती है जो मॉडल चुनता है और पैसे आरक्षित करता है। " * 20,
    "emoji": "😀🎉🚀🔥💡" * 100,
    "spaces": " " * 2000 + "\n" * 50,
}
WEATHER = {
    "type": "object",
    "properties": {
        "location": {"type": "string", "description": "The city and state, e.g. San Francisco, CA"},
        "unit": {"type": "string", "description": "The unit of temperature to return", "enum": ["celsius", "fahrenheit"]},
    },
    "required": ["location"],
}
VENDOR_MODELS = {"openai": "gpt-4o-mini", "anthropic": "claude-sonnet-5", "google": "gemini-2.5-flash"}


def prompt(*parts: Any, **more: Any) -> CompletionRequest:
    return CompletionRequest((Message("user", parts),), **more)


def picture(width: int, height: int, detail: str = "") -> Image:
    header = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, height)
    return Image("image/png", base64.b64encode(header).decode(), detail=detail)


def counted(request: CompletionRequest, provider: str, model: str) -> int:
    return asyncio.run(estimate.tokens(request, Counted(provider, model)))


@pytest.fixture
def key(caller) -> str:
    return str(keys.create(caller.user, name="t", scopes=["chat"])[1])


# --- Against what the vendors published -----------------------------------------------------------


@pytest.mark.parametrize(("model", "published"), [("gpt-4o", 101), ("gpt-4o-mini", 101), ("gpt-4", 105), ("gpt-3.5-turbo", 105)])
def test_a_prompt_with_a_tool_counts_as_openai_published_it(model, published):
    """OpenAI's cookbook, "How to count tokens with tiktoken": the count that its API reported for this request."""
    request = prompt(
        Text("What's the weather like in San Francisco?"),
        system="You are a helpful assistant that can answer to questions about the weather.",
        tools=(ToolSpec("get_current_weather", "Get the current weather in a given location", WEATHER),),
    )
    assert counted(request, "openai", model) == published


def test_prompts_count_as_anthropics_and_googles_documentation_shows_them():
    assert counted(prompt(Text("Hello, Claude"), system="You are a scientist"), "anthropic", "claude-opus-4-1") == 14
    assert counted(prompt(Text("The quick brown fox jumps over the lazy dog.")), "google", "gemini-2.5-flash") in (10, 11)


@pytest.mark.parametrize(
    ("provider", "model", "size", "published"),
    [
        ("openai", "gpt-4o", (1024, 1024), 765), ("openai", "gpt-4o", (2048, 4096), 1105), ("openai", "gpt-4o-mini", (1024, 1024), 25501),
        ("openai", "gpt-4.1-mini", (1024, 1024), 1659), ("openai", "gpt-4.1-mini", (1800, 2400), 2353),
        ("anthropic", "claude-haiku-4-5", (200, 200), 64), ("google", "gemini-2.5-flash", (300, 300), 258),
        ("google", "gemini-2.5-flash", (960, 540), 1548), ("google", "gemini-3.8-flash", (960, 540), 1120),
    ],
)  # fmt: skip
def test_an_image_counts_by_the_vendors_formula(provider, model, size, published):
    assert images.tokens(picture(*size), provider, model) == published


@pytest.mark.parametrize(
    "raw",
    [
        b"GIF89a" + struct.pack("<HH", 640, 480),
        b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc2\x00\x11\x08" + struct.pack(">HH", 480, 640) + b"\0" * 12,
        b"RIFF\0\0\0\0WEBPVP8X" + b"\0" * 8 + (639).to_bytes(3, "little") + (479).to_bytes(3, "little"),
        b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0/" + (639 | 479 << 14).to_bytes(4, "little") + b"\0" * 8,
        b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 640, 480),
    ],
)
def test_the_size_of_every_kind_of_image_is_read_from_its_header(raw):
    assert images.size_of(base64.b64encode(raw).decode()) == (640, 480)


@pytest.mark.parametrize("data", ["", "A", "!!!!", "AAAA", base64.b64encode(b"\xff\xd8\xff\xff\xff").decode()])
def test_an_unreadable_image_counts_as_a_usual_one(data):
    for provider, model in VENDOR_MODELS.items():
        assert 0 < images.tokens(Image("image/png", data), provider, model) <= images.most(provider, model)


def test_claudes_tokenizers_are_told_apart_by_generation():
    old = ["claude-3-haiku-20240307", "claude-opus-4-20250514", "claude-haiku-4-5-20251001", "claude-opus-4-6", "claude-sonnet-4-6"]
    new = ["claude-opus-4-7", "claude-opus-5-5", "claude-sonnet-5", "claude-fable-5-2", "claude-haiku-5-5", "claude-mythos-preview"]
    assert {kinds.of("anthropic", name) for name in old} == {kinds.CLAUDE_BEFORE_4_7}
    assert {kinds.of("anthropic", name) for name in new} == {kinds.CLAUDE}


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("prose", "prose"), ("German", "prose"), ("code", "code"), ("JSON", "json"), ("numbers", "digits"), ("Chinese", "cjk"),
        ("Japanese", "cjk"), ("Russian", "cyrillic"), ("Arabic", "arabic"), ("Hindi", "indic"), ("spaces", "space"),
    ],
)  # fmt: skip
def test_the_kind_of_a_text_is_recognised(kind, name):
    shares = kinds.shares(SAMPLES[kind][:4096])
    assert max(shares, key=lambda one: shares[one]) == name and abs(sum(shares.values()) - 1) < 1e-9


# --- The hold -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SAMPLES)
@pytest.mark.parametrize("provider", VENDOR_MODELS)
def test_what_is_held_covers_what_every_vendor_counts(kind, provider):
    model = kinds.of(provider, VENDOR_MODELS[provider])
    assert most_tokens(SAMPLES[kind]) >= model.count(SAMPLES[kind])


async def test_the_hold_covers_the_prompt_that_anthropic_adds_for_tools(models):
    request = prompt(Text("Hi"), tools=(ToolSpec("t", "", {"type": "object"}),))
    facts = Facts("claude-sonnet-5", "", request.needs(), estimate_input(request), 10)
    card = (await catalogue.current()).get("claude-sonnet-5")
    assert facts.most_input(card) >= await estimate.tokens(request, Counted("anthropic", "claude-sonnet-5"))


async def test_the_hold_covers_an_image_of_a_model_that_counts_it_many_times(models):
    """GPT-4o mini counts 25,501 tokens for a picture of 1,024 pixels, and 48,169 for the largest."""
    card = (await catalogue.current()).get("gpt-4o-mini")
    request = prompt(Text("Hi"), ToolOutput.of("c", "t", (picture(9, 9),)), picture(1024, 1024))
    facts = Facts("gpt-4o-mini", "", frozenset(), estimate_input(request), 10, images=2)
    held = dearest(row(facts, card, {}, {card.slug}), facts)
    assert card.rates and held >= pricing.highest_cost(card.rates, 2 * 48_169, 10)


# --- Where counts are shown -----------------------------------------------------------------------


@pytest.mark.parametrize("model", ["gpt-4o-mini", "gpt-5.4", "gpt-4"])
async def test_both_counting_endpoints_count_openais_models_with_their_tokenizer(model, key, caller):
    text = ENGLISH * 70
    expected = tokenizer.count(text, tokenizer.CL100K if model == "gpt-4" else tokenizer.O200K)
    async with anthropic_sdk(caller) as client:
        found = await client.messages.count_tokens(model=model, messages=[{"role": "user", "content": text}])
        assert abs(found.input_tokens - expected) <= 0.03 * expected
    async with openai_sdk(caller) as client:
        answer = await client.responses.input_tokens.count(model=model, input=text)
        assert answer.object == "response.input_tokens" and abs(answer.input_tokens - expected) <= 0.03 * expected
        assert (await client.responses.input_tokens.count(input="Hello")).input_tokens == 8
        assert (await client.responses.input_tokens.count(instructions="Be brief.")).input_tokens > 3


@pytest.mark.parametrize("model", ["auto", "agent:nobodys", "claude-haiku-4-5", "gemini-2.5-flash"])
async def test_every_name_of_a_model_can_be_counted(model, key):
    body = {"model": model, "messages": [{"role": "user", "content": ENGLISH * 70}]}
    answer = await ask(product, "POST", "/v1/messages/count_tokens", body, {}, key)
    assert 1500 < answer.json["input_tokens"] < 2500 and answer.headers["x-aiagents-counted-by"] in ("tokenizer", "estimate")


async def test_an_unknown_model_is_404_as_at_the_vendor(key):
    body = {"model": "claude-none", "messages": [{"role": "user", "content": "Hi"}]}
    answer = await ask(product, "POST", "/v1/messages/count_tokens", body, {}, key)
    assert answer.status == 404 and answer.error["type"] == "not_found_error"


async def test_message_start_shows_the_estimate(caller, vendor):
    text = ENGLISH * 70
    messages: Any = [{"role": "user", "content": text}]
    async with vendor(), anthropic_sdk(caller) as client, client.messages.stream(
        model="gpt-4o-mini", max_tokens=20, messages=messages
    ) as stream:  # fmt: skip
        first = await anext(aiter(stream))
    expected = tokenizer.count(text)
    assert first.type == "message_start" and abs(first.message.usage.input_tokens - expected) <= 0.03 * expected


async def test_the_preview_of_a_route_shows_the_estimate(context):
    shown = await calls.preview(prompt(Text(ENGLISH * 70)), context("gpt-4o-mini"))
    assert abs(shown["input_tokens"] - tokenizer.count(ENGLISH * 70)) <= 0.03 * shown["input_tokens"]


# --- By the vendor --------------------------------------------------------------------------------


def connect(kind: str, base_url: str) -> None:
    ProviderConnection.objects.create(
        slug=f"own-{kind}", kind=kind, base_url=base_url, api_key_encrypted=encrypt("sk-own"), is_default=True, enabled=True
    )
    connections.invalidate()


@pytest.mark.parametrize(("kind", "path"), [("anthropic", "/v1/messages/count_tokens"), ("google", ":countTokens")])
async def test_the_vendor_counts_where_we_have_a_key(kind, path, key, settings):
    tool = {"name": "read", "description": "Reads", "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}}}
    body = {
        "model": VENDOR_MODELS[kind], "max_tokens": 10, "system": "Be brief.", "stream": True, "tools": [tool],
        "metadata": {"user_id": "u"},
        "messages": [{"role": "user", "content": ENGLISH}],
    }  # fmt: skip
    async with Simulator() as sim:
        await sync_to_async(connect)(kind, sim.url)
        answer = await ask(product, "POST", "/v1/messages/count_tokens", body, {"anthropic-beta": "b-1"}, key)
        seen = sim.requests[-1]
        assert answer.status == 200 and answer.headers["x-aiagents-counted-by"] == "vendor" and seen.path.endswith(path)
        sent = seen.body if kind == "anthropic" else seen.body["generateContentRequest"]
        assert "max_tokens" not in sent and "stream" not in sent and "metadata" not in sent and sent["tools"]
        if kind == "anthropic":
            assert seen.headers["anthropic-beta"] == "b-1"


@pytest.mark.parametrize("failure", ["closed", "slow", "refused"])
async def test_a_vendor_that_does_not_count_is_replaced_by_the_estimate(failure, key, monkeypatch):
    monkeypatch.setattr(counting, "VENDOR_SECONDS", 0.2)

    async def vendor(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if failure == "slow":
            await asyncio.sleep(2)  # longer than we wait for a count
        elif failure == "refused":
            writer.write(b"HTTP/1.1 503 No\r\ncontent-length: 2\r\n\r\n{}")
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(vendor, "127.0.0.1", 0)
    async with server:
        await sync_to_async(connect)("anthropic", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        began = time.monotonic()
        body = {"model": "claude-sonnet-5", "messages": [{"role": "user", "content": ENGLISH}]}
        answer = await ask(product, "POST", "/v1/messages/count_tokens", body, {}, key)
        assert answer.status == 200 and answer.headers["x-aiagents-counted-by"] == "estimate"
        assert time.monotonic() - began < 2


def test_the_vendor_gets_the_fields_that_its_sdk_counts():
    """What is left out refers to the company's account, or is refused by name."""
    from anthropic.types import message_count_tokens_params as plain
    from anthropic.types.beta import message_count_tokens_params as beta

    known = set(plain.MessageCountTokensParams.__annotations__) | set(beta.MessageCountTokensParams.__annotations__)
    refused = set(anthropic_request.REFUSED) - {"speed"}
    assert known - refused - {"betas"} == COUNTED


# --- Cost of counting -----------------------------------------------------------------------------


async def test_a_long_prompt_does_not_hold_the_event_loop():
    await asyncio.to_thread(tokenizer.count, "load the vocabulary")
    longest = 0.0

    async def beat() -> None:
        nonlocal longest
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.001)  # how late the loop wakes is what is measured
            longest = max(longest, time.perf_counter() - began)

    beating = asyncio.create_task(beat())
    found = await estimate.tokens(prompt(Text(ENGLISH * 30_000)), Counted("openai", "gpt-4o"))
    beating.cancel()
    assert found > 500_000 and longest < 0.1


@pytest.mark.parametrize("text", ["x" * 1_000_000, " " * 1_000_000, "\ud800" * 10_000, "<|endoftext|>" * 10_000, "é" * 300_000])
def test_no_text_is_slow_or_refused(text):
    began = time.process_time()
    for model in (kinds.O200K, kinds.CLAUDE, kinds.GEMINI):
        assert model.count(text) > 0
    assert time.process_time() - began < 2


def test_every_part_of_a_prompt_counts():
    base = counted(prompt(Text("Hi")), "openai", "gpt-4o")
    for part in (ToolUse("c", "weather", '{"city":"Oslo"}'), ToolOutput("c", "weather", "12 degrees"), File("application/pdf", "A" * 99)):
        assert counted(prompt(Text("Hi"), part), "openai", "gpt-4o") > base
    schema = {"type": "json_schema", "name": "n", "schema": WEATHER, "strict": True}
    assert counted(prompt(Text("Hi"), response_format=schema), "openai", "gpt-4o") > base + 30
