"""deploy/nginx/nginx.conf, run: TLS before two web processes, with streams, sockets, limits, and a process that leaves.

Skipped where there is no nginx. Only the file's ports are changed, and `http2 on` where nginx is older than that word.
"""

from __future__ import annotations

import contextlib
import datetime
import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.kit.servers.live import Live, launch
from tests.kit.servers.server_process import ROOT, free_port
from tests.kit.waiting import wait_for

pytestmark = [pytest.mark.long, pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is not installed")]
CONF = ROOT / "deploy" / "nginx" / "nginx.conf"
HOST = "ai.example.com"


@dataclass
class Front:
    """`live` is the product behind it (its second web process is `second`), `port` nginx's for TLS, `plain` its other one."""

    live: Live
    port: int
    plain: int
    trust: ssl.SSLContext

    def call(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, raw: bytes | None = None) -> Any:
        connection = self.connection()
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        wanted = {"Host": HOST, "Authorization": f"Bearer {self.live.key}", "Content-Type": "application/json", **(headers or {})}
        connection.request(method, path, data, wanted)
        answer = connection.getresponse()
        answer.data = answer.read()
        connection.close()
        return answer

    def connection(self) -> http.client.HTTPSConnection:
        connection = http.client.HTTPSConnection(HOST, self.port, timeout=30, context=self.trust)
        connection._create_connection = lambda address, *rest: socket.create_connection(("127.0.0.1", address[1]), 30)
        return connection


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    folder = tmp_path_factory.mktemp("front")
    settings = {
        "SITE_URL": f"https://{HOST}", "ALLOWED_HOSTS": f"{HOST},localhost,127.0.0.1", "TRUSTED_PROXIES": "127.0.0.1/32",
        "DRAIN_SECONDS": "4",
    }  # fmt: skip
    live = launch(folder, os.environ.get("PYTEST_XDIST_WORKER", "") + "n", **settings)
    second = free_port()
    _second(live, second)
    port, plain = free_port(), free_port()
    conf = _configured(folder, port, plain, [live.port, second])
    process = subprocess.Popen(["nginx", "-p", str(folder), "-c", str(conf), "-g", "daemon off;"])
    try:
        found = Front(live, port, plain, ssl.create_default_context(cafile=folder / "tls" / "fullchain.pem"))
        _until(lambda: found.call("GET", "/health").status == 200)
        yield found
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        live.close()


def _second(live: Live, port: int) -> None:
    live.spawn("second", "-m", "aiagents.server", "--port", str(port))
    _until(lambda: socket.create_connection(("127.0.0.1", port), 1).close() is None)


def _until(look: Any, seconds: float = 30) -> None:
    def found() -> bool:
        with contextlib.suppress(OSError):
            return bool(look())
        return False

    assert wait_for(found, seconds, every=0.1)


def _configured(folder: Path, port: int, plain: int, backends: list[int]) -> Path:
    """The shipped file, with a certificate of our own, in `folder`."""
    text = CONF.read_text().replace("listen 80 ", f"listen 127.0.0.1:{plain} ").replace("listen 443 ", f"listen 127.0.0.1:{port} ")
    version = tuple(map(int, re.findall(r"\d+", subprocess.run(["nginx", "-v"], capture_output=True, text=True).stderr)[:3]))
    if version < (1, 25, 1):
        text = text.replace("        http2 on;\n", "").replace(f"{port} ssl", f"{port} ssl http2")
    for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"):
        text = text.replace("http {\n", f"http {{\n    {kind}_temp_path {folder}/temp_{kind};\n", 1)
    if os.geteuid() == 0:  # else its workers are nobody, who may not enter the test's folder
        text = "user root;\n" + text
    text = text.replace("/tmp/nginx.pid", f"{folder}/nginx.pid")
    servers = " ".join(f"server 127.0.0.1:{backend} max_fails=0;" for backend in backends)
    (folder / "backend.conf").write_text(f'upstream web {{ {servers} }}\nmap "" $backend {{ default web; }}\n')
    (folder / "nginx.conf").write_text(text)
    _certificate(folder / "tls")
    checked = subprocess.run(["nginx", "-t", "-p", str(folder), "-c", str(folder / "nginx.conf")], capture_output=True, text=True)
    assert checked.returncode == 0 and "[warn]" not in checked.stderr, checked.stderr
    return folder / "nginx.conf"


def _certificate(folder: Path) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    folder.mkdir()
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    (folder / "fullchain.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    (folder / "privkey.pem").write_bytes(pem)


def test_plain_http_is_sent_to_https(front: Front):
    connection = http.client.HTTPConnection("127.0.0.1", front.plain, timeout=10)
    connection.request("GET", "/docs?a=b", headers={"Host": HOST})
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Location"]) == (308, f"https://{HOST}/docs?a=b")


def test_an_answer_comes_through_with_the_products_headers(front: Front):
    answer = front.call("POST", "/api/v1/chat/send", {"content": "Hello", "model": "gpt-4o-mini"}, {"X-Request-ID": "through-nginx-1"})
    assert answer.status == 200 and answer.headers["X-Request-ID"] == "through-nginx-1"
    assert answer.headers["Strict-Transport-Security"].startswith("max-age=31536000")
    assert "nginx/" not in (answer.headers["Server"] or "")
    assert front.call("GET", "/metrics").status == 404


def test_a_stream_is_not_held_back(front: Front):
    """Pieces 200 ms apart arrive 200 ms apart, not together at the end."""
    connection = front.connection()
    headers = {"Host": HOST, "Authorization": f"Bearer {front.live.key}", "Content-Type": "application/json"}
    body = json.dumps({"content": "[[sim:chunks=10,pace=200]] Hello", "model": "gpt-4o-mini"})
    connection.request("POST", "/api/v1/chat/stream", body, headers)
    answer = connection.getresponse()
    times = []
    while line := answer.readline():
        if line.startswith(b"event: content.delta"):
            times.append(time.monotonic())
    connection.close()
    assert len(times) == 10
    assert times[-1] - times[0] > 1.2 and max(later - one for one, later in pairwise(times)) < 1.0


def test_a_socket_works_and_a_foreign_page_is_refused(front: Front):
    def opened(origin: str) -> Any:
        return connect(
            f"wss://{HOST}:{front.port}/api/v1/chat/ws", sock=socket.create_connection(("127.0.0.1", front.port)), ssl=front.trust,
            server_hostname=HOST, additional_headers={"Authorization": f"Bearer {front.live.key}", "Origin": origin},
        )  # fmt: skip

    with opened(f"https://{HOST}") as chat:
        chat.send(json.dumps({"type": "send", "content": "Hello", "model": "gpt-4o-mini"}))
        kinds = [json.loads(chat.recv(timeout=10))["type"]]
        while kinds[-1] != "message.end":
            kinds.append(json.loads(chat.recv(timeout=10))["type"])
        assert kinds[0] == "ack" and "content.delta" in kinds
    # Also the page under the address that it was asked for, port included: the scheme is the one that nginx tells of.
    with opened(f"https://{HOST}:{front.port}"):
        pass
    for foreign in ("https://evil.example", f"http://{HOST}:{front.port}"):
        with pytest.raises(InvalidStatus) as refused, opened(foreign):
            pass
        assert refused.value.response.status_code == 403


def test_the_clients_address_is_nginxs_word_and_not_the_clients(front: Front):
    forged = {"X-Forwarded-For": "198.51.100.7", "X-Real-IP": "198.51.100.7", "Forwarded": "for=198.51.100.7", "X-Forwarded-Proto": "http"}
    assert front.call("GET", "/api/v1/billing/summary", headers={**forged, "X-Request-ID": "forged-address-1"}).status == 200
    _until(lambda: b"forged-address-1" in _logs(front.live))
    line = next(line for line in _logs(front.live).splitlines() if b"forged-address-1" in line and b'"request"' in line)
    assert json.loads(line)["ip"] == "127.0.0.1"


def _logs(live: Live) -> bytes:
    return (live.folder / "web.log").read_bytes() + (live.folder / "second.log").read_bytes()


def test_the_admins_form_is_taken_over_tls(front: Front):
    """Its cookies are for https only, and its origin is compared with the scheme that the browser used."""
    page = front.call("GET", "/admin/login/")
    cookies = dict(re.findall(r"(__Host-[\w-]+|csrftoken)=([^;]+);", "; ".join(page.headers.get_all("Set-Cookie"))))
    assert all("Secure" in cookie for cookie in page.headers.get_all("Set-Cookie"))
    token = re.search(rb'name="csrfmiddlewaretoken" value="([^"]+)"', page.data)
    assert token
    form = f"csrfmiddlewaretoken={token[1].decode()}&username=x@example.com&password=wrong".encode()
    headers = {
        "Content-Type": "application/x-www-form-urlencoded", "Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items()),
        "Origin": f"https://{HOST}", "Referer": f"https://{HOST}/admin/login/", "Authorization": "",
    }  # fmt: skip
    answer = front.call("POST", "/admin/login/", headers=headers, raw=form)
    assert answer.status == 200 and b"enter the correct" in answer.data, (answer.status, answer.data[:300])
    assert front.call("POST", "/admin/login/", headers={**headers, "Origin": "https://evil.example"}, raw=form).status == 403


@pytest.mark.parametrize("size", [12 * 1024 * 1024 + 1, 14 * 1024 * 1024], ids=["over the product's", "over nginx's"])
def test_a_body_that_is_too_large_is_413_in_our_shape(front: Front, size: int):
    connection = front.connection()
    headers = {"Host": HOST, "Authorization": f"Bearer {front.live.key}", "Content-Type": "application/json", "Content-Length": str(size)}
    connection.putrequest("POST", "/api/v1/chat/send", skip_host=True)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    with contextlib.suppress(OSError):
        for sent in range(0, size, 65536):
            connection.send(b"x" * min(65536, size - sent))
    answer = connection.getresponse()
    assert answer.status == 413 and json.loads(answer.read())["error"]["code"] == "payload_too_large"
    connection.close()


def test_a_process_that_leaves_costs_nobody_an_answer(front: Front):
    """A rolling restart under requests: the stream on the leaving process ends whole, reads go on, and no turn is run twice."""
    live = front.live
    before = live.query("SELECT count(*) FROM chat_message WHERE role = 'assistant'")[0][0]
    connection = front.connection()
    headers = {"Host": HOST, "Authorization": f"Bearer {live.key}", "Content-Type": "application/json"}
    streams = []
    for _ in range(4):  # on both processes, in turn
        connection = front.connection()
        body = json.dumps({"content": "[[sim:chunks=12,pace=200]] Hello", "model": "gpt-4o-mini"})
        connection.request("POST", "/api/v1/chat/stream", body, headers)
        streams.append(connection.getresponse())
    os.killpg(live.processes["second"].pid, signal.SIGTERM)
    statuses, posted = [], []
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        statuses.append(front.call("GET", "/api/v1/chat/conversations?page_size=1").status)
        answer = front.call("POST", "/api/v1/chat/send", {"content": "Hello", "model": "gpt-4o-mini"})
        posted.append(answer.status)
        if answer.status == 503:
            assert answer.headers["Retry-After"] and json.loads(answer.data)["error"]["code"] in ("shutting_down", "unavailable")
    assert set(statuses) == {200}
    assert set(posted) <= {200, 503} and posted.count(200) > 3, posted
    for stream in streams:
        assert b"event: message.end" in stream.read()
    live.processes.pop("second").wait(20)
    after = live.query("SELECT count(*) FROM chat_message WHERE role = 'assistant'")[0][0]
    assert after - before == 4 + posted.count(200)


def test_with_nobody_behind_it_nginx_says_so_in_our_shape(front: Front):
    front.live.stop("second")
    front.live.stop()
    answer = front.call("GET", "/api/v1/system/info")
    assert answer.status == 503 and answer.headers["Retry-After"] == "2"
    assert json.loads(answer.data)["error"]["type"] == "unavailable"
    front.live.start()
    assert front.call("GET", "/api/v1/system/info").status == 200


def test_a_head_that_is_too_large_is_431_in_our_shape(front: Front):
    answer = front.call("GET", "/api/v1/system/info", headers={"X-Long": "x" * 20_000})
    assert answer.status == 431 and json.loads(answer.data)["error"]["code"] == "headers_too_large"
