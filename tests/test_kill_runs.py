"""The web process dies while an agent runs: in a model call, in a tool, while a person is asked. Each run ends, once, and truly."""

from __future__ import annotations

import http.client
import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anthropic
import openai
import pytest

from tests.kit.servers.live import Live, launch
from tests.kit.servers.server_process import wait_for
from tests.kit.servers.streams import read_events

pytestmark = pytest.mark.long
_TOOL = """
from agents.models import HttpTool
HttpTool.objects.create(
    name="ring_bell", description="rings", method="POST", url="{url}", parameters={{"type": "object", "properties": {{}}}},
    needs_approval=False, repeatable=False, allow_private_address=True,
)
"""


class Bell(ThreadingHTTPServer):
    """A service outside that counts what it is asked to do, and answers late."""

    def __init__(self) -> None:
        self.rung, self.answers = 0, threading.Event()
        super().__init__(("127.0.0.1", 0), _Ringer)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/ring"


class _Ringer(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.server.rung += 1
        self.server.answers.wait(60)
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.end_headers()
        self.wfile.write(b"ding")

    def log_message(self, *_: object) -> None:
        return


@dataclass
class Before:
    """What was under way when the process died: whose it is, its run, and what its reader had seen."""

    live: Live
    run_id: str
    events: list[tuple[str, dict]]
    bell: Bell | None = None


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """An installation of its own. After all tests its invariants hold."""
    installation = launch(tmp_path_factory.mktemp("mortal-runs"), os.environ.get("PYTEST_XDIST_WORKER", "") + "r")
    try:
        yield installation
        installation.invariants_hold()
    finally:
        installation.close()


def person(live: Live, name: str) -> Live:
    """The installation as somebody new reaches it, whose key may use agents."""
    access, key = live.new_user(f"{name}@example.com", scopes=["chat", "agents", "read"])
    return replace(live, access=access, key=key)


@pytest.fixture(scope="module")
def killed(mortal: Live) -> dict[str, Before]:
    """The web process dies once, while five people's runs are at five points; then another starts."""
    bell = Bell()
    mortal.manage("shell", "-c", _TOOL.format(url=bell.url))
    found = {
        "tool": in_a_tool(person(mortal, "tool"), bell), "asked": while_a_person_is_asked(person(mortal, "asked")),
        "parked": parked(person(mortal, "parked")), "second call": in_the_second_model_call(person(mortal, "second")),
        "model call": in_a_model_call(person(mortal, "first")),
    }  # fmt: skip
    time.sleep(1.2)  # the text of a call is kept once a second
    mortal.kill()
    bell.answers.set()
    mortal.start()
    return found


def agent(live: Live, *tools: tuple[str, str]) -> str:
    given = [{"name": name, "approval": approval} for name, approval in tools]
    made = live.call("POST", "/api/v1/agents/", {"name": "Mortal", "model": "gpt-4o-mini", "max_seconds": 120, "tools": given})
    assert made.status == 201, made.body
    return made.json["id"]


def open_run(live: Live, agent_id: str, text: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", live.port, timeout=30)
    headers = {"Authorization": f"Bearer {live.key}", "Content-Type": "application/json"}
    connection.request("POST", f"/api/v1/agents/{agent_id}/run", json.dumps({"input": text, "stream": True}), headers)
    return connection.getresponse()


def run_until(live: Live, run_id: str, *statuses: str, seconds: float = 40) -> dict:
    def run() -> dict:
        return live.call("GET", f"/api/v1/agents/runs/{run_id}").json

    wait_for(lambda: run()["status"] in statuses, seconds, every=0.3)
    return run()


def books_are_right(live: Live, run_id: str) -> Decimal:
    """Assert that no hold is open and that the costs of the run, its steps and the usage log are equal; return the cost in USD."""

    def amounts() -> tuple[int, Decimal, dict]:
        held = live.query("SELECT count(*) FROM billing_hold WHERE status = 'open'")[0][0]
        booked = sum(
            (Decimal(str(row[0])) for row in live.query("SELECT cost_usd FROM billing_usagelog WHERE group_id = %s", run_id)), Decimal(0)
        )
        run = live.call("GET", f"/api/v1/agents/runs/{run_id}").json
        return held, booked, run

    def right() -> bool:
        held, booked, run = amounts()
        return not held and Decimal(run["cost_usd"]) == booked == sum((Decimal(step["cost_usd"]) for step in run["steps"]), Decimal(0))

    assert wait_for(right, 40, every=0.5), amounts()
    return amounts()[1]


def in_a_model_call(live: Live) -> Before:
    events = read_events(open_run(live, agent(live), "[[sim:chunks=900,pace=50]] on"), 40)
    return Before(live, events[0][1]["run_id"], events)


def test_killed_in_a_model_call_the_run_ends_with_its_text_and_is_paid_once(killed: dict[str, Before]):
    live, run_id, events = (before := killed["model call"]).live, before.run_id, before.events
    seen = "".join(data["text"] for name, data in events if name == "content.delta")
    run = run_until(live, run_id, "interrupted")
    assert run["status"] == "interrupted" and run["error"]["code"] == "interrupted" and run["output"].startswith(seen) and seen
    assert [step["status"] for step in run["steps"]] == ["cancelled"]
    assert books_are_right(live, run_id) > 0
    assert live.query("SELECT count(*) FROM billing_usagelog WHERE group_id = %s", run_id)[0][0] == 1


def in_a_tool(live: Live, bell: Bell) -> Before:
    events = read_events(open_run(live, agent(live, ("ring_bell", "never")), "[[call ring_bell {}]]"), 1)
    assert wait_for(lambda: bell.rung, 30)
    return Before(live, events[0][1]["run_id"], events, bell)


def test_killed_in_a_tool_the_tool_is_not_repeated_and_nobody_claims_to_know(killed: dict[str, Before]):
    live, run_id, bell = (before := killed["tool"]).live, before.run_id, before.bell
    run = run_until(live, run_id, "interrupted")
    assert run["status"] == "interrupted"
    assert [(step["kind"], step["status"], step["error_code"]) for step in run["steps"]] == [
        ("model", "ok", ""),
        ("tool", "error", "outcome_unknown"),
    ]
    books_are_right(live, run_id)
    assert bell is not None
    time.sleep(2)  # nothing is to come
    assert bell.rung == 1
    bell.shutdown()


def while_a_person_is_asked(live: Live) -> Before:
    events = read_events(open_chat(live, "[[call current_time {}]]", agent(live, ("current_time", "always"))), 2)
    assert events[1][0] == "tool.call" and events[1][1]["needs_approval"]
    run_id = events[1][1]["run_id"]
    assert run_until(live, run_id, "waiting_approval")["status"] == "waiting_approval"
    return Before(live, run_id, events)


def open_chat(live: Live, text: str, agent_id: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", live.port, timeout=30)
    headers = {"Authorization": f"Bearer {live.key}", "Content-Type": "application/json"}
    connection.request("POST", "/api/v1/chat/stream", json.dumps({"content": text, "agent_id": agent_id}), headers)
    return connection.getresponse()


def test_killed_while_a_person_is_asked_in_a_chat_nothing_waits_for_ever(killed: dict[str, Before]):
    live, run_id = (before := killed["asked"]).live, before.run_id
    run = run_until(live, run_id, "interrupted")
    assert run["status"] == "interrupted" and [step["status"] for step in run["steps"]] == ["ok", "cancelled"]
    assert live.call("POST", f"/api/v1/agents/runs/{run_id}/approve", {}, key=live.access).status == 409
    books_are_right(live, run_id)


def in_the_second_model_call(live: Live) -> Before:
    text = '[[sim:chunks=900,pace=60]] [[call calculator {"expression": "6*7"}]]'
    response, events = open_chat(live, text, agent(live, ("calculator", "never"))), []
    while (names := [name for name, _ in events]).count("content.delta") < 20 or "tool.result" not in names:
        events += read_events(response, 1)
    return Before(live, "", events)


def test_killed_in_the_second_model_call_the_chat_message_costs_both_calls(killed: dict[str, Before]):
    """The first call was paid before the process died, the second is charged by the sweeper after the turn was ended."""
    live, events = (before := killed["second call"]).live, before.events
    assert wait_for(lambda: not live.query("SELECT 1 FROM billing_hold WHERE status = 'open'"), 60)
    live.invariants_hold()
    message_id = events[0][1]["message_id"]
    calls = live.query("SELECT cost_usd FROM billing_usagelog WHERE message_id = %s AND purpose <> 'title'", message_id)
    assert len(calls) == 2 and all(Decimal(str(row[0])) > 0 for row in calls)


def parked(live: Live) -> Before:
    events = read_events(open_run(live, agent(live, ("current_time", "always")), "[[call current_time {}]]"), 3)
    run = events[-1][1]
    assert events[-1][0] == "message.end" and run["status"] == "waiting_approval"
    return Before(live, run["id"], events)


def test_a_parked_run_outlives_its_process_and_a_worker_goes_on_with_it(killed: dict[str, Before]):
    live, run_id = (before := killed["parked"]).live, before.run_id
    live.spawn("worker", "-m", "celery", "-A", "aiagents", "worker", "-Q", "celery", "-P", "solo", "--loglevel", "WARNING")
    assert live.call("POST", f"/api/v1/agents/runs/{run_id}/approve", {}, key=live.access).status == 200
    ended = run_until(live, run_id, "succeeded", "failed")
    assert ended["status"] == "succeeded" and ended["steps"][1]["status"] == "ok" and ended["steps"][1]["decision"] == "approved"
    assert books_are_right(live, run_id) > 0


def test_the_unchanged_clients_of_both_vendors_talk_to_an_agent(mortal: Live):
    mortal = person(mortal, "clients")
    made = agent(mortal, ("calculator", "never"))
    model = f"agent:{mortal.call('GET', f'/api/v1/agents/{made}').json['slug']}"
    text = '[[call calculator {"expression": "6*7"}]]'
    with openai.OpenAI(api_key=mortal.key, base_url=mortal.url + "/v1", max_retries=0) as client:
        answer = client.chat.completions.create(model=model, messages=[{"role": "user", "content": text}])
        assert "= 42" in (answer.choices[0].message.content or "") and not answer.choices[0].message.tool_calls and answer.usage
        with client.responses.stream(model=model, input=text) as events:
            for _ in events:
                pass
            assert "= 42" in events.get_final_response().output_text
        assert model in {one.id for one in client.models.list()}
        with pytest.raises(openai.BadRequestError):
            client.chat.completions.create(
                model=model,
                messages=[{"role": "user", "content": text}],
                tools=[{"type": "function", "function": {"name": "mine"}}],
            )
    with anthropic.Anthropic(api_key=mortal.key, base_url=mortal.url, max_retries=0) as client:
        with client.messages.stream(model=model, max_tokens=300, messages=[{"role": "user", "content": text}]) as events:
            message = events.get_final_message()
        assert (
            [block.type for block in message.content] == ["text"]
            and "= 42" in message.content[0].text
            and message.stop_reason == "end_turn"
        )
