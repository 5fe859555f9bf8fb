"""Tokens of images by the vendors' published formulas (docs/adr/0108-token-counts.md names the pages)."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, floor, sqrt

from agents.counting import kinds
from agents.messages import IMAGE_TOKENS, Image

# The header of a JPEG may follow its metadata; this much of an image is decoded to find its size.
_HEAD = 256 * 1024
Size = tuple[int, int]
_MOST_TILES = 48


@dataclass(frozen=True, slots=True)
class Rule:
    """A model's formula, the most tokens that one image can have, and the tokens of one whose size is unknown."""

    tokens: Callable[[Size, str], int]
    most: int
    unknown: int


def tokens(image: Image, provider: str, model: str) -> int:
    """Return the estimated tokens of an image. One that the vendor fetches counts as a usual photograph."""
    rule = _rule(provider, model)
    size = size_of(image.data) if image.data else None
    return rule.tokens(size, image.detail) if size is not None else rule.unknown


def most(provider: str, model: str) -> int:
    """Return the most tokens that this model counts for one image."""
    return _rule(provider, model).most


def size_of(data: str) -> Size | None:
    """Return width and height in pixels of a base64 PNG, JPEG, GIF or WebP image; None if its header cannot be read."""
    head = data[:_HEAD]
    try:
        raw = base64.b64decode(head[: len(head) // 4 * 4])
    except (binascii.Error, ValueError):
        return None
    found = _png(raw) or _gif(raw) or _webp(raw) or _jpeg(raw)
    return found if found and min(found) > 0 else None


def _png(raw: bytes) -> Size | None:
    return (_big(raw[16:20]), _big(raw[20:24])) if raw[:8] == b"\x89PNG\r\n\x1a\n" and len(raw) >= 24 else None


def _gif(raw: bytes) -> Size | None:
    return (_little(raw[6:8]), _little(raw[8:10])) if raw[:4] == b"GIF8" and len(raw) >= 10 else None


def _webp(raw: bytes) -> Size | None:
    if raw[:4] != b"RIFF" or raw[8:12] != b"WEBP" or len(raw) < 30:
        return None
    if raw[12:16] == b"VP8X":
        return _little(raw[24:27]) + 1, _little(raw[27:30]) + 1
    if raw[12:16] == b"VP8L":
        bits = _little(raw[21:25])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return _little(raw[26:28]) & 0x3FFF, _little(raw[28:30]) & 0x3FFF


def _jpeg(raw: bytes) -> Size | None:
    """Return the size from the first frame header (SOF), behind the other segments."""
    if raw[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 9 <= len(raw) and raw[at] == 0xFF:
        marker = raw[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return _big(raw[at + 7 : at + 9]), _big(raw[at + 5 : at + 7])
        else:
            at += 2 + max(2, _big(raw[at + 2 : at + 4]))
    return None


def _big(raw: bytes) -> int:
    return int.from_bytes(raw, "big")


def _little(raw: bytes) -> int:
    return int.from_bytes(raw, "little")


def _fitted(size: Size, longest: float, shortest: float = 0) -> tuple[float, float]:
    """Return the size after it is scaled down to these limits of the long and the short edge; 0: no limit."""
    scale = min(1.0, longest / max(size))
    if shortest:
        scale = min(scale, shortest / min(size))
    return size[0] * scale, size[1] * scale


def _tiles(base: int, tile: int) -> Rule:
    """OpenAI's older models: tiles of 512 pixels after the image is fitted into 2,048, its short edge into 768."""

    def count(size: Size, detail: str) -> int:
        if detail == "low":
            return base
        width, height = _fitted(size, 2048, 768)
        return base + tile * ceil(width / 512) * ceil(height / 512)

    return Rule(count, base + tile * 8, base + tile * 4)


def _patches(edge: int, most_patches: int, factor: float, longest: float = 1e9) -> Rule:
    """Patches of `edge` pixels. A larger image is scaled down until whole patches, at most `most_patches`, cover it."""

    def count(size: Size, detail: str) -> int:
        width, height = (side / edge for side in _fitted(size, longest))
        if ceil(width) * ceil(height) > most_patches:
            scale = sqrt(most_patches / (width * height))
            scale *= min(floor(side * scale) / (side * scale) for side in (width, height) if side * scale >= 1)
            width, height = round(width * scale, 6), round(height * scale, 6)
        return ceil(factor * ceil(width) * ceil(height))

    return Rule(count, ceil(most_patches * factor), ceil(min(most_patches, 1024) * factor))


def _by_detail(high: Rule, original: Rule) -> Rule:
    """OpenAI's models from GPT-5.4 on see an image of the detail `original` in finer resolution, and `low` in 512 pixels."""

    def count(size: Size, detail: str) -> int:
        small = tuple(max(1, round(side)) for side in _fitted(size, 512))
        return (original if detail == "original" else high).tokens((small[0], small[1]) if detail == "low" else size, detail)

    return Rule(count, original.most, high.unknown)


def _gemini_tiles(size: Size, detail: str) -> int:
    """Gemini before 3: 258 tokens for a small image, and for each tile of a larger one; a tile has 256 to 768 pixels."""
    width, height = size
    if max(size) <= 384:
        return 258
    unit = min(768, max(256, floor(min(size) / 1.5)))
    return min(_MOST_TILES, ceil(width / unit) * ceil(height / unit)) * 258


def _gemini_resolution(size: Size, detail: str) -> int:
    """Gemini 3 and later: a number of tokens by the resolution, whatever the size."""
    return {"low": 280, "high": 1120, "original": 1120}.get(detail, 1120)


_CLAUDE_BEFORE_4_7, _CLAUDE = _patches(28, 1568, 1.0, 1568), _patches(28, 4784, 1.0, 2576)
_RULES: tuple[tuple[re.Pattern[str], Rule], ...] = (
    (re.compile(r"google/(models/)?gemini-[12]"), Rule(_gemini_tiles, 258 * _MOST_TILES, 258 * 4)),
    (re.compile(r"google/"), Rule(_gemini_resolution, 2240, 1120)),
    (re.compile(r"openai/gpt-4o-mini"), _tiles(2833, 5667)),
    (re.compile(r"openai/gpt-(4o|4\.5|4-|4\.1$|4\.1-20)"), _tiles(85, 170)),
    (re.compile(r"openai/(gpt-4\.1-mini|gpt-5-mini)"), _patches(32, 1536, 1.62)),
    (re.compile(r"openai/(gpt-4\.1-nano|gpt-5-nano)"), _patches(32, 1536, 2.46)),
    (re.compile(r"openai/o4-mini"), _patches(32, 1536, 1.72)),
    (re.compile(r"openai/(o1|o3)"), _tiles(75, 150)),
    (re.compile(r"openai/gpt-5(-|$|\.1)"), _tiles(70, 140)),
    (re.compile(r"openai/"), _by_detail(_patches(32, 2500, 1.2, 2048), _patches(32, 10000, 1.2, 6000))),
)  # fmt: skip
_OTHER = Rule(lambda size, detail: IMAGE_TOKENS, IMAGE_TOKENS, IMAGE_TOKENS)


def _rule(provider: str, model: str) -> Rule:
    if provider == "anthropic":
        return _CLAUDE_BEFORE_4_7 if kinds.is_before_4_7(model) else _CLAUDE
    name = f"{provider}/{model}".lower()
    return next((rule for pattern, rule in _RULES if pattern.match(name)), _OTHER)
