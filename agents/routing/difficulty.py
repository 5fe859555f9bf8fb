"""Estimates how demanding a request is from its text, so that `balanced` sends easy questions to cheap models.

It takes microseconds and calls no model. It errs towards hard: a strong model on an easy question costs cents, a weak
model on a hard question costs the answer.
"""

from __future__ import annotations

import re

from agents.messages import CompletionRequest, Image

_MOST_READ = 20_000
# The search from SELECT to FROM stops at the next SELECT, else a text of many SELECTs takes quadratic time.
_CODE = re.compile(
    r"```|\bdef \w+\(|\bclass \w+|\bfunction\b|=>|#include|\bSELECT\b(?:(?!\bSELECT\b).)+?\bFROM\b|</\w+>|Traceback \(", re.IGNORECASE
)
_THINKING = re.compile(
    r"\b(prove|proof|derive|theorem|integral|derivative|equation|complexity|algorithm|optimi[sz]\w*|refactor\w*|debug\w*|architect\w*|"
    r"analy[sz]\w*|evaluat\w*|trade-?offs?|compare|critique|strateg\w*|step[ -]by[ -]step|reason\w*|design|legal|diagnos\w*|forecast\w*|"
    r"beweis\w*|erkläre|analysiere|démontre\w*|analys\w*|explica\w*)\b",
    re.IGNORECASE,
)
_EASY = re.compile(
    r"^\s*(hi|hello|hey|thanks?|thank you|ok(ay)?|yes|no|good (morning|evening)|translate|summari[sz]e|rephrase|"
    r"fix (the )?(typo|grammar))\b",
    re.IGNORECASE,
)


def difficulty(request: CompletionRequest) -> float:
    """Return a heuristic difficulty of the last question, from 0 (small talk) to 1 (long, technical, with tools)."""
    question = next((message.text for message in reversed(request.messages) if message.role == "user"), "")
    text = question[:_MOST_READ]
    score = 0.25 + min(0.2, len(question) / 8000)
    score += min(0.3, 0.12 * len(_THINKING.findall(text)))
    if _CODE.search(text):
        score += 0.2
    if request.tools:
        score += 0.1
    if request.response_format and request.response_format.get("type") == "json_schema":
        score += 0.05
    if request.reasoning_effort in ("medium", "high", "xhigh", "max"):
        score += 0.2
    if any(isinstance(part, Image) for message in request.messages for part in message.parts):
        score += 0.05
    if len(question) < 200 and _EASY.match(text):
        score -= 0.2
    return round(min(1.0, max(0.0, score)), 3)
