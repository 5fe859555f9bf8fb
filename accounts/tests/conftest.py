"""What the tests of accounts share."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from django.contrib.auth.models import Permission
from rest_framework.test import APIClient

from accounts import principals
from accounts.models import User
from tests.kit.people import PASSWORD


@pytest.fixture(autouse=True)
def _nothing_remembered():
    principals.forget()
    yield
    principals.forget()


@pytest.fixture
def other(db) -> User:
    return User.objects.create_user("bob@example.com", PASSWORD)


@pytest.fixture
def root(db) -> User:
    return User.objects.create_superuser("root@example.com", "correct horse battery staple")


@pytest.fixture
def staff(db) -> User:
    """Staff with every right on this app's tables, but no superuser."""
    user = User.objects.create_user("staff@example.com", "correct horse battery staple", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="accounts"))
    return user


@pytest.fixture
def api() -> APIClient:
    # Refusals are what many tests look at; an unhandled exception still fails them.
    return APIClient()


class Caller(APIClient):
    """A client signed in through the API, with its tokens at hand."""

    def __init__(self, email: str, password: str = PASSWORD) -> None:
        super().__init__()
        answer = self.post("/api/v1/auth/login", {"email": email, "password": password}, format="json")
        assert answer.status_code == 200, answer.content
        self.tokens = SimpleNamespace(**answer.json())
        self.credentials(HTTP_AUTHORIZATION=f"Bearer {self.tokens.access}")

    def refresh(self, token: str | None = None):
        return APIClient().post("/api/v1/auth/refresh", {"refresh": token or self.tokens.refresh}, format="json")

    def works(self) -> bool:
        code = self.get("/api/v1/auth/profile").status_code
        assert code in {200, 401}, code
        return code == 200


@pytest.fixture
def ann(user) -> Caller:
    return Caller(user.email)


def with_key(raw: str, carrier: str = "authorization") -> APIClient:
    client = APIClient()
    client.credentials(**({"HTTP_AUTHORIZATION": f"Bearer {raw}"} if carrier == "authorization" else {"HTTP_X_API_KEY": raw}))
    return client
