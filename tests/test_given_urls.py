"""URLs that clients give, at every endpoint that takes one: a new field or a new wire shows up here by itself."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aiagents.core.outbound import media_urls
from chat import turn_request
from chat.tests.socket import Socket
from tests.kit import cast
from tests.kit.endpoints import Endpoint, every
from tests.kit.hostile.answers import openapi_document
from tests.kit.source.tree import parse
from tests.kit.wire import ask, product

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).resolve().parents[1]
# No host of the open internet, or nothing that two readers understand alike: refused wherever a URL is taken.
NOWHERE = {
    "metadata service": "https://169.254.169.254/latest/meta-data/",
    "metadata as one number": "https://2852039166/",
    "metadata in hexadecimal": "https://0xa9fea9fe/",
    "metadata in octal": "https://0251.0376.0251.0376/",
    "loopback": "https://127.0.0.1/a.png",
    "short loopback": "https://127.1/a.png",
    "loopback in other digits": "https://①②⑦.0.0.1/a.png",
    "loopback with other dots": "https://127。0。0。1/a.png",
    "loopback with a dot": "https://127.0.0.1./a.png",
    "private": "https://10.0.0.1/a.png",
    "IPv6 loopback": "https://[::1]/a.png",
    "mapped": "https://[::ffff:169.254.169.254]/a.png",
    "NAT64": "https://[64:ff9b::a9fe:a9fe]/a.png",
    "ISATAP": "https://[2a00:1450::5efe:a9fe:a9fe]/a.png",
    "documentation": "https://[3fff::1]/a.png",
    "user name": "https://user@example.com/a.png",
    "user name and password": "https://user:password@example.com/a.png",
    "host that is a user name": "https://example.com@169.254.169.254/a.png",
    "backslash": "https://example.com\\@169.254.169.254/a.png",
    "space": "https://exa mple.com/a.png",
    "line break": "https://example.com/\r\nHost: x",
    "tab": "https://exam\tple.com/a.png",
    "port of another service": "https://example.com:22/a.png",
    "port zero": "https://example.com:0/a.png",
    "no port": "https://example.com:99999/a.png",
    "no host": "https:///a.png",
    "file": "file:///etc/passwd",
    "gopher": "gopher://example.com/",
    "no scheme": "//example.com/a.png",
    "too long": "https://example.com/" + "a" * 9000,
}
# A vendor fetches these, in a network that we do not know: what could be a name inside it is refused too.
NOT_PUBLIC = {
    "plain http": "http://example.com/a.png",
    "public address": "https://8.8.8.8/a.png",
    "public IPv6 address": "https://[2606:4700::1111]/a.png",
    "one label": "https://intranet/a.png",
    "localhost": "https://localhost/a.png",
    "localhost as a domain": "https://a.localhost/a.png",
    "local": "https://printer.local/a.png",
    "internal": "https://metadata.google.internal/a.png",
    "home": "https://nas.home.arpa/a.png",
    "cluster": "https://api.default.svc/a.png",
    "trailing dot": "https://example.com./a.png",
    "empty label": "https://a..example.com/a.png",
    "escaped host": "https://ex%61mple.com/a.png",
    "fragment": "https://example.com/a.png#@169.254.169.254",
    "numeric top": "https://1.2.3.4.5/a.png",
    "full-width": "https://ｌocalhost/a.png",
    "soft hyphen": "https://exam\u00adple.localhost/a.png",
}
FINE = ["https://example.com/a.png", "https://a.b.example.co.uk:8443/x?y=%7E&z=1", "https://xn--bcher-kva.example/a.png"]


def parts(url: str) -> Any:
    return {"content": [{"type": "text", "text": "What is this?"}, {"type": "image", "url": url}]}


# How a wire's body carries a URL; None: it carries none.
WIRES: dict[str, Callable[[str], Any] | None] = {
    "POST /v1/chat/completions": lambda url: {
        "model": "x",
        "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}],
    },
    "POST /v1/responses": lambda url: {
        "model": "x",
        "input": [{"role": "user", "content": [{"type": "input_image", "image_url": url}]}],
    },
    "POST /v1/responses/input_tokens": lambda url: {
        "model": "x",
        "input": [{"role": "user", "content": [{"type": "input_image", "image_url": url}]}],
    },
    "POST /v1/messages": lambda url: {
        "model": "x", "max_tokens": 10,
        "messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": url}}]}],
    },
    "POST /v1/messages/count_tokens": lambda url: {
        "model": "x",
        "messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": url}}]}],
    },
    "POST /v1/embeddings": None,
    # Google's API takes bytes; a URL of a file is refused by name (agents/tests/test_gemini_api.py).
    **{
        f"POST /{version}/models/{{model}}:{method}": None
        for version in ("v1", "v1beta")
        for method in ("generateContent", "streamGenerateContent", "countTokens", "embedContent", "batchEmbedContents")
    },
}  # fmt: skip
# Fields of our own API by what they hold: a URL that a vendor fetches, or one that we call (lib/outbound.py).
FIELDS: dict[tuple[str, ...], Callable[[str], Any]] = {
    ("content", "[]", "url"): parts,
    ("webhook_url",): lambda url: {"name": "a", "input": "b", "webhook_url": url},
}
OURS = {("webhook_url",)}


def fields(
    document: dict[str, Any], node: Any, path: tuple[str, ...] = (), seen: frozenset[str] = frozenset()
) -> Iterator[tuple[str, ...]]:
    """Paths of a request's schema that are URLs, by format or by name."""
    if not isinstance(node, dict):
        return
    if (reference := node.get("$ref")) is not None:
        if reference not in seen:
            schema = document["components"]["schemas"][reference.rpartition("/")[2]]
            yield from fields(document, schema, path, seen | {reference})
        return
    if node.get("format") in ("uri", "url", "iri"):
        yield path
    for name, value in node.get("properties", {}).items():
        if re.search(r"ur[li]$|href|link|endpoint", name):
            yield (*path, name)
        yield from fields(document, value, (*path, name), seen)
    yield from fields(document, node.get("items"), (*path, "[]"), seen)
    yield from fields(document, node.get("additionalProperties"), (*path, "{}"), seen)
    for kind in ("allOf", "oneOf", "anyOf"):
        for one in node.get(kind, []):
            yield from fields(document, one, path, seen)


def taken() -> list[tuple[Endpoint, tuple[str, ...], Callable[[str], Any]]]:
    """Every endpoint that takes a URL, with the field and the body that carries it."""
    document = openapi_document()
    found = []
    for endpoint in every():
        shape = re.sub(r"{\w+}", "{}", endpoint.template)
        operations = next((item for path, item in document["paths"].items() if re.sub(r"{\w+}", "{}", path) == shape), {})
        content = operations.get(endpoint.method.lower(), {}).get("requestBody", {}).get("content", {})
        for path in sorted({path for kind in content.values() for path in fields(document, kind.get("schema"))}):
            if not endpoint.template.startswith("/v1/"):
                found.append((endpoint, path, FIELDS[path]))
        if endpoint.template.startswith("/v1/") and endpoint.method == "POST" and (wire := WIRES[str(endpoint)]) is not None:
            found.append((endpoint, ("image",), wire))
    return found


TAKEN = taken()


@pytest.fixture
def ann() -> cast.Person:
    return cast.person("ann@example.com")


@pytest.fixture
def ids(ann: cast.Person) -> dict[str, str]:
    return {name: str(value) for name, value in cast.things(ann.user).items()}


def test_the_endpoints_that_are_known_to_take_one_are_found():
    named = {str(endpoint) for endpoint, _, _ in TAKEN}
    assert {name for name, carry in WIRES.items() if carry} <= named
    assert {"POST /api/v1/chat/send", "POST /api/v1/chat/stream", "POST /api/v1/tasks/"} <= named
    assert {path for _, path, _ in TAKEN} == {*FIELDS, ("image",)}


@pytest.mark.parametrize(("endpoint", "path", "carry"), TAKEN, ids=[f"{endpoint} {'.'.join(path)}" for endpoint, path, _ in TAKEN])
async def test_no_endpoint_takes_a_url_that_leads_nowhere_public(endpoint: Endpoint, path: tuple[str, ...], carry: Any, ann, ids):
    target = endpoint.path(**dict.fromkeys(endpoint.parameters, ids["task"])) if path in OURS else endpoint.path()
    corpus = NOWHERE if path in OURS else {**NOWHERE, **NOT_PUBLIC}
    for what, url in corpus.items():
        answer = await ask(product, endpoint.method, target, carry(url), {}, ann.token)
        assert answer.status == 400, f"{endpoint} took {what}: {answer.status} {answer.body[:300]!r}"
        assert b"169.254" not in answer.body, "the answer repeats the address"
    for url in FINE:
        answer = await ask(product, endpoint.method, target, carry(url), {}, ann.token)
        wrong = answer.json.get("error", {}) if answer.status == 400 else {}
        assert wrong.get("code") in (None, "model_not_found", "no_model_fits"), f"{endpoint} refused {url}: {answer.body[:300]!r}"


async def test_no_frame_takes_one_either(ann: cast.Person):
    async with Socket(key=ann.key) as socket:
        for what, url in (NOWHERE | NOT_PUBLIC).items():
            socket.send({"type": "message.send", "ref": "1", **parts(url)})
            frames = await socket.until("error", "message.start")
            assert frames[-1].get("type") == "error", f"a frame with {what} was taken: {frames}"


def test_only_checked_urls_become_images():
    """`Image(url=…)` is built in two places: where the rule was applied, and from what was stored after that."""
    found = set()
    for folder in ("accounts", "agents", "aiagents", "billing", "chat", "tasks"):
        for path in (ROOT / folder).rglob("*.py"):
            if "tests" in path.parts:
                continue
            for node in ast.walk(parse(path.read_text())):
                made = isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "Image"
                if made and (len(node.args) > 2 or any(keyword.arg == "url" for keyword in node.keywords)):
                    found.add(str(path.relative_to(ROOT)))
    assert found == {"chat/content_parts.py", "agents/compatible/reading.py"}


@pytest.mark.parametrize("url", FINE)
def test_what_is_fine_goes_on_as_it_was_given(url: str):
    assert media_urls.check(url) == url
    assert turn_request.read(parts(url)).parts[1]["url"] == url


def test_an_internationalised_host_goes_on_in_ascii():
    assert media_urls.check("https://bücher.example:8443/ü.png?x=%7e") == "https://xn--bcher-kva.example:8443/ü.png?x=%7e"


@pytest.mark.parametrize("where", ["file_url", "file_id"])
@pytest.mark.parametrize("name", ["/v1/responses", "/v1/chat/completions"])
async def test_files_that_stand_elsewhere_are_refused_by_name(name: str, where: str, ann: cast.Person):
    file = {where: "https://example.com/a.pdf", "file_data": "JVBERi0="}
    responses = {"model": "x", "input": [{"role": "user", "content": [{"type": "input_file", **file}]}]}
    chat = {"model": "x", "messages": [{"role": "user", "content": [{"type": "file", "file": file}]}]}
    answer = await ask(product, "POST", name, responses if name.endswith("responses") else chat, {}, ann.token)
    assert answer.status == 400 and where in json.dumps(answer.error)
