"""pydantic-ai: agents on OpenAI's chat completions and Responses."""

import asyncio
import base64

from pydantic import BaseModel
from pydantic_ai import Agent, BinaryContent
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider
from steps import ASK_IMAGE, ASK_TOOL, KEY, PIXEL, URL, run

PROVIDER = OpenAIProvider(base_url=f"{URL}/v1", api_key=KEY)


class Trip(BaseModel):
    city: str
    days: int


def weather(city: str) -> str:
    """The weather in a city."""
    return f"12 degrees in {city}"


def each(model, **options):
    return [Agent(kind(model, provider=PROVIDER), retries=0, **options) for kind in (OpenAIChatModel, OpenAIResponsesModel)]


def text(model):
    assert all(agent.run_sync("Hello").output for agent in each(model))


def stream(model):
    async def streamed(agent):
        async with agent.run_stream("Hello") as result:
            return "".join([piece async for piece in result.stream_text(delta=True)])

    assert all(asyncio.run(streamed(agent)) for agent in each(model))


def tools(model):
    assert all("12 degrees" in agent.run_sync(ASK_TOOL).output for agent in each(model, tools=[weather]))


def structured(model):
    assert all(agent.run_sync("A trip to Rome for 3 days").output.days == 3 for agent in each(model, output_type=Trip))


def image(model):
    picture = BinaryContent(base64.b64decode(PIXEL), media_type="image/png")
    assert all("1 image" in agent.run_sync([ASK_IMAGE, picture]).output for agent in each(model))


run(text=text, stream=stream, tools=tools, structured=structured, image=image)
