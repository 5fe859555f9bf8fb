"""anthropic: messages, their stream, the tool runner, structured output."""

from anthropic import Anthropic, beta_tool
from pydantic import BaseModel
from steps import ASK_IMAGE, ASK_TOOL, KEY, PIXEL, URL, run

client = Anthropic(api_key=KEY, base_url=URL, max_retries=0)


class Trip(BaseModel):
    city: str
    days: int


@beta_tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"12 degrees in {city}"


def asked(model, content="Hello"):
    return {"model": model, "max_tokens": 500, "messages": [{"role": "user", "content": content}]}


def text(model):
    assert client.messages.create(**asked(model)).content[0].text
    assert client.messages.count_tokens(model=model, messages=asked(model)["messages"]).input_tokens


def stream(model):
    with client.messages.stream(**asked(model)) as events:
        assert "".join(events.text_stream)


def tools(model):
    last = client.beta.messages.tool_runner(**asked(model, ASK_TOOL), tools=[weather]).until_done()
    assert "12 degrees" in last.content[0].text


def structured(model):
    assert client.messages.parse(**asked(model, "A trip to Rome for 3 days"), output_format=Trip).parsed_output.days == 3


def image(model):
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    content = [{"type": "text", "text": ASK_IMAGE}, {"type": "image", "source": source}]
    assert "1 image" in client.messages.create(**asked(model, content)).content[0].text


run(text=text, stream=stream, tools=tools, structured=structured, image=image)
