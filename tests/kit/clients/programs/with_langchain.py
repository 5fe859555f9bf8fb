"""langchain-openai: ChatOpenAI."""

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel
from steps import ASK_IMAGE, ASK_TOOL, KEY, PIXEL, URL, run


class Trip(BaseModel):
    city: str
    days: int


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"12 degrees in {city}"


def chat(model):
    return ChatOpenAI(model=model, api_key=KEY, base_url=f"{URL}/v1", max_retries=0)


def text(model):
    assert chat(model).invoke("Hello").content


def stream(model):
    assert "".join(chunk.content for chunk in chat(model).stream("Hello"))


def tools(model):
    bound, messages = chat(model).bind_tools([weather]), [HumanMessage(ASK_TOOL)]
    answer = bound.invoke(messages)
    results = [ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"]) for call in answer.tool_calls]
    assert results and "12 degrees" in bound.invoke([*messages, answer, *results]).content


def structured(model):
    assert chat(model).with_structured_output(Trip).invoke("A trip to Rome for 3 days").days == 3


def image(model):
    url = {"url": f"data:image/png;base64,{PIXEL}"}
    content = [{"type": "text", "text": ASK_IMAGE}, {"type": "image_url", "image_url": url}]
    assert "1 image" in chat(model).invoke([HumanMessage(content)]).content


run(text=text, stream=stream, tools=tools, structured=structured, image=image)
