"""The one maker of e-mails: text and HTML of a template and a few short facts."""

from __future__ import annotations

from collections.abc import Mapping

from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string

from aiagents.core import expansion

# Characters of a subject, and of each fact that stands in an e-mail. Addresses of our own are shorter: SITE_URL is bounded.
MOST_SUBJECT, MOST_FACT = 200, 1000
# Characters that the text and the HTML of an e-mail have at most: our templates name a fact a few times, and HTML escapes it.
MOST_MAIL = 100_000


def compose(subject: str, template: str, facts: Mapping[str, str | int | bool], *, to: str) -> EmailMultiAlternatives:
    """The e-mail of the templates `<template>.txt` and `<template>.html`, the HTML escaped. Longer facts are cut before it is made.

    The subject is put on one line.
    """
    short = {name: expansion.cut(fact, MOST_FACT) if isinstance(fact, str) else fact for name, fact in facts.items()}
    line = expansion.cut(" ".join(subject[: 2 * MOST_SUBJECT].split()), MOST_SUBJECT)
    made = EmailMultiAlternatives(line, render_to_string(f"{template}.txt", short), to=[to])
    made.attach_alternative(render_to_string(f"{template}.html", short), "text/html")
    return made
