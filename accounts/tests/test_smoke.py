from accounts.tests.conftest import Caller


def test_smoke(ann: Caller):
    print(ann.tokens)
    r = ann.get("/api/v1/auth/profile"); print(r.status_code, r.content)
    r = ann.refresh(); print(r.status_code, r.content)
    r = ann.get("/api/v1/auth/profile", HTTP_AUTHORIZATION="Bearer x"); print(r.status_code, r.content, r.headers)
    assert 0
