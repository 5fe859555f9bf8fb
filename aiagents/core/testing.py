"""Helpers that only the test suite's settings use."""

from django.contrib.auth.hashers import BCryptSHA256PasswordHasher


class FastBCryptHasher(BCryptSHA256PasswordHasher):
    """The same format as production's hasher at the lowest cost bcrypt allows."""

    rounds = 4
