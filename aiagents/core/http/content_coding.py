"""Unpacking of compressed request bodies (`Content-Encoding`), with the size limit of the endpoint.

Source: RFC 9110, section 8.4. Each step unpacks at most CHUNK bytes, so a body that would unpack to more than the limit
costs no more than the limit. The compiled libraries release the interpreter lock; the caller runs `unpack` in a thread.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar, Protocol

import brotli

from aiagents.core.errors import AppError, InvalidRequest
from aiagents.core.http import body_limits

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CHUNK = 64 * 1024
# The names of codings that clients may send, as `Accept-Encoding` lists them.
ACCEPTED = "gzip, deflate, br, zstd"
MOST_CODINGS = 4
# gzip members or zstd frames in one body. More would cost time without bytes.
_MOST_MEMBERS = 1000
# RFC 9659: a recipient needs to support windows up to 8 MB. A larger one would allocate memory before any byte is unpacked.
_ZSTD_OPTIONS: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 23}


class UnsupportedCoding(AppError):
    type, code, status = "invalid_request", "unsupported_content_encoding", 415
    message = f"Content-Encoding may name {ACCEPTED}, and at most {MOST_CODINGS} codings."
    headers: ClassVar[Mapping[str, str]] = {"Accept-Encoding": ACCEPTED}


def codings(header: str) -> list[str]:
    """The codings that a Content-Encoding header names, in the order in which they were applied, without `identity`.

    Raises UnsupportedCoding for an unknown coding and for more than MOST_CODINGS.
    """
    found = [name for one in header.split(",") if (name := one.strip().lower()) and name != "identity"]
    if len(found) > MOST_CODINGS or not all(name in _DECODERS for name in found):
        raise UnsupportedCoding(param="content-encoding")
    return found


def unpack(body: bytes, header: str, limit: int) -> bytes:
    """The body without the codings of its Content-Encoding header. An empty body stays empty.

    Raises UnsupportedCoding (415), PayloadTooLarge (413) as soon as more than `limit` bytes are unpacked, and
    InvalidRequest (400) for a body that is cut off, is followed by other bytes, or is not of its coding.
    """
    if not body:
        return body
    names = codings(header)
    pieces = _pieces(body)
    for name in reversed(names):
        pieces = _unpacked(pieces, _DECODERS[name], limit)
    try:
        return b"".join(pieces)
    except (zlib.error, zstd.ZstdError, brotli.error, _Malformed) as exc:
        message = f"The body is not valid {', '.join(names)}, as its Content-Encoding says."
        raise InvalidRequest(message, code="invalid_content_encoding", param="content-encoding") from exc


class _Malformed(Exception):
    pass


class _Decoder(Protocol):
    """Unpacks one member. After its end `finished` is true and `rest` holds the bytes behind it."""

    finished: bool
    rest: bytes

    def unpack(self, data: bytes) -> Iterator[bytes]: ...


def _pieces(body: bytes) -> Iterator[bytes]:
    for at in range(0, len(body), CHUNK):
        yield body[at : at + CHUNK]


def _unpacked(pieces: Iterator[bytes], new_decoder: Callable[[], _Decoder], limit: int) -> Iterator[bytes]:
    decoder = new_decoder()
    members, size = 1, 0
    for piece in pieces:
        data = piece
        while data:
            if decoder.finished:
                decoder = new_decoder()
                members += 1
                if members > _MOST_MEMBERS:
                    raise _Malformed
            for out in decoder.unpack(data):
                size += len(out)
                if size > limit:
                    raise body_limits.too_large(limit)
                yield out
            data = decoder.rest if decoder.finished else b""
    if not decoder.finished:
        raise _Malformed


class _Zlib:
    def __init__(self, window_bits: int) -> None:
        self._zip = zlib.decompressobj(window_bits)
        self.finished, self.rest = False, b""

    def unpack(self, data: bytes) -> Iterator[bytes]:
        while True:
            out = self._zip.decompress(data, CHUNK)
            yield out
            data = self._zip.unconsumed_tail
            if self._zip.eof or (not data and len(out) < CHUNK):
                break
        self.finished, self.rest = self._zip.eof, self._zip.unused_data


class _Deflate(_Zlib):
    """`deflate` with the zlib header that the standard requires, and without it, as some clients send it."""

    def __init__(self) -> None:
        super().__init__(zlib.MAX_WBITS)
        self._begun = False

    def unpack(self, data: bytes) -> Iterator[bytes]:
        if not self._begun and data[0] & 0x0F != 8:
            self._zip = zlib.decompressobj(-zlib.MAX_WBITS)
        self._begun = True
        yield from super().unpack(data)
        if self.rest:
            raise _Malformed


class _Brotli:
    def __init__(self) -> None:
        self._brotli = brotli.Decompressor()
        self.finished, self.rest = False, b""

    def unpack(self, data: bytes) -> Iterator[bytes]:
        out = self._brotli.process(data, output_buffer_limit=CHUNK)
        # Output may wait although all input was taken.
        while out or not (self._brotli.can_accept_more_data() or self._brotli.is_finished()):
            yield out
            out = b"" if self._brotli.is_finished() else self._brotli.process(b"", output_buffer_limit=CHUNK)
        self.finished = self._brotli.is_finished()


class _Zstd:
    def __init__(self) -> None:
        self._zstd = zstd.ZstdDecompressor(options=_ZSTD_OPTIONS)
        self.finished, self.rest = False, b""

    def unpack(self, data: bytes) -> Iterator[bytes]:
        yield self._zstd.decompress(data, CHUNK)
        while not self._zstd.eof and not self._zstd.needs_input:
            yield self._zstd.decompress(b"", CHUNK)
        self.finished, self.rest = self._zstd.eof, self._zstd.unused_data


def _gzip() -> _Decoder:
    return _Zlib(zlib.MAX_WBITS | 16)


_DECODERS: dict[str, Callable[[], _Decoder]] = {
    "gzip": _gzip, "x-gzip": _gzip, "deflate": _Deflate, "br": _Brotli, "zstd": _Zstd,
}  # fmt: skip
