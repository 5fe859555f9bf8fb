"""openai: chat completions and Responses."""

from openai import OpenAI
from pydantic import BaseModel
from steps import ASK_IMAGE, ASK_TOOL, KEY, PIXEL, URL, WEATHER, run

client = OpenAI(api_key=KEY, base_url=f"{URL}/v1", max_retries=0)


class Trip(BaseModel):
    city: str
    days: int


def text(model):
    assert client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Hello"}]).choices[0].message.content
    assert client.responses.create(model=model, input="Hello", store=False).output_text


def stream(model):
    chunks = client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Hello"}], stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    with client.responses.stream(model=model, input="Hello", store=False) as events:
        list(events)
        assert events.get_final_response().output_text


def tools(model):
    messages = [{"role": "user", "content": ASK_TOOL}]
    offered = [{"type": "function", "function": {"name": "weather", "parameters": WEATHER, "strict": True}}]
    message = client.chat.completions.create(model=model, messages=messages, tools=offered).choices[0].message
    results = [{"role": "tool", "tool_call_id": call.id, "content": "12 degrees"} for call in message.tool_calls]
    last = client.chat.completions.create(model=model, messages=[*messages, message, *results], tools=offered)
    assert "12 degrees" in last.choices[0].message.content
    flat = [{"type": "function", "name": "weather", "parameters": WEATHER, "strict": True}]
    first = client.responses.create(model=model, input=ASK_TOOL, tools=flat, store=False)
    calls = [item for item in first.output if item.type == "function_call"]
    outputs = [{"type": "function_call_output", "call_id": call.call_id, "output": "12 degrees"} for call in calls]
    items = [{"role": "user", "content": ASK_TOOL}, *first.output, *outputs]
    again = client.responses.create(model=model, input=items, tools=flat, store=False)
    assert calls and "12 degrees" in again.output_text


def structured(model):
    messages = [{"role": "user", "content": "A trip to Rome for 3 days"}]
    assert client.chat.completions.parse(model=model, messages=messages, response_format=Trip).choices[0].message.parsed.days == 3
    assert client.responses.parse(model=model, input=messages, text_format=Trip, store=False).output_parsed.city == "Rome"


def image(model):
    url = f"data:image/png;base64,{PIXEL}"
    content = [{"type": "text", "text": ASK_IMAGE}, {"type": "image_url", "image_url": {"url": url}}]
    answer = client.chat.completions.create(model=model, messages=[{"role": "user", "content": content}])
    assert "1 image" in answer.choices[0].message.content
    content = [{"type": "input_text", "text": ASK_IMAGE}, {"type": "input_image", "image_url": url, "detail": "auto"}]
    assert "1 image" in client.responses.create(model=model, input=[{"role": "user", "content": content}], store=False).output_text


run(text=text, stream=stream, tools=tools, structured=structured, image=image)
