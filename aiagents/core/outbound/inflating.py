"""Compressed bodies, opened no further than somebody is willing to read."""

from __future__ import annotations

import zlib


class Malformed(Exception):
    """It is not what its Content-Encoding says, or in a way that was not asked for."""


class Inflater:
    """Opens gzip and deflate piece by piece; anything else that is not plain is Malformed."""

    def __init__(self, encoding: str) -> None:
        self._kind = encoding.strip().lower()
        if self._kind not in ("", "identity", "gzip", "x-gzip", "deflate"):
            raise Malformed(self._kind)
        self._zip = None if self._kind in ("", "identity") else zlib.decompressobj(zlib.MAX_WBITS | 32)
        self._begun = False

    def open(self, data: bytes, most: int) -> bytes:
        """What the next bytes hold, at most `most` bytes of it; the rest is lost, as the caller wants no more."""
        if self._zip is None:
            return data[:most]
        try:
            return self._open(data, most)
        except zlib.error as exc:
            raise Malformed from exc

    def finish(self) -> None:
        """Malformed when the body ended before its own end mark."""
        if self._zip is not None and self._begun and not self._zip.eof:
            raise Malformed("cut off")

    def _open(self, data: bytes, most: int) -> bytes:
        assert self._zip is not None
        if not self._begun and self._kind == "deflate" and data[:1] and (data[0] & 0x0F) != 8:
            # Some servers send raw deflate, without the zlib header that the standard asks for.
            self._zip = zlib.decompressobj(-zlib.MAX_WBITS)
        self._begun = True
        return self._zip.decompress(data, max(1, most))
