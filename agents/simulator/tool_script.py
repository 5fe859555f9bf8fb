"""Tool calls word for word, for tests and demos of agents: what the user writes is what the model calls.

`[[call calculator {"expression": "2+3"}]]` calls a tool; several are called at once. `[[then]]` begins the next round,
`[[say …]]` says something before its round's calls, and `[[forever]]` repeats the last round without end.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

# A mark ends before the next one begins. Without that stop every mark that is left open reads on to the end of the text.
_MARK = re.compile(r"\[\[(call|say)\s++((?:(?!\[\[(?:call|say)\s).)*?)\]\](?!\])|\[\[(then|forever)\]\]", re.S)


@dataclass(slots=True)
class Round:
    """One answer of the model: its words and its calls (name, arguments as written)."""

    said: str = ""
    calls: list[tuple[str, str]] = field(default_factory=list)


def next_round(text: str, results: int) -> tuple[int, Round] | None:
    """The number and content of the round that follows `results` tool results; None: the text asks for none."""
    if "[[call" not in text:
        return None
    rounds, forever = [Round()], False
    for mark in _MARK.finditer(text):
        kind = mark[1] or mark[3]
        if kind == "call":
            name, _, arguments = mark[2].partition(" ")
            rounds[-1].calls.append((name, arguments.strip() or "{}"))
        elif kind == "say":
            rounds[-1].said = mark[2]
        elif kind == "then":
            rounds.append(Round())
        else:
            forever = True
    done = 0
    for number, one in enumerate(rounds):
        if done == results:
            return number, one
        done += len(one.calls)
    if forever and rounds[-1].calls:
        return len(rounds) + (results - done) // len(rounds[-1].calls), rounds[-1]
    return None
