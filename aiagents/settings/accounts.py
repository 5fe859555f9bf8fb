"""Settings of accounts: passwords, tokens, sign-in, registration."""

from __future__ import annotations

from datetime import timedelta

from aiagents.settings import exposure
from aiagents.settings.base import ALLOWED_HOSTS, ENVIRONMENT, HOST, SECRET_KEY, SITE_URL, TRUSTED_PROXIES
from aiagents.settings.env import env

AUTH_USER_MODEL = "accounts.User"
# SHA-256 first: bcrypt alone ignores bytes after the 72nd, and bcrypt 5 raises for them.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.BCryptSHA256PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator",
        "OPTIONS": {"user_attributes": ["email", "name"]},
    },
    {"NAME": "accounts.sign_in.passwords.NoEmailInsideValidator"},
    {"NAME": "accounts.sign_in.published_passwords.NotPublishedValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
SIMPLE_JWT = {
    "ACCESS_TOKEN_LIFETIME": timedelta(minutes=env.access_token_expire_minutes),
    "REFRESH_TOKEN_LIFETIME": timedelta(days=env.refresh_token_days),
    "USER_ID_CLAIM": "sub",
    "TOKEN_TYPE_CLAIM": "typ",
    "ALGORITHM": "HS256",
    "SIGNING_KEY": SECRET_KEY,
    "ISSUER": "aiagents",
    "AUDIENCE": "aiagents",
}
REFRESH_GRACE_SECONDS = env.refresh_grace_seconds
# Seconds for which a link to set a password is valid (Django's setting).
PASSWORD_RESET_TIMEOUT = env.password_reset_minutes * 60
# Sign-in attempts: from one address; for one account from one address.
LOGIN_LIMIT_IP, LOGIN_LIMIT_ACCOUNT = env.login_limit_ip, env.login_limit_account
# Attempts for one account from all addresses that never signed in to it, against password guessing from many machines.
LOGIN_LIMIT_STRANGERS = "100/h"
REGISTER_LIMIT_IP = "20/h"
# The policy for self-registration: open, invite, domains (of REGISTRATION_DOMAINS) or closed.
_LOCAL = not exposure.why_reachable(ENVIRONMENT, HOST, SITE_URL, ALLOWED_HOSTS, TRUSTED_PROXIES)
REGISTRATION = env.registration or ("open" if _LOCAL else "invite")
REGISTRATION_DOMAINS = env.registration_domains
# Django's backend with the same limits, for the admin's login page.
AUTHENTICATION_BACKENDS = ["accounts.sign_in.service.LimitedBackend"]
