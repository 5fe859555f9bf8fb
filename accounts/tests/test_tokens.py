"""Families: rotation, the grace of twins, the alarm, and what is no token of ours."""

from __future__ import annotations

import base64
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from django.conf import settings as django_settings
from django.db import connections
from django.db.models import F
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.authentication import authenticate
from accounts.models import AuditEvent, TokenFamily, User
from accounts.sign_in import tokens
from accounts.tests.conftest import PASSWORD, Caller
from aiagents.core.errors import NotAuthenticated


def age(seconds: float) -> None:
    """As if every rotation had happened that much earlier."""
    TokenFamily.objects.update(rotated_at=F("rotated_at") - timedelta(seconds=seconds))


def test_a_refresh_gives_a_new_pair_and_both_new_tokens_work(ann: Caller):
    pair = ann.refresh().json()
    assert pair["refresh"] != ann.tokens.refresh and pair["access"] != ann.tokens.access
    ann.credentials(HTTP_AUTHORIZATION=f"Bearer {pair['access']}")
    assert ann.works()
    assert ann.refresh(pair["refresh"]).status_code == 200


def test_a_second_tab_gets_the_identical_answer_within_the_grace(ann: Caller, settings):
    first = ann.refresh()
    age(settings.REFRESH_GRACE_SECONDS - 3)
    # The twin's answer depends on the row alone, so the aged row is its reference.
    second, third = ann.refresh(), ann.refresh()
    assert first.status_code == second.status_code == 200
    assert second.content == third.content
    assert TokenFamily.objects.get().generation == 1


def test_a_replay_after_the_grace_ends_the_whole_family_and_is_written_down(ann: Caller, settings, caplog):
    successor = ann.refresh().json()
    age(settings.REFRESH_GRACE_SECONDS + 1)
    with caplog.at_level(logging.ERROR, logger="accounts.sign_in.tokens"):
        assert ann.refresh().status_code == 401
    assert "refresh token reused" in caplog.text
    family, event = TokenFamily.objects.get(), AuditEvent.objects.get(action="token.reuse")
    assert family.revoked_reason == "reuse" and event.target_id == str(family.id)
    assert ann.refresh(successor["refresh"]).status_code == 401
    ann.credentials(HTTP_AUTHORIZATION=f"Bearer {successor['access']}")
    assert not ann.works()


def test_two_generations_back_is_a_replay_even_within_the_grace(ann: Caller):
    second = ann.refresh().json()
    third = ann.refresh(second["refresh"]).json()
    assert ann.refresh().status_code == 401
    assert ann.refresh(third["refresh"]).status_code == 401


def test_other_sessions_of_the_user_survive_the_alarm(ann: Caller, settings):
    elsewhere = Caller("ann@example.com")
    ann.refresh()
    age(settings.REFRESH_GRACE_SECONDS + 1)
    assert ann.refresh().status_code == 401
    assert elsewhere.works()


def test_a_session_ends_at_its_time_however_often_it_was_refreshed(ann: Caller):
    pair = ann.refresh().json()
    TokenFamily.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert ann.refresh(pair["refresh"]).status_code == 401
    assert not ann.works()


def test_a_deleted_user_is_401_never_500(ann: Caller, user: User):
    user.delete()
    assert ann.refresh().status_code == 401
    assert not ann.works()


@pytest.mark.parametrize("through_save", [True, False])
def test_a_disabled_user_is_401_and_the_token_is_not_used_up(ann: Caller, user: User, through_save: bool):
    if through_save:
        user.is_active = False
        user.save()
    else:
        User.objects.update(is_active=False)
    assert ann.refresh().status_code == 401
    assert not ann.works()
    assert TokenFamily.objects.get().generation == 0


def test_a_sign_in_that_raced_a_password_change_is_dead_at_birth(user: User):
    checked = User.objects.get(pk=user.pk)  # the old password was right on this copy …
    user.set_password("another fine password")
    user.save()
    pair = tokens.sign_in(checked)  # … and the session is made only after the change
    with pytest.raises(NotAuthenticated):
        tokens.rotate(pair.refresh)


def test_saving_a_copy_loaded_earlier_brings_no_dead_token_back(ann: Caller, user: User):
    stale = User.objects.get(pk=user.pk)
    user.end_sessions(reason="logout_all")
    stale.name = "Ann B."
    stale.save()
    assert User.objects.get(pk=user.pk).auth_epoch == 1
    assert not ann.works()


def test_a_stronger_hash_of_the_same_password_ends_no_session(ann: Caller, user: User, settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher", *settings.PASSWORD_HASHERS]
    assert User.objects.get(pk=user.pk).check_password(PASSWORD)
    assert User.objects.get(pk=user.pk).password.startswith("pbkdf2")
    assert ann.works()


@pytest.mark.django_db(transaction=True)
def test_50_parallel_refreshes_get_one_successor_and_a_replay_kills_it(user: User, settings):
    ann, barrier = Caller(user.email), Barrier(50)

    def refresh() -> tuple[int, bytes]:
        barrier.wait()
        try:
            answer = ann.refresh()
            return answer.status_code, answer.content
        finally:
            connections.close_all()

    with ThreadPoolExecutor(50) as pool:
        answers = {future.result() for future in [pool.submit(refresh) for _ in range(50)]}
    assert len(answers) == 1
    status, body = answers.pop()
    assert status == 200 and TokenFamily.objects.get().generation == 1
    age(settings.REFRESH_GRACE_SECONDS + 1)
    assert ann.refresh().status_code == 401
    assert ann.refresh(json.loads(body)["refresh"]).status_code == 401


def claims(token: str) -> dict:
    return jwt.decode(token, options={"verify_signature": False})


def segment(value: dict) -> str:
    return base64.urlsafe_b64encode(json.dumps(value, separators=(",", ":")).encode()).rstrip(b"=").decode()


def forged(kind: str, token: str) -> str:
    """The token table: what must never pass, most of it signed with our own key to show that the signature is not enough."""
    secret, good = django_settings.SIMPLE_JWT["SIGNING_KEY"], claims(token)
    header, payload, signature = token.split(".")

    def signed(change: dict | None = None, drop: str = "", **options) -> str:
        body = {name: value for name, value in (good | (change or {})).items() if name != drop}
        return jwt.encode(body, secret, **({"algorithm": "HS256"} | options))

    if kind == "rs256":
        return jwt.encode(good, rsa.generate_private_key(65537, 2048), algorithm="RS256")
    return {
        "alg none": f"{segment({'alg': 'none', 'typ': 'JWT'})}.{payload}.",
        "alg none, signature kept": f"{segment({'alg': 'none', 'typ': 'JWT'})}.{payload}.{signature}",
        "alg NONE": f"{segment({'alg': 'NONE', 'typ': 'JWT'})}.{payload}.",
        "rs256 claimed": f"{segment({'alg': 'RS256', 'typ': 'JWT'})}.{payload}.{signature}",
        "hs512": signed(algorithm="HS512"),
        "unknown crit": signed(headers={"crit": ["exp2"], "exp2": 1}),
        "jku": signed(headers={"jku": "http://127.0.0.1/keys"}),
        "kid path": signed(headers={"kid": "../../dev/null"}),
        "wrong aud": signed({"aud": "somebody"}),
        "wrong iss": signed({"iss": "somebody"}),
        "no aud": signed(drop="aud"),
        "no iss": signed(drop="iss"),
        "no exp": signed(drop="exp"),
        "no sub": signed(drop="sub"),
        "no typ": signed(drop="typ"),
        "no jti": signed(drop="jti"),
        "other jti": signed({"jti": "0" * 32}),
        "other type": signed({"typ": "refresh" if good["typ"] == "access" else "access"}),
        "expired": signed({"exp": int(timezone.now().timestamp()) - 1}),
        "other user": signed({"sub": "01a206b6-c5f9-738c-9092-25c7c242dcf4"}),
        "not a uuid": signed({"fam": "' OR 1=1 --"}),
        "other secret": jwt.encode(good, "x" * 64, algorithm="HS256"),
        "cut signature": token[:-4],
        "no signature": f"{header}.{payload}.",
        "garbage": "a.b.c",
        "empty claims": f"{header}..{signature}",
    }[kind]


TABLE = [
    "alg none", "alg none, signature kept", "alg NONE", "rs256", "rs256 claimed", "hs512", "unknown crit", "jku", "kid path", "wrong aud",
    "wrong iss", "no aud", "no iss", "no exp", "no sub", "no typ", "no jti", "other jti", "other type", "expired", "other user",
    "not a uuid", "other secret", "cut signature", "no signature", "garbage", "empty claims",
]  # fmt: skip


def respelt(token: str) -> dict[str, str]:
    """Texts that a lenient base64 decoder reads as the same signature."""
    head, _, signature = token.rpartition(".")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = alphabet[alphabet.index(signature[-1]) ^ 1]  # 43 characters carry 258 bits, the signature has 256
    middle = len(signature) // 2
    return {
        "one =": f"{token}=",
        "two =": f"{token}==",
        "many =": f"{token}====",
        "unused bits": f"{head}.{signature[:-1]}{last}",
        "tilde inside": f"{head}.{signature[:middle]}~{signature[middle:]}",
        "plus for minus": f"{head}.{signature.replace('-', '+').replace('_', '/')}~",
        "padded payload": f"{head}=.{signature}",
        "padded header": token.replace(".", "=.", 1),
    }


def refusal(answer) -> dict:
    assert answer.status_code == 401, answer.content
    return answer.json()["error"] | {"request_id": ""}


@pytest.mark.parametrize("kind", TABLE)
def test_what_is_not_our_token_is_401_with_one_body(ann: Caller, kind: str):
    assert refusal(_get(forged(kind, ann.tokens.access))) == refusal(_get("nonsense"))
    assert refusal(ann.refresh(forged(kind, ann.tokens.refresh))) == refusal(ann.refresh("nonsense"))
    assert ann.works() and TokenFamily.objects.get().generation == 0


def test_a_token_has_one_spelling(ann: Caller):
    for kind, access in respelt(ann.tokens.access).items():
        assert refusal(_get(access)) == refusal(_get("nonsense")), kind
    for kind, refresh in respelt(ann.tokens.refresh).items():
        assert refusal(ann.refresh(refresh)) == refusal(ann.refresh("nonsense")), kind
    assert ann.works() and TokenFamily.objects.get().generation == 0


async def test_the_endpoints_accept_only_the_canonical_encoding(ann: Caller):
    for kind, access in respelt(ann.tokens.access).items():
        with pytest.raises(NotAuthenticated):
            await authenticate({"authorization": f"Bearer {access}"})
            pytest.fail(kind)


def _get(token: str):
    return APIClient().get("/api/v1/auth/profile", headers={"authorization": f"Bearer {token}"})


def test_access_and_refresh_are_not_interchangeable(ann: Caller):
    assert refusal(_get(ann.tokens.refresh)) == refusal(_get("nonsense"))
    assert refusal(ann.refresh(ann.tokens.access)) == refusal(ann.refresh("nonsense"))


def test_a_token_of_another_hosts_near_future_is_ours(ann: Caller):
    TokenFamily.objects.update(rotated_at=timezone.now() + timedelta(seconds=90))
    family = TokenFamily.objects.select_related("user").get()
    assert tokens.read(tokens.pair_of(family, family.user).access, tokens.AccessToken).family_id == family.id
