"""The simulator server: routes paths to wires, keeps planned faults and records requests."""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
from collections import OrderedDict, defaultdict, deque
from typing import Any, Self

from agents.simulator import rules, script
from agents.simulator.behaviour import Behaviour, UnknownDirective, parse
from agents.simulator.connection import Connection, Seen
from agents.simulator.script import Script
from agents.simulator.wires import anthropic, dumps, gemini, openai, responses

__all__ = ["Seen", "Simulator"]
_CACHED = 2_000
# Headers on which an answer hangs.
_DECIDING = ("x-sim", "anthropic-version", "anthropic-beta")


class Simulator:
    """A vendor on loopback: `url` for Anthropic and Gemini, `openai_url` for OpenAI.

    `pace` is the time between two pieces of text in seconds; 0 writes a whole answer at once. `requests` records them.
    `token` is the bearer token for reading `requests` and for planning answers over HTTP, because requests hold users'
    prompts. Without one a random token is made. `strict`: refuse what the vendors refuse (`agents/simulator/rules`).
    `future`: take fields that the vendors' SDKs do not have yet.
    """

    def __init__(self, *, pace: float = 0.0, keep: int = 20_000, token: str = "", strict: bool = True, future: bool = False) -> None:
        self.pace, self.strict, self.future = pace, strict, future
        self.token = token or secrets.token_urlsafe(32)
        self.requests: deque[Seen] = deque(maxlen=keep)
        self.redirect_to = ""
        self.port = 0
        self._plans: dict[str, deque[Behaviour]] = defaultdict(deque)
        self._always: dict[str, Behaviour] = {}
        self._scripts: OrderedDict[tuple[Any, ...], tuple[str, Script]] = OrderedDict()
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def openai_url(self) -> str:
        return self.url + "/v1"

    async def start(self, port: int = 0) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self._respond, self._connections), "127.0.0.1", port, backlog=2048)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # connection_lost runs

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    @property
    def open_connections(self) -> int:
        return len(self._connections)

    @property
    def busy_connections(self) -> int:
        """The number of connections with an unfinished answer."""
        return sum(connection.seen is not None for connection in self._connections)

    def plan(self, model: str, faults: list[str]) -> None:
        """Plan the next calls of `model`, one directive each ("ok" for a normal answer)."""
        self._plans[model].extend([parse(fault) for fault in faults])

    def always(self, model: str, fault: str) -> None:
        """Answer all calls of `model` (or of "*") by this directive until `clear`."""
        self._always[model] = parse(fault)

    def clear(self) -> None:
        """Delete plans and recorded requests."""
        self._plans.clear()
        self._always.clear()
        self.requests.clear()

    def _respond(self, seen: Seen) -> Script:
        path = seen.path.partition("?")[0]
        if path.startswith("/__sim/"):
            return self._control(seen, path)
        self.requests.append(seen)
        try:
            return self._call(seen, path)
        except UnknownDirective as exc:
            return _bad_request(str(exc))
        except (ValueError, TypeError, AttributeError, KeyError) as exc:
            return _bad_request(f"the simulator cannot read this: {exc!r}")

    def _call(self, seen: Seen, path: str) -> Script:
        wire = _wire(path)
        if wire is None:
            return self._other(seen, path)
        cached = (seen.path, seen.raw, *map(seen.headers.get, _DECIDING))
        known = self._scripts.get(cached)
        if known is not None:
            seen.model = known[0]
            if not (self._plans.get(seen.model) or self._always):
                return known[1]
        body = seen.body
        if not isinstance(body, dict):
            raise ValueError("the body is not an object")
        prompt = wire.read(body, path)
        seen.model = prompt.model
        planned = self._planned(prompt.model)
        directive = ",".join(filter(None, (seen.headers.get("x-sim", ""), prompt.directive)))
        prompt.behaviour = planned or parse(directive)
        streamed = "streamGenerateContent" in path if wire is gemini else bool(body.get("stream"))
        elsewhere = self.redirect_to or f"http://127.0.0.2:{self.port}{seen.path}"
        failing = prompt.behaviour.status not in (None, 200)
        found = None if failing else self._refused(seen, prompt.model)
        found = found or script.write(wire, prompt, body, streamed=streamed, pace=self.pace, key=_key(seen), redirect_to=elsewhere)
        # Not cached: a date expires, and a leaked key belongs to its sender.
        if planned is None and prompt.behaviour.options.get("retry-after") != "date" and "leak" not in prompt.behaviour:
            self._scripts[cached] = (prompt.model, found)
            if len(self._scripts) > _CACHED:
                self._scripts.popitem(last=False)
        return found

    def _refused(self, seen: Seen, model: str) -> Script | None:
        """Return the vendor's refusal of a request, None if the vendor would take it. The reason stands in `seen.extra`."""
        path, _, query = seen.path.partition("?")
        request = rules.request_of(path, query, seen.headers) if self.strict else None
        if request is None or (refusal := rules.refusal(request, model, seen.body, future=self.future)) is None:
            return None
        seen.extra["refused"] = refusal.reason
        return script.answer(400, dumps(refusal.body))

    def _planned(self, model: str) -> Behaviour | None:
        if plans := self._plans.get(model):
            return plans.popleft()
        return self._always.get(model) or self._always.get("*")

    def _other(self, seen: Seen, path: str) -> Script:
        """Answer the calls that are not completions."""
        body = seen.body or {}
        if path.endswith(("/embeddings", ":batchEmbedContents")):
            return self._embeddings(seen, path, body)
        if path.endswith("/messages/count_tokens"):
            if refused := self._refused(seen, str(body.get("model"))):
                return refused
            return script.answer(200, dumps({"input_tokens": anthropic.read(body, path).input_tokens}))
        if path.endswith(":countTokens"):
            return script.answer(200, dumps({"totalTokens": gemini.read(body.get("generateContentRequest") or body, path).input_tokens}))
        if path.endswith("/models"):
            return script.answer(200, dumps(_models(seen, path)))
        return script.answer(404, dumps({"error": {"message": f"nothing is simulated at {path}", "type": "not_found", "code": None}}))

    def _embeddings(self, seen: Seen, path: str, body: dict[str, Any]) -> Script:
        wire, seen.model = (openai, str(body.get("model", ""))) if path.endswith("/embeddings") else (gemini, gemini.model_of(path))
        behaviour = self._planned(seen.model) or parse(seen.headers.get("x-sim", ""))
        if behaviour.status is None and (refused := self._refused(seen, seen.model)):
            return refused
        made = {} if behaviour.status else openai.embeddings(body) if wire is openai else gemini.embeddings(body, path)
        if behaviour.options.get("usage") == "missing":
            made = {name: value for name, value in made.items() if name not in ("usage", "usageMetadata")}
        return script.embedded(wire, behaviour, dumps(made), _key(seen))

    def _control(self, seen: Seen, path: str) -> Script:
        """Answer the control endpoints for tests: recorded requests and planned faults."""
        if path == "/__sim/health":
            return script.answer(200, b'{"status":"ok","simulator":true}')
        if not hmac.compare_digest(seen.headers.get("authorization", "").encode("latin-1"), f"Bearer {self.token}".encode()):
            return script.answer(
                401, dumps({"error": {"message": "This needs the token of the simulator's run.", "code": "token_missing"}})
            )
        if path == "/__sim/requests" and seen.method == "DELETE":
            self.clear()
            return script.answer(200, b"{}")
        if path == "/__sim/requests":
            return script.answer(200, dumps([_recorded(one) for one in self.requests]))
        if path == "/__sim/plan" and seen.method == "POST":
            plan = json.loads(seen.raw)
            try:
                if "always" in plan:
                    self.always(plan["model"], plan["always"])
                self.plan(plan["model"], plan.get("faults", []))
            except (UnknownDirective, KeyError) as exc:
                return script.answer(400, dumps({"error": str(exc)}))
            return script.answer(200, b"{}")
        return script.answer(404, b"{}")


def _wire(path: str) -> Any:
    if path.endswith("/chat/completions"):
        return openai
    if path.endswith("/messages"):
        return anthropic
    if path.endswith((":generateContent", ":streamGenerateContent")):
        return gemini
    return responses if path.endswith("/responses") else None


def _key(seen: Seen) -> str:
    headers = seen.headers
    return headers.get("x-goog-api-key") or headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")


def _bad_request(message: str) -> Script:
    return script.answer(400, dumps({"error": {"message": message, "type": "invalid_request_error", "param": None, "code": "simulator"}}))


def _models(seen: Seen, path: str) -> dict[str, Any]:
    if "anthropic-version" in seen.headers:
        return {"data": [{"type": "model", "id": name, "display_name": name} for name in openai.MODELS], "has_more": False}
    if "x-goog-api-key" in seen.headers or "v1beta" in path:
        return {"models": [{"name": f"models/{name}", "displayName": name} for name in openai.MODELS]}
    return openai.models()


def _recorded(seen: Seen) -> dict[str, Any]:
    secret = {"authorization", "x-api-key", "x-goog-api-key"}
    return {
        "method": seen.method, "path": seen.path, "model": seen.model, "status": seen.status, "sent": seen.sent, "at": seen.at,
        "ended_at": seen.ended_at, "client_gone": seen.client_gone, "body": seen.body,
        "headers": {name: value for name, value in seen.headers.items() if name not in secret},
    }  # fmt: skip
