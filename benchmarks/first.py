"""How long the first requests after a start hold the event loop: `python -m benchmarks.first [--rounds N]`.

After each start of the web server a prober requests `/health` every few milliseconds on a connection of its own. Meanwhile
the benchmark sends the first chat turn, `/v1` call, agent run, WebSocket turn, sign-in, page and API document, one after the
other. The figure is the slowest response of `/health`: something blocked the loop for that long. It also prints how long
the start took. Delays of the machine are part of the figure; the row `nothing` shows them without a request.
"""

from __future__ import annotations

import argparse
import http.client
import json
import threading
import time
from collections.abc import Callable
from typing import Any

from websockets.sync.client import connect

from benchmarks.harness.installation import MODEL, PROMPT, installation
from tests.kit.servers.live import PASSWORD, Live

TARGET_MS = 100.0


class Prober:
    """Requests `/health` in a thread; `longest` is the slowest response in milliseconds since `reset`."""

    def __init__(self, port: int) -> None:
        self._port, self._ends = port, False
        self.longest = 0.0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def reset(self) -> None:
        self.longest = 0.0

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        while not self._ends:
            begun = time.perf_counter()
            connection.request("GET", "/health")
            connection.getresponse().read()
            self.longest = max(self.longest, (time.perf_counter() - begun) * 1000)
            time.sleep(0.003)
        connection.close()

    def end(self) -> None:
        self._ends = True
        self._thread.join(60)


def socket_turn(live: Live) -> None:
    with connect(f"ws://127.0.0.1:{live.port}/api/v1/chat/ws", additional_headers={"Authorization": f"Bearer {live.key}"}) as socket:
        socket.send(json.dumps({"type": "send", "ref": "1", "content": PROMPT, "model": MODEL}))
        while json.loads(socket.recv(timeout=60))["type"] not in ("message.end", "error"):
            pass


def requests(live: Live, agent: str) -> dict[str, Callable[[], Any]]:
    chat = [{"role": "user", "content": PROMPT}]
    named = "claude-haiku-4-5", "gemini-2.5-flash"
    known = {model["id"] for model in live.call("GET", "/v1/models").json["data"]}
    found: dict[str, Callable[[], Any]] = {
        "nothing": lambda: time.sleep(1),
        "chat turn, SSE": lambda: live.call("POST", "/api/v1/chat/stream", {"content": PROMPT, "model": MODEL}),
        "chat turn, auto": lambda: live.call("POST", "/api/v1/chat/send", {"content": PROMPT, "model": "auto"}),
        "/v1 call": lambda: live.call("POST", "/v1/chat/completions", {"model": MODEL, "messages": chat}),
        "/v1 stream": lambda: live.call("POST", "/v1/chat/completions", {"model": MODEL, "messages": chat, "stream": True}),
        "WebSocket turn": lambda: socket_turn(live),
        "agent run": lambda: live.call("POST", f"/api/v1/agents/{agent}/run", {"input": '[[call calculator {"expression": "2*3"}]]'}),
        "sign-in": lambda: live.call("POST", "/api/v1/auth/login", {"email": live.email, "password": PASSWORD}, key=""),
        "lists": lambda: live.call("GET", "/api/v1/chat/conversations"),
        "page": lambda: live.call("GET", "/", key="", headers={"Accept": "text/html"}),
        "admin sign-in page": lambda: live.call("GET", "/admin/login/", key="", headers={"Accept": "text/html"}),
        "API document": lambda: live.call("GET", "/api/schema/", key=""),
        "metrics": lambda: live.call("GET", "/metrics", key=""),
        "readiness": lambda: live.call("GET", "/health/ready", key=""),
    }
    return found | {
        f"/v1 call, {model}": lambda model=model: live.call("POST", "/v1/chat/completions", {"model": model, "messages": chat})
        for model in named
        if model in known
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.first", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="starts of the server")
    options = parser.parse_args()
    held: dict[str, list[float]] = {}
    starts, statuses = [], {}
    with installation() as installed:
        live = installed.live
        live.key = live.new_user("first@example.com", scopes=["chat", "agents", "billing", "read"])[1]
        live.email = "first@example.com"
        agent = live.call(
            "POST", "/api/v1/agents/",
            {"name": "First", "model": MODEL, "system_prompt": "Calculate.", "tools": [{"name": "calculator", "approval": "never"}]},
        ).json["id"]  # fmt: skip
        asked = requests(live, agent)
        for round_ in range(options.rounds):
            names = list(asked)
            # In some round each kind comes first: later requests benefit from what earlier ones loaded.
            names = names[:1] + names[1 + round_ :] + names[1 : 1 + round_]
            begun = time.perf_counter()
            installed.restart()
            while live.call("GET", "/health/ready", key="").status != 200:
                time.sleep(0.02)
            starts.append(time.perf_counter() - begun)
            prober = Prober(live.port)
            time.sleep(0.3)
            for name in names:
                prober.reset()
                answer = asked[name]()
                statuses[name] = getattr(answer, "status", 200)
                time.sleep(0.1)
                held.setdefault(name, []).append(prober.longest)
            prober.end()
    print(f"start to ready: {max(starts):.1f} s at most, {min(starts):.1f} s at least, of {len(starts)}")
    for name, figures in held.items():
        worst = max(figures)
        verdict = "met" if worst < TARGET_MS else f"NOT MET (under {TARGET_MS:.0f} ms)"
        print(f"{name:28} {worst:7.1f} ms longest hold   {verdict}   {statuses[name]}   {[round(one) for one in figures]}")


if __name__ == "__main__":
    main()
