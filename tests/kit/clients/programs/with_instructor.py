"""instructor: structured output by tools and by a JSON schema."""

import instructor
from openai import OpenAI
from pydantic import BaseModel, Field
from steps import KEY, URL, run

client = OpenAI(api_key=KEY, base_url=f"{URL}/v1", max_retries=0)


class Trip(BaseModel):
    city: str
    days: int = Field(ge=0, le=100)


def structured(model):
    for mode in (instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA):
        made = instructor.from_openai(client, mode=mode)
        messages = [{"role": "user", "content": "A trip to Rome for 3 days, as JSON"}]
        assert made.chat.completions.create(model=model, messages=messages, response_model=Trip, max_retries=0).days == 3


run(structured=structured)
