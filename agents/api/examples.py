"""Examples of the agents' endpoints in the OpenAPI document."""

from drf_spectacular.utils import OpenApiExample

_REQUEST = {
    "name": "Travel planner",
    "description": "Plans trips and adds up what they cost.",
    "system_prompt": "You plan trips. Work out every sum with the calculator.",
    "model": "auto",
    "goal": "best",
    "parameters": {"temperature": 0.3, "max_output_tokens": 2000},
    "tools": [{"name": "calculator", "approval": "never"}, {"name": "fetch_page", "approval": "always"}],
    "max_steps": 8,
    "max_cost_usd": "0.25",
    "max_seconds": 120,
    "visibility": "private",
}
_RESPONSE = {
    "id": "0198a5c2-7f31-7c4e-9d26-1f0c2b3a4d5e",
    "slug": "travel-planner",
    **_REQUEST,
    "max_cost_usd": "0.25000000",
    "enabled": True,
    "version": 1,
    "mine": True,
    "owner": "Ada",
    "created_at": "2026-11-23T08:00:00Z",
    "updated_at": "2026-11-23T08:00:00Z",
}
CREATE = [
    OpenApiExample("An agent with two tools", _REQUEST, request_only=True),
    OpenApiExample("As it was stored", _RESPONSE, response_only=True),
]
CHANGE = [
    OpenApiExample("A cheaper model and a limit", {"model": "auto:cheapest", "max_cost_usd": "0.05"}, request_only=True),
    OpenApiExample(
        "Now version 2",
        {**_RESPONSE, "model": "auto:cheapest", "max_cost_usd": "0.05000000", "version": 2, "updated_at": "2026-11-23T08:05:00Z"},
        response_only=True,
    ),
]
TOOLS = [
    OpenApiExample(
        "Built-in and made by staff",
        {
            "next": None,
            "previous": None,
            "results": [
                {
                    "name": "calculator",
                    "kind": "builtin",
                    "description": "Calculate an arithmetic expression exactly.",
                    "parameters": {"type": "object", "properties": {"expression": {"type": "string"}}, "required": ["expression"]},
                    "needs_approval": False,
                    "repeatable": True,
                },
                {
                    "name": "open_ticket",
                    "kind": "http",
                    "description": "Open a ticket in the service desk.",
                    "parameters": {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]},
                    "needs_approval": True,
                    "repeatable": False,
                },
            ],
        },
        response_only=True,
    )
]
