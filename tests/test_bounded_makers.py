"""Whatever makes one text of templates, rows or a client's words is listed here with the test that bounds it.

A new call of such a function fails until it is listed, so that its author says what bounds the result.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

import pytest

from tests.kit.source.product_modules import ROOT, sources
from tests.kit.source.tree import parse

# Functions and classes that make a text, a message or a request of what they are given.
MAKERS = {
    "render_to_string", "get_template", "select_template", "Template", "Environment", "EmailMessage", "EmailMultiAlternatives", "MIMEText",
    "send_mail", "send_mass_mail", "mail_admins", "mail_managers", "email_user", "format_map", "substitute", "safe_substitute",
    "fetch", "CompletionRequest", "EmbeddingRequest", "WebhookDelivery", "filled",
}  # fmt: skip
LIB, CHAT = "aiagents/core/tests/test_expansion.py::", "chat/tests/test_prompt_bounds.py::"
PROMPTS = CHAT + "test_a_single_prompt_beyond_the_limit_is_refused_before_anything_is_held_or_sent"
EXPANSION = LIB + "test_a_huge_product_is_refused_before_it_is_made"
MAILS = "aiagents/core/tests/test_mailing.py::test_an_email_of_huge_facts_is_short_and_made_in_little_memory"
HOOKS = "tasks/tests/test_webhook_bodies.py::test_the_largest_run_makes_a_message_within_the_bound_in_little_memory"
CONSTANT = "nothing to bound: "
# "file: maker" -> the test that shows the bound of what is made there, or why there is nothing to bound.
BOUNDED: dict[str, str] = {
    "aiagents/core/mailing.py: EmailMultiAlternatives": MAILS,
    "aiagents/core/mailing.py: render_to_string": MAILS,
    "aiagents/core/http/error_views.py: render_to_string": LIB + "test_a_page_for_an_error_is_short_whatever_the_error_says",
    "tasks/webhooks.py: WebhookDelivery": HOOKS,
    "tasks/webhooks.py: fetch": HOOKS,
    "agents/tools/http.py: fetch": LIB + "test_what_a_tool_sends_is_bounded_by_the_arguments_that_are_read_at_all",
    "agents/tools/builtin/page.py: fetch": CONSTANT + "a GET without a body; the guard bounds its URL",
    "agents/tools/template.py: filled": EXPANSION,
    "tasks/variables.py: filled": EXPANSION,
    "tasks/service.py: filled": EXPANSION,
    "tasks/runs/prepare.py: filled": EXPANSION,
    "tasks/api/serializers.py: filled": EXPANSION,
    "agents/runs/parked.py: CompletionRequest": PROMPTS,
    "agents/runs/service.py: CompletionRequest": PROMPTS,
    "chat/conversations/history.py: CompletionRequest": CHAT
    + "test_pictures_beyond_the_limit_are_dropped_though_the_window_would_take_them",
    "chat/conversations/titles.py: CompletionRequest": CHAT + "test_the_prompt_for_a_title_and_the_title_are_short_whatever_was_said",
    "agents/compatible/anthropic_messages/request.py: CompletionRequest": PROMPTS,
    "agents/compatible/google_generate/request.py: CompletionRequest": PROMPTS,
    "agents/compatible/google_generate/embeddings.py: EmbeddingRequest": CONSTANT
    + "the texts of the body as they are; the body is bounded",
    "agents/compatible/openai_chat/request.py: CompletionRequest": PROMPTS,
    "agents/compatible/openai_responses/request.py: CompletionRequest": PROMPTS,
    "agents/compatible/openai_embeddings.py: EmbeddingRequest": CONSTANT + "the texts of the body as they are; the body is bounded",
    "agents/calls/test_call.py: CompletionRequest": CONSTANT + "one fixed question",
    "aiagents/core/admin/rows.py: format": CONSTANT + "a number in a fixed sentence",
    "billing/ledger/postgres.py: format": CONSTANT + "SQL of this module in SQL of this module",
}


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _makes(node: ast.Call) -> str:
    """The maker's name; `format` for a format string that is no literal; empty for what is none."""
    name = _called(node)
    if name == "format" and isinstance(node.func, ast.Attribute) and not isinstance(node.func.value, ast.Constant):
        return "format"
    if name in ("create", "get_or_create", "bulk_create") and "WebhookDelivery" in ast.unparse(node.func):
        return "WebhookDelivery"
    return name if name in MAKERS else ""


def found() -> dict[str, list[int]]:
    """ "file: maker" and the lines at which it is called."""
    places: dict[str, list[int]] = defaultdict(list)
    for path in sources():
        for line, maker in _calls(parse(path.read_text())):
            places[f"{path.relative_to(ROOT).as_posix()}: {maker}"].append(line)
    return places


def _calls(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (maker := _makes(node)):
            yield node.lineno, maker


def test_every_maker_of_texts_is_listed_with_the_test_of_its_bound():
    places = found()
    new = {place: lines for place, lines in places.items() if place not in BOUNDED}
    assert not new, f"say in BOUNDED what bounds the result of these: {new}"
    assert set(BOUNDED) == set(places), "no longer there"


@pytest.mark.parametrize("test", sorted({test for test in BOUNDED.values() if not test.startswith(CONSTANT)}))
def test_the_tests_that_are_named_exist(test: str):
    path, _, name = test.partition("::")
    tree = parse((ROOT / path).read_text())
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize(
    "code",
    [
        "render_to_string('a.txt', facts)", "loader.get_template('x').render(facts)", "Template(row.text).substitute(values)",
        "row.text.format(**values)", "EmailMessage(subject, body)", "mail.send_mail('s', body, None, [to])", "user.email_user('s', body)",
        "await outbound.fetch('POST', url, body=body)", "WebhookDelivery.objects.create(body=body)", "CompletionRequest((message,))",
    ],
)  # fmt: skip
def test_a_new_maker_would_be_found(code: str):
    assert list(_calls(parse(code) if "await" not in code else parse(f"async def f():\n {code}")))
