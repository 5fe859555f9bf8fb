"""Texts that make a regular expression work: from its own parts, repeated, and ended by what it does not look for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from re import _constants as constants
from re import _parser as parser
from typing import Any

Maker = Callable[[int], str]
# What may stand for a class of characters, in this order.
SAMPLES = "a1 -._/\"'\\[<:=@\n,;Z(*+{$#\x00"
END = "\x01"  # in no class that names what it takes
MOST_TOKENS, MOST_VARIANTS = 10, 12


def texts(pattern: re.Pattern) -> Iterator[Maker]:
    """Each takes a length in characters and gives a text of about that length."""
    return (_maker(opening, piece) for opening, piece in pumps(pattern))


def pumps(pattern: re.Pattern) -> Iterator[tuple[str, str]]:
    """What such a text begins with, and what is repeated after it until END."""
    source = pattern.pattern.decode("latin-1") if isinstance(pattern.pattern, bytes) else pattern.pattern
    sequences = _sequences(parser.parse(source, pattern.flags & ~re.UNICODE if isinstance(pattern.pattern, bytes) else pattern.flags))
    seen: set[tuple[str, str]] = set()
    for opening, piece in _pumps(sequences[:MOST_VARIANTS]):
        if piece and (opening, piece) not in seen:
            seen.add((opening, piece))
            yield opening, piece


def _maker(opening: str, piece: str) -> Maker:
    return lambda size: opening + piece * max(1, size // len(piece)) + END


def _pumps(sequences: list[list[str]]) -> Iterator[tuple[str, str]]:
    tokens: dict[str, None] = {}
    for units in sequences:
        for index, unit in enumerate(units):
            opening = "".join(units[:index])
            yield opening, unit  # one part goes on and on
            yield "", opening + unit  # the beginning is begun again and again
            if index:
                yield "".join(units[: index - 1]), units[index - 1] + unit
            tokens.setdefault(unit)
    chosen = list(tokens)[:MOST_TOKENS]
    for one in chosen:
        for other in chosen:
            yield "", one + other


def _sequences(tree: Iterable[Any]) -> list[list[str]]:
    """Texts that the pattern takes, cut into the parts that it names; several where it leaves a choice."""
    found: list[list[str]] = [[]]
    for operation, argument in tree:
        options = _options(operation, argument)
        if not options:
            continue
        # The first choice everywhere, and each other choice once.
        found = [units + options[0] for units in found] + [found[0] + option for option in options[1:]]
        found = found[: 4 * MOST_VARIANTS]
    return found


def _options(operation: Any, argument: Any) -> list[list[str]]:
    match operation:
        case constants.LITERAL:
            return [[chr(argument)]]
        case constants.NOT_LITERAL:
            return [[char] for char in SAMPLES if char != chr(argument)][:3]
        case constants.ANY:
            return [["x"], [" "]]
        case constants.IN:
            return [[char] for char in _members(argument)]
        case constants.BRANCH:
            return [units for branch in argument[1] for units in _sequences(branch)]
        case constants.SUBPATTERN:
            return _sequences(argument[3])
        case constants.ATOMIC_GROUP:
            return _sequences(argument)
        case constants.MAX_REPEAT | constants.MIN_REPEAT | constants.POSSESSIVE_REPEAT:
            least, _, inner = argument
            return [["".join(units) * max(1, least)] if least > 1 else units for units in _sequences(inner)]
    return []


def _members(items: list[Any]) -> list[str]:
    """Up to five characters of a class, of different kinds where it has them."""
    takes = re.compile(_class(items), re.S)
    own = [chr(value if kind is constants.LITERAL else value[0]) for kind, value in items if kind in (constants.LITERAL, constants.RANGE)]
    return list(dict.fromkeys(char for char in [*SAMPLES[:4], *own, *SAMPLES[4:]] if takes.fullmatch(char)))[:5]


_CATEGORIES = {
    constants.CATEGORY_DIGIT: r"\d", constants.CATEGORY_NOT_DIGIT: r"\D", constants.CATEGORY_SPACE: r"\s",
    constants.CATEGORY_NOT_SPACE: r"\S", constants.CATEGORY_WORD: r"\w", constants.CATEGORY_NOT_WORD: r"\W",
}  # fmt: skip


def _class(items: list[Any]) -> str:
    """The class as it stood in the pattern."""
    text = ""
    for kind, value in items:
        match kind:
            case constants.NEGATE:
                text = "^" + text
            case constants.LITERAL:
                text += f"\\U{value:08x}"
            case constants.RANGE:
                text += f"\\U{value[0]:08x}-\\U{value[1]:08x}"
            case constants.CATEGORY:
                text += _CATEGORIES[value]
    return f"[{text}]"
