"""The canaries sing."""

from __future__ import annotations

import logging

import pytest
from django.test import Client

from tests.kit import cast
from tests.kit.plugins.canary import Canaries

log = logging.getLogger("tests.kit.plugins.canary")


def test_a_secret_in_the_log_is_found(canaries: Canaries):
    secret = "a" + "9f8e7d6c5b4a" * 3
    canaries.plant("password", secret)
    log.warning("somebody wrote %s into a sentence", secret)
    assert len(canaries.found()) == 1 and secret not in canaries.found()[0]
    canaries.planted.clear()


def test_a_secret_in_an_answer_is_found_except_where_it_is_shown(canaries: Canaries):
    canaries.plant("API key", "aia_" + "k" * 43)
    canaries.answers.append(("/api/v1/auth/api-keys", b'{"key":"aia_' + b"k" * 43 + b'"}'))
    assert not canaries.found()
    canaries.answers.append(("/api/v1/auth/profile", b'{"key":"aia_' + b"k" * 43 + b'"}'))
    assert canaries.found() == ["a API key stands in an answer of /api/v1/auth/profile"]
    canaries.answers.clear()


@pytest.mark.django_db
def test_what_people_really_make_is_planted_and_stays_out_of_the_log(canaries: Canaries):
    ann = cast.person("ann@example.com")
    assert {"password", "API key", "token"} <= set(canaries.planted.values())
    login = {"email": "ann@example.com", "password": cast.PASSWORD}
    answer = Client().post("/api/v1/auth/login", login, content_type="application/json")
    assert answer.json()["access"] in canaries.planted and canaries.answers[-1][0] == "/api/v1/auth/login"
    for text in (f"Authorization: Bearer {ann.token}", f"x-api-key: {ann.key}", str(login), f"https://x/?token={ann.key}"):
        log.warning("a library logs %s", text)
    assert len(canaries.lines) >= 4
