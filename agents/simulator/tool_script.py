"""Tool calls that the user's text scripts, for tests and demos of agents.

`[[call calculator {"expression": "2+3"}]]` calls a tool; several are called at once. `[[then]]` begins the next round,
`[[say …]]` writes text before its round's calls, and `[[forever]]` repeats the last round endlessly.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

# The search for a mark's end stops at the next mark, else a text of many open marks takes quadratic time.
_MARK = re.compile(r"\[\[(call|say)\s++((?:(?!\[\[(?:call|say)\s).)*?)\]\](?!\])|\[\[(then|forever)\]\]", re.S)


@dataclass(slots=True)
class Round:
    """One answer of the model: its text and its calls (name and arguments as written)."""

    text: str = ""
    calls: list[tuple[str, str]] = field(default_factory=list)


def next_round(text: str, results: int) -> tuple[int, Round] | None:
    """Return number and content of the round that follows `results` tool results; None if the text scripts none."""
    if "[[call" not in text:
        return None
    rounds, forever = [Round()], False
    for mark in _MARK.finditer(text):
        kind = mark[1] or mark[3]
        if kind == "call":
            name, _, arguments = mark[2].partition(" ")
            rounds[-1].calls.append((name, arguments.strip() or "{}"))
        elif kind == "say":
            rounds[-1].text = mark[2]
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
