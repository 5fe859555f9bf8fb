"""What the guard believes: certificates for names, charsets that are some; and what it writes down."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from aiagents.core.outbound import addresses
from aiagents.core.outbound import guard as outbound
from aiagents.core.outbound.guard import BlockedUrl, OutboundFailed, fetch
from aiagents.core.tests.elsewhere import PUBLIC, Names, reply, serving


@pytest.fixture
def names(monkeypatch) -> Names:
    real, found = addresses.is_public, Names()
    monkeypatch.setattr(addresses, "is_public", lambda address: address == PUBLIC or real(address))
    monkeypatch.setattr(socket, "getaddrinfo", found.look_up)
    return found


@pytest.fixture
def certify(tmp_path: Path, monkeypatch) -> Callable[[str], ssl.SSLContext]:
    """A server's TLS for a name, from an authority that the guard trusts."""

    def make(host: str) -> ssl.SSLContext:
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
        made = (
            x509.CertificateBuilder(
                name, name, key.public_key(), x509.random_serial_number(), now - timedelta(days=1), now + timedelta(days=1)
            )
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        pem = made.public_bytes(serialization.Encoding.PEM)
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (tmp_path / "both.pem").write_bytes(pem + private)
        monkeypatch.setattr(outbound, "tls_context", ssl.create_default_context(cadata=pem.decode()))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "both.pem")
        return context

    return make


async def test_a_pinned_address_must_still_prove_the_name(certify, names: Names, monkeypatch):
    names.add("good.example", [PUBLIC])
    names.add("other.example", [PUBLIC])
    async with serving(reply(b"sealed"), tls=certify("good.example")) as server:
        assert (await fetch("GET", f"https://good.example:{server.port}/")).body == b"sealed"
        with pytest.raises(OutboundFailed):
            await fetch("GET", f"https://other.example:{server.port}/")
        monkeypatch.setattr(outbound, "tls_context", ssl.create_default_context())
        with pytest.raises(OutboundFailed):
            await fetch("GET", f"https://good.example:{server.port}/")
    assert len(server.requests) == 1


async def test_who_tries_a_private_address_is_logged_without_the_path(caplog):
    with pytest.raises(BlockedUrl):
        await fetch("GET", "http://169.254.169.254/planted-secret?key=planted-secret")
    record = next(record for record in caplog.records if record.getMessage() == "outbound_blocked")
    assert record.host == "169.254.169.254" and "planted" not in str(record.__dict__)


@pytest.mark.parametrize(
    "charset", ["punycode", "idna", "unicode_escape", "undefined", "base64", "zlib", "rot13", "mbcs", "nonsense", "x" * 40]
)
def test_what_is_no_charset_is_not_used(charset: str):
    begun = time.process_time()
    answer = outbound.Answer(200, "", {"content-type": f"text/html; charset={charset}"}, ("grüß" + "a-1b" * 250_000).encode())
    assert answer.text.startswith("grüß") and time.process_time() - begun < 0.5


@pytest.mark.parametrize(
    "charset, text",
    [("ISO-8859-1", "grüß"), ("windows-1252", "„grüß“ €"), ("utf8", "grüß"), ("Shift_JIS", "東京"), ("gb2312", "北京"), ("UTF-16", "grüß"),
     ("koi8-r", "Москва"), ("euc-kr", "서울"), ("mac-roman", "grüß")],
)  # fmt: skip
def test_what_is_one_is(charset: str, text: str):
    assert outbound.Answer(200, "", {"content-type": f"text/html; Charset={charset}"}, text.encode(charset)).text == text
