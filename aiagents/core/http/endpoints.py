"""What an endpoint beside Django is, and the table in which a request's path is looked up. `aiagents/endpoints.py` lists the product's."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from aiagents.core.http import body_limits
from aiagents.core.http.exchange import ErrorRenderer, render_error
from aiagents.core.http.idempotency import Answer, Replayer
from aiagents.core.http.request import EventStream, Request, Response, Scope, json_response

__all__ = ["Endpoint", "EndpointTable", "EventStream", "Request", "Response", "json_response", "render_error"]
Handler = Callable[[Request], Awaitable[Answer]]
_FOUND = "aiagents.endpoint"
_GROUP = re.compile(r"\(\?P<(\w+)>(?:[^()\\\[]|\\[^(]|\[[^]]*+\])*+\)")
_SPECIAL = set("\\()[]{}.*+?^$|")


@dataclass(frozen=True, slots=True, eq=False)
class Endpoint:
    """One method of the paths that match `pattern` whole; its named groups become `request.path_args`."""

    method: str
    pattern: str
    handler: Handler
    _: KW_ONLY
    # What a principal needs; None: nothing in particular.
    scope: str | None
    authenticated: bool = True
    error: ErrorRenderer = render_error
    # The handler is cancelled when its client leaves.
    cancel_on_disconnect: bool = False
    # Idempotency-Key is read. `replay` answers a repetition from the reference that the handler kept.
    idempotent: bool = False
    replay: Replayer | None = None
    # Refused while the process is draining or the disk is full.
    starts_work: bool = False
    # A longer body is refused while it is read.
    max_body_bytes: int = body_limits.SMALL
    # Values that a JSON body may hold; None: MAX_JSON_VALUES.
    max_values: int | None = None
    # False: texts are only passed on, so they may hold NUL, which the database cannot store.
    stores_text: bool = True
    # The OpenAPI operation, apart from what the other fields say.
    openapi: Mapping[str, Any] = field(default_factory=dict)
    tags: Sequence[str] = ()

    @property
    def template(self) -> str:
        """The path as OpenAPI writes it: `/v1/models/{model}`."""
        return _GROUP.sub(r"{\1}", self.pattern).replace("/?", "").replace("\\", "")

    @property
    def operation(self) -> dict[str, Any]:
        """The OpenAPI operation object as far as it is declared."""
        name = getattr(self.handler, "__name__", "operation")
        return {"operationId": name, **({"tags": list(self.tags)} if self.tags else {}), **self.openapi}


@dataclass(slots=True)
class Path:
    pattern: re.Pattern[str]
    methods: dict[str, Endpoint] = field(default_factory=dict)


class EndpointTable:
    """Endpoints by their paths. One look-up serves the limit of a body that still arrives and the request itself."""

    def __init__(self, endpoints: Iterable[Endpoint] = ()) -> None:
        self._exact: dict[str, Path] = {}
        self._patterns: list[Path] = []
        for endpoint in endpoints:
            self.add(endpoint)

    def add(self, endpoint: Endpoint) -> None:
        """Serve one more endpoint. One that has the same method and pattern is replaced."""
        paths = [path for path in (*self._exact.values(), *self._patterns) if path.pattern.pattern == endpoint.pattern]
        path = paths[0] if paths else Path(re.compile(endpoint.pattern))
        path.methods[endpoint.method] = endpoint
        if not paths and _SPECIAL & set(endpoint.pattern):
            self._patterns.append(path)
        elif not paths:
            self._exact[endpoint.pattern] = path

    def body_limit(self, method: str, path: str) -> int | None:
        """The most bytes that this request's body may have; None where the path is not served here."""
        found = self._look_up(path)
        if found is None:
            return None
        endpoint = found[0].methods.get(method)
        return body_limits.bounded(body_limits.SMALL if endpoint is None else endpoint.max_body_bytes)

    def matches(self, scope: Scope) -> bool:
        """Whether the request's path is served here, by whatever method."""
        return self.find(scope) is not None

    def find(self, scope: Scope) -> tuple[Path, dict[str, str]] | None:
        """The methods that the request's path has, and the path's arguments; None where the path is not served here."""
        if _FOUND not in scope:
            scope[_FOUND] = self._look_up(scope["path"])
        return scope[_FOUND]

    def _look_up(self, wanted: str) -> tuple[Path, dict[str, str]] | None:
        if exact := self._exact.get(wanted):
            return exact, {}
        for path in self._patterns:
            if match := path.pattern.fullmatch(wanted):
                return path, match.groupdict()
        return None
