"""The back office as a whole: every list and page opens, tells nobody more than their group may know, and runs no text as code."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator

import pytest
from django.apps import apps
from django.contrib.auth.models import Group
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import get_resolver, reverse

from accounts.models import AuditEvent, User
from aiagents import roles
from aiagents.dashboards import ranges
from billing import analytics
from tests import office_rows
from tests.office_rows import CONTENT, SECRET, name_of

pytestmark = pytest.mark.django_db
MODELS = office_rows.models()
IDS = [name_of(model) for model in MODELS]


def browser(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def root(db: None) -> Client:
    return browser(User.objects.create_superuser("root@example.com", "correct horse battery"))


@pytest.fixture
def rows(db: None) -> dict[type[Model], Model]:
    return office_rows.fill(2)


def member(group: str) -> Client:
    user = User.objects.create_user(f"{group.lower()}@example.com", "correct horse battery", is_staff=True)
    user.groups.add(Group.objects.get(name=group))
    return browser(user)


def text_of(answer) -> str:
    if answer.streaming:
        return b"".join(answer).decode()
    return answer.content.decode()


def scripts_left(page: str) -> list[str]:
    """Hostile markup that would run."""
    return [piece for piece in ("<script>alert(1)", "<img src=x", "<svg/onload") if piece in page] + (["49"] if "{{7*7}}49" in page else [])


# --- every page --------------------------------------------------------------------------------


def test_every_model_with_rows_is_registered(rows: dict[type[Model], Model]) -> None:
    missing = [model._meta.label for model in MODELS if model not in rows]
    assert not missing, "rows for these are not made in tests/office_rows.py"


@pytest.mark.parametrize("model", MODELS, ids=IDS)
def test_the_list_and_the_page_open_and_escape(root: Client, rows: dict[type[Model], Model], model: type[Model]) -> None:
    name = name_of(model)
    list_page = reverse(f"admin:{name}_changelist")
    pages = [list_page, f"{list_page}?q=person", f"{list_page}?q={rows[User].pk}", reverse(f"admin:{name}_change", args=[rows[model].pk])]
    pages.append(reverse(f"admin:{name}_history", args=[rows[model].pk]))
    for page in pages:
        answer = root.get(page)
        assert answer.status_code == 200, page
        text = text_of(answer)
        assert not scripts_left(text), page
        assert SECRET not in text


@pytest.mark.parametrize("model", MODELS, ids=IDS)
def test_the_list_sorts_by_every_column_and_takes_every_filter(root: Client, rows: dict[type[Model], Model], model: type[Model]) -> None:
    list_page = reverse(f"admin:{name_of(model)}_changelist")
    page = text_of(root.get(list_page))
    links = set(re.findall(r'href="(\?[^"]+)"', page))
    for link in sorted(links):
        answer = root.get(list_page + link.replace("&amp;", "&"))
        assert answer.status_code == 200, link
        assert "e=1" not in answer.request["QUERY_STRING"]


@pytest.mark.parametrize("model", MODELS, ids=IDS)
def test_a_list_asks_no_more_for_many_rows_than_for_few(root: Client, model: type[Model]) -> None:
    list_page = reverse(f"admin:{name_of(model)}_changelist")
    office_rows.fill(5, "x")
    few = _queries(root, list_page)
    office_rows.fill(45, "x")
    many = _queries(root, list_page)
    assert many <= few, f"{few} queries for 5 rows, {many} for 50"
    assert many < 25


def _queries(client: Client, page: str) -> int:
    client.get(page)  # content types and the like are remembered
    with CaptureQueriesContext(
        connection,
    ) as asked:
        assert client.get(page).status_code == 200
    return len(asked)


# --- what must never be in a URL ----------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        "chat/message/?content__icontains=secret", "chat/conversation/?title__startswith=a",
        "agents/providerconnection/?api_key_encrypted__gt=a",
        "agents/httptool/?headers_encrypted__startswith=g", "agents/agentrun/?input__contains=x",
        "tasks/task/?webhook_secret_encrypted__gt=a",
        "tasks/webhookdelivery/?body__contains=x", "accounts/user/?password__startswith=b", "accounts/apikey/?digest__startswith=a",
        "accounts/apikey/?user__password__startswith=b", "billing/usagelog/?user__password__startswith=b",
        "chat/message/export/?content__gt=a",
        "aiagents/idempotentanswer/?body__contains=x",
    ],
)  # fmt: skip
def test_nothing_can_be_asked_for_letter_by_letter(root: Client, query: str) -> None:
    assert root.get(f"/admin/{query}").status_code == 400


# --- the file ----------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS, ids=IDS)
def test_the_csv_has_the_rows_of_the_list_and_no_formula(root: Client, rows: dict[type[Model], Model], model: type[Model]) -> None:
    answer = root.get(reverse(f"admin:{name_of(model)}_export"))
    assert answer.status_code == 200 and answer["Content-Type"].startswith("text/csv")
    text = text_of(answer)
    lines = list(csv.reader(io.StringIO(text, newline="")))
    assert len(lines) - 1 == model._default_manager.count()
    assert all(len(line) == len(lines[0]) for line in lines)
    assert not [cell for line in lines for cell in line if cell.startswith(("=", "+", "-", "@"))]
    assert SECRET not in text and CONTENT not in text
    event = AuditEvent.objects.filter(action="admin.export").latest("at")
    assert event.details["model"] == model._meta.label_lower


def test_the_csv_respects_filters_search_and_selection(root: Client, rows: dict[type[Model], Model]) -> None:
    users = User.objects.filter(email__startswith="person")
    page = reverse("admin:accounts_user_changelist")
    assert text_of(root.get(f"{page}export/?q=person0")).count("@example.com") == 1
    assert text_of(root.get(f"{page}export/?role__exact=admin")).count("root@example.com") == 1
    data = {"action": "export_selected", "_selected_action": [str(users[0].pk)]}
    assert users[0].email in (text := text_of(root.post(page, data))) and users[1].email not in text


# --- who may what ------------------------------------------------------------------------------


def opened(client: Client, rows: dict[type[Model], Model]) -> dict[str, str]:
    """model: the letters of what the client may: view, add, change, delete."""
    found = {}
    for model in MODELS:
        name, letters = name_of(model), ""
        if client.get(reverse(f"admin:{name}_changelist")).status_code == 200:
            letters += "v"
            assert client.get(reverse(f"admin:{name}_export")).status_code == 200
            assert client.get(reverse(f"admin:{name}_change", args=[rows[model].pk])).status_code == 200
        else:
            assert client.get(reverse(f"admin:{name}_export")).status_code == 403
            assert client.get(reverse(f"admin:{name}_change", args=[rows[model].pk])).status_code == 403
        if client.get(reverse(f"admin:{name}_add")).status_code == 200:
            letters += "a"
        if client.post(reverse(f"admin:{name}_change", args=[rows[model].pk]), {"_nothing": "1"}).status_code != 403:
            letters += "c"
        if client.get(reverse(f"admin:{name}_delete", args=[rows[model].pk])).status_code == 200:
            letters += "d"
        if letters:
            found[name] = letters
    return found


# Rows that nobody changes by a form, whatever their rights: looked at, and acted on by actions.
NO_FORMS = {
    "accounts_apikey", "accounts_tokenfamily", "accounts_auditevent", "billing_usagelog", "billing_hold", "billing_modelprice",
    "billing_usagerollup", "billing_rollupstate", "billing_budgetalert", "billing_alertsettings", "agents_agent", "agents_agentversion",
    "agents_agentrun",
    "tasks_task", "tasks_taskrun", "tasks_webhookdelivery", "chat_conversation", "chat_message", "monitoring_systemmetric",
    "aiagents_idempotentanswer",
}  # fmt: skip


@pytest.mark.parametrize("group", roles.ROLES)
def test_each_role_sees_and_may_exactly_what_it_says(rows: dict[type[Model], Model], group: str) -> None:
    registered = set(IDS)
    said = {model.replace(".", "_"): letters for model, letters in roles.ROLES[group].items()}
    wanted = {}
    for name, letters in said.items():
        if name not in registered:
            continue
        wanted[name] = "".join(letter for letter in "vacd" if letter in letters and (letter == "v" or name not in NO_FORMS))
    assert opened(member(group), rows) == wanted


@pytest.mark.parametrize("group", roles.ROLES)
def test_no_role_reads_content(rows: dict[type[Model], Model], group: str) -> None:
    client = member(group)
    for model in MODELS:
        for page in (reverse(f"admin:{name_of(model)}_changelist"), reverse(f"admin:{name_of(model)}_change", args=[rows[model].pk])):
            assert CONTENT not in text_of(client.get(page)), page
    assert not AuditEvent.objects.filter(action__endswith="content_read").exists()


def test_content_is_read_with_its_own_right_and_that_is_written_down(root: Client, rows: dict[type[Model], Model]) -> None:
    for model in (m for m in MODELS if name_of(m) in ("chat_message", "agents_agentrun", "tasks_taskrun", "agents_agentversion")):
        before = AuditEvent.objects.filter(action__endswith="content_read").count()
        assert CONTENT in text_of(root.get(reverse(f"admin:{name_of(model)}_change", args=[rows[model].pk])))
        event = AuditEvent.objects.filter(action__endswith="content_read").latest("at")
        assert AuditEvent.objects.filter(action__endswith="content_read").count() == before + 1
        assert event.target_id == str(rows[model].pk) and event.actor.email == "root@example.com"


@pytest.mark.parametrize("model", [m for m in MODELS if name_of(m) in NO_FORMS], ids=[name for name in IDS if name in NO_FORMS])
def test_not_even_a_superuser_changes_what_is_only_read(root: Client, rows: dict[type[Model], Model], model: type[Model]) -> None:
    name, pk = name_of(model), rows[model].pk
    assert root.get(reverse(f"admin:{name}_add")).status_code == 403
    assert root.post(reverse(f"admin:{name}_change", args=[pk]), {"x": "y"}).status_code == 403
    assert root.post(reverse(f"admin:{name}_delete", args=[pk]), {"post": "yes"}).status_code == 403
    root.post(reverse(f"admin:{name}_changelist"), {"action": "delete_selected", "_selected_action": [str(pk)], "post": "yes"})
    assert model._default_manager.filter(pk=pk).exists()


def test_without_a_role_staff_see_an_empty_house_and_others_the_login(rows: dict[type[Model], Model]) -> None:
    nobody = browser(User.objects.create_user("new@example.com", None, is_staff=True))
    assert nobody.get("/admin/").status_code == 200
    assert opened(nobody, rows) == {}
    stranger = browser(User.objects.create_user("stranger@example.com", None))
    for page in ("/admin/", "/admin/accounts/user/", "/admin/analytics/usage/"):
        assert stranger.get(page).status_code == 302


def test_the_groups_are_what_the_code_says_after_each_migration() -> None:
    support = Group.objects.get(name="Support")
    support.permissions.clear()
    roles.ensure()
    assert support.permissions.filter(codename="change_user").exists()
    assert not support.permissions.filter(codename="view_content").exists()
    for rights in roles.ROLES.values():
        known = {f"{m._meta.app_label}.{m._meta.model_name}" for m in apps.get_models()}
        assert set(rights) <= known, set(rights) - known


# --- dashboards --------------------------------------------------------------------------------

DASHBOARDS = {
    "usage": {"Billing", "Support", "Auditor", "Administrator"}, "costs": {"Billing", "Support", "Auditor", "Administrator"},
    "models": {"Billing", "Support", "Auditor", "Administrator"}, "users": {"Billing", "Support", "Auditor", "Administrator"},
    "system": {"Auditor", "Administrator"}, "live": {"Auditor", "Administrator"},
}  # fmt: skip


@pytest.mark.parametrize("group", roles.ROLES)
def test_each_role_sees_its_dashboards(group: str) -> None:
    client = member(group)
    home = text_of(client.get("/admin/"))
    for name, groups in DASHBOARDS.items():
        allowed = group in groups
        assert client.get(f"/admin/analytics/{name}/").status_code == (200 if allowed else 403), name
        assert (f"/admin/analytics/{name}/" in home) == allowed


def test_the_role_admin_sees_in_the_dashboards_what_the_api_tells_it() -> None:
    client = browser(User.objects.create_user("boss@example.com", None, is_staff=True, role="admin"))
    for name in DASHBOARDS:
        assert client.get(f"/admin/analytics/{name}/").status_code == 200


@pytest.mark.parametrize("name", ["usage", "costs", "models", "users", "system"])
@pytest.mark.parametrize(
    "query", ["", "?range=24h", "?range=365d", "?from=2026-01-01&to=2026-02-01", "?range=nonsense", "?from=x", "?from=2027-01-01&to=2026-01-01",
              "?from=0001-01-01&to=9999-12-31", "?group_by=password&bucket=second"],
)  # fmt: skip
def test_a_dashboard_opens_for_every_range_with_and_without_figures(root: Client, name: str, query: str) -> None:
    assert root.get(f"/admin/analytics/{name}/{query}").status_code == 200


def test_the_dashboards_show_what_the_reports_say(root: Client, rows: dict[type[Model], Model]) -> None:
    office_rows.usage(300)
    report = analytics.usage((range_ := ranges.preset("30d")).from_, range_.to, "model")
    page = text_of(root.get("/admin/analytics/usage/?group_by=model"))
    assert f">{report['totals']['calls']:,}<" in page
    chart = json.loads(re.search(r'<script id="board-charts" type="application/json">(.*?)</script>', page, re.S)[1])
    assert sum(sum(one["values"]) for one in chart["calls"]["series"]) == report["totals"]["calls"]
    assert f"{report['totals']['simulated_calls']:,} of {report['totals']['calls']:,} calls" in page
    for name in ("usage", "costs", "models", "users"):
        assert not scripts_left(text_of(root.get(f"/admin/analytics/{name}/")))
    assert not scripts_left(text_of(root.get("/admin/")))


def test_each_table_of_a_dashboard_is_had_as_csv(root: Client, rows: dict[type[Model], Model]) -> None:
    office_rows.usage(100)
    for name in ("usage", "costs", "models", "users", "system"):
        keys = set(re.findall(r"csv=(\w+)\"", text_of(root.get(f"/admin/analytics/{name}/"))))
        assert keys, name
        for key in keys:
            answer = root.get(f"/admin/analytics/{name}/?csv={key}")
            lines = list(csv.reader(io.StringIO(text_of(answer), newline="")))
            assert answer["Content-Type"].startswith("text/csv") and len({len(line) for line in lines}) == 1
            assert not [cell for line in lines for cell in line if cell.startswith(("=", "@"))]
        assert root.get(f"/admin/analytics/{name}/?csv=nothing").status_code == 404


def test_the_overview_has_key_figures_alerts_and_recent_errors(root: Client, rows: dict[type[Model], Model]) -> None:
    office_rows.usage(100)
    page = text_of(root.get("/admin/"))
    for words in (
        "Spent today",
        "This month",
        "Alerts",
        "Recent errors of models",
        "provider_overloaded",
        "task run",
        "Budgets near their limits",
    ):
        assert words in page, words


# --- what pages may load -----------------------------------------------------------------------


def test_the_themes_exceptions_hold_on_its_pages_only(root: Client, rows: dict[type[Model], Model]) -> None:
    login = Client().get("/admin/login/")
    for page in (root.get("/admin/"), root.get("/admin/accounts/user/"), root.get("/admin/analytics/usage/"), login):
        policy = page["Content-Security-Policy"]
        assert "script-src 'self' 'unsafe-eval'" in policy and "style-src 'self' 'unsafe-inline'" in policy
        assert "object-src 'none'" in policy and "frame-ancestors 'none'" in policy and "http" not in policy
    for path in sorted(set(_other_paths())):
        policy = root.get(path).get("Content-Security-Policy", "")
        assert "unsafe-eval" not in policy, path
        assert path == "/docs" or "unsafe-inline" not in policy, path


def _other_paths() -> Iterator[str]:
    """A path of every route outside the admin."""
    for pattern in get_resolver().url_patterns:
        yield from _paths(pattern, "/")
    yield from ("/nowhere", "/administrator", "/admin", "/v1/models", "/static/favicon.svg")


def _paths(pattern, prefix: str) -> Iterator[str]:
    part = re.sub(r"\(\?P<\w+>[^)]*\)|<[^>]+>", "019a2f3c-0000-7000-8000-000000000000", str(pattern.pattern)).strip("^$").replace("\\Z", "")
    part = re.sub(r"\\\.|\[/\.\]|\(\?:.*?\)\??|/\?$", "", part)
    path = prefix + part
    if path.startswith("/admin/"):
        return
    if hasattr(pattern, "url_patterns"):
        for inner in pattern.url_patterns:
            yield from _paths(inner, path)
    else:
        yield path
