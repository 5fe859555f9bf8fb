"""A turn from its question to its stored answer, whoever watches."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from decimal import Decimal

import orjson
import pytest

from aiagents.core import draining
from aiagents.core.errors import Conflict, ModelNotFound, NotFound, RateLimited, Unavailable
from aiagents.core.valkey import clients as valkey
from billing.models import Hold, UsageLog
from chat.models import Conversation, Message
from chat.tests.conftest import begin, collect
from chat.turns import running as running_turns
from chat.turns import service as turns
from tests.kit.waiting import until

HI = turns.TurnRequest(content="Hi", model="gpt-4o-mini")


def text_of(lines) -> str:
    return "".join(json.loads(data)["text"] for _, kind, data in lines if kind == "content.delta")


async def test_a_turn_is_saved_streamed_stored_and_paid(principal, vendors):
    async with vendors():
        turn = await begin(principal, "[[sim:chunks=5]] Hello there")
        question = await Message.objects.aget(id=turn.opened.question.id)
        assert question.content == "[[sim:chunks=5]] Hello there" and question.role == "user"
        lines = await collect(turn.view())
    assert [seq for seq, _, _ in lines] == list(range(len(lines)))
    assert lines[0][1] == "message.start" and lines[-1][1] == "message.end"
    assert json.loads(lines[0][2])["message_id"] == str(turn.message_id)
    end = json.loads(lines[-1][2])
    stored = await Message.objects.aget(id=turn.message_id)
    log = await UsageLog.objects.aget(message_id=turn.message_id)
    assert stored.status == end["status"] == "complete"
    assert stored.content == end["content"] == text_of(lines) != ""
    assert Decimal(end["cost_usd"]) == stored.cost_usd == log.cost_usd > 0
    assert end["usage"]["output_tokens"] == stored.output_tokens == log.output_tokens > 0
    assert stored.last_seq == lines[-1][0]
    conversation = await Conversation.objects.aget(id=turn.conversation_id)
    assert conversation.leaf_id == turn.message_id and conversation.title == "[[sim:chunks=5]] Hello there"


async def test_the_question_is_a_row_before_the_vendor_is_called(principal, vendors):
    seen = []

    async def source(request, context, receipts):
        seen.append(await Message.objects.filter(conversation_id=context.conversation_id).acount())
        return
        yield

    async with vendors():
        turn = await turns.start(
            principal, turns.TurnRequest(content="Hi", model="gpt-4o-mini"), surface="rest", request_id="r" * 8, source=source
        )
        await turn.finished()
    assert seen == [2]


async def test_every_viewer_sees_every_event_once_from_any_place(principal, vendors):
    async with vendors():
        turn = await begin(principal, "[[sim:chunks=12,pace=5]] Go")
        early = await asyncio.gather(*(collect(turn.view(after)) for after in range(-1, 6)))
        whole = early[0]
        assert [line[0] for line in whole] == list(range(len(whole)))
        for after, lines in zip(range(-1, 6), early, strict=True):
            assert lines == (whole[after + 1 :] or whole[-1:])  # a slow machine joins pieces of text, so there may be fewer events
        for after in range(-1, len(whole) + 3):
            expected = whole[after + 1 :] or whole[-1:]
            assert await collect(turn.view(after)) == expected


async def test_it_ends_and_is_charged_once_when_its_reader_leaves(principal, vendors):
    async with vendors():
        turn = await begin(principal, "[[sim:chunks=20,pace=5]] Go on")
        async with aclosing(turn.view()) as lines:
            await anext(lines)
            await anext(lines)
        answer = await turn.finished()
    assert answer["status"] == "complete"
    assert await UsageLog.objects.filter(message_id=turn.message_id).acount() == 1


async def test_cancelling_keeps_the_text_and_charges_what_was_used(principal, vendors):
    async with vendors():
        turn = await begin(principal, "[[sim:chunks=200,pace=10]] A long story")
        async with aclosing(turn.view()) as lines:
            for _ in range(6):
                await anext(lines)
        answer = await turns.cancel(principal, turn.message_id)
        assert await turns.cancel(principal, turn.message_id) == answer
    assert answer["status"] == "cancelled" and answer["finish_reason"] == "cancelled" and answer["content"]
    stored = await Message.objects.aget(id=turn.message_id)
    log = await UsageLog.objects.aget(message_id=turn.message_id)
    assert stored.content == answer["content"] and stored.status == "cancelled"
    assert log.status == "cancelled" and log.estimated and log.cost_usd == stored.cost_usd > 0
    assert not await Hold.objects.filter(status="open").aexists()


async def test_a_cancellation_that_races_the_end_leaves_one_state_and_one_charge(principal, vendors):
    async with vendors():
        for round in range(100):
            turn = await begin(principal, "[[sim:chunks=3]] Quick")
            for _ in range(round % 34):
                await asyncio.sleep(0)
            if round % 3 == 0:
                await asyncio.sleep(0.001 * (round % 12))  # another moment of the turn each time
            answer = await turns.cancel(principal, turn.message_id)
            lines = await collect(turn.view())
            stored = await Message.objects.aget(id=turn.message_id)
            assert [line[0] for line in lines] == list(range(len(lines)))
            assert [kind for _, kind, _ in lines].count("message.end") == 1 == sum(kind in ("message.end", "error") for _, kind, _ in lines)
            assert stored.status == answer["status"] in ("complete", "cancelled")
            logs = [log async for log in UsageLog.objects.filter(message_id=turn.message_id)]
            assert len(logs) <= 1
            assert stored.cost_usd == sum((log.cost_usd for log in logs), Decimal(0))
            assert text_of(lines) == stored.content
    assert not await Hold.objects.filter(status="open").aexists()


async def test_a_stream_that_is_cut_is_interrupted_with_its_text_and_an_honest_error(principal, vendors):
    async with vendors():
        turn = await begin(principal, "[[sim:chunks=10,die=4,pace=2]] Story")
        lines = await collect(turn.view())
    seq, kind, data = lines[-1]
    error = json.loads(data)
    assert kind == "error" and error["error"]["type"] == "provider_error"
    stored = await Message.objects.aget(id=turn.message_id)
    assert stored.status == "interrupted" and stored.content == text_of(lines) != "" and stored.error["code"] == error["error"]["code"]
    assert error["message"]["content"] == stored.content and stored.last_seq == seq
    assert (await UsageLog.objects.aget(message_id=turn.message_id)).cost_usd == stored.cost_usd > 0


@pytest.mark.parametrize("model", ["gpt-4o-mini", "claude-haiku-4-5", "gemini-2.5-flash"])
@pytest.mark.parametrize("fault", ["eof", "half", "cut", "error", "badjson"])
async def test_every_vendor_that_breaks_off_leaves_an_interrupted_answer_with_its_text(principal, vendors, model, fault):
    async with vendors():
        turn = await begin(principal, f"[[sim:chunks=12,pace=2,{fault}]] Story", model=model)
        lines = await collect(turn.view())
    stored = await Message.objects.aget(id=turn.message_id)
    assert lines[-1][1] == "error" and stored.status == "interrupted", stored.error
    assert stored.content == text_of(lines) != "" and stored.cost_usd > 0 and stored.error["type"] == "provider_error"
    assert await UsageLog.objects.filter(message_id=turn.message_id).acount() == 1


async def test_an_interrupted_answer_can_be_carried_on(principal, vendors):
    async with vendors():
        first = await begin(principal, "[[sim:chunks=10,die=4,pace=2]] Story")
        await first.finished()
        again = await turns.start(
            principal, turns.TurnRequest(regenerate_of=first.message_id, carry_on=True), surface="rest", request_id="r" * 8, source=plain
        )
        answer = await again.finished()
    kept = (await Message.objects.aget(id=first.message_id)).content
    assert answer["status"] == "complete" and answer["content"] == kept + "and so on."
    assert answer["parent_id"] == str(first.opened.question.id)


async def plain(request, context, receipts):
    """A source without a vendor: it answers with a fixed text (no agents or models are involved)."""
    from agents.events import TextDelta

    assert request.messages[-1].role == "user"
    yield TextDelta("and so on.")


async def test_a_fallback_is_told_after_the_start_and_before_the_text(principal, vendors):
    async with vendors() as sim:
        sim.always("gpt-4o-mini", "503")
        turn = await begin(principal, "Hello", fallbacks=("claude-haiku-4-5",))
        lines = await collect(turn.view())
    kinds = [kind for _, kind, _ in lines]
    assert kinds[0] == "message.start" and kinds[1] == "route.fallback" and kinds[-1] == "message.end"
    fallback, start = json.loads(lines[1][2]), json.loads(lines[0][2])
    assert fallback["from"] == "gpt-4o-mini" and fallback["to"] == start["model"]
    assert start["model"] == json.loads(lines[-1][2])["model"] != "gpt-4o-mini"


async def test_when_no_model_answers_the_turn_fails_with_what_was_tried(principal, vendors):
    async with vendors() as sim:
        sim.always("*", "400,context")
        turn = await begin(principal, "Hello")
        lines = await collect(turn.view())
    assert [lines[0][1], lines[-1][1]] == ["message.start", "error"]
    stored = await Message.objects.aget(id=turn.message_id)
    assert stored.status == "failed" and stored.content == "" and stored.error["code"]


async def test_unknown_models_and_foreign_ids_are_not_found_and_nothing_is_saved(principal, stranger, vendors):
    async with vendors():
        mine = await begin(principal)
        await mine.finished()
        before = await Message.objects.acount()
        foreign = type(principal)(stranger, stranger.auth_epoch)
        for ask in (
            {"conversation_id": mine.conversation_id},
            {"parent_id": mine.message_id},
            {"conversation_id": mine.conversation_id, "parent_id": mine.message_id},
            {"regenerate_of": mine.message_id},
            {"edit_of": mine.opened.question.id},
            {"agent_id": mine.message_id},
        ):
            with pytest.raises(NotFound):
                await begin(foreign, "Hi", **ask)
        for call in (turns.attach(foreign, mine.message_id), turns.cancel(foreign, mine.message_id)):
            with pytest.raises(NotFound):
                await call
        with pytest.raises(ModelNotFound):
            await begin(principal, model="no-such-model")
        assert await Message.objects.acount() == before


async def test_two_tabs_asking_at_once_make_siblings_and_lose_nothing(principal, vendors):
    async with vendors():
        first = await begin(principal)
        await first.finished()
        one = await begin(principal, "[[sim:chunks=20,pace=10]] One", conversation_id=first.conversation_id)
        two = await begin(principal, "[[sim:chunks=20,pace=10]] Two", conversation_id=first.conversation_id)
        assert one.opened.question.parent_id == two.opened.question.parent_id == first.message_id
        with pytest.raises(Conflict):
            await begin(principal, "Three", parent_id=one.message_id)
        await asyncio.gather(one.finished(), two.finished())


async def test_a_user_has_a_bounded_number_of_turns_at_once(principal, vendors, settings):
    settings.MAX_CONCURRENT_TURNS_PER_USER = 3
    async with vendors():
        begun = await asyncio.gather(*(begin(principal, "[[sim:chunks=20,pace=10]] x") for _ in range(6)), return_exceptions=True)
        running = [turn for turn in begun if isinstance(turn, turns.Turn)]
        assert len(running) == 3 and sum(isinstance(turn, RateLimited) for turn in begun) == 3
        await asyncio.gather(*(turn.finished() for turn in running))
        assert (await (await begin(principal)).finished())["status"] == "complete"


async def test_a_starter_that_is_cancelled_leaves_a_whole_turn(principal, vendors):
    async with vendors():
        starting = asyncio.create_task(begin(principal, "Still here"))
        await until(lambda: running_turns.here().background, every=0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        await until(Message.objects.filter(role="assistant", status="complete").aexists)


async def test_a_cancellation_whose_message_is_lost_is_found_by_its_key(principal, vendors, settings):
    settings.PROGRESS_INTERVAL_SECONDS = 0.1
    async with vendors():
        turn = await begin(principal, "[[sim:chunks=400,pace=50]] x")
        await valkey.client().set(running_turns.cancel_key(turn.message_id), 1, ex=60)
        async with asyncio.timeout(10):
            assert (await turn.finished())["status"] == "cancelled"


async def test_draining_lets_turns_end_and_keeps_what_does_not(principal, vendors):
    async with vendors():
        quick = await begin(principal, "[[sim:chunks=5,pace=5]] quick")
        slow = await begin(principal, "[[sim:chunks=1000,pace=20]] slow")
        draining.begin()
        try:
            with pytest.raises(Unavailable) as refused:
                await begin(principal)
            await turns.drain(3)
        finally:
            draining.reset()
        assert refused.value.retry_after
        assert (await quick.finished())["status"] == "complete"
        answer = await slow.finished()
    stored = await Message.objects.aget(id=slow.message_id)
    assert answer["status"] == stored.status == "interrupted" and stored.content and stored.error["code"] == "interrupted"
    log = await UsageLog.objects.aget(message_id=slow.message_id)
    assert log.status == "interrupted" and log.cost_usd == stored.cost_usd > 0
    assert not await Hold.objects.filter(status="open").aexists()


async def test_titles_are_given_after_the_first_answer_and_charged_as_such(principal, vendors, settings):
    settings.CHAT_TITLES = True
    async with vendors():
        turn = await begin(principal, "Which rivers flow through Vienna and what do they mean to its people?")
        await turn.finished()
        second = await begin(principal, "And Graz?", conversation_id=turn.conversation_id)
        await second.finished()
    titles = [log async for log in UsageLog.objects.filter(purpose="title")]
    assert len(titles) == 1 and titles[0].user_id == principal.user_id and titles[0].cost_usd > 0
    conversation = await Conversation.objects.aget(id=turn.conversation_id)
    assert conversation.title and "\n" not in conversation.title
    stored = await Message.objects.aget(id=turn.message_id)
    assert stored.cost_usd == (await UsageLog.objects.aget(message_id=turn.message_id)).cost_usd


async def test_history_goes_along_and_the_last_model_is_remembered(principal, vendors):
    async with vendors():
        first = await begin(principal, "My name is Ann", system_prompt="Be brief")
        await first.finished()
        seen = []

        async def source(request, context, receipts):
            seen.append((request, context))
            return
            yield

        ask = turns.TurnRequest(content="Who am I?", conversation_id=first.conversation_id)
        second = await turns.start(principal, ask, surface="rest", request_id="r" * 8, source=source)
        await second.finished()
    request, context = seen[0]
    assert [message.role for message in request.messages] == ["user", "assistant", "user"]
    assert request.messages[0].text == "My name is Ann" and request.system == "Be brief"
    assert context.sticky == context.requested_model == "gpt-4o-mini"


async def test_a_history_too_long_for_the_window_loses_its_oldest_exchanges_whole(principal, vendors):
    from chat.conversations import history

    long = "word " * 40_000
    branch = []
    for number in range(6):
        branch += [Message(role="user", content=f"q{number} {long}"), Message(role="assistant", content=f"a{number}")]
    branch.append(Message(role="user", content="last"))
    fitted = await history.fit(turns.TurnRequest(content="last", model="gpt-4o-mini", system_prompt="Stay"), branch)
    assert fitted.dropped > 0 and fitted.dropped % 2 == 0 and fitted.sent + fitted.dropped == len(branch)
    assert fitted.request.system == "Stay" and fitted.request.messages[0].role == "user" and fitted.request.messages[-1].text == "last"


async def test_output_beyond_the_cap_ends_the_turn_as_length(principal, vendors, monkeypatch):
    from agents.events import TextDelta
    from chat.turns import transcript

    monkeypatch.setattr(transcript, "MOST_BYTES", 10_000)

    async def source(request, context, receipts):
        while True:
            yield TextDelta("x" * 1000)

    async with vendors():
        turn = await turns.start(
            principal, turns.TurnRequest(content="Hi", model="gpt-4o-mini"), surface="rest", request_id="r" * 8, source=source
        )
        answer = await turn.finished()
    assert answer["status"] == "complete" and answer["finish_reason"] == "length" and len(answer["content"]) < 12_000


async def test_hostile_model_text_is_cleaned_and_cannot_forge_an_event(principal, vendors):
    from agents.events import TextDelta

    async def source(request, context, receipts):
        yield TextDelta("a\x00b\ud800c\n\nevent: message.end\ndata: {}\n\n")

    async with vendors():
        turn = await turns.start(
            principal, turns.TurnRequest(content="Hi", model="gpt-4o-mini"), surface="rest", request_id="r" * 8, source=source
        )
        lines = await collect(turn.view())
    assert all(b"\n" not in data for _, _, data in lines)
    stored = await Message.objects.aget(id=turn.message_id)
    assert stored.content == orjson.loads(lines[1][2])["text"] and "\x00" not in stored.content
