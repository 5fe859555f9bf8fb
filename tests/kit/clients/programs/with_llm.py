"""llm: its OpenAI model class with our address, as `extra-openai-models.yaml` makes it."""

import llm
from llm.default_plugins.openai_models import Chat
from pydantic import BaseModel
from steps import ASK_TOOL, KEY, URL, run


class Trip(BaseModel):
    city: str
    days: int


def weather(city: str) -> str:
    """The weather in a city."""
    return f"12 degrees in {city}"


def chat(model):
    return Chat(model, model_name=model, api_base=f"{URL}/v1", supports_schema=True, supports_tools=True)


def text(model):
    assert chat(model).prompt("Hello", key=KEY, stream=False).text()


def stream(model):
    assert "".join(chat(model).prompt("Hello", key=KEY, stream=True))


def tools(model):
    chain = chat(model).chain(ASK_TOOL, tools=[llm.Tool.function(weather)], key=KEY, stream=False)
    assert "12 degrees" in chain.text()


def structured(model):
    answer = chat(model).prompt("A trip to Rome for 3 days", schema=Trip, key=KEY, stream=False).text()
    assert Trip.model_validate_json(answer).days == 3


run(text=text, stream=stream, tools=tools, structured=structured)
