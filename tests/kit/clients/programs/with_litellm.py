"""litellm: the OpenAI-compatible and the Anthropic route of its library."""

import litellm
from pydantic import BaseModel
from steps import ASK_IMAGE, ASK_TOOL, KEY, PIXEL, URL, WEATHER, run


class Trip(BaseModel):
    city: str
    days: int


def ask(model, content="Hello", **options):
    messages = options.pop("messages", [{"role": "user", "content": content}])
    return litellm.completion(f"openai/{model}", messages=messages, api_base=f"{URL}/v1", api_key=KEY, num_retries=0, **options)


def text(model):
    assert ask(model).choices[0].message.content


def stream(model):
    assert "".join(chunk.choices[0].delta.content or "" for chunk in ask(model, stream=True))


def tools(model):
    offered = [{"type": "function", "function": {"name": "weather", "parameters": WEATHER}}]
    message = ask(model, ASK_TOOL, tools=offered).choices[0].message
    results = [{"role": "tool", "tool_call_id": call.id, "content": "12 degrees"} for call in message.tool_calls]
    messages = [{"role": "user", "content": ASK_TOOL}, message.model_dump(exclude_none=True), *results]
    assert "12 degrees" in ask(model, messages=messages, tools=offered).choices[0].message.content


def structured(model):
    answer = ask(model, "A trip to Rome for 3 days", response_format=Trip).choices[0].message.content
    assert Trip.model_validate_json(answer).days == 3


def image(model):
    url = {"url": f"data:image/png;base64,{PIXEL}"}
    content = [{"type": "text", "text": ASK_IMAGE}, {"type": "image_url", "image_url": url}]
    assert "1 image" in ask(model, content).choices[0].message.content


run(text=text, stream=stream, tools=tools, structured=structured, image=image)
