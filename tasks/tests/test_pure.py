"""Placeholders, pauses between attempts, signatures: nothing but values in and out."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks import variables as placeholders
from tasks import webhooks
from tasks.runs import retries

NOON = datetime(2027, 6, 1, 10, 0, tzinfo=UTC)


def fill(text: str, **variables) -> str:
    return placeholders.filled(text, variables, NOON, "Europe/Berlin")


def test_variables_and_the_moment_are_filled_in():
    assert fill("{topic} on {date} ({weekday}) at {time}", topic="sun") == "sun on 2027-06-01 (Tuesday) at 12:00"


def test_what_is_not_known_is_left_alone():
    assert fill('{"a": {b}} {unknown} {}', b=1) == '{"a": 1} {unknown} {}'


def test_a_value_is_not_read_again():
    assert fill("{a}{b}", a="{b}", b="{a}") == "{b}{a}"


def test_an_own_variable_wins_over_ours():
    assert fill("{date}", date="never") == "never"


@pytest.mark.parametrize("value, text", [(True, "true"), (False, "false"), (None, ""), (1.5, "1.5"), (0, "0")])
def test_plain_values_as_text(value, text):
    assert fill("[{x}]", x=value) == f"[{text}]"


@given(st.integers(1, 200), st.integers(1, 3600), st.floats(0, 1), st.none() | st.floats(0, 10**6))
def test_pauses_grow_are_bounded_and_never_before_the_vendors_own(attempt, base, roll, asked):
    pause = retries.delay(attempt, base, asked, roll)
    assert 0 < pause <= retries.LONGEST
    assert pause >= min(asked or 0, retries.LONGEST)
    whole = min(base * 2 ** min(attempt - 1, 30), retries.LONGEST)
    assert pause >= whole / 2


def test_pauses_double_and_differ_by_chance():
    assert [retries.delay(n, 30, roll=1.0) for n in (1, 2, 3)] == [30, 60, 120]
    assert [retries.delay(n, 30, roll=0.0) for n in (1, 2, 3)] == [15, 30, 60]
    assert len({retries.delay(3, 30) for _ in range(20)}) > 10


def test_the_signature_is_that_of_standard_webhooks():
    """The example of https://github.com/standard-webhooks/standard-webhooks (its libraries' own test)."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    made = webhooks.signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_secrets_are_long_and_each_its_own():
    made = {webhooks.new_secret() for _ in range(5)}
    assert len(made) == 5
    assert all(len(base64.b64decode(webhooks.check_secret(one).removeprefix("whsec_"))) == 32 for one in made)


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_abc", "whsec_" + base64.b64encode(b"x" * 23).decode(), "whsec_" + "ä" * 40])
def test_a_secret_that_is_none_is_refused(text):
    with pytest.raises(ValueError):
        webhooks.check_secret(text)
