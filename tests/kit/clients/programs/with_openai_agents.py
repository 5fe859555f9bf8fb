"""openai-agents: agents on Responses. Its package has the name of a package of this product, which is not installed here."""

import asyncio
import importlib

from openai import AsyncOpenAI
from pydantic import BaseModel
from steps import ASK_IMAGE, ASK_TOOL, KEY, PIXEL, URL, run

library = importlib.import_module("agents")
library.set_tracing_disabled(True)


class Trip(BaseModel):
    city: str
    days: int


def weather(city: str) -> str:
    """The weather in a city."""
    return f"12 degrees in {city}"


def agent(model, **options):
    client = AsyncOpenAI(api_key=KEY, base_url=f"{URL}/v1", max_retries=0)
    settings = library.ModelSettings(store=False)
    made = library.OpenAIResponsesModel(model=model, openai_client=client)
    return library.Agent(name="a", model=made, model_settings=settings, **options)


def text(model):
    assert library.Runner.run_sync(agent(model), "Hello").final_output


def stream(model):
    async def streamed():
        result = library.Runner.run_streamed(agent(model), "Hello")
        assert [event async for event in result.stream_events()]
        return result.final_output

    assert asyncio.run(streamed())


def tools(model):
    offered = [library.function_tool(weather)]
    assert "12 degrees" in library.Runner.run_sync(agent(model, tools=offered), ASK_TOOL).final_output


def structured(model):
    assert library.Runner.run_sync(agent(model, output_type=Trip), "A trip to Rome for 3 days").final_output.days == 3


def image(model):
    url = f"data:image/png;base64,{PIXEL}"
    content = [{"type": "input_text", "text": ASK_IMAGE}, {"type": "input_image", "image_url": url, "detail": "auto"}]
    assert "1 image" in library.Runner.run_sync(agent(model), [{"role": "user", "content": content}]).final_output


run(text=text, stream=stream, tools=tools, structured=structured, image=image)
