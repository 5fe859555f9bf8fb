"""docs/adding-a-provider.md names what a provider must implement, and nothing that does not exist."""

from __future__ import annotations

import builtins
import importlib
import inspect
import pkgutil
import re
from types import ModuleType

import pytest
from django.conf import settings
from openai import AsyncOpenAI

import agents.providers
import agents.simulator
from agents.models import ProviderConnection
from agents.providers.answer import Answer
from agents.providers.base import Target
from agents.providers.embedding import EmbeddingProvider
from agents.providers.relay import HttpProvider
from agents.simulator.wires import anthropic, gemini, openai
from agents.tests import vendors
from billing.pricing import Usage
from tests.kit.servers.live import ROOT

GUIDE = (ROOT / "docs" / "adding-a-provider.md").read_text()
CODE = re.findall(r"`([^`]+)`", GUIDE)
ROOTS: dict[str, object] = {
    "Answer": Answer, "HttpProvider": HttpProvider, "EmbeddingProvider": EmbeddingProvider, "ProviderConnection": ProviderConnection,
    "Usage": Usage, "target": Target, "settings": settings,
}  # fmt: skip


def _modules() -> list[ModuleType]:
    packages = (agents.providers, agents.simulator)
    names = [f"{package.__name__}.{item.name}" for package in packages for item in pkgutil.iter_modules(package.__path__)]
    found = [importlib.import_module(name) for name in names if not name.endswith("__main__")]
    named = importlib.import_module("agents.tests.test_embeddings")  # the guide names its tests
    return [*found, agents.providers, vendors, named, builtins]


def exists(code: str) -> bool:
    """Whether a piece of code from the guide names something real."""
    if "/" in code or code.endswith(".py"):
        path = code.replace("<vendor>", "anthropic")
        return (ROOT / path).exists() or any(ROOT.glob(f"agents/**/{path}"))
    if code.startswith("python -m "):
        return importlib.util.find_spec(code.removeprefix("python -m ")) is not None
    if "=" in code and "(" not in code:  # an argument of the vendors' SDKs
        return code.partition("=")[0] in inspect.signature(AsyncOpenAI).parameters
    name = code.partition("(")[0]
    first, *rest = name.split(".")
    if rest:
        found: object = ROOTS.get(first)
        if found is None:
            found = next((module for module in _modules() if module.__name__.endswith(f".{first}")), None)
        return found is not None and all(hasattr(found, part) or part in getattr(found, "__dataclass_fields__", {}) for part in rest)
    of_answer = re.findall(r"self\.([a-z]+)\b", inspect.getsource(Answer.__init__))  # set there, so no attributes of the class
    places = [Answer, HttpProvider, EmbeddingProvider, Target, Usage, anthropic, *_modules()]
    return name in of_answer or any(hasattr(place, name) for place in places)


@pytest.mark.parametrize("code", sorted(set(CODE)))
def test_what_the_guide_names_exists(code: str):
    assert exists(code), code


@pytest.mark.parametrize("code", ["transport.sdk_client", "sdk_client", "Answer.swallow", "target.colour", "agents/providers/nothing.py"])
def test_what_does_not_exist_is_noticed(code: str):
    assert not exists(code)


@pytest.mark.parametrize("cls", [HttpProvider, EmbeddingProvider, Answer])
def test_the_guide_names_everything_that_must_be_implemented(cls: type):
    named = {code.partition("(")[0] for code in CODE}
    assert cls.__abstractmethods__ <= named


@pytest.mark.parametrize("wire", [anthropic, gemini, openai])
def test_a_simulated_wire_has_the_functions_that_the_guide_names(wire: ModuleType):
    listed = re.search(r"wires/<vendor>\.py`: (.*?);", GUIDE, re.S)[1]
    assert all(callable(getattr(wire, name)) for name in re.findall(r"`(\w+)`", listed))
