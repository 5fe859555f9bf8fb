"""Host at every endpoint: Django's, the asynchronous ones, the probes, static files, and the handshakes of WebSockets."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client as DjangoClient

from aiagents.asgi import application
from aiagents.core.http import hosts
from aiagents.endpoints import WEBSOCKETS
from chat.tests.socket import Refused, Socket
from tests.kit import cast
from tests.kit.endpoints import Endpoint, every
from tests.kit.wire import ask

pytestmark = [pytest.mark.django_db, pytest.mark.long]
ELSEWHERE = {
    "another name": b"evil.example.com",
    "rebound name with a port": b"rebound.example:8000",
    "a name that begins like ours": b"localhost.evil.example",
    "a name that ends like ours": b"evillocalhost",
    "user name": b"localhost@evil.example",
    "list": b"localhost, evil.example",
    "path": b"localhost/evil",
    "nonsense": b"a b/\\@[:",
    "bad UTF-8": b"\xff\xfe",
    "empty": b"",
}
# An address, which load balancers call: at the probes it is enough.
ADDRESSES = [b"10.1.2.3", b"10.1.2.3:8000", b"[fd00::1]", b"[fd00::1]:8000"]
OURS = [b"testserver", b"testserver:8000", b"localhost:8000", b"LOCALHOST", b"127.0.0.1:8000", b"localhost."]
ENDPOINTS = {
    *every(),
    *(Endpoint(path, "GET") for path in ("/health", "/admin/", "/admin/login/", "/static/app.css", "/nowhere", "/api/v1/nowhere")),
}


@pytest.fixture
def root() -> cast.Person:
    return cast.person("root@example.com", admin=True)


async def call(endpoint: Endpoint, host: bytes | None, token: str, method: str = "") -> Any:
    headers = [(b"authorization", f"Bearer {token}".encode()), (b"content-type", b"application/json"), (b"host", host or b"")]
    body = None if endpoint.method == "GET" else b"{}"
    return await ask(application, method or endpoint.method, endpoint.path(), body, headers)


@pytest.mark.parametrize("endpoint", sorted(ENDPOINTS), ids=str)
async def test_no_endpoint_answers_to_another_host(endpoint: Endpoint, root: cast.Person):
    for what, host in ELSEWHERE.items():
        answer = await call(endpoint, host, root.token)
        assert answer.status == 400, f"{endpoint} answered {answer.status} to {what}"
        assert answer.headers["content-type"].startswith("application/json") and answer.error["code"] == "host_not_allowed", what
        assert answer.headers["x-request-id"] and "evil" not in str(answer.error)
    for host in ADDRESSES:
        answer = await call(endpoint, host, root.token)
        assert (answer.status == 400) is (endpoint.path() not in hosts.PROBES), f"{endpoint} answered {answer.status} to {host!r}"


@pytest.mark.parametrize("endpoint", sorted(ENDPOINTS), ids=str)
async def test_our_own_names_are_served(endpoint: Endpoint, root: cast.Person):
    for host in OURS:
        answer = await call(endpoint, host, root.token)
        assert answer.status != 400 or answer.error["code"] != "host_not_allowed", f"{endpoint} refused {host!r}"


@pytest.mark.parametrize("endpoint", sorted(endpoint for endpoint in every() if endpoint.beside_django), ids=str)
async def test_a_preflight_and_a_wrong_method_are_no_way_round(endpoint: Endpoint, root: cast.Person):
    for method in ("OPTIONS", "PATCH"):
        assert (await call(endpoint, b"evil.example.com", root.token, method)).status == 400


async def test_a_wildcard_of_subdomains_is_understood_everywhere(root: cast.Person, settings: Any):
    settings.ALLOWED_HOSTS = [".example.com"]
    for endpoint in (Endpoint("/health", "GET"), Endpoint("/v1/models", "GET")):
        assert (await call(endpoint, b"ai.example.com", root.token)).status == 200, endpoint
        assert (await call(endpoint, b"localhost", root.token)).status == 400, endpoint


@pytest.mark.parametrize("path", sorted(WEBSOCKETS))
async def test_no_socket_opens_under_another_host(path: str, root: cast.Person):
    for host in ("evil.example.com", "rebound.example:8000", "", "localhost, evil.example", "10.1.2.3"):
        with pytest.raises(Refused):
            async with Socket(key=root.token, path=path, host=host):
                pass
    async with Socket(key=root.token, path=path, host="localhost:8000"):
        pass


def test_djangos_own_client_names_the_test_server(db: Any):
    assert DjangoClient().get("/api/v1/system/info").status_code == 200
