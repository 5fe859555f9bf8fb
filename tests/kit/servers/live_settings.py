"""Settings of the installations that tests start: those of the product, but for the quarter of a second that each password costs."""

from aiagents.settings import *  # noqa: F403 - a Django settings module is a namespace

PASSWORD_HASHERS = ["aiagents.core.testing.FastBCryptHasher"]
