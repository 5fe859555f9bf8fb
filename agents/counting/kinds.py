"""The kind of a text, and how many tokens the vendors' tokenizers make of it, as a multiple of OpenAI's o200k.

Anthropic and Google publish no tokenizer. The factors are public measurements; docs/adr/0108-token-counts.md names each.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from agents.counting import tokenizer
from agents.messages import byte_size

# A text is classified piece by piece, because a prompt mixes prose, code and data; a long one by a sample of each piece.
_PIECE, _LONG = 4096, 64 * 1024
_SCRIPTS = {
    "cjk": re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]"),
    "cyrillic": re.compile("[\u0370-\u052f]"),
    "arabic": re.compile("[\u0590-\u07ff\ufb1d-\ufeff]"),
    "indic": re.compile("[\u0900-\u0fff]"),
}
# Usual o200k tokens of one character: a script's share of the tokens, not of the characters, decides.
_TOKENS_PER_CHARACTER = {"cjk": 0.7, "cyrillic": 0.22, "arabic": 0.32, "indic": 0.3, "latin": 0.23}
_DIGITS, _NUMBERS = re.compile("[0-9]"), re.compile("[0-9]{2,4096}")
_CODE = re.compile(r"[(){}\[\];=<>_/*#|&]")
_SPACE = re.compile(r"\s")


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """A family of models: the vocabulary to count with, and its factors by kind; empty factors mean that the count is exact."""

    name: str
    encoding: str = tokenizer.O200K
    factors: tuple[tuple[str, float], ...] = ()
    # Whether each digit is a token; o200k has one for three.
    single_digits: bool = False

    def count(self, text: str) -> int:
        """Return the tokens of a text. Blocks; call it in a thread for long texts."""
        if not self.factors:
            return tokenizer.count(text, self.encoding)
        factors = dict(self.factors)
        total = 0.0
        for piece in tokenizer.pieces(text, _PIECE if len(text) <= _LONG else tokenizer.PIECE):
            if tokens := tokenizer.count(piece, self.encoding):
                factor = sum(share * factors[kind] for kind, share in shares(piece[:_PIECE]).items())
                total += min(tokens * factor, byte_size(piece))  # no tokenizer makes more tokens than bytes
            if self.single_digits:
                total += sum(len(run) - -(-len(run) // 3) for run in _NUMBERS.findall(piece))
        return round(total)


O200K = Tokenizer("o200k")
CL100K = Tokenizer("cl100k", tokenizer.CL100K)
CLAUDE_BEFORE_4_7 = Tokenizer("claude", factors=(
    ("prose", 1.13), ("code", 1.30), ("json", 1.21), ("digits", 1.0), ("space", 1.0),
    ("cjk", 1.45), ("cyrillic", 1.5), ("arabic", 2.1), ("indic", 2.3),
))  # fmt: skip
CLAUDE = Tokenizer("claude-4.7", factors=(
    ("prose", 1.47), ("code", 1.60), ("json", 1.45), ("digits", 1.06), ("space", 1.0),
    ("cjk", 1.45), ("cyrillic", 1.5), ("arabic", 2.1), ("indic", 2.3),
))  # fmt: skip
GEMINI = Tokenizer("gemini", single_digits=True, factors=(
    ("prose", 1.03), ("code", 1.10), ("json", 1.05), ("digits", 1.0), ("space", 1.0),
    ("cjk", 0.9), ("cyrillic", 1.0), ("arabic", 1.0), ("indic", 1.0),
))  # fmt: skip


def of(provider: str, model: str) -> Tokenizer:
    """Return the tokenizer of a vendor's model. Other vendors' models are counted with o200k."""
    if provider == "anthropic":
        return CLAUDE_BEFORE_4_7 if is_before_4_7(model) else CLAUDE
    if provider == "google":
        return GEMINI
    old = model.startswith(("gpt-4", "gpt-3.5", "text-embedding")) and not model.startswith(("gpt-4o", "gpt-4.1", "gpt-4.5"))
    return CL100K if provider == "openai" and old else O200K


def is_before_4_7(model: str) -> bool:
    """Return whether this Claude has the older tokenizer: up to Opus 4.6, Sonnet 4.6 and Haiku 4.5. Unknown names are new."""
    numbers = [int(one) for one in re.findall(r"(?<![0-9])[0-9]{1,2}(?![0-9])", model)[:2]]
    return bool(numbers) and tuple(numbers) < (4, 7)


def shares(text: str) -> dict[str, float]:
    """Return the kinds of a text with their shares of its tokens, which add up to 1."""
    latin = _latin_kind(text)
    if text.isascii():
        return {latin: 1.0}
    found = {script: len(pattern.findall(text)) for script, pattern in _SCRIPTS.items()}
    rest = max(0, len(text) - sum(found.values()) - len(_SPACE.findall(text)))
    weights = {script: count * _TOKENS_PER_CHARACTER[script] for script, count in found.items() if count}
    weights[latin] = rest * _TOKENS_PER_CHARACTER["latin"]
    total = sum(weights.values())
    return {kind: weight / total for kind, weight in weights.items() if weight} if total else {latin: 1.0}


def _latin_kind(text: str) -> str:
    """Return the kind of what is written in Latin letters, digits and marks."""
    spaces = len(_SPACE.findall(text))
    written = len(text) - spaces
    if written * 5 < spaces:
        return "space"
    if len(_DIGITS.findall(text)) * 3 > written:
        return "digits"
    if text.count('"') * 25 > written and text.count(":") * 60 > written:
        return "json"
    return "code" if len(_CODE.findall(text)) * 18 > written else "prose"
