"""The unchanged `openai` package against our server: only its base URL and key are set."""

from __future__ import annotations

import json

import openai
import pytest

from tests.kit.servers.live import Live

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather in a city",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]


@pytest.fixture
def client(live: Live):
    with openai.OpenAI(api_key=live.key, base_url=live.url + "/v1", max_retries=0) as made:
        yield made


def ask(text: str) -> list:
    return [{"role": "user", "content": text}]


def test_it_completes_with_usage_and_the_chosen_model(client: openai.OpenAI):
    answer = client.chat.completions.create(model="gpt-4o-mini", messages=ask("Hello"))
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "gpt-4o-mini"
    assert answer.usage and answer.usage.prompt_tokens > 0 and answer.usage.completion_tokens > 0
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_it_streams_the_same_text_that_it_completes(client: openai.OpenAI):
    whole = client.chat.completions.create(model="gpt-4o-mini", messages=ask("Tell me about rivers"))
    pieces, usage, finish = [], None, None
    for chunk in client.chat.completions.create(
        model="gpt-4o-mini", messages=ask("Tell me about rivers"), stream=True, stream_options={"include_usage": True}
    ):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            pieces.append(choice.delta.content or "")
            finish = choice.finish_reason or finish
    assert "".join(pieces) == whole.choices[0].message.content
    assert finish == "stop"
    assert usage and whole.usage and usage.total_tokens == whole.usage.total_tokens


def test_a_stream_without_include_usage_has_no_usage_chunk(client: openai.OpenAI):
    chunks = list(client.chat.completions.create(model="gpt-4o-mini", messages=ask("Hi"), stream=True))
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)


@pytest.mark.parametrize("model", ["gpt-4o-mini", "claude-3-haiku", "gemini-1.5-flash"])
@pytest.mark.parametrize("stream", [False, True])
def test_it_calls_a_tool_and_uses_its_result_with_every_vendor(client: openai.OpenAI, model: str, stream: bool):
    messages = ask("Use the tool: weather in Oslo")
    if stream:
        with client.chat.completions.stream(model=model, messages=messages, tools=TOOLS) as events:
            answer = events.get_final_completion()
    else:
        answer = client.chat.completions.create(model=model, messages=messages, tools=TOOLS)
    choice = answer.choices[0]
    assert choice.finish_reason == "tool_calls"
    call = choice.message.tool_calls[0]
    assert call.function.name == "weather"
    assert isinstance(json.loads(call.function.arguments), dict)
    follow = [
        *messages,
        choice.message.model_dump(exclude_none=True, exclude={"parsed"}),
        {"role": "tool", "tool_call_id": call.id, "content": "12 degrees"},
    ]
    for item in follow[1].get("tool_calls", []):
        item["function"].pop("parsed_arguments", None)
    final = client.chat.completions.create(model=model, messages=follow, tools=TOOLS)
    assert final.choices[0].finish_reason == "stop"
    assert final.choices[0].message.content


def test_auto_routes_and_says_which_model_answered(client: openai.OpenAI):
    names = {model.id for model in client.models.list()}
    for asked in ("auto", "auto:cheapest", "auto:best"):
        answer = client.chat.completions.create(model=asked, messages=ask("Hi"))
        assert answer.model in names and not answer.model.startswith("auto")


def test_n_choices_are_n_answers_and_one_bill(client: openai.OpenAI):
    answer = client.chat.completions.create(model="gpt-4o-mini", messages=ask("Hi"), n=3)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    one = client.chat.completions.create(model="gpt-4o-mini", messages=ask("Hi"))
    assert answer.usage and one.usage and answer.usage.total_tokens == 3 * one.usage.total_tokens
    seen = set()
    for chunk in client.chat.completions.create(model="gpt-4o-mini", messages=ask("Hi"), n=2, stream=True):
        seen |= {choice.index for choice in chunk.choices if choice.finish_reason}
    assert seen == {0, 1}


def test_json_output_is_json(client: openai.OpenAI):
    answer = client.chat.completions.create(model="gpt-4o-mini", messages=ask("Give JSON"), response_format={"type": "json_object"})
    assert isinstance(json.loads(answer.choices[0].message.content or ""), dict)


def test_the_responses_api_answers_whole_and_streamed(client: openai.OpenAI):
    whole = client.responses.create(model="gpt-4o-mini", input="Tell me about rivers", instructions="Be brief.")
    assert whole.status == "completed" and whole.output_text
    with client.responses.stream(model="gpt-4o-mini", input="Tell me about rivers", instructions="Be brief.") as events:
        text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
        final = events.get_final_response()
    assert text == whole.output_text == final.output_text
    assert final.usage and whole.usage and final.usage.total_tokens == whole.usage.total_tokens > 0


def test_the_responses_api_calls_a_tool(client: openai.OpenAI):
    tools = [{"type": "function", "strict": False, **TOOLS[0]["function"]}]
    asked = [{"role": "user", "content": "Use the tool: weather in Oslo"}]
    first = client.responses.create(model="gpt-4o-mini", input=asked, tools=tools)
    call = next(item for item in first.output if item.type == "function_call")
    assert call.name == "weather"
    follow = [*asked, call.model_dump(exclude_none=True), {"type": "function_call_output", "call_id": call.call_id, "output": "12 degrees"}]
    assert client.responses.create(model="gpt-4o-mini", input=follow, tools=tools).output_text


def test_models_are_listed_and_looked_up(client: openai.OpenAI):
    names = [model.id for model in client.models.list()]
    assert {"auto", "gpt-4o-mini", "claude-3-opus", "gemini-1.5-pro"} <= set(names)
    assert client.models.retrieve("gpt-4o-mini").id == "gpt-4o-mini"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("no-such-model")


def test_errors_arrive_typed(live: Live, client: openai.OpenAI):
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="no-such-model", messages=ask("Hi"))
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as bad:
        client.chat.completions.create(model="gpt-4o-mini", messages=ask("Hi"), temperature=7)
    assert bad.value.param == "temperature"
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="gpt-4o-mini", messages=[])
    with pytest.raises(openai.BadRequestError) as unknown:
        client.chat.completions.create(model="gpt-4o-mini", messages=ask("Hi"), extra_body={"api_base": "http://127.0.0.1:1"})
    assert unknown.value.param == "api_base"
    with (
        openai.OpenAI(api_key="aia_wrong", base_url=live.url + "/v1", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.chat.completions.create(model="gpt-4o-mini", messages=ask("Hi"))


def test_a_spent_budget_is_insufficient_quota_and_not_retried(live: Live):
    _, key = live.new_user("poor@example.com", monthly_budget_usd="0.0000001")
    with openai.OpenAI(api_key=key, base_url=live.url + "/v1", max_retries=2) as poor, pytest.raises(openai.RateLimitError) as refused:
        poor.chat.completions.create(model="gpt-4o-mini", messages=ask("Hi"))
    assert refused.value.code == "insufficient_quota"
    assert refused.value.response.headers["x-should-retry"] == "false"


def test_a_vendor_that_dies_in_mid_stream_is_an_error_not_an_end(client: openai.OpenAI):
    pieces = []
    with pytest.raises(openai.APIError):
        for chunk in client.chat.completions.create(model="gpt-4o-mini", messages=ask("[[sim:die:5]] go on"), stream=True):
            pieces += [choice.delta.content or "" for choice in chunk.choices]
    assert "".join(pieces)


def test_every_call_is_one_row_at_the_price_the_caller_was_told(live: Live, client: openai.OpenAI):
    for model in ("gpt-4o-mini", "claude-haiku-4-5"):
        raw = client.chat.completions.with_raw_response.create(model=model, messages=ask("How much is this?"))
        answer, request_id = raw.parse(), raw.headers["x-request-id"]
        rows = live.query("SELECT cost_usd, input_tokens, output_tokens, status FROM billing_usagelog WHERE request_id = %s", request_id)
        assert len(rows) == 1
        assert answer.usage and (rows[0][1], rows[0][2], rows[0][3]) == (answer.usage.prompt_tokens, answer.usage.completion_tokens, "ok")
        assert float(rows[0][0]) == pytest.approx(float(raw.headers["x-aiagents-cost-usd"])) and float(rows[0][0]) > 0
    assert float(answer.usage.model_extra["cost_usd"]) == pytest.approx(float(rows[0][0]))  # a translated answer
