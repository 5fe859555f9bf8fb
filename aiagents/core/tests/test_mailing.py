"""Every e-mail is bounded, whatever its facts are. The templates are found in the code that names them."""

from __future__ import annotations

import ast
import re
import tracemalloc
from functools import cache
from typing import Any

import pytest
from django.template.loader import get_template

from aiagents.core import mailing
from aiagents.settings.env import read
from tests.kit.source.product_modules import sources
from tests.kit.source.tree import dotted, parse

_FACT = re.compile(r"[a-z_]+")
HUGE = '<"&\n' * 1_000_000


@cache
def _templates() -> list[str]:
    """The second argument of every `mailing.compose` in the product."""
    found = []
    for path in sources():
        text = path.read_text()
        for node in ast.walk(parse(text)) if "mailing.compose" in text else ():
            if isinstance(node, ast.Call) and dotted(node.func) == "mailing.compose":
                assert isinstance(node.args[1], ast.Constant), f"{path}: the template must be a literal"
                found.append(node.args[1].value)
    return found


def _facts(template: str) -> dict[str, Any]:
    """A huge value for every name that the templates mention."""
    sources_of = "".join(get_template(f"{template}.{kind}").template.source for kind in ("txt", "html"))
    return {name: HUGE for part in re.findall(r"{[{%](.*?)[%}]}", sources_of) for name in _FACT.findall(part)}


def test_there_are_templates_and_each_names_facts():
    assert len(_templates()) >= 2 and all(len(_facts(template)) > 3 for template in _templates())


@pytest.mark.parametrize("template", _templates())
@pytest.mark.parametrize("kind", [HUGE, "welcome", "password_link", "email_changed"])
def test_an_email_of_huge_facts_is_short_and_made_in_little_memory(template: str, kind: str):
    facts = _facts(template) | {"kind": kind}
    mailing.compose(HUGE, template, facts, to="ann@example.com")  # loads the templates
    tracemalloc.start()
    try:
        mail = mailing.compose(HUGE, template, facts, to="ann@example.com")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    texts = [str(mail.body), *(str(one.content) for one in mail.alternatives)]
    assert len(texts) == 2 and all(len(text) <= mailing.MOST_MAIL for text in texts)
    assert len(mail.subject) <= mailing.MOST_SUBJECT and "\n" not in mail.subject
    assert peak < 20 * mailing.MOST_MAIL, peak


def test_facts_of_the_usual_length_stand_in_full():
    facts: dict[str, Any] = {"kind": "password_link", "email": "a" * 254, "site": "s" * 300, "link": "l" * mailing.MOST_FACT, "minutes": 5}
    mail = mailing.compose("Hello\nthere", "accounts/mail", facts, to="ann@example.com")
    assert facts["link"] in mail.body and facts["site"] in mail.body and mail.subject == "Hello there"


def test_an_address_of_ours_too_long_for_a_link_is_refused_at_start(monkeypatch, tmp_path):
    monkeypatch.setenv("SITE_URL", f"https://{'a' * 400}.example.com")
    with pytest.raises(Exception, match="SITE_URL must have at most 300 characters"):
        read(tmp_path / ".env")
