"""The cost of the vendors' adapters: processor time per call, compared with aiohttp alone and with the unmodified SDKs.

    python -m benchmarks.providers [--rounds 3] [--uvloop] [--sdk]

The simulator runs in a process of its own; only this process's time is counted. All rows of a round run one after another
in the same minute, and the median over the rounds is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aiagents.settings")
os.environ.setdefault("DATABASE_URL", "sqlite:///:memory:")
os.environ.setdefault("REDIS_URL", "redis://127.0.0.1")
os.environ.setdefault("SECRET_KEY", "benchmark-only-" + "x" * 50)

import aiohttp
import orjson

from agents.events import Completed
from agents.messages import CompletionRequest, Message, Text
from agents.providers import provider, transport
from agents.providers.base import Target

JSON_PROMPT = "[[sim:chunks=60,pace=0]] Say something short about rivers and bridges."
STREAM_PROMPT = "[[sim:chunks=100,pace=20]] Say something long about rivers and bridges."
WIRES = {"openai": "/v1", "anthropic": "", "google": ""}
Call = Callable[[str], Awaitable[None]]


def target(kind: str, url: str) -> Target:
    return Target(kind, "sim-small", url + WIRES[kind], "sk-benchmark", max_output_tokens=1000)


def request(text: str) -> CompletionRequest:
    return CompletionRequest(messages=(Message("user", (Text(text),)),), system="You are a helpful assistant.")


def ours(kind: str, url: str, *, whole: bool) -> Call:
    """A call through our adapter, read to its end."""
    adapter, where = provider(kind), target(kind, url)

    async def call(text: str) -> None:
        last = None
        async with aclosing(adapter.whole(request(text), where) if whole else adapter.stream(request(text), where)) as events:
            async for event in events:
                last = event
        assert isinstance(last, Completed) and last.usage is not None

    return call


def bare(url: str, session: aiohttp.ClientSession, *, whole: bool) -> Call:
    """The lower bound: aiohttp that discards the bytes and parses only the JSON response."""
    headers = {"authorization": "Bearer sk-benchmark", "content-type": "application/json"}

    async def call(text: str) -> None:
        body: dict[str, Any] = {"model": "sim-small", "messages": [{"role": "user", "content": text}], "max_tokens": 1000}
        if not whole:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        async with session.post(url + "/v1/chat/completions", data=orjson.dumps(body), headers=headers) as response:
            if whole:
                orjson.loads(await response.read())
                return
            last = b""
            while data := await response.content.readany():
                last = data
            assert b"[DONE]" in last

    return call


async def sdks(url: str) -> dict[str, tuple[Call, Call]]:
    """The unmodified SDKs: (JSON, stream) by vendor."""
    import anthropic
    import openai
    from google import genai
    from google.genai import types

    one = openai.AsyncOpenAI(api_key="k", base_url=url + "/v1", max_retries=0)
    two = anthropic.AsyncAnthropic(api_key="k", base_url=url, max_retries=0)
    three = genai.Client(api_key="k", http_options=types.HttpOptions(base_url=url)).aio.models

    def ask(text: str) -> dict[str, Any]:
        return {"model": "sim-small", "messages": [{"role": "user", "content": text}]}

    async def openai_json(text: str) -> None:
        await one.chat.completions.create(**ask(text), max_completion_tokens=1000)

    async def openai_stream(text: str) -> None:
        async for _ in await one.chat.completions.create(**ask(text), stream=True, stream_options={"include_usage": True}):
            pass

    async def anthropic_json(text: str) -> None:
        await two.messages.create(**ask(text), max_tokens=1000)

    async def anthropic_stream(text: str) -> None:
        async for _ in await two.messages.create(**ask(text), max_tokens=1000, stream=True):
            pass

    async def google_json(text: str) -> None:
        await three.generate_content(model="sim-small", contents=text)

    async def google_stream(text: str) -> None:
        async for _ in await three.generate_content_stream(model="sim-small", contents=text):
            pass

    return {"openai": (openai_json, openai_stream), "anthropic": (anthropic_json, anthropic_stream), "google": (google_json, google_stream)}


async def json_calls(call: Call, count: int, concurrency: int) -> tuple[float, float]:
    """Processor and wall milliseconds per call."""
    await asyncio.gather(*(call(JSON_PROMPT) for _ in range(concurrency)))
    left = iter(range(count))

    async def worker() -> None:
        for _ in left:
            await call(JSON_PROMPT)

    return await _timed(lambda: asyncio.gather(*(worker() for _ in range(concurrency))), count)


async def streams(call: Call, concurrency: int) -> tuple[float, float]:
    async def one(number: int) -> None:
        await asyncio.sleep(number / concurrency)  # arrivals over a second
        await call(STREAM_PROMPT)

    return await _timed(lambda: asyncio.gather(*(one(number) for number in range(concurrency))), concurrency)


async def _timed(work: Callable[[], Awaitable[Any]], count: int) -> tuple[float, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    await work()
    return (time.process_time() - cpu) * 1000 / count, (time.perf_counter() - wall) * 1000 / count


async def run(url: str, rounds: int, with_sdks: bool, most: int) -> None:
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
    rows: dict[str, tuple[Call, Call]] = {"aiohttp alone": (bare(url, session, whole=True), bare(url, session, whole=False))}
    for kind in WIRES:
        rows[f"ours {kind}"] = (ours(kind, url, whole=True), ours(kind, url, whole=False))
    if with_sdks:
        rows |= {f"SDK {kind} as it comes": pair for kind, pair in (await sdks(url)).items()}
    levels = [level for level in (50, 200, 500) if level <= most]
    found: dict[str, list[list[float]]] = {name: [] for name in rows}
    for _ in range(rounds):
        for name, (whole, stream) in rows.items():
            figures = [(await json_calls(whole, 800, 16))[0]]
            for level in levels:
                figures.append((await streams(stream, level))[0])
            found[name].append(figures)
    print(f"{'CPU ms per call':24}{'JSON, 16 at once':>18}" + "".join(f"{f'100 chunks, {level}':>18}" for level in levels))
    for name, all_figures in found.items():
        medians = [statistics.median(column) for column in zip(*all_figures, strict=True)]
        print(f"{name:24}" + "".join(f"{value:18.2f}" for value in medians))
    await session.close()
    await transport.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--uvloop", action="store_true", help="on uvloop, as the server runs")
    parser.add_argument("--sdk", action="store_true", help="also the unmodified SDKs")
    parser.add_argument("--most", type=int, default=200, help="most streams at once: 50, 200 or 500")
    options = parser.parse_args()
    simulator = subprocess.Popen(
        [sys.executable, "-m", "agents.simulator"], env=os.environ | {"SIMULATOR_STRICT": "0"}, stdout=subprocess.PIPE, text=True
    )
    try:
        assert simulator.stdout
        url = simulator.stdout.readline().split()[-1]
        if options.uvloop:
            import uvloop

            uvloop.install()
        asyncio.run(run(url, options.rounds, options.sdk, options.most))
    finally:
        simulator.terminate()
        simulator.wait(10)


if __name__ == "__main__":
    main()
