"""One real key in the environment makes that vendor real; the others stay simulated, and rows say which is which."""

from __future__ import annotations

import os

import pytest

from agents.simulator import SimulatorThread
from tests.kit.servers.live import launch

pytestmark = pytest.mark.long
KEY = "sk-environment-0123456789abcdef"


def test_a_key_and_base_url_from_the_environment_are_used_for_their_vendor_alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vendor")
    with SimulatorThread() as vendor:
        worker = os.environ.get("PYTEST_XDIST_WORKER", "") + "v"
        live = launch(folder, worker, OPENAI_API_KEY=KEY, OPENAI_BASE_URL=vendor.openai_url)
        try:
            for model in ("gpt-4o-mini", "claude-3-haiku"):
                body = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
                answer = live.call("POST", "/v1/chat/completions", body)
                assert answer.status == 200, answer.body
                assert KEY.encode() not in answer.body
            rows = dict(live.query("SELECT model, simulated FROM billing_usagelog"))
        finally:
            live.close()
        assert [seen.headers["authorization"] for seen in vendor.requests] == [f"Bearer {KEY}"]
    assert (bool(rows["gpt-4o-mini"]), bool(rows["claude-3-haiku"])) == (False, True)
    assert KEY not in (folder / "web.log").read_text()
