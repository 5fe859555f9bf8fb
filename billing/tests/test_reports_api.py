"""Alerts, budgets and recommendations of a user, and the admin's reports, as clients see them."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal as D

import pytest
from django.utils import timezone

from accounts import keys
from accounts.models import AuditEvent
from agents.definitions import authoring, sharing
from aiagents.core.ids import uuid7
from billing.budgets import alerts, budgets
from billing.demo import service as demo
from billing.models import AlertSettings, Budget, BudgetAlert
from billing.reports import rollups
from billing.reports import staff as analytics
from billing.tests.making import CENT, RATES, Ledger, call_of, client_of, key_client, make_user, spend, spent, used
from tasks.models import Task
from tests.kit import catalogue as installed_catalogue

pytestmark = pytest.mark.django_db
BILLING, ADMIN = "/api/v1/billing/", "/api/v1/admin/"
ADMINS = [f"{ADMIN}{name}" for name in ("overview", "usage-analytics", "cost-optimization", "budgets")]


@pytest.fixture
def monthly_limit() -> D:
    return D(10)


@pytest.fixture
def ann(user):
    return client_of(user)


@pytest.fixture
def boss(db):
    return client_of(make_user(role="admin"))


def put(client, path, body, status=200):
    answer = client.put(path, body, format="json")
    assert answer.status_code == status, answer.content
    return answer.json()


class TestAlerts:
    path = f"{BILLING}alerts"

    def test_defaults_and_past_alerts(self, ann, user):
        spent("user", user.pk, "8.5")
        alerts.raise_due()
        found = ann.get(self.path).json()
        assert found["settings"] == {"enabled": True, "by_email": True, "thresholds": [50, 80, 100]}
        assert (found["unread"], [one["threshold"] for one in found["alerts"]]) == (2, [80, 50])
        one = found["alerts"][0]
        assert (one["scope"], one["scope_id"], one["subject"]) == ("user", str(user.pk), user.email)
        assert (one["spent_usd"], one["limit_usd"], one["read_at"], one["mailed"]) == ("8.50000000", "10.00000000", None, False)

    def test_thresholds_are_chosen_and_hold(self, ann, user):
        wanted = {"enabled": True, "by_email": False, "thresholds": [30, 10, 30]}
        assert put(ann, self.path, wanted)["settings"]["thresholds"] == [10, 30]
        spent("user", user.pk, "2")
        alerts.raise_due()
        assert [one["threshold"] for one in ann.get(self.path).json()["alerts"]] == [10]
        assert not BudgetAlert.objects.filter(mail="due").exists()

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"enabled": True, "by_email": True},
            {"enabled": True, "by_email": True, "thresholds": []},
            {"enabled": True, "by_email": True, "thresholds": [0]},
            {"enabled": True, "by_email": True, "thresholds": [101]},
            {"enabled": True, "by_email": True, "thresholds": list(range(1, 12))},
            {"enabled": True, "by_email": True, "thresholds": [50], "user": "x"},
            {"enabled": True, "by_email": True, "thresholds": "50"},
        ],
    )
    def test_nonsense_is_400(self, ann, body):
        assert put(ann, self.path, body, 400)["error"]["type"] == "invalid_request"
        assert not AlertSettings.objects.exists()

    def test_they_are_marked_as_read_and_only_ones_own(self, ann, user):
        other = make_user(D(10))
        spent("user", user.pk, "8.5")
        spent("user", other.pk, "8.5")
        alerts.raise_due()
        foreign = str(BudgetAlert.objects.filter(user=other).first().pk)
        mine = ann.get(self.path).json()["alerts"][0]["id"]
        read = lambda body: ann.post(f"{self.path}/read", body, format="json").json()["read"]  # noqa: E731 - short, and used in this test alone
        assert read({"ids": [foreign]}) == 0
        assert read({"ids": [mine]}) == 1
        assert read({}) == 1
        assert read({}) == 0
        assert ann.get(self.path).json()["unread"] == 0
        assert not BudgetAlert.objects.filter(user=other).exclude(read_at=None).exists()

    def test_a_key_reads_and_does_not_write(self, user):
        client = key_client(user, "billing")
        assert client.get(self.path).status_code == 200
        put(client, self.path, {"enabled": False, "by_email": False, "thresholds": [50]}, 403)
        assert client.post(f"{self.path}/read", {}, format="json").status_code == 403


class TestOwnBudgets:
    path = f"{BILLING}budgets"

    def test_a_key_an_agent_and_a_task_are_limited_by_their_owner(self, ann, user):
        key, _ = keys.create(user, name="robot", scopes=["chat"])
        agent = authoring.create(user, {"name": "helper"})
        task = Task.objects.create(user=user, name="nightly", input="x")
        for scope, subject in (("key", key), ("agent", agent), ("task", task)):
            found = put(ann, self.path, {"scope": scope, "scope_id": str(subject.pk), "limit_usd": "2.5"})
            assert (found["scope"], found["scope_id"], found["limit_usd"]) == (scope, str(subject.pk), "2.50000000")
        rows = ann.get(self.path).json()
        assert {(row["scope"], row["label"]) for row in rows} == {
            ("user", user.email), ("key", "robot"), ("agent", "helper"), ("task", "nightly"),
        }  # fmt: skip
        assert AuditEvent.objects.filter(action="budget.set", actor=user).count() == 3

    def test_it_holds_and_shows_its_month(self, ann, user):
        agent = authoring.create(user, {"name": "helper"})
        put(ann, self.path, {"scope": "agent", "scope_id": str(agent.pk), "limit_usd": "0.02"})
        Ledger.settle(Ledger.hold(call_of(user, agent_id=agent.pk), CENT, RATES, 10), used(D("0.005")))
        Ledger.hold(call_of(user, agent_id=agent.pk), CENT, RATES, 10)
        [row] = [row for row in ann.get(self.path).json() if row["scope"] == "agent"]
        assert (row["spent_usd"], row["held_usd"], row["left_usd"], row["used_percent"]) == ("0.00500000", "0.01000000", "0.00500000", 25)
        put(ann, self.path, {"scope": "agent", "scope_id": str(agent.pk), "limit_usd": None})
        assert Budget.objects.get(scope="agent").limit_usd is None

    def test_nothing_of_others_and_no_limit_of_staffs(self, ann, user):
        stranger = make_user()
        key, _ = keys.create(stranger, name="robot", scopes=["chat"])
        sharing.allow(stranger)
        agent = authoring.create(stranger, {"name": "helper", "visibility": "shared"})
        task = Task.objects.create(user=stranger, name="nightly", input="x")
        for scope, subject in (("key", key.pk), ("agent", agent.pk), ("task", task.pk), ("key", uuid7())):
            assert put(ann, self.path, {"scope": scope, "scope_id": str(subject), "limit_usd": "1"}, 404)["error"]["type"] == "not_found"
        for scope in ("user", "system"):
            put(ann, self.path, {"scope": scope, "scope_id": str(user.pk), "limit_usd": "1000"}, 400)
        put(ann, self.path, {"scope": "key", "scope_id": str(key.pk), "limit_usd": "-1"}, 400)
        put(ann, self.path, {"scope": "key", "scope_id": str(key.pk), "limit_usd": "1", "spent_usd": "0"}, 400)
        budgets.set_limit("agent", agent.pk, D(1))
        assert [row["scope"] for row in ann.get(self.path).json()] == ["user"]

    def test_what_was_revoked_or_deleted_gets_none(self, ann, user):
        key, _ = keys.create(user, name="robot", scopes=["chat"])
        keys.revoke(key, actor=user)
        put(ann, self.path, {"scope": "key", "scope_id": str(key.pk), "limit_usd": "1"}, 404)


class TestRecommendations:
    path = f"{BILLING}recommendations"

    def test_they_are_ones_own(self, ann, user):
        installed_catalogue.load()
        found = ann.get(self.path).json()
        assert (found["enough_data"], found["calls"], found["results"]) == (False, 0, [])
        demo.make([demo.Person(make_user().pk), demo.Person(user.pk, 3.0)], 400, 20)
        found = ann.get(self.path).json()
        assert found["enough_data"] and 200 < found["calls"] < 400
        assert found["results"]
        for one in found["results"]:
            assert one["evidence"] and (one["saving_per_month_usd"] is None or D(one["saving_per_month_usd"]) > 0)


class TestAdmin:
    @pytest.mark.parametrize("path", ADMINS)
    def test_only_admins_in_person(self, ann, user, path):
        assert ann.get(path).status_code == 403
        admin = make_user(role="admin")
        assert key_client(admin, "billing", "read").get(path).status_code == 403
        answer = client_of(admin).get(path)
        assert (answer.status_code, answer["Cache-Control"]) == (200, "no-store")
        assert ann.put(f"{ADMIN}budgets", {"scope": "system", "limit_usd": "1"}, format="json").status_code == 403

    def test_the_reports_are_the_ones_of_the_pages(self, boss, user):
        spend(user, "0.004", at=timezone.now() - timedelta(hours=30))
        spend(user, "0.002", model="other")
        rollups.catch_up()
        found = boss.get(f"{ADMIN}overview").json()
        assert found["last_30_days"]["cost_usd"] == "0.00600000"
        assert found.keys() == analytics.overview().keys()
        found = boss.get(f"{ADMIN}usage-analytics", {"group_by": "model", "bucket": "day"}).json()
        assert [(one["key"], one["cost_usd"]) for one in found["groups"]] == [("gpt-4o", "0.00400000"), ("other", "0.00200000")]
        day = (timezone.now() - timedelta(hours=30)).date().isoformat()
        found = boss.get(f"{ADMIN}usage-analytics", {"from": day, "to": f"{day}T23:59:59Z"}).json()
        assert (found["bucket"], found["totals"]["calls"]) == ("hour", 1)
        assert boss.get(f"{ADMIN}cost-optimization").json()["totals"]["calls"] == 2

    @pytest.mark.parametrize(
        ("query", "param"),
        [
            ("from=yesterday", "from"), ("to=2026-13-01", "to"), ("from=2026-02-02&to=2026-02-01", "to"), ("group_by=email", "group_by"),
            ("bucket=minute", "bucket"), ("bucket=hour&from=2020-01-01&to=2020-01-02", "bucket"), ("from=2001-01-01&bucket=day", "bucket"),
            ("user=1", "user"), ("from=0001-01-01T00:00:00%2B14:00", "from"),
        ],
    )  # fmt: skip
    def test_nonsense_is_400_and_names_the_parameter(self, boss, query, param):
        answer = boss.get(f"{ADMIN}usage-analytics?{query}")
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)

    def test_any_budget_is_set_and_listed_with_its_month(self, boss, user):
        spend(user, "0.004")
        found = put(boss, f"{ADMIN}budgets", {"scope": "user", "scope_id": str(user.pk), "limit_usd": "0.01", "time_zone": "Asia/Tokyo"})
        assert (found["label"], found["spent_usd"], found["used_percent"], found["time_zone"]) == (
            user.email,
            "0.00400000",
            40,
            "Asia/Tokyo",
        )
        assert put(boss, f"{ADMIN}budgets", {"scope": "system", "limit_usd": "250"})["limit_usd"] == "250.00000000"
        page = boss.get(f"{ADMIN}budgets", {"scope": "system"}).json()
        assert [(row["label"], row["limit_usd"]) for row in page["results"]] == [("all users", "250.00000000")]
        assert boss.get(f"{ADMIN}budgets", {"scope_id": str(user.pk)}).json()["results"][0]["spent_usd"] == "0.00400000"
        assert AuditEvent.objects.filter(action="budget.set").count() == 2

    def test_pages_of_budgets_hold_all_of_them_in_few_queries(self, boss, django_assert_max_num_queries):
        for _ in range(7):
            make_user()
        seen, url = [], f"{ADMIN}budgets?page_size=3"
        while url:
            with django_assert_max_num_queries(9):
                page = boss.get(url).json()
            seen += [row["id"] for row in page["results"]]
            url = page["next"]
        assert sorted(seen) == sorted(str(pk) for pk in Budget.objects.values_list("pk", flat=True))

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            ({"scope": "system", "scope_id": str(uuid7()), "limit_usd": "1"}, 400),
            ({"scope": "user", "limit_usd": "1"}, 400),
            ({"scope": "user", "scope_id": str(uuid7()), "limit_usd": "1"}, 404),
            ({"scope": "agent", "scope_id": str(uuid7()), "limit_usd": "1"}, 404),
            ({"scope": "system"}, 400),
            ({"scope": "system", "limit_usd": "1e30"}, 400),
            ({"scope": "system", "limit_usd": "NaN"}, 400),
            ({"scope": "system", "limit_usd": "1", "time_zone": "Mars/Olympus"}, 400),
        ],
    )
    def test_budgets_of_nothing_and_nonsense_are_refused(self, boss, body, status):
        before = Budget.objects.count()
        put(boss, f"{ADMIN}budgets", body, status)
        assert Budget.objects.count() == before


def test_usage_by_hour_ends_at_its_number_of_lines(ann, user, monkeypatch):
    now = timezone.now().replace(minute=5)
    for hours in range(3):
        spend(user, at=now - timedelta(hours=hours))
    lines = ann.get(f"{BILLING}usage", {"group_by": "hour"}).json()["results"]
    assert [line["calls"] for line in lines] == [1, 1, 1]
    assert lines[0]["hour"] < lines[1]["hour"] and lines[0]["hour"].endswith(":00:00Z")
    monkeypatch.setattr("billing.api.views.GROUPS_MOST", 2)
    assert ann.get(f"{BILLING}usage", {"group_by": "hour"}).status_code == 400
