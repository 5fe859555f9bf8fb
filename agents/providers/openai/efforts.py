"""Reasoning efforts that OpenAI's older models take.

Source: the model pages of developers.openai.com; `none` came with GPT-5.1, `minimal` with GPT-5.
"""

from __future__ import annotations

import re

# The least effort of models that cannot stop reasoning.
_LEAST = ((re.compile(r"(?:^|/)o\d"), "low"), (re.compile(r"gpt-5(?![.\d])"), "minimal"))


def fitted(effort: str, model: str) -> str:
    """Return the effort, or the least that the model has in place of `none`."""
    if effort != "none":
        return effort
    return next((least for pattern, least in _LEAST if pattern.search(model)), effort)
