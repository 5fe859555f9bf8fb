"""The unchanged `anthropic` package against our server: only its base URL and key are set."""

from __future__ import annotations

import anthropic
import pytest

from tests.kit.servers.live import Live

TOOLS = [
    {
        "name": "weather",
        "description": "The weather in a city",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }
]


@pytest.fixture
def client(live: Live):
    with anthropic.Anthropic(api_key=live.key, base_url=live.url, max_retries=0) as made:
        yield made


def ask(text: str) -> list:
    return [{"role": "user", "content": text}]


def test_it_completes_with_usage(client: anthropic.Anthropic):
    answer = client.messages.create(model="claude-3-haiku", max_tokens=200, messages=ask("Hello"), system="Be brief.")
    assert answer.content[0].type == "text" and answer.content[0].text
    assert answer.stop_reason == "end_turn"
    assert answer.usage.input_tokens > 0 and answer.usage.output_tokens > 0


def test_it_streams_the_same_text_that_it_completes(client: anthropic.Anthropic):
    whole = client.messages.create(model="claude-3-haiku", max_tokens=300, messages=ask("Tell me about rivers"))
    with client.messages.stream(model="claude-3-haiku", max_tokens=300, messages=ask("Tell me about rivers")) as events:
        text = "".join(events.text_stream)
        final = events.get_final_message()
    assert text == whole.content[0].text
    assert final.stop_reason == "end_turn"
    assert final.usage.output_tokens == whole.usage.output_tokens


@pytest.mark.parametrize("model", ["claude-3-haiku", "gpt-4o-mini", "gemini-1.5-flash"])
@pytest.mark.parametrize("stream", [False, True])
def test_it_calls_a_tool_and_uses_its_result_with_every_vendor(client: anthropic.Anthropic, model: str, stream: bool):
    messages = ask("Use the tool: weather in Oslo")
    if stream:
        with client.messages.stream(model=model, max_tokens=300, messages=messages, tools=TOOLS) as events:
            answer = events.get_final_message()
    else:
        answer = client.messages.create(model=model, max_tokens=300, messages=messages, tools=TOOLS)
    assert answer.stop_reason == "tool_use"
    use = next(block for block in answer.content if block.type == "tool_use")
    assert use.name == "weather" and isinstance(use.input, dict)
    follow = [
        *messages,
        {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in answer.content]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id, "content": "12 degrees"}]},
    ]
    final = client.messages.create(model=model, max_tokens=300, messages=follow, tools=TOOLS)
    assert final.stop_reason == "end_turn" and final.content[0].text


def test_tokens_are_counted_without_a_call(live: Live, client: anthropic.Anthropic):
    before = live.query("SELECT count(*) FROM billing_usagelog")
    assert client.messages.count_tokens(model="claude-3-haiku", messages=ask("Hello")).input_tokens > 0
    assert live.query("SELECT count(*) FROM billing_usagelog") == before


def test_x_api_key_is_as_good_as_bearer(live: Live):
    answer = live.call(
        "POST",
        "/v1/messages",
        {"model": "claude-3-haiku", "max_tokens": 50, "messages": ask("Hi")},
        key="",
        headers={"x-api-key": live.key, "anthropic-version": "2023-06-01"},
    )
    assert answer.status == 200 and answer.json["type"] == "message"


def test_errors_arrive_typed(live: Live, client: anthropic.Anthropic):
    with pytest.raises(anthropic.NotFoundError) as missing:
        client.messages.create(model="no-such-model", max_tokens=10, messages=ask("Hi"))
    assert missing.value.body["error"]["type"] == "not_found_error"
    with pytest.raises(anthropic.BadRequestError):
        client.messages.create(model="claude-3-haiku", max_tokens=0, messages=ask("Hi"))
    with (
        anthropic.Anthropic(api_key="aia_wrong", base_url=live.url, max_retries=0) as stranger,
        pytest.raises(anthropic.AuthenticationError),
    ):
        stranger.messages.create(model="claude-3-haiku", max_tokens=10, messages=ask("Hi"))
    _, key = live.new_user("poor-too@example.com", monthly_budget_usd="0.0000001")
    with anthropic.Anthropic(api_key=key, base_url=live.url, max_retries=2) as poor, pytest.raises(anthropic.APIStatusError) as refused:
        poor.messages.create(model="claude-3-haiku", max_tokens=10, messages=ask("Hi"))
    assert refused.value.status_code == 402
    assert refused.value.body["error"]["type"] == "billing_error"


def test_a_vendor_that_dies_in_mid_stream_is_an_error_not_an_end(client: anthropic.Anthropic):
    with (
        pytest.raises(anthropic.APIStatusError),
        client.messages.stream(model="claude-3-haiku", max_tokens=300, messages=ask("[[sim:die:5]] go on")) as events,
    ):
        assert "".join(events.text_stream) is None, "it does not come here: the stream raises"
