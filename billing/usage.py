"""`Usage`: the tokens of a model call. All layers share this value."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens, in inclusive buckets: cached and written input ⊂ input, reasoning ⊂ output.

    `missing` names the counts (`input_tokens`, `output_tokens`) that the vendor did not report. Settlement replaces
    their 0 with an estimate. Any other 0 was reported by the vendor. Without any report there is no Usage.
    """

    input_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    missing: frozenset[str] = frozenset()

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.cached_input_tokens + other.cached_input_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            self.output_tokens + other.output_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            self.missing | other.missing,
        )

    def clean(self) -> Usage:
        """Return valid counts: none is negative, and no part is larger than its whole."""
        total_in, total_out = max(0, self.input_tokens), max(0, self.output_tokens)
        cached = min(max(0, self.cached_input_tokens), total_in)
        return replace(
            self,
            input_tokens=total_in,
            cached_input_tokens=cached,
            cache_write_tokens=min(max(0, self.cache_write_tokens), total_in - cached),
            output_tokens=total_out,
            reasoning_tokens=min(max(0, self.reasoning_tokens), total_out),
        )

    def as_dict(self) -> dict[str, int]:
        """Return the API's `usage` object."""
        return {
            "input_tokens": self.input_tokens,
            "cached_input_tokens": self.cached_input_tokens,
            "cache_write_tokens": self.cache_write_tokens,
            "output_tokens": self.output_tokens,
            "reasoning_tokens": self.reasoning_tokens,
        }
