"""Compressed bodies: every coding is unpacked, within a limit, and only if it is whole."""

from __future__ import annotations

import gzip
import os
import sys
import tracemalloc
import zlib
from collections.abc import Callable

import brotli
import pytest

from aiagents.core.errors import AppError, InvalidRequest, PayloadTooLarge
from aiagents.core.http.content_coding import ACCEPTED, UnsupportedCoding, unpack

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LIMIT = 1024 * 1024
TEXT = os.urandom(100_000) + b"abc" * 100_000


def raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


PACKED: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "GZip in capitals": ("GZip", gzip.compress),
    "x-gzip": ("x-gzip", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "deflate without a header": ("deflate", raw_deflate),
    "br": ("br", lambda body: brotli.compress(body, quality=4)),
    "zstd": ("zstd", zstd.compress),
    "two, and identity": ("gzip, identity,br", lambda body: brotli.compress(gzip.compress(body), quality=1)),
}
every = pytest.mark.parametrize(("header", "pack"), PACKED.values(), ids=PACKED)


@every
def test_a_body_is_unpacked_up_to_the_limit_and_not_one_byte_beyond(header: str, pack: Callable[[bytes], bytes]):
    assert unpack(pack(TEXT), header, LIMIT) == unpack(pack(TEXT), header, len(TEXT)) == TEXT
    assert unpack(pack(b""), header, LIMIT) == unpack(b"", header, LIMIT) == b""
    with pytest.raises(PayloadTooLarge) as refused:
        unpack(pack(TEXT), header, len(TEXT) - 1)
    assert refused.value.details == {"max_bytes": len(TEXT) - 1}


@every
def test_a_body_that_is_cut_off_or_followed_by_other_bytes_is_refused(header: str, pack: Callable[[bytes], bytes]):
    packed = pack(TEXT)
    for wrong in (packed[:-1], packed[:-5], packed[: len(packed) // 2], packed[:1], packed + b"{}", b"{}", b"\0" * 50):
        with pytest.raises(InvalidRequest) as refused:
            unpack(wrong, header, LIMIT)
        assert refused.value.code == "invalid_content_encoding"


@every
def test_a_bomb_takes_the_memory_of_its_limit(header: str, pack: Callable[[bytes], bytes]):
    bomb = pack(bytes(200 * LIMIT))
    tracemalloc.start()
    with pytest.raises(PayloadTooLarge):
        unpack(bomb, header, LIMIT)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * LIMIT


def test_members_one_after_the_other_are_one_body():
    assert unpack(gzip.compress(b"a") + gzip.compress(b"b"), "gzip", LIMIT) == b"ab"
    assert unpack(zstd.compress(b"a") + zstd.compress(b"b"), "zstd", LIMIT) == b"ab"


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress])
def test_empty_members_without_end_are_refused(pack: Callable[[bytes], bytes]):
    with pytest.raises(InvalidRequest):
        unpack(pack(b"") * 100_000, "gzip" if pack is gzip.compress else "zstd", LIMIT)


def test_a_zstd_window_larger_than_eight_megabytes_is_refused():
    packer = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 27})
    with pytest.raises(InvalidRequest):
        unpack(packer.compress(bytes(200 * LIMIT)) + packer.flush(), "zstd", 500 * LIMIT)


@pytest.mark.parametrize("header", ["compress", "gzip, snappy", "gzip,gzip,gzip,gzip,gzip", "*", "gzip;q=1"])
def test_an_unknown_coding_names_those_that_are_accepted(header: str):
    with pytest.raises(UnsupportedCoding) as refused:
        unpack(b"{}", header, LIMIT)
    error: AppError = refused.value
    assert error.status == 415 and error.headers["Accept-Encoding"] == ACCEPTED == "gzip, deflate, br, zstd"
