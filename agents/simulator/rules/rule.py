"""A documented rule of a vendor: what it refuses, of which models, and where that is written."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from agents.simulator.rules.shapes import Fault

Obj = dict[str, Any]
Find = Callable[[Obj], Fault | None]


@dataclass(frozen=True, slots=True)
class Rule:
    """`find` returns what the rule refuses in a body whose types are right. `models`: None for all models."""

    name: str
    source: str
    find: Find
    models: re.Pattern[str] | None = None

    def of_model(self, model: str) -> bool:
        return self.models is None or self.models.search(model) is not None


class Rules(list[Rule]):
    """The rules of one API, in the order in which they are checked."""

    def add(self, name: str, source: str, models: re.Pattern[str] | None = None) -> Callable[[Find], Find]:
        """Return a decorator that adds the function as a rule."""

        def decorate(find: Find) -> Find:
            self.append(Rule(name, source, find, models))
            return find

        return decorate


def refused(message: str, *path: str | int) -> Fault:
    return Fault(path, "value", message)


def objects(value: object) -> Iterator[tuple[int, Any]]:
    """Yield position and object for the objects of a list."""
    for number, one in enumerate(value if isinstance(value, list) else ()):
        if isinstance(one, dict):
            yield number, one
