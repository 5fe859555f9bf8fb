"""`/v1/embeddings` and the limits of `/v1/responses`, with the unchanged `openai` package: only its base URL and key are set."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import time
from collections.abc import Iterator
from decimal import Decimal
from uuid import uuid4

import openai
import pytest

from tests.kit.servers.live import Live, launch
from tests.kit.waiting import wait_for

pytestmark = pytest.mark.long
SMALL, LARGE, GEMINI = "text-embedding-3-small", "text-embedding-3-large", "gemini-embedding-001"


@pytest.fixture
def client(live: Live) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key=live.key, base_url=live.url + "/v1", max_retries=0) as made:
        yield made


def rows(live: Live, request_id: str) -> list[tuple]:
    return live.query(
        "SELECT cost_usd, input_tokens, output_tokens, status, purpose, surface, model, estimated, baseline_cost_usd"
        " FROM billing_usagelog WHERE request_id = %s", request_id,
    )  # fmt: skip


@pytest.mark.parametrize(("model", "size"), [(SMALL, 1536), (LARGE, 3072), (GEMINI, 3072), ("gemini-embedding-2", 3072)])
def test_the_client_gets_the_same_vectors_as_base64_which_is_its_default_and_as_floats(client: openai.OpenAI, model: str, size: int):
    packed = client.embeddings.create(model=model, input=["one", "two"])
    floats = client.embeddings.create(model=model, input=["one", "two"], encoding_format="float")
    assert packed.object == "list" and packed.model == model
    assert [one.index for one in packed.data] == [0, 1] and {len(one.embedding) for one in packed.data} == {size}
    assert [one.embedding for one in packed.data] == [one.embedding for one in floats.data]
    assert packed.data[0].embedding != packed.data[1].embedding
    assert packed.usage.prompt_tokens == packed.usage.total_tokens > 0
    raw = client.embeddings.with_raw_response.create(model=model, input="one", encoding_format="base64")
    assert isinstance(json.loads(raw.text)["data"][0]["embedding"], str)


def test_the_async_client_gets_them_too_many_at_once(live: Live):
    async def run() -> list[openai.types.CreateEmbeddingResponse]:
        async with openai.AsyncOpenAI(api_key=live.key, base_url=live.url + "/v1", max_retries=0) as many:
            return await asyncio.gather(*(many.embeddings.create(model=SMALL, input=f"text {number}") for number in range(20)))

    found = asyncio.run(run())
    assert len({tuple(one.data[0].embedding) for one in found}) == 20


def test_a_thousand_inputs_come_back_in_their_order(client: openai.OpenAI):
    texts = [f"text {number}" for number in range(1000)]
    found = client.embeddings.create(model=SMALL, input=texts, dimensions=64).data
    assert [one.index for one in found] == list(range(1000)) and {len(one.embedding) for one in found} == {64}
    for number in (0, 255, 256, 999):
        assert found[number].embedding == client.embeddings.create(model=SMALL, input=texts[number], dimensions=64).data[0].embedding


def test_tokens_are_read_by_openais_models_and_refused_with_a_reason_by_googles(client: openai.OpenAI):
    one = client.embeddings.create(model=SMALL, input=[1, 2, 3])
    two = client.embeddings.create(model=SMALL, input=[[1, 2, 3], [4, 5]])
    assert len(one.data) == 1 and len(two.data) == 2 and two.data[0].embedding == one.data[0].embedding
    assert (one.usage.prompt_tokens, two.usage.prompt_tokens) == (3, 5)
    with pytest.raises(openai.BadRequestError, match="send strings") as refused:
        client.embeddings.create(model=GEMINI, input=[1, 2, 3])
    assert refused.value.param == "input" and refused.value.code == "tokens_not_supported"


def test_each_call_is_one_row_at_its_exact_price(live: Live, client: openai.OpenAI):
    request_id = f"embed-{uuid4()}"
    raw = client.embeddings.with_raw_response.create(
        model=SMALL, input=["How much", "is this?"], extra_headers={"X-Request-ID": request_id}
    )
    answer = raw.parse()
    ((cost, tokens, output, status, purpose, surface, model, estimated, baseline),) = rows(live, request_id)
    assert (tokens, output, status, purpose, surface, model) == (answer.usage.prompt_tokens, 0, "ok", "api", "openai", SMALL)
    assert Decimal(str(cost)) == Decimal("0.02") * tokens / 10**6 and not estimated and baseline is None
    assert Decimal(raw.headers["x-aiagents-cost-usd"]) == Decimal("0.02") * tokens / 10**6
    assert raw.headers["x-aiagents-model"] == SMALL
    assert answer.usage.model_extra and Decimal(answer.usage.model_extra["cost_usd"]) == Decimal("0.02") * tokens / 10**6


def test_a_repeated_key_is_answered_from_the_first_and_paid_once(live: Live, client: openai.OpenAI):
    request_id = f"embed-{uuid4()}"
    headers = {"Idempotency-Key": str(uuid4()), "X-Request-ID": request_id}
    first = client.embeddings.with_raw_response.create(model=SMALL, input="once", extra_headers=headers)
    again = client.embeddings.with_raw_response.create(model=SMALL, input="once", extra_headers=headers)
    assert again.headers["idempotent-replayed"] == "true" and again.text == first.text
    assert len(rows(live, request_id)) == 1
    with pytest.raises(openai.ConflictError):
        client.embeddings.create(model=SMALL, input="something else", extra_headers=headers)


def test_an_answer_too_large_to_be_kept_is_made_and_paid_again(live: Live, client: openai.OpenAI):
    request_id = f"embed-{uuid4()}"
    headers = {"Idempotency-Key": str(uuid4()), "X-Request-ID": request_id}
    for _ in range(2):
        raw = client.embeddings.with_raw_response.create(model=SMALL, input=["x"] * 150, extra_headers=headers)
        assert len(raw.content) > 1024 * 1024 and "idempotent-replayed" not in raw.headers
    assert len(rows(live, request_id)) == 2


@pytest.mark.parametrize(
    ("body", "error", "param"),
    [
        ({"model": "no-such-model", "input": "x"}, openai.NotFoundError, "model"),
        ({"model": "gpt-4o-mini", "input": "x"}, openai.BadRequestError, "model"),
        ({"model": "auto", "input": "x"}, openai.BadRequestError, "model"),
        ({"model": SMALL, "input": ""}, openai.BadRequestError, "input"),
        ({"model": SMALL, "input": []}, openai.BadRequestError, "input"),
        ({"model": SMALL, "input": ["x", ""]}, openai.BadRequestError, "input[1]"),
        ({"model": SMALL, "input": [["x"]]}, openai.BadRequestError, "input[0]"),
        ({"model": SMALL, "input": [True]}, openai.BadRequestError, "input[0]"),
        ({"model": SMALL, "input": [-1]}, openai.BadRequestError, "input"),
        ({"model": SMALL, "input": ["x"] * 2049}, openai.BadRequestError, "input"),
        ({"model": SMALL, "input": "x", "dimensions": 0}, openai.BadRequestError, "dimensions"),
        ({"model": SMALL, "input": "x", "dimensions": 4096}, openai.BadRequestError, "dimensions"),
        ({"model": SMALL, "input": "x", "encoding_format": "int8"}, openai.BadRequestError, "encoding_format"),
        ({"model": SMALL, "input": "x", "extra_body": {"api_base": "x"}}, openai.BadRequestError, "api_base"),
        ({"model": SMALL, "input": "x", "extra_body": {"fallbacks": [LARGE]}}, openai.BadRequestError, "fallbacks"),
    ],
)
def test_what_is_wrong_is_said_in_openais_shape(client: openai.OpenAI, body: dict, error: type[openai.APIStatusError], param: str):
    with pytest.raises(error) as refused:
        client.embeddings.create(**body)
    assert refused.value.param == param and refused.value.type == "invalid_request_error" and refused.value.code
    assert "request_id" in refused.value.body


def test_a_spent_budget_is_insufficient_quota_and_not_retried(live: Live):
    _, key = live.new_user("poor-embedder@example.com", monthly_budget_usd="0.00000001")
    with openai.OpenAI(api_key=key, base_url=live.url + "/v1", max_retries=2) as poor, pytest.raises(openai.RateLimitError) as refused:
        poor.embeddings.create(model=SMALL, input="Hello there")
    assert refused.value.code == "insufficient_quota"
    assert refused.value.response.headers["x-should-retry"] == "false"


def test_they_are_listed_marked_and_do_not_chat(live: Live, client: openai.OpenAI):
    kinds = {model.id: model.model_extra["kind"] for model in client.models.list()}
    assert {kinds[SMALL], kinds[LARGE], kinds[GEMINI]} == {"embeddings"} and kinds["gpt-4o-mini"] == kinds["auto"] == "chat"
    listed = live.call("GET", "/api/v1/billing/models?embeddings=true&page_size=100").json["results"]
    assert {SMALL, LARGE, GEMINI} <= {row["id"] for row in listed}
    for row in listed:
        assert row["capabilities"] == ["embeddings"] and row["dimensions"] >= 1536 and row["price"]["output"] == "0.00000000"
    with pytest.raises(openai.BadRequestError, match="/v1/embeddings"):
        client.chat.completions.create(model=SMALL, messages=[{"role": "user", "content": "Hi"}])
    refused = live.call("POST", "/api/v1/chat/send", {"content": "Hi", "model": SMALL})
    assert refused.status == 400 and refused.json["error"]["code"] == "model_unfit"
    for path, body in (("/api/v1/agents/", {"name": "x", "model": SMALL}), ("/api/v1/tasks/", {"name": "x", "input": "x", "model": SMALL})):
        refused = live.call("POST", path, body, key=live.access)
        assert refused.status == 400 and "embeddings" in refused.json["error"]["details"]["model"][0]


@pytest.fixture
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    installation = launch(tmp_path_factory.mktemp("mortal-embedder"), os.environ.get("PYTEST_XDIST_WORKER", "") + "e")
    yield installation
    installation.close()


def begin(live: Live, request_id: str) -> http.client.HTTPConnection:
    """A call whose vendor never answers, under way: its money is held."""
    live.call("GET", "/health")
    simulator = http.client.HTTPConnection("127.0.0.1", live.sim_port, timeout=10)
    steering = {"Content-Type": "application/json", "Authorization": f"Bearer {live.env['SIMULATOR_TOKEN']}"}
    simulator.request("POST", "/__sim/plan", json.dumps({"model": SMALL, "always": "hang"}), steering)
    assert simulator.getresponse().status == 200
    simulator.close()
    connection = http.client.HTTPConnection("127.0.0.1", live.port, timeout=30)
    headers = {"Authorization": f"Bearer {live.key}", "Content-Type": "application/json", "X-Request-ID": request_id}
    connection.request("POST", "/v1/embeddings", json.dumps({"model": SMALL, "input": "Hello there"}), headers)
    assert wait_for(lambda: live.query("SELECT 1 FROM billing_hold WHERE status = 'open'")), "nothing was held"
    time.sleep(0.3)  # the request goes on to the vendor
    return connection


def settled(live: Live, request_id: str, seconds: float) -> tuple:
    found = wait_for(lambda: rows(live, request_id), seconds, every=0.2)
    assert len(found) == 1 and not live.query("SELECT 1 FROM billing_hold WHERE status = 'open'")
    return found[0]


def test_who_hangs_up_and_a_server_that_dies_leave_one_estimated_row_each(mortal: Live):
    begin(mortal, "embedder-left").close()
    cost, *_, estimated, _ = settled(mortal, "embedder-left", 10)
    assert estimated and cost > 0 and rows(mortal, "embedder-left")[0][3] == "cancelled"

    waiting = begin(mortal, "embedder-killed")  # its client stays until the server is gone
    mortal.kill()
    waiting.close()
    mortal.start()
    mortal.query("UPDATE billing_hold SET heartbeat_at = created_at - interval '1 hour' WHERE status = 'open'") if not mortal.env[
        "DATABASE_URL"
    ].startswith("sqlite") else mortal.query("UPDATE billing_hold SET heartbeat_at = '2020-01-01 00:00:00' WHERE status = 'open'")
    mortal.manage("shell", "-c", "from billing.ledger.service import sweep; sweep()")
    cost, *_, estimated, _ = settled(mortal, "embedder-killed", 30)
    assert estimated and cost > 0 and rows(mortal, "embedder-killed")[0][3] == "interrupted"


# --- /v1/responses and what it keeps


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"conversation": "conv_1"}, "/api/v1/chat"),
        ({"background": True}, "/api/v1/tasks/"),
        ({"prompt": {"id": "pmpt_1"}}, "instructions"),
    ],
)
def test_what_needs_a_store_is_refused_with_what_to_do_instead(client: openai.OpenAI, body: dict, said: str):
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(**({"model": "gpt-4o-mini", "input": "Hi"} | body))
    assert said in refused.value.message
    assert refused.value.param == next(iter(body))


def test_what_is_not_kept_is_answered_as_openais_client_knows_it(client: openai.OpenAI):
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model="gpt-4o-mini", input="Hi", previous_response_id="resp_1")
    assert (refused.value.code, refused.value.param) == ("previous_response_not_found", "previous_response_id")
    with pytest.raises(openai.NotFoundError) as missing:
        client.responses.create(model="gpt-4o-mini", input=[{"role": "user", "content": "Hi"}, {"type": "item_reference", "id": "msg_1"}])
    assert missing.value.param == "input"


def test_the_answer_says_whether_it_is_kept(client: openai.OpenAI):
    assert client.responses.create(model="gpt-4o-mini", input="Hi", store=False).to_dict()["store"] is False
    answer = client.responses.create(model="gpt-4o-mini", input="Hi", store=True, background=False, conversation=None)
    assert answer.to_dict()["store"] is True and answer.previous_response_id is None
    assert client.responses.create(model="gpt-4o-mini", input="And then?", previous_response_id=answer.id).previous_response_id == answer.id
    follow = client.responses.create(
        model="gpt-4o-mini",
        input=[{"role": "user", "content": "Hi"}, *(item.to_dict() for item in answer.output), {"role": "user", "content": "And then?"}],
    )
    assert follow.output_text
