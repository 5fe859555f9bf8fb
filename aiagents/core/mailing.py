"""E-mails from templates: text and HTML with a few short values."""

from __future__ import annotations

from collections.abc import Mapping

from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string

from aiagents.core import expansion

# Characters of a subject, and of each value in an e-mail. Our own URLs are shorter, because SITE_URL is limited.
MOST_SUBJECT, MOST_FACT = 200, 1000
# The maximum number of characters of an e-mail's text or HTML: templates use a value a few times, and HTML escapes it.
MOST_MAIL = 100_000


def compose(subject: str, template: str, facts: Mapping[str, str | int | bool], *, to: str) -> EmailMultiAlternatives:
    """The e-mail rendered from `<template>.txt` and `<template>.html`, the HTML escaped.

    Long values are truncated first. The subject is joined to one line.
    """
    short = {name: expansion.cut(fact, MOST_FACT) if isinstance(fact, str) else fact for name, fact in facts.items()}
    line = expansion.cut(" ".join(subject[: 2 * MOST_SUBJECT].split()), MOST_SUBJECT)
    made = EmailMultiAlternatives(line, render_to_string(f"{template}.txt", short), to=[to])
    made.attach_alternative(render_to_string(f"{template}.html", short), "text/html")
    return made
