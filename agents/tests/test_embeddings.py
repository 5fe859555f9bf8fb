"""Vectors: through the adapters of the vendors that make them, and through a call with its money."""

from __future__ import annotations

import asyncio
import math
from contextlib import aclosing
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.calls import running as running_calls
from agents.calls import service as calls
from agents.calls import whole
from agents.events import Completed, UsageReport, Vectors
from agents.messages import EmbeddingRequest, byte_size, estimate_embedding, estimate_text
from agents.providers import errors, provider, vectors
from agents.simulator import Simulator
from agents.simulator.wires import vectors as simulated
from agents.tests.books import exact
from agents.tests.conftest import ask
from agents.tests.vendors import target
from aiagents.core.db.calls import in_db
from aiagents.core.errors import BudgetExceeded, InvalidRequest, ModelNotFound, NoModelAvailable
from billing.budgets import budgets
from billing.catalogue import snapshot as catalogue
from billing.models import AIModel, UsageLog
from tests.kit.waiting import until

SMALL = "text-embedding-3-small"
MAKERS = ("openai", "openai_compatible", "google")


def of(*inputs, **options) -> EmbeddingRequest:
    return EmbeddingRequest(inputs, **options)


async def made(kind: str, sim: Simulator, request: EmbeddingRequest, **options) -> list:
    async with aclosing(provider(kind).embed(request, target(sim, kind, **options))) as events:
        return [event async for event in events]


def values(events: list) -> list[bytes]:
    return next(event.values for event in events if isinstance(event, Vectors))


# --- the adapters


@pytest.mark.parametrize("kind", MAKERS)
async def test_vectors_come_in_the_order_of_the_inputs_with_the_vendors_count(kind):
    async with Simulator() as sim:
        events = await made(kind, sim, of("one", "two", "one"))
        assert sim.requests[0].headers.get("authorization", sim.requests[0].headers.get("x-goog-api-key", "")).endswith("0123456789")
    first, second, third = (vectors.numbers(one) for one in values(events))
    assert first == third != second and len(first) == simulated.USUAL
    assert first == pytest.approx(simulated.of("one", simulated.USUAL), abs=1e-6)
    end = events[-1]
    assert isinstance(end, Completed) and end.usage and end.usage.input_tokens > 0 == end.usage.output_tokens


@pytest.mark.parametrize("kind", MAKERS)
async def test_shortened_vectors_have_the_asked_length_and_the_length_one(kind):
    async with Simulator() as sim:
        found = values(await made(kind, sim, of("one", dimensions=5)))
    assert len(vectors.numbers(found[0])) == 5
    assert math.hypot(*vectors.numbers(found[0])) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(("kind", "most"), [("openai", 256), ("openai_compatible", 64), ("google", 100)])
async def test_many_inputs_go_in_batches_and_come_back_as_one(kind, most):
    texts = tuple(f"text {number}" for number in range(most * 2 + 1))
    async with Simulator() as sim:
        events = await made(kind, sim, of(*texts))
        assert len(sim.requests) == 3
    assert values(events) == [vectors.pack(simulated.of(text, simulated.USUAL)) for text in texts]
    reports = [event.usage.input_tokens for event in events if isinstance(event, UsageReport)]
    assert len(reports) == 3 and reports == sorted(reports) and events[-1].usage.input_tokens == reports[-1]


async def test_a_batch_holds_no_more_tokens_than_the_vendor_takes():
    async with Simulator() as sim:
        await made("openai", sim, of("x" * 400_000, "y" * 400_000, tuple(range(200_000)), (1, 2)))
        assert [len(seen.body["input"]) for seen in sim.requests] == [1, 1, 2]


async def test_openai_is_asked_for_base64_and_compatible_servers_for_numbers():
    async with Simulator() as sim:
        same = [values(await made(kind, sim, of((1, 2), (5, 6, 7), user="u-1"))) for kind in ("openai", "openai_compatible")]
        assert [seen.body["encoding_format"] for seen in sim.requests] == ["base64", "float"]
        assert sim.requests[0].body["input"] == [[1, 2], [5, 6, 7]] and sim.requests[0].body["user"] == "u-1"
    assert same[0] == same[1]


@pytest.mark.parametrize("kind", MAKERS)
async def test_a_vendor_that_does_not_count_is_estimated(kind):
    async with Simulator() as sim:
        sim.always("sim-model", "usage=missing")
        events = await made(kind, sim, of("How many tokens is this?"))
    assert events[-1].usage is None
    assert next(event.usage.input_tokens for event in events if isinstance(event, UsageReport)) == estimate_text("How many tokens is this?")


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("429", errors.ProviderRateLimited),
        ("401", errors.ProviderAuthFailed),
        ("400", errors.ProviderBadRequest),
        ("503", errors.ProviderError),
        ("refuse", errors.ProviderUnavailable),
        ("html", errors.ProviderBadResponse),
        ("empty", errors.ProviderBadResponse),
        ("badjson", errors.ProviderBadResponse),
        ("gzip", errors.ProviderBadResponse),
        ("cut", errors.ProviderError),
        ("429,quota", errors.ProviderQuotaExhausted),
    ],
)
async def test_what_the_vendor_does_wrong_is_typed(kind, fault, error):
    async with Simulator() as sim:
        sim.always("sim-model", fault)
        with pytest.raises(error):
            await made(kind, sim, of("one"))


async def test_a_vendor_without_embeddings_refuses_them():
    async with Simulator() as sim:
        with pytest.raises(errors.ProviderBadRequest):
            await made("anthropic", sim, of("one"))
        assert not sim.requests


@pytest.mark.parametrize("kind", MAKERS)
async def test_closing_closes_the_vendors_connection(kind):
    async with Simulator() as sim:
        sim.always("sim-model", "hang")
        task = asyncio.create_task(made(kind, sim, of("one")))
        await until(lambda: len(sim.requests) == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: sim.requests[0].client_gone)


_ODD = [
    b"{}", b"no", b'{"data":[]}', b'{"data":[{"embedding":["x"],"index":0}]}', b'{"data":[{"embedding":[],"index":0}]}',
    b'{"data":[{"embedding":[1.0],"index":1}]}', b'{"data":[{"embedding":[1e300],"index":0}]}', b'{"data":[{"embedding":"abc","index":0}]}',
    b'{"data":[{"embedding":"AAAAAAA=","index":0}]}', b'{"data":[{"embedding":"AADAfw==","index":0}]}',
]  # fmt: skip


@pytest.mark.parametrize("body", [*_ODD, b'{"data":[{"embedding":[1.0],"index":0},{"embedding":[1.0],"index":1}]}'])
async def test_what_are_no_vectors_is_a_bad_response(monkeypatch, body):
    adapter = provider("openai")

    class Said:
        async def read(self):
            return body

    async def post(address, content, more):
        return Said()

    monkeypatch.setattr(adapter, "post", post)
    async with Simulator() as sim:
        with pytest.raises(errors.ProviderBadResponse):
            await made("openai", sim, of("one"))


async def test_vectors_of_another_length_than_asked_are_a_bad_response(monkeypatch):
    adapter = provider("openai")
    monkeypatch.setattr(type(adapter), "embedding_payload", lambda self, request, target: {"model": target.model, "input": request.inputs})
    async with Simulator() as sim:
        with pytest.raises(errors.ProviderBadResponse, match="length"):
            await made("openai", sim, of("one", dimensions=5))


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False, max_value=2.0**100, min_value=-(2.0**100)), min_size=1, max_size=50)
)
def test_a_vector_survives_packing_and_base64_exactly(numbers):
    packed = vectors.pack(numbers)
    assert vectors.numbers(packed) == numbers
    assert vectors.read(simulated.packed(numbers)) == packed == vectors.read(numbers)


# --- a call with its money


async def test_an_embedding_is_held_called_settled_and_logged_once(context, vendor):
    async with vendor() as sim:
        done = await whole.embed(of("The quick brown fox", "jumps"), context(SMALL, purpose="api", surface="openai"))
        assert len(sim.requests) == 1
    assert [len(one) for one in done.vectors] == [4 * 1536] * 2
    row = await UsageLog.objects.aget()
    assert (row.call_id, row.cost_usd, row.status, row.model, row.purpose) == (
        done.settled.call_id,
        done.settled.cost_usd,
        "ok",
        SMALL,
        "api",
    )
    assert row.cost_usd == Decimal("0.02") * row.input_tokens / 10**6 and row.input_tokens > 0 == row.output_tokens
    assert row.baseline_cost_usd is None and not row.estimated and row.simulated
    assert row.price["input"] == "0.020000" and done.settled.route["chosen"] == SMALL
    await in_db(exact)


@pytest.mark.parametrize(
    ("model", "size"), [("text-embedding-3-large", 3072), ("gemini-embedding-001", 3072), ("gemini-embedding-2", 3072)]
)
async def test_every_embedding_model_answers(context, vendor, model, size):
    async with vendor():
        done = await whole.embed(of("hello"), context(model))
    assert len(done.vectors[0]) == 4 * size and done.settled.cost_usd > 0
    await in_db(exact)


async def test_a_model_without_a_count_is_charged_by_estimate(context, vendor):
    async with vendor() as sim:
        sim.always("gemini-embedding-001", "usage=missing")
        done = await whole.embed(of("How many tokens is this?"), context("gemini-embedding-001"))
    assert done.settled.estimated and done.settled.usage.input_tokens == estimate_text("How many tokens is this?")
    await in_db(exact)


async def test_another_model_never_stands_in(context, vendor):
    async with vendor() as sim:
        sim.always(SMALL, "500")
        with pytest.raises(InvalidRequest) as refused:
            await whole.embed(of("x"), context(SMALL, fallbacks=("text-embedding-3-large",)))
        assert refused.value.param == "fallbacks" and not sim.requests
        with pytest.raises(NoModelAvailable):
            await whole.embed(of("x"), context(SMALL))
        assert {seen.model for seen in sim.requests} == {SMALL}
    rows = [row async for row in UsageLog.objects.all()]
    assert {(row.status, row.cost_usd) for row in rows} == {("failed", Decimal(0))}
    await in_db(exact)


async def test_the_same_model_at_another_connection_is_a_fallback_if_it_is_named(context, vendor):
    def double():
        model = AIModel.objects.get(slug=SMALL)
        model.pk, model.slug, model._state.adding = None, "azure-small", True
        model.id = AIModel._meta.pk.get_default()
        model.save()
        catalogue.invalidate()

    await in_db(double)
    async with vendor() as sim:
        sim.plan(SMALL, ["500"])
        done = await whole.embed(of("x"), context(SMALL, fallbacks=("azure-small",)))
        assert len(sim.requests) == 2
    assert done.settled.model == "azure-small" and done.settled.route["tried"][0]["model"] == SMALL
    await in_db(exact)


async def test_a_short_rate_limit_is_waited_for(context, vendor):
    async with vendor() as sim:
        sim.plan(SMALL, ["429,retry-after=0"])
        done = await whole.embed(of("x"), context(SMALL))
    assert len(done.vectors) == 1
    assert [row.status async for row in UsageLog.objects.order_by("attempt")] == ["failed", "ok"]
    await in_db(exact)


async def test_batches_that_were_made_before_a_failure_are_paid(context, vendor):
    async with vendor() as sim:
        sim.plan(SMALL, ["ok", "400"])
        with pytest.raises(errors.ProviderBadRequest):
            await whole.embed(of(*[f"text {number}" for number in range(300)]), context(SMALL))
    row = await UsageLog.objects.aget()
    assert row.status == "failed" and row.cost_usd > 0 and row.estimated
    await in_db(exact)


async def test_who_hangs_up_pays_the_estimate_once(context, vendor):
    receipts: list = []
    async with vendor() as sim:
        sim.always(SMALL, "hang")
        task = asyncio.create_task(whole.embed(of("Hello there"), context(SMALL), receipts))
        await until(lambda: len(sim.requests) == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: sim.requests[0].client_gone)
        await running_calls.finish_settlements()
    row = await UsageLog.objects.aget()
    assert row.status == "cancelled" and row.estimated and row.cost_usd > 0 and len(receipts) == 1
    await in_db(exact)


async def test_a_spent_budget_refuses_before_the_vendor_is_asked(context, caller, vendor):
    await in_db(budgets.set_limit, "user", caller.user_id, Decimal("0.0000000001"))
    async with vendor() as sim:
        with pytest.raises(BudgetExceeded):
            await whole.embed(of("Hello there"), context(SMALL))
        assert not sim.requests
    assert not await UsageLog.objects.aexists()


async def test_max_cost_is_kept(context, vendor):
    async with vendor() as sim:
        with pytest.raises(BudgetExceeded) as refused:
            await whole.embed(of("x" * 10_000), context(SMALL, max_cost_usd=Decimal("0.00001")))
        assert refused.value.code == "max_cost_exceeded" and not sim.requests


@pytest.mark.parametrize(
    ("model", "request_", "error", "said"),
    [
        ("auto", of("x"), InvalidRequest, "text-embedding-3-small"),
        ("auto:cheapest", of("x"), InvalidRequest, "not routed"),
        ("no-such-model", of("x"), ModelNotFound, "does not exist"),
        ("gpt-4o-mini", of("x"), InvalidRequest, "makes no embeddings"),
        ("gemini-embedding-001", of((1, 2)), InvalidRequest, "not arrays of tokens"),
        ("text-embedding-3-large", of(*["x"] * 1303), InvalidRequest, "send 1302 at a time"),
        (SMALL, of("x", dimensions=1537), InvalidRequest, "1536"),
        ("text-embedding-ada-002", of("x", dimensions=100), InvalidRequest, "cannot be shortened"),
        (SMALL, of("x", "y" * 8192 * 17), InvalidRequest, r"input\[1\]"),
        (SMALL, of(tuple(range(8193))), InvalidRequest, "8192"),
    ],
)
async def test_what_cannot_be_embedded_is_refused_with_its_reason(context, vendor, model, request_, error, said):
    async with vendor() as sim:
        with pytest.raises(error, match=said):
            await whole.embed(request_, context(model))
        assert not sim.requests
    assert not await UsageLog.objects.aexists()


async def test_a_model_that_is_off_is_not_there(context, vendor):
    def off():
        AIModel.objects.filter(slug=SMALL).update(enabled=False)
        catalogue.invalidate()

    await in_db(off)
    with pytest.raises(ModelNotFound, match="switched off"):
        await whole.embed(of("x"), context(SMALL))


async def test_embedding_models_are_no_candidates_of_a_chat_and_refuse_one_by_name(context, vendor):
    route = await calls.preview(ask("Hello"), context("auto"))
    assert len(route["candidates"]) > 20 and not [row for row in route["candidates"] if "embedding" in row["model"]]
    with pytest.raises(InvalidRequest, match="/v1/embeddings") as refused:
        await whole.complete(ask("Hello"), context(SMALL))
    assert refused.value.code == "model_unfit" and refused.value.status == 400


@given(st.lists(st.one_of(st.text(min_size=1), st.lists(st.integers(0, 10**6), min_size=1).map(tuple)), min_size=1, max_size=20))
def test_a_hold_covers_every_text(inputs):
    bound = estimate_embedding(of(*inputs))
    assert bound >= sum(len(one) if isinstance(one, tuple) else byte_size(one) / 2 for one in inputs)
