"""The body of `POST /api/v1/agents/{id}/run`."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from aiagents.core.validation import NotBlank, RequestModel
from billing.money.amounts import Cost

MOST_INPUT = 1_000_000


class RunRequest(RequestModel):
    """A run to start."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"input": "What is 17 percent of 1349?"}, {"input": "Summarise https://example.com", "stream": True}],
        }
    )
    input: Annotated[str, Field(max_length=MOST_INPUT), NotBlank()] = Field(description="the agent's instructions for this run")
    stream: bool = Field(False, description="answer with Server-Sent Events")
    max_cost_usd: Cost | None = Field(None, description="US dollars; the agent's own limit holds where it is lower", examples=["0.05"])
