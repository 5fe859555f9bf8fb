"""Requests made from the OpenAPI document, valid ones and invalid ones, and what is wrong with the answers to them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import hypothesis
import requests
import schemathesis
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from schemathesis.core.failures import FailureGroup
from schemathesis.core.parameters import ParameterLocation
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks

from aiagents.core.drf.schema import EVERYWHERE, REFUSALS
from tests.kit.servers.live import PASSWORD, Live

ID = "01890000-0000-7000-8000-000000000000"
_CHECKS = [checks.content_type_conformance, checks.response_schema_conformance, checks.response_headers_conformance]
# Streams without an end: what they answer to a row of somebody's own is tested where they are.
ENDLESS = {"GET /api/v1/tasks/{id}/events"}
# They end the session that asks: it signs in again.
ENDS_SESSION = {"POST /api/v1/auth/logout-all", "POST /api/v1/auth/logout"}


@dataclass
class Caller:
    """Who asks, and makers of what belongs to them: parameter's path -> id."""

    live: Live
    credential: str
    email: str = ""
    made: dict[str, str] = field(default_factory=dict)

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.credential}"} if self.credential else {}

    def sign_in(self) -> None:
        if self.email:
            signed_in = self.live.call("POST", "/api/v1/auth/login", {"email": self.email, "password": PASSWORD}, key="")
            assert signed_in.status == 200, signed_in.body
            self.credential = signed_in.json["access"]

    def create(self, path: str, body: Any) -> dict[str, Any]:
        answer = self.live.call("POST", path, body, key=self.credential)
        assert answer.status in (200, 201, 202), (path, answer.status, answer.body)
        return answer.json

    def ids(self, path: str, fresh: bool) -> dict[str, str]:
        """Ids of their own for the parameters of a path; `fresh` ones where the request takes them away."""
        if not self.credential or "{" not in path:
            return {}
        kind = next((kind for prefix, kind in _OWNED if path.startswith(prefix)), None)
        if kind is None:
            return {}
        if fresh or kind.__name__ not in self.made:
            self.made[kind.__name__] = kind(self)
        return self.made[kind.__name__]


def _conversation(caller: Caller) -> dict[str, str]:
    return {"id": caller.create("/api/v1/chat/conversations", {"title": "x"})["id"]}


def _answer(caller: Caller) -> dict[str, str]:
    return {"id": caller.create("/api/v1/chat/send", {"content": "Hello", "model": "gpt-4o-mini"})["message"]["id"]}


def _agent(caller: Caller) -> dict[str, str]:
    return {"id": caller.create("/api/v1/agents/", {"name": "x", "model": "gpt-4o-mini"})["id"]}


def _agent_run(caller: Caller) -> dict[str, str]:
    agent = caller.create("/api/v1/agents/", {"name": "x", "model": "gpt-4o-mini"})["id"]
    run = caller.create(f"/api/v1/agents/{agent}/run", {"input": "Hello"})
    return {"id": run.get("run_id") or run["id"]}


def _task(caller: Caller) -> dict[str, str]:
    task = caller.create("/api/v1/tasks/", {"name": "x", "input": "Hello", "model": "gpt-4o-mini"})["id"]
    return {"id": task, "run_id": caller.create(f"/api/v1/tasks/{task}/run", {})["id"]}


def _key(caller: Caller) -> dict[str, str]:
    return {"id": caller.create("/api/v1/auth/api-keys", {"name": "x", "scopes": ["chat"]})["id"]}


_OWNED: list[tuple[str, Callable[[Caller], dict[str, str]]]] = [
    ("/api/v1/chat/conversations/{", _conversation),
    ("/api/v1/chat/", _answer),
    ("/api/v1/agents/runs/", _agent_run),
    ("/api/v1/agents/", _agent),
    ("/api/v1/tasks/", _task),
    ("/api/v1/auth/api-keys/", _key),
]


@dataclass
class Operation:
    """An operation of the document, with the strategies that make requests to it: to build those costs more than to use them."""

    described: Any

    def __post_init__(self) -> None:
        self.name = f"{self.described.method.upper()} {self.described.path}"
        self.strategies = {mode: self.described.as_strategy(generation_mode=mode) for mode in MODES}


MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)


def operations(document: dict[str, Any]) -> list[Operation]:
    return [Operation(result.ok()) for result in schemathesis.openapi.from_dict(document).get_all_operations()]


def probe(operation: Operation, caller: Caller, examples: int) -> list[str]:
    """What is wrong with the answers to `examples` valid and as many invalid requests; the same ones in every run."""
    examples = 1 if operation.name in ENDS_SESSION else examples
    return [line for mode in MODES for line in _probe(operation, caller, examples, mode)]


def _probe(operation: Operation, caller: Caller, examples: int, mode: GenerationMode) -> list[str]:
    wrong: list[str] = []
    name, path, method = operation.name, operation.described.path, operation.described.method.upper()

    @hypothesis.seed(20261123)
    @hypothesis.settings(
        max_examples=examples, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False, print_blob=False,
    )  # fmt: skip
    @hypothesis.given(case=operation.strategies[mode], own=st.booleans())
    def ask(case: Any, own: bool) -> None:
        if own and name not in ENDLESS:
            ids = caller.ids(path, fresh=method == "DELETE")
            case.path_parameters = {
                **(case.path_parameters or {}),
                **{key: ids[key] for key in case.path_parameters or {} if key in ids},
            }
        wrong.extend(_wrong(name, case, caller, mode))
        if name in ENDS_SESSION:
            caller.sign_in()

    with contextlib.suppress(hypothesis.errors.Unsatisfiable):  # nothing can be wrong about a request that has no parameter
        ask()
    return wrong


COUNTED: dict[int, int] = {}


def _as(case: Any, caller: Caller) -> None:
    """Only the caller's own credential: schemathesis makes up others, and each of those would be a 401."""
    if caller.credential:
        case.cookies = {}
        case.headers = {
            key: value for key, value in (case.headers or {}).items() if key.lower() not in ("authorization", "x-api-key", "cookie")
        }


def _refused_unsaid(case: Any, status: int, answer: Any) -> bool:
    """Whether a request that fits the document was refused for a reason that the document does not name."""
    if status not in (400, 413, 415, 422):
        return False
    try:
        error = answer.json()["error"]
    except (ValueError, KeyError, TypeError):
        return True
    code, param = str(error.get("code")), str(error.get("param"))
    reasons = case.operation.definition.raw.get(REFUSALS, {})
    return not ({code, param, re.split(r"[.\[]", param)[0], "*"} & {*reasons, *EVERYWHERE})


def _wrong_body(case: Any) -> bool:
    """Whether it is the JSON body that does not fit. (Forms write every value as a text.)"""
    part = case.meta.components.get(ParameterLocation.BODY) if case.meta else None
    return part is not None and part.mode is GenerationMode.NEGATIVE and case.media_type == "application/json"


def _wrong(name: str, case: Any, caller: Caller, mode: GenerationMode) -> Iterator[str]:
    _as(case, caller)
    try:
        answer = case.call(base_url=caller.live.url, headers=caller.headers(), timeout=30, allow_redirects=False)
    except (UnicodeError, ValueError, requests.exceptions.InvalidHeader, requests.exceptions.InvalidURL):
        return  # what no client can put on the wire
    status = answer.status_code
    COUNTED[status] = COUNTED.get(status, 0) + 1
    told = f"{name} -> {status} {answer.text[:300]!r}\n    {case.as_curl_command()[:600]}"
    if status >= 500 and status not in (502, 503):
        yield f"broke: {told}"
    if mode is GenerationMode.POSITIVE and caller.credential and _refused_unsaid(case, status, answer):
        yield f"refused although it fits the document: {told}"
    if mode is GenerationMode.NEGATIVE and status < 300 and _wrong_body(case):
        yield f"accepted although its body does not fit the document: {told}"
    listed = {str(code) for code in case.operation.definition.raw["responses"]}
    if status < 400 and str(status) not in listed:
        yield f"undocumented success: {told}"
    if status in (401, 403) and str(status) not in listed and "/auth/" not in name:
        yield f"undocumented refusal: {told}"
    try:
        case.validate_response(answer, checks=_CHECKS)
    except FailureGroup as group:
        for failure in group.exceptions:
            yield f"not as documented: {told}\n    {type(failure).__name__} {str(failure)[:300]} {getattr(failure, 'message', '')[:600]}"
