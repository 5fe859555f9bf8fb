"""`/api/v1/admin/`: users, the audit log, the system over time; and that one active admin always stays."""

from __future__ import annotations

import threading
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import administration, audit, keys
from accounts.models import AuditEvent, User
from accounts.tests.conftest import PASSWORD, Caller, with_key
from aiagents.core.errors import AppError
from aiagents.monitoring.models import SystemMetric
from billing.models import Budget, BudgetWindow

pytestmark = pytest.mark.django_db
USERS = "/api/v1/admin/users"


@pytest.fixture
def admin(db) -> User:
    return User.objects.create_user("admin@example.com", PASSWORD, role=User.Role.ADMIN)


@pytest.fixture
def root(db) -> User:
    return User.objects.create_superuser("root@example.com", PASSWORD)


@pytest.fixture
def boss(admin: User) -> Caller:
    return Caller(admin.email)


def spend(user: User, spent: str, held: str = "0") -> None:
    now = timezone.now()
    budget = Budget.objects.get(scope="user", scope_id=user.pk)
    BudgetWindow.objects.create(
        budget=budget, starts_at=now - timedelta(days=1), ends_at=now + timedelta(days=1), spent_usd=Decimal(spent), held_usd=Decimal(held)
    )


def patch(caller: Caller, user: User, **body):
    return caller.patch(f"{USERS}/{user.pk}", body, format="json")


def emails(answer) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [row["email"] for row in answer.json()["results"]]


# --- the list -------------------------------------------------------------------------------------


def test_the_list_shows_each_users_month(boss: Caller, user: User):
    spend(user, "1.234567890123", "0.5")
    rows = {row["email"]: row for row in boss.get(USERS).json()["results"]}
    ann = rows["ann@example.com"]
    assert (ann["spent_usd"], ann["held_usd"], ann["monthly_budget_usd"]) == ("1.234567890123", "0.50000000", "50.00000000")
    assert (ann["role"], ann["is_active"], ann["name"]) == ("user", True, "Ann")
    assert rows["admin@example.com"]["spent_usd"] == "0.00000000"
    assert not {"password", "auth_epoch", "digest"} & set(ann)


def test_the_list_is_one_query_whatever_its_length(boss: Caller, user: User):
    def queries() -> int:
        with CaptureQueriesContext(connection) as found:
            assert boss.get(USERS, {"page_size": 100}).status_code == 200
        return len(found)

    few = queries()
    for number in range(30):
        spend(User.objects.create_user(f"u{number}@example.com"), "1")
    assert queries() == few


def test_it_is_searched_filtered_and_ordered(boss: Caller, user: User, other: User):
    spend(user, "9.5")
    spend(other, "10.25")
    User.objects.filter(pk=other.pk).update(is_active=False)
    assert emails(boss.get(USERS, {"search": "ANN"})) == ["ann@example.com"]
    assert emails(boss.get(USERS, {"is_active": "false"})) == ["bob@example.com"]
    assert emails(boss.get(USERS, {"role": "admin"})) == ["admin@example.com"]
    assert emails(boss.get(USERS, {"ordering": "-spent"})) == ["bob@example.com", "ann@example.com", "admin@example.com"]
    assert emails(boss.get(USERS, {"created_at_after": "2999-01-01T00:00:00Z"})) == []
    assert boss.get(USERS, {"is_actve": "true"}).status_code == 400
    assert boss.get(USERS, {"ordering": "password"}).status_code == 400


@pytest.mark.parametrize("ordering", ["-spent", "spent", "email", "-last_login", "created_at"])
def test_pages_lose_and_repeat_no_user(boss: Caller, ordering: str):
    for number in range(12):
        spend(User.objects.create_user(f"u{number:02}@example.com"), str(Decimal(number % 4) / 3))
    seen, url = [], f"{USERS}?page_size=5&ordering={ordering}"
    while url:
        page = boss.get(url).json()
        seen += [row["email"] for row in page["results"]]
        url = page["next"]
    assert len(seen) == len(set(seen)) == 13


# --- changes --------------------------------------------------------------------------------------


def test_role_state_and_budget_are_changed_and_written_down(boss: Caller, admin: User, user: User):
    answer = patch(boss, user, role="admin", is_active=True, monthly_budget_usd="12.5")
    assert answer.status_code == 200, answer.content
    assert (answer.json()["role"], answer.json()["monthly_budget_usd"]) == ("admin", "12.50000000")
    assert Budget.objects.get(scope="user", scope_id=user.pk).limit_usd == Decimal("12.5")
    event = AuditEvent.objects.get(action="user.update")
    assert (event.actor, event.target_id, event.ip) == (admin, str(user.pk), "127.0.0.1")
    assert event.details == {"changes": {"role": ["user", "admin"], "monthly_budget_usd": "12.50000000"}}
    assert patch(boss, user, monthly_budget_usd=None).json()["monthly_budget_usd"] is None


def test_what_changes_nothing_is_not_written_down(boss: Caller, user: User):
    assert patch(boss, user, role="user", is_active=True).status_code == 200
    assert not AuditEvent.objects.filter(action="user.update").exists()


@pytest.mark.parametrize("body", [{"is_active": False}, {"role": "admin"}])
def test_sessions_end_at_once_with_a_new_role_or_state(boss: Caller, ann: Caller, user: User, body: dict):
    key = keys.create(user, name="k", scopes=["billing"])[1]
    assert patch(boss, user, **body).status_code == 200
    assert not ann.works()
    assert ann.refresh().status_code == 401
    # A disabled user's keys end too; a new role leaves programs running.
    assert with_key(key).get("/api/v1/auth/profile").status_code == (401 if body == {"is_active": False} else 200)


@pytest.mark.parametrize("body", [{"role": "user"}, {"is_active": False}])
def test_no_admin_locks_themself_out(boss: Caller, admin: User, root: User, body: dict):
    answer = patch(boss, admin, **body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "own_account")
    admin.refresh_from_db()
    assert admin.is_admin and boss.works()


def test_the_last_active_admin_stays(admin: User, user: User):
    User.objects.filter(pk=user.pk).update(role="admin", is_active=False)  # no help: disabled
    with pytest.raises(AppError) as refused:
        administration.change(admin.pk, {"role": "user"}, actor=user)
    assert (refused.value.status, refused.value.code) == (409, "last_admin")


def test_a_superuser_is_changed_by_superusers_only(boss: Caller, root: User, user: User):
    assert patch(boss, root, is_active=False).status_code == 403
    root.refresh_from_db()
    assert root.is_active
    assert patch(boss, root, monthly_budget_usd="5").status_code == 200
    chief = Caller(root.email)
    staff = User.objects.create_superuser("second@example.com", PASSWORD)
    assert patch(chief, staff, role="user").status_code == 200
    staff.refresh_from_db()
    assert (staff.role, staff.is_staff, staff.is_superuser) == ("user", False, False)


@pytest.mark.parametrize(
    "body",
    [
        {"email": "x@example.com"}, {"is_superuser": True}, {"is_staff": True}, {"password": "x"}, {"spent_usd": "0"}, {"role": "root"},
        {"is_active": None}, {"monthly_budget_usd": "-1"}, {"monthly_budget_usd": "NaN"}, {"role": None},
    ],
)  # fmt: skip
def test_nothing_else_can_be_set(boss: Caller, user: User, body: dict):
    answer = patch(boss, user, **body)
    assert answer.status_code == 400, answer.content
    assert not AuditEvent.objects.filter(action="user.update").exists()


def test_an_unknown_user_is_404(boss: Caller):
    assert boss.patch(f"{USERS}/01890000-0000-7000-8000-000000000000", {"is_active": False}, format="json").status_code == 404


@pytest.mark.django_db(transaction=True)
def test_two_admins_who_demote_each_other_do_not_both_win(db):
    one = User.objects.create_user("one@example.com", role="admin")
    two = User.objects.create_user("two@example.com", role="admin")
    barrier, results = threading.Barrier(2), []

    def demote(actor: User, target: User) -> None:
        try:
            barrier.wait()
            administration.change(target.pk, {"role": "user"}, actor=actor)
            results.append("done")
        except AppError as exc:
            results.append(exc.code)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=demote, args=pair) for pair in ((one, two), (two, one))]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert sorted(results) == ["done", "last_admin"]
    assert User.objects.filter(role="admin").count() == 1


# --- who may --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [USERS, "/api/v1/admin/audit-log", "/api/v1/admin/metrics"])
def test_only_admins_in_person_are_let_in(boss: Caller, admin: User, ann: Caller, api, path: str):
    assert boss.get(path).status_code == 200
    assert ann.get(path).status_code == 403
    assert api.get(path).status_code == 401
    assert with_key(keys.create(admin, name="k", scopes=["read", "billing"])[1]).get(path).status_code == 403


# --- the audit log --------------------------------------------------------------------------------


def test_the_audit_log_is_filtered_and_paged(boss: Caller, admin: User, user: User, other: User):
    for number in range(7):
        audit.record("thing.made", actor=user, target=other, ip=f"192.0.2.{number % 2}", details={"number": number})
    audit.record("thing.lost", actor=other, target=user)
    url = "/api/v1/admin/audit-log"

    def found(**query) -> list[dict]:
        answer = boss.get(url, query)
        assert answer.status_code == 200, answer.content
        return answer.json()["results"]

    assert [row["action"] for row in found()][:2] == ["thing.lost", "thing.made"]
    assert len(found(action="thing.made")) == 7
    assert len(found(actor=str(user.pk), ip="192.0.2.1")) == 3
    assert found(actor=str(user.pk))[0]["actor"] == {"id": str(user.pk), "email": user.email}
    assert len(found(target_type="accounts.user", target_id=str(user.pk), action="thing.lost")) == 1
    assert len(found(search="lost")) == 1
    assert found(**{"from": "2999-01-01T00:00:00Z"}) == [] and found(ip="nonsense") == []
    page = boss.get(url, {"page_size": 3, "action": "thing.made"}).json()
    following = boss.get(page["next"]).json()
    assert [row["details"]["number"] for row in page["results"] + following["results"]] == [6, 5, 4, 3, 2, 1]
    assert boss.get(url, {"actr": "x"}).status_code == 400


def test_the_audit_log_takes_no_query_for_each_row(boss: Caller, user: User):
    def queries() -> int:
        with CaptureQueriesContext(connection) as found:
            boss.get("/api/v1/admin/audit-log", {"page_size": 100})
        return len(found)

    audit.record("x", actor=user)
    few = queries()
    for _ in range(20):
        audit.record("x", actor=user, target=user)
    assert queries() == few


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_the_audit_log_is_not_written_from_outside(boss: Caller, method: str):
    assert getattr(boss, method)("/api/v1/admin/audit-log").status_code == 405


# --- the system over time -------------------------------------------------------------------------


def test_the_system_over_time(boss: Caller):
    now = timezone.now().replace(second=0, microsecond=0)
    SystemMetric.objects.create(at=now - timedelta(minutes=5), requests=60, cpu_percent=25.5, held_usd=Decimal("1.5"))
    body = boss.get("/api/v1/admin/metrics").json()
    (point,) = body["points"]
    assert (point["requests"], point["cpu_percent"], point["held_usd"], point["latency"]["p95_ms"]) == (60, 25.5, "1.50000000", None)
    assert body["bucket"] == "5minutes"
    begin = (now - timedelta(hours=1)).isoformat()
    assert boss.get("/api/v1/admin/metrics", {"from": begin, "bucket": "hour"}).json()["bucket_seconds"] == 3600
    for query in ({"bucket": "year"}, {"from": "yesterday"}, {"from": "2026-01-01T00:00:00"}, {"frm": "x"}, {"to": "1970-01-01T00:00:00Z"}):
        assert boss.get("/api/v1/admin/metrics", query).status_code == 400, query
