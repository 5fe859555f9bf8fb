"""Decompression of bodies with a limited size."""

from __future__ import annotations

import zlib


class Malformed(Exception):
    """The body does not match its Content-Encoding, or the encoding was not requested."""


class Inflater:
    """Decompresses gzip and deflate incrementally. Raises Malformed for any other encoding."""

    def __init__(self, encoding: str) -> None:
        self._kind = encoding.strip().lower()
        if self._kind not in ("", "identity", "gzip", "x-gzip", "deflate"):
            raise Malformed(self._kind)
        self._zip = None if self._kind in ("", "identity") else zlib.decompressobj(zlib.MAX_WBITS | 32)
        self._begun = False

    def open(self, data: bytes, most: int) -> bytes:
        """Decompress the next bytes to at most `most` bytes; the rest is dropped. Raises Malformed."""
        if self._zip is None:
            return data[:most]
        try:
            return self._open(data, most)
        except zlib.error as exc:
            raise Malformed from exc

    def finish(self) -> None:
        """Raise Malformed if the body ended before its end marker."""
        if self._zip is not None and self._begun and not self._zip.eof:
            raise Malformed("cut off")

    def _open(self, data: bytes, most: int) -> bytes:
        assert self._zip is not None
        if not self._begun and self._kind == "deflate" and data[:1] and (data[0] & 0x0F) != 8:
            # Some servers send raw deflate, without the zlib header that the standard requires.
            self._zip = zlib.decompressobj(-zlib.MAX_WBITS)
        self._begun = True
        return self._zip.decompress(data, max(1, most))
