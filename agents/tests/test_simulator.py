"""The simulator: the vendors' own clients understand it, it counts what it really read and wrote, its faults are real."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request

import anthropic
import httpx2
import openai
import pytest
from google import genai
from google.genai import types

from agents.simulator import Simulator, SimulatorThread
from agents.simulator.behaviour import FLAGS, OPTIONS, UnknownDirective, in_text, parse
from agents.simulator.samples import sample
from tests.kit.waiting import until

STEERING = "a-token-of-this-run"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}, "required": ["city"]}


@pytest.fixture
def sim():
    with SimulatorThread() as running:
        yield running


@pytest.fixture
def client(sim: Simulator):
    with openai.OpenAI(api_key="k", base_url=sim.openai_url, max_retries=0) as made:
        yield made


def ask(text: str, model: str = "m") -> dict:
    return {"model": model, "messages": [{"role": "user", "content": text}]}


def test_the_openai_client_talks_to_it(client: openai.OpenAI):
    whole = client.chat.completions.create(**ask("Write code about rivers"))
    text = "".join(
        chunk.choices[0].delta.content or "" for chunk in client.chat.completions.create(**ask("Write code about rivers"), stream=True)
    )
    assert whole.choices[0].message.content == text
    assert "simulated" in text.lower() and "```python" in text and "rivers" in text
    assert whole.usage and whole.usage.completion_tokens == -(-len(text.encode()) // 4)
    assert whole.usage.prompt_tokens == (len("Write code about rivers") + 12) // 4
    answer = client.responses.create(model="m", input="hello", instructions="Be brief")
    assert answer.status == "completed" and answer.output_text and answer.usage
    with client.responses.stream(model="m", input="hello", instructions="Be brief") as events:
        list(events)
        assert events.get_final_response().output_text == answer.output_text
    assert client.responses.create(model="m", input="hello", max_output_tokens=16).status == "incomplete"
    assert "sim-small" in [model.id for model in client.models.list()]
    one, two = client.embeddings.create(model="e", input=["a", "b"]).data
    assert one.embedding != two.embedding and abs(sum(x * x for x in one.embedding) - 1) < 1e-6


def test_the_openai_client_gets_tool_calls_on_both_wires(client: openai.OpenAI):
    tool = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
    with client.chat.completions.stream(**ask("use the tool: 3 days in Rome"), tools=[tool]) as events:
        (call,) = events.get_final_completion().choices[0].message.tool_calls
    assert json.loads(call.function.arguments) == {"city": "Rome", "days": 3}
    flat = {"type": "function", "name": "weather", "parameters": SCHEMA, "strict": False}
    first = client.responses.create(model="m", input="weather in Rome", tools=[flat], reasoning={"effort": "low"})
    assert [item.type for item in first.output] == ["reasoning", "function_call"]
    with client.responses.stream(model="m", input="weather in Rome", tools=[flat], reasoning={"effort": "low"}) as events:
        list(events)
        assert events.get_final_response().output[1].arguments == first.output[1].arguments
    follow = [
        {"role": "user", "content": "weather"},
        first.output[1].to_dict(),
        {"type": "function_call_output", "call_id": first.output[1].call_id, "output": "12"},
    ]
    assert "12" in client.responses.create(model="m", input=follow, tools=[flat]).output_text


def test_the_anthropic_client_talks_to_it(sim: Simulator):
    with anthropic.Anthropic(api_key="k", base_url=sim.url, max_retries=0) as client:
        tools = [{"name": "weather", "input_schema": SCHEMA}]
        with client.messages.stream(**ask("[[sim:think]] use the tool in Rome"), max_tokens=200, tools=tools) as events:
            message = events.get_final_message()
        assert [block.type for block in message.content] == ["thinking", "tool_use"] and message.stop_reason == "tool_use"
        assert message.content[1].input["city"] == "Rome"
        cut = client.messages.create(**ask("hello"), max_tokens=3)
        assert cut.stop_reason == "max_tokens" and cut.usage.output_tokens == 3
        assert client.messages.count_tokens(**ask("hello")).input_tokens == (5 + 12) // 4
        with pytest.raises(anthropic.BadRequestError):
            client.post("/v1/messages", body={**ask("x"), "max_tokens": 5, "temperature": 1}, cast_to=httpx2.Response)
        with pytest.raises(anthropic.BadRequestError):
            client.post("/v1/messages", body=ask("x"), cast_to=httpx2.Response)
        assert client.models.list().data[0].id


@pytest.mark.parametrize("version", ["v1", "v1beta"])
def test_the_gemini_client_talks_to_it(sim: Simulator, version: str):
    client = genai.Client(api_key="k", http_options=types.HttpOptions(base_url=sim.url, api_version=version))
    whole = client.models.generate_content(model="gm", contents="hello")
    chunks = list(client.models.generate_content_stream(model="gm", contents="hello"))
    assert whole.text == "".join(chunk.text or "" for chunk in chunks)
    assert chunks[-1].usage_metadata == whole.usage_metadata and chunks[-1].candidates[0].finish_reason == "STOP"
    assert client.models.count_tokens(model="gm", contents="hello").total_tokens == (5 + 12) // 4
    assert sim.requests[0].model == "gm"


def test_the_same_prompt_has_the_same_answer_and_another_prompt_another(client: openai.OpenAI):
    said = [client.chat.completions.create(**ask(text)).choices[0].message.content for text in ("a", "a", "compare a vs b", "b c d")]
    assert said[0] == said[1] and len(set(said)) == 3 and "|" in said[2]


def test_a_long_prefix_that_repeats_is_counted_as_cached(client: openai.OpenAI):
    history = [{"role": "user", "content": "long " * 2000}, {"role": "assistant", "content": "yes"}, {"role": "user", "content": "and?"}]
    usage = client.chat.completions.create(model="m", messages=history).usage
    assert usage and usage.prompt_tokens_details and 2000 < usage.prompt_tokens_details.cached_tokens < usage.prompt_tokens


def test_a_conversation_may_be_given_a_title(client: openai.OpenAI):
    messages = [{"role": "system", "content": "Give a title"}, {"role": "user", "content": "how do rivers find the sea? tell me all"}]
    assert client.chat.completions.create(model="m", messages=messages).choices[0].message.content == "How do rivers find the sea"


def test_chunks_pace_and_size_are_chosen_in_the_prompt(sim: Simulator, client: openai.OpenAI):
    began = time.monotonic()
    chunks = list(client.chat.completions.create(**ask("[[sim:chunks=10,pace=20,size=5]] x"), stream=True))
    took = time.monotonic() - began
    texts = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices[0].delta.content]
    assert len(texts) == 10 and {len(text) for text in texts} == {5}
    assert 0.2 <= took < 5
    began = time.monotonic()
    client.chat.completions.create(**ask("[[sim:chunks=10,pace=20]] x"))
    assert 0.2 <= time.monotonic() - began < 5  # a whole answer takes as long as its stream


def test_plans_directives_and_headers_choose_the_fault(sim: Simulator, client: openai.OpenAI):
    sim.plan("m", ["429", "ok", "500"])
    sim.always("bad", "503")
    seen = []
    for model, text, header in (
        ("m", "x", ""), ("m", "x", ""), ("m", "x", ""), ("m", "x", ""), ("bad", "x", ""), ("m", "[[sim:404]] x", ""),
        ("m", "[[sim@other:404]] x", ""), ("m", "x", "403"),
    ):  # fmt: skip
        try:
            client.chat.completions.create(**ask(text, model), extra_headers={"x-sim": header})
            seen.append(200)
        except openai.APIStatusError as exc:
            seen.append(exc.status_code)
    assert seen == [429, 200, 500, 200, 503, 404, 200, 403]
    assert [request.status for request in sim.requests] == seen
    sim.clear()
    assert client.chat.completions.create(**ask("x", "bad")).id and len(sim.requests) == 1


def test_a_directive_is_not_part_of_what_was_asked(client: openai.OpenAI):
    text = client.chat.completions.create(**ask("[[sim:pace=0]] only this")).choices[0].message.content
    assert "only this" in text and "sim:" not in text


@pytest.mark.parametrize("text", ["nonsense", "usage=some", "chunks", "slow=1", "429x"])
def test_a_directive_with_a_typo_is_refused(client: openai.OpenAI, text: str):
    with pytest.raises(UnknownDirective):
        parse(text)
    with pytest.raises(openai.BadRequestError, match="does not know"):
        client.chat.completions.create(**ask(f"[[sim:{text}]] x"))


def test_every_flag_and_option_is_known_by_its_own_name():
    assert parse(",".join(FLAGS)).flags == FLAGS.keys()
    assert parse(",".join(f"{name}=1" for name in OPTIONS if name != "usage")).options.keys() == OPTIONS.keys() - {"usage"}
    assert in_text("a [[sim:eof]] b [[sim@m:slow]][[sim@n:cut]]", "m") == ("eof,slow", "a  b")


def test_bodies_that_are_no_requests_get_400_not_silence(sim: Simulator):
    for body in (b"{", b"[]", b'{"messages": 7}', b'{"messages": [7]}'):
        for path in ("/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1beta/models/m:generateContent"):
            status = httpx2.post(sim.url + path, content=body).status_code
            assert status == 400 or (status == 200 and path not in ("/v1/chat/completions", "/v1/messages"))
    assert httpx2.get(sim.url + "/nowhere").status_code == 404


async def test_it_sees_a_client_leave_and_resets_where_it_should():
    async with Simulator() as sim:
        async with openai.AsyncOpenAI(api_key="k", base_url=sim.openai_url, max_retries=0) as client:
            stream = await client.chat.completions.create(**ask("[[sim:chunks=100,pace=20]] x"), stream=True)
            async for _ in stream:
                break
            await stream.close()
            await until(lambda: sim.requests[0].client_gone)
            assert 0 < sim.requests[0].sent < 100 and sim.requests[0].ended_at
            with pytest.raises(openai.APIConnectionError):
                await client.chat.completions.create(**ask("[[sim:refuse]] x"))
        assert sim.requests[1].client_gone is False and sim.requests[1].ended_at


async def test_it_waits_for_a_reader_that_does_not_read():
    async with Simulator() as sim:
        body = json.dumps({**ask("[[sim:chunks=20000,size=2000,pace=0.01]] x"), "stream": True}).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", sim.port, limit=1024)
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        sent = 0
        async with asyncio.timeout(30):
            while not sent or sim.requests[0].sent > sent:
                sent = sim.requests[0].sent if sim.requests else 0
                await asyncio.sleep(0.5)  # nothing more is to be sent meanwhile
        assert sent < 20000  # paused
        await reader.readuntil(b"\r\n\r\n")
        for _ in range(200):
            await reader.read(65536)
        await until(lambda: sim.requests[0].sent > sent)
        writer.close()


async def test_requests_that_come_in_pieces_or_together_are_answered_in_order():
    async with Simulator() as sim:
        reader, writer = await asyncio.open_connection("127.0.0.1", sim.port)
        one = b"GET /__sim/health HTTP/1.1\r\nhost: x\r\n\r\n"
        writer.write(one + one[:10])
        await asyncio.sleep(0.02)  # the first piece arrives alone
        writer.write(one[10:] + b"GET /v1/models HTTP/1.1\r\n\r\n")
        got = b""
        while got.count(b"HTTP/1.1 200") < 3:
            got += await asyncio.wait_for(reader.read(65536), 10)
        writer.write(b"x" * 70_000)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            while True:
                await reader.readexactly(1)


def test_as_a_process_it_is_steered_and_asked_over_http():
    process = subprocess.Popen(
        [sys.executable, "-m", "agents.simulator"], stdout=subprocess.PIPE, text=True,
        env={"SIMULATOR_PACE_MS": "0", "SIMULATOR_TOKEN": STEERING},
    )  # fmt: skip
    try:
        assert process.stdout
        url = process.stdout.readline().split()[-1]
        assert _call(url + "/__sim/health")["status"] == "ok"
        _call(url + "/__sim/plan", {"model": "m", "faults": ["429"]})
        _call(url + "/__sim/plan", {"model": "other", "always": "500"})
        with pytest.raises(urllib.error.HTTPError):
            _call(url + "/__sim/plan", {"model": "m", "faults": ["typo"]})
        with pytest.raises(urllib.error.HTTPError):
            _call(url + "/__sim/nothing")
        with openai.OpenAI(api_key="secret-k", base_url=url + "/v1", max_retries=0) as client:
            for model, error in (("m", openai.RateLimitError), ("other", openai.InternalServerError)):
                with pytest.raises(error):
                    client.chat.completions.create(**ask("x", model))
            client.chat.completions.create(**ask("x"))
        seen = _call(url + "/__sim/requests")
        assert [one["status"] for one in seen] == [429, 500, 200]
        assert seen[0]["model"] == "m" and "secret-k" not in str(seen)
        for method in ("GET", "DELETE", "POST"):
            for path in ("/__sim/requests", "/__sim/requests?token=" + STEERING, "/__sim/plan", "/__sim/nothing", "/__sim/requests/"):
                for offered in ("", "wrong", STEERING[:-1], STEERING + "x"):
                    with pytest.raises(urllib.error.HTTPError) as refused:
                        _call(url + path, {"model": "m"} if method == "POST" else None, token=offered, method=method)
                    assert refused.value.code == 401 and b"messages" not in refused.value.read(), (method, path, offered)
        assert len(_call(url + "/__sim/requests")) == 3, "a refused DELETE has cleared nothing"
        _call(url + "/__sim/requests", method="DELETE")
        assert _call(url + "/__sim/requests") == []
    finally:
        process.terminate()
        assert process.wait(5) == 0


def test_a_process_without_a_token_shows_its_requests_to_no_client():
    process = subprocess.Popen([sys.executable, "-m", "agents.simulator"], stdout=subprocess.PIPE, text=True, env={})
    try:
        assert process.stdout
        url = process.stdout.readline().split()[-1]
        for offered in ("", "None", STEERING):
            with pytest.raises(urllib.error.HTTPError) as refused:
                _call(url + "/__sim/requests", token=offered)
            assert refused.value.code == 401
    finally:
        process.terminate()
        assert process.wait(5) == 0


def _call(url: str, body: dict | None = None, *, token: str = STEERING, method: str | None = None):
    request = urllib.request.Request(url, data=json.dumps(body).encode() if body else None, method=method)
    request.add_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.loads(answer.read())


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        ({"type": "string", "enum": ["cold", "warm"]}, "is it warm?", "warm"),
        ({"type": "string", "enum": ["cold", "warm"]}, "?", "cold"),
        ({"const": 5}, "", 5),
        ({"default": "d", "type": "string"}, "", "d"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "42 things", 42),
        ({"type": ["null", "number"], "minimum": 10}, "2.5", 10.0),
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 2}, "", [True, True]),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "null"}}}, "", None),
        ({"properties": {"expression": {"type": "string"}}}, "what is 12 * (3+4)?", {"expression": "12 * (3+4"}),
        ({"properties": {"url": {"type": "string"}}}, "see https://a.example/x now", {"url": "https://a.example/x"}),
        ({"properties": {"timezone": {"type": "string"}, "email": {}}}, "", {"timezone": "Europe/Oslo", "email": "ada@example.com"}),
        (
            {"properties": {"date": {"type": "string"}, "at": {"type": "string", "format": "date-time"}}},
            "",
            {"date": "2026-01-01", "at": "2026-01-01T12:00:00Z"},
        ),
        ({"type": "string", "maxLength": 3}, "abcdef", "abc"),
    ],
)
def test_values_fit_their_schema_and_come_from_the_prompt(schema: dict, text: str, value):
    assert sample(schema, text) == value


def test_a_schema_that_refers_to_itself_ends():
    loop = {"$ref": "#/$defs/n", "$defs": {"n": {"type": "object", "properties": {"n": {"$ref": "#/$defs/n"}}}}}
    assert isinstance(sample(loop, ""), dict)
