"""`/api/v1/billing/` as a client sees it."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

import pytest
from asgiref.sync import async_to_sync
from django.utils import timezone
from rest_framework.test import APIClient

from accounts import keys
from aiagents.core.ids import uuid7
from billing.api import views
from billing.budgets import budgets
from billing.ledger.charging import Outcome
from billing.models import AIModel, UsageLog
from billing.pricing import Usage
from billing.reports.own_usage import COLUMNS
from billing.tests.making import CENT, RATES, Ledger, call_of, client_of, key_client, make_user, spend, used
from tests.kit import catalogue as installed_catalogue

pytestmark = pytest.mark.django_db
PATHS = ["/api/v1/billing/models", "/api/v1/billing/usage", "/api/v1/billing/usage/export", "/api/v1/billing/summary"]


@pytest.fixture
def monthly_limit() -> D:
    return D(5)


@pytest.fixture
def ann(user):
    return client_of(user)


@pytest.fixture
def catalogue(db):
    installed_catalogue.load()


def results(client, path, **params):
    answer = client.get(path, params)
    assert answer.status_code == 200, answer.content
    return answer.json()["results"]


@pytest.mark.parametrize("path", PATHS)
def test_reading_needs_a_credential(path):
    answer = APIClient().get(path)
    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == "not_authenticated"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("scope", "status"), [("billing", 200), ("read", 200), ("chat", 403)])
def test_a_key_needs_the_scope(user, path, scope, status):
    assert key_client(user, scope).get(path).status_code == status


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_nothing_can_be_written(ann, path, method):
    assert getattr(ann, method)(path, {}, format="json").status_code == 405


@pytest.mark.parametrize("path", PATHS)
def test_answers_are_not_cached(ann, path):
    assert ann.get(path)["Cache-Control"] == "no-store"


class TestModels:
    path = PATHS[0]

    def test_a_model_tells_what_it_can_do_and_costs(self, ann, catalogue):
        [found] = results(ann, self.path, search="gpt-4o-mini")
        assert found["id"] == "gpt-4o-mini"
        assert found["price"]["input"] == "0.15000000"
        assert found["price"]["cached_input"] == "0.07500000"
        assert found["price"]["tier_input"] is None
        assert found["capabilities"] == ["vision", "files", "tools", "json", "temperature"]
        assert (found["lifecycle"], found["usable"], found["replaced_by"]) == ("deprecated", True, "gpt-6-luna")

    def test_an_unknown_price_is_null_and_not_zero(self, ann, catalogue):
        assert results(ann, self.path, search="gpt-6.2-sol")[0]["price"] is None

    def test_pages_hold_all_of_them(self, ann, catalogue):
        seen, url = [], f"{self.path}?page_size=15"
        while url:
            page = ann.get(url).json()
            seen += [one["id"] for one in page["results"]]
            url = page["next"]
        assert seen == sorted(AIModel.objects.values_list("slug", flat=True))

    def test_filters_and_orderings(self, ann, catalogue):
        google = results(ann, self.path, provider="google", reasoning="true", min_context=1_000_000, min_quality=90, page_size=100)
        assert {one["id"] for one in google} == {"gemini-4-argon", "gemini-3.8-flash", "gemini-3.1-pro-preview"}
        best = results(ann, self.path, ordering="-quality")
        assert best[0]["quality"] == max(one["quality"] for one in best)

    def test_switched_off_models_are_not_shown(self, ann, catalogue):
        model = AIModel.objects.get(slug="gpt-4")
        model.enabled = False
        model.save()
        assert "gpt-4" not in {one["id"] for one in results(ann, self.path, page_size=100)}

    @pytest.mark.parametrize("query", ["provider=nobody", "ordering=loaded", "prices__input=1", "min_quality=x", "page_size=0"])
    def test_unknown_parameters_are_400(self, ann, query):
        answer = ann.get(f"{self.path}?{query}")
        assert answer.status_code == 400
        assert answer.json()["error"]["type"] == "invalid_request"


class TestUsage:
    path = PATHS[1]

    def test_rows_tell_what_was_charged(self, ann, user):
        call = spend(user, outcome=Outcome("ok", Usage(100, 40, 0, 10, 4), finish_reason="stop"), conversation_id=uuid7())
        [row] = results(ann, self.path)
        assert row["call_id"] == str(call.call_id)
        assert row["cost_usd"] == "0.00030000"
        assert (row["input_tokens"], row["cached_input_tokens"], row["reasoning_tokens"]) == (100, 40, 4)
        assert row["price"]["input"] == "2.5"
        assert row["conversation_id"] == str(call.conversation_id)
        assert "user" not in row

    def test_others_rows_are_not_there(self, ann):
        spend(make_user())
        assert results(ann, self.path) == []
        assert results(ann, self.path, group_by="model") == []
        assert ann.get(PATHS[3]).json()["spent_usd"] == "0.00000000"

    def test_filters(self, ann, user):
        now = timezone.now()
        key, agent = uuid7(), uuid7()
        spend(user, model="m1", at=now - timedelta(days=2))
        spend(user, model="m2", purpose="title", outcome=Outcome("failed", None, started=False), agent_id=agent)
        row = spend(user, model="m2")
        UsageLog._base_manager.filter(call_id=row.call_id).update(api_key_id=key)
        count = lambda **params: len(results(ann, self.path, **params))  # noqa: E731 - short, and used in this test alone
        assert count() == 3
        assert count(model="m2") == 2
        assert count(status="failed") == count(purpose="title") == count(agent=agent) == count(key=key) == 1
        assert count(**{"from": (now - timedelta(days=1)).isoformat()}) == 2
        assert count(to=(now - timedelta(days=1)).isoformat()) == 1
        assert count(**{"from": (now - timedelta(days=3)).date().isoformat(), "to": (now - timedelta(days=1)).date().isoformat()}) == 1

    def test_pages_neither_lose_nor_repeat_rows_of_one_moment(self, ann, user):
        for _ in range(7):
            spend(user)
        UsageLog._base_manager.update(created_at=timezone.now())
        seen, url = [], f"{self.path}?page_size=3"
        while url:
            page = ann.get(url).json()
            seen += [one["id"] for one in page["results"]]
            url = page["next"]
        assert len(seen) == len(set(seen)) == 7

    @pytest.mark.parametrize(
        "query",
        [
            "group_by=user",
            "group_by=model&bucket=week",
            "group_by=day&bucket=day",
            "bucket=day",
            "status=done",
            "from=yesterday",
            "user=1",
            "user__email=a",
            "key=1",
            "ordering=user__password",
            "cursor=x",
        ],
    )
    def test_unknown_parameters_are_400(self, ann, query):
        assert ann.get(f"{self.path}?{query}").status_code == 400

    def test_sums_by_day_model_agent_and_key(self, ann, user):
        agent = uuid7()
        day = datetime(2026, 3, 5, 23, 30, tzinfo=UTC)
        spend(user, "0.001", model="cheap", at=day)
        spend(user, "0.002", model="cheap", at=day + timedelta(hours=1), agent_id=agent)
        spend(user, "0.004", used(D("0.004"), "failed"), model="dear", at=day + timedelta(hours=2))
        by_day = results(ann, self.path, group_by="day")
        assert [(row["day"], row["calls"], row["cost_usd"]) for row in by_day] == [
            ("2026-03-05", 1, "0.00100000"),
            ("2026-03-06", 2, "0.00600000"),
        ]
        by_model = results(ann, self.path, group_by="model")
        assert [(row["model"], row["calls"], row["failed_calls"], row["output_tokens"]) for row in by_model] == [
            ("dear", 1, 1, 400),
            ("cheap", 2, 0, 300),
        ]
        assert [row["agent_id"] for row in results(ann, self.path, group_by="agent")] == [None, str(agent)]
        [row] = results(ann, self.path, group_by="key")
        assert (row["api_key_id"], row["cost_usd"]) == (None, "0.00700000")
        assert results(ann, self.path, group_by="model", model="cheap")[0]["calls"] == 2

    def test_lines_are_named_and_split_by_day(self, ann, user):
        key, _ = keys.create(user, name="robot", scopes=["chat"])
        day = datetime(2026, 3, 5, 12, 0, tzinfo=UTC)
        spend(user, "0.001", at=day)
        spend(user, "0.004", at=day + timedelta(days=1))
        UsageLog._base_manager.filter(cost_usd=D("0.004")).update(api_key_id=key.pk)
        assert [(row["label"], row["calls"]) for row in results(ann, self.path, group_by="key")] == [("robot", 1), ("without key", 1)]
        split = results(ann, self.path, group_by="key", bucket="day")
        assert [(row["day"], row["label"], row["cost_usd"]) for row in split] == [
            ("2026-03-05", "without key", "0.00100000"),
            ("2026-03-06", "robot", "0.00400000"),
        ]
        assert results(ann, self.path, group_by="model", bucket="hour")[0]["hour"] == "2026-03-05T12:00:00Z"

    def test_the_saving_is_over_the_calls_that_have_a_baseline(self, ann, user):
        spend(user, "0.001")
        spend(user, "0.002")
        UsageLog._base_manager.filter(cost_usd=D("0.001")).update(baseline_cost_usd=D("0.005"))
        assert results(ann, self.path, group_by="model")[0]["saved_usd"] == "0.00400000"

    def test_sums_are_exact(self, ann, user):
        for _ in range(10):
            spend(user, outcome=Outcome("ok", Usage(cached_input_tokens=1, input_tokens=1)))
        assert results(ann, self.path, group_by="model")[0]["cost_usd"] == "0.00001250"


def exported(client, **params):
    answer = client.get(PATHS[2], params)
    assert answer.status_code == 200, answer.content
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert "attachment" in answer["Content-Disposition"]

    async def read() -> bytes:
        return b"".join([chunk async for chunk in answer.streaming_content])

    return async_to_sync(read)()


class TestExport:
    def test_every_row_is_there_once_newest_first(self, ann, user, monkeypatch):
        monkeypatch.setattr(views, "PAGE", 3)
        calls = [str(spend(user).call_id) for _ in range(7)]
        spend(make_user())
        lines = list(csv.reader(io.StringIO(exported(ann).decode(), newline="")))
        assert tuple(lines[0]) == COLUMNS
        assert [line[1] for line in lines[1:]] == calls[::-1]

    def test_it_ends_at_the_stated_number_of_lines(self, ann, user, monkeypatch):
        monkeypatch.setattr(views, "EXPORT_MOST", 4)
        monkeypatch.setattr(views, "PAGE", 3)
        for _ in range(6):
            spend(user)
        assert exported(ann).count(b"\r\n") == 5

    def test_filters_hold(self, ann, user):
        spend(user, model="m1")
        spend(user, model="m2")
        assert exported(ann, model="m2", format="csv").count(b"\r\n") == 2

    @pytest.mark.parametrize("evil", ["=cmd()", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\nx"])
    def test_text_cannot_become_a_formula(self, ann, user, evil):
        spend(user, requested_model=evil)
        [head, line] = csv.reader(io.StringIO(exported(ann).decode(), newline=""))
        row = dict(zip(head, line, strict=True))
        assert row["requested_model"] == "'" + evil

    def test_numbers_stay_numbers_and_quotes_are_quoted(self, ann, user):
        spend(user, "0.001", requested_model='a"b,c\r\nd')
        [head, line] = csv.reader(io.StringIO(exported(ann).decode(), newline=""))
        row = dict(zip(head, line, strict=True))
        assert (row["cost_usd"], row["output_tokens"], row["estimated"], row["api_key_id"]) == ("0.001000000000", "100", "false", "")
        assert row["requested_model"] == 'a"b,c\r\nd'
        assert row["created_at"].endswith("Z")

    def test_other_formats_are_400_in_json(self, ann):
        answer = ann.get(PATHS[2], {"format": "xlsx"})
        assert (answer.status_code, answer["Content-Type"]) == (400, "application/json")
        assert answer.json()["error"]["param"] == "format"


class TestSummary:
    path = PATHS[3]

    def test_the_month_to_date(self, ann, user):
        spend(user, "0.004")
        Ledger.hold(call_of(user), CENT, RATES, 10)
        found = ann.get(self.path).json()
        assert (found["spent_usd"], found["held_usd"], found["limit_usd"]) == ("0.00400000", "0.01000000", "5.00000000")
        assert (found["left_usd"], found["calls"], found["forecast"]) == ("4.98600000", 1, None)
        assert found["time_zone"] == "UTC"

    def test_the_months_tokens_and_its_saving(self, ann, user):
        assert ann.get(self.path).json()["input_tokens"] == 0
        spend(user, outcome=Outcome("ok", Usage(100, 40, 0, 10, 4)))
        spend(user, "0.004", at=timezone.now() - timedelta(days=40))
        UsageLog._base_manager.update(baseline_cost_usd=D("0.001"))
        found = ann.get(self.path).json()
        assert (found["input_tokens"], found["cached_input_tokens"], found["output_tokens"], found["failed_calls"]) == (100, 40, 10, 0)
        assert (found["saved_usd"], found["baseline_model"]) == ("0.00070000", "gpt-4o")

    def test_without_a_limit(self, ann, user):
        budgets.set_limit("user", user.pk, None)
        found = ann.get(self.path).json()
        assert (found["limit_usd"], found["left_usd"]) == (None, None)

    def test_the_forecast_follows_the_users_own_days(self, ann, user):
        now = timezone.now()
        for days in (1, 2, 3, 5):
            spend(user, "0.005", at=now - timedelta(days=days))
        found = ann.get(self.path).json()["forecast"]
        assert (found["days_observed"], found["per_day_usd"]) == (5, "0.00400000")
        assert D(found["low_usd"]) <= D(found["expected_usd"]) <= D(found["high_usd"])
        assert found["exhausted_at"] is None

    def test_a_budget_that_is_used_up_says_when(self, ann, user):
        now = timezone.now()
        for days in (1, 2, 3):
            spend(user, "0.005", at=now - timedelta(days=days))
        budgets.set_limit("user", user.pk, D("0.001"))
        assert ann.get(self.path).json()["forecast"]["exhausted_at"] is not None

    def test_other_months_calls_are_not_counted(self, ann, user):
        spend(user, at=timezone.now() - timedelta(days=70))
        assert ann.get(self.path).json()["calls"] == 0


def test_the_document_describes_all_of_it(ann):
    document = APIClient().get("/api/schema/", {"format": "json"}).json()
    for path in PATHS:
        assert document["paths"][path]["get"]["tags"] == ["billing"]
    names = {one["name"] for one in document["paths"][PATHS[1]]["get"]["parameters"]}
    assert {"from", "to", "model", "status", "purpose", "key", "agent", "group_by", "cursor", "page_size", "ordering"} <= names
