"""The back office as a whole: every list and page opens, tells nobody more than their group may know, and runs no text as code."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group
from django.db import connection
from django.db.models import Model
from django.http import QueryDict
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import get_resolver, reverse
from django_celery_beat.models import PeriodicTask

from accounts.models import ApiKey, AuditEvent, TokenFamily, User
from agents.models import Agent, AgentRun, HttpTool, ProviderConnection
from agents.tools import http
from aiagents import roles
from aiagents.dashboards import ranges
from billing.models import AIModel, Budget
from billing.reports import staff as analytics
from tasks.models import Task, TaskRun, WebhookDelivery
from tests.kit import office_rows
from tests.kit.office_rows import CONTENT, SECRET, name_of

pytestmark = [pytest.mark.django_db, pytest.mark.long]
MODELS = office_rows.models()
IDS = [name_of(model) for model in MODELS]


def browser(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def root(db: None) -> Client:
    return browser(User.objects.create_superuser("root@example.com", "correct horse battery staple"))


@pytest.fixture
def rows(db: None) -> dict[type[Model], Model]:
    return office_rows.fill(2)


def member(group: str) -> Client:
    user = User.objects.create_user(f"{group.lower()}@example.com", "correct horse battery staple", is_staff=True)
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
    assert not missing, "rows for these are not made in tests/kit/office_rows.py"


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
        assert not nested(text), page
        assert SECRET not in text
    row_links = re.findall(rf'href="{reverse(f"admin:{name}_changelist")}[^"/?]+/change/', text_of(root.get(list_page)))
    assert row_links, "no row of the list can be opened"


class Nesting(HTMLParser):
    """Controls inside of controls. A browser closes the outer link at the inner one; the row behind it cannot be opened then."""

    CONTROLS = frozenset({"a", "button", "label", "select", "textarea", "summary"})
    VOID = frozenset({"input", "br", "img", "link", "meta", "hr"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        outer = next((one for one in reversed(self.open) if one in self.CONTROLS), None)
        hidden = tag == "input" and dict(attrs).get("type") == "hidden"
        allowed = hidden or (outer == "label" and tag in ("input", "select", "textarea"))
        if outer and tag in self.CONTROLS | {"input"} and not allowed:
            self.found.append(f"<{tag} {dict(attrs)}> in <{outer}>")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open:
            del self.open[len(self.open) - 1 - self.open[::-1].index(tag) :]


def nested(page: str) -> list[str]:
    reader = Nesting()
    reader.feed(page)
    return reader.found


def test_an_action_that_asks_changes_nothing_without_an_answer(root: Client, rows: dict[type[Model], Model]) -> None:
    asking = []
    for model in MODELS:
        page = reverse(f"admin:{name_of(model)}_changelist")
        for action in re.findall(r'<option value="(\w+)"[^>]*>[^<]*…</option>', text_of(root.get(page))):
            asking.append(action)
            data = {"action": action, "_selected_action": [str(rows[model].pk)]}
            fields = re.findall(r'<input[^>]*\bname="(\w+)"', text_of(root.post(page, data)))
            assert "apply" in fields
            before = [list(one.objects.order_by("pk").values()) for one in (model, Budget)]
            for nothing in (
                {},
                dict.fromkeys(set(fields) - {"apply", "action", "_selected_action", "no_limit", "csrfmiddlewaretoken"}, ""),
            ):
                answer = root.post(page, data | {"apply": "1"} | nothing)
                assert answer.status_code == 200 and answer.context["form"].errors, f"{action}: an empty form is refused with an error"
            assert [list(one.objects.order_by("pk").values()) for one in (model, Budget)] == before
    assert "set_budget" in asking


@pytest.mark.parametrize("model", MODELS, ids=IDS)
def test_the_list_sorts_by_every_column_and_takes_every_filter(root: Client, rows: dict[type[Model], Model], model: type[Model]) -> None:
    list_page = reverse(f"admin:{name_of(model)}_changelist")
    page = text_of(root.get(list_page))
    links = sorted(link.replace("&amp;", "&") for link in set(re.findall(r'href="(\?[^"]+)"', page)))
    assert links
    request = root.get(list_page + links[-1]).wsgi_request  # one with all of its page; the page is what costs time
    for link in links:
        request.GET = QueryDict(link[1:])
        # A look-up that does not work raises here; the page would be sent to ?e=1.
        list(admin.site._registry[model].get_changelist_instance(request).result_list)


def test_no_list_asks_more_for_many_rows_than_for_few(root: Client) -> None:
    pages = [reverse(f"admin:{name}_changelist") for name in IDS]
    office_rows.fill(5, "x")
    few = {page: _queries(root, page) for page in pages}
    office_rows.fill(45, "x")
    many = {page: _queries(root, page) for page in pages}
    assert not {
        page: f"{few[page]} queries for 5 rows, {many[page]} for 50" for page in pages if many[page] > few[page] or many[page] >= 25
    }


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
    assert text_of(root.get(f"{page}export/?q=person1@")).count("@example.com") == 1
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
    "billing_usagerollup", "billing_rollupstate", "billing_budgetalert", "billing_alertsettings", "billing_unpricedusage",
    "agents_agent", "agents_agentversion", "agents_modelrule",
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
    "query", ["", "?range=24h", "?range=365d",
              "?from=2026-01-01&to=2026-02-01", "?range=nonsense", "?from=x", "?from=2027-01-01&to=2026-01-01",
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
    root.raise_request_exception = False
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


# --- actions -----------------------------------------------------------------------------------


def act(client: Client, model: type[Model], action: str, *rows: Model) -> str:
    """What the page says after it."""
    data = {"action": action, "_selected_action": [str(row.pk) for row in rows]}
    answer = client.post(reverse(f"admin:{name_of(model)}_changelist"), data, follow=True)
    assert answer.status_code == 200
    return " ".join(str(message) for message in answer.context["messages"])


def last_audit() -> str:
    return AuditEvent.objects.latest("at").action


def test_runs_are_requeued_and_cancelled_as_the_api_does_it(root: Client, rows: dict[type[Model], Model]) -> None:
    failed = rows[TaskRun]
    assert "1 in the queue" in act(root, TaskRun, "requeue", failed)
    again = TaskRun.objects.exclude(pk=failed.pk).get(task_id=failed.task_id)
    assert (again.status, again.number, again.user_id) == ("queued", 2, failed.user_id) and last_audit() == "taskrun.requeue"
    assert "open" in act(root, TaskRun, "requeue", failed), "one run of a task at a time"
    assert "1 cancelled" in act(root, TaskRun, "cancel", again)
    again.refresh_from_db()
    assert again.status == "cancelled" and last_audit() == "taskrun.cancel"
    assert "ended already" in act(root, TaskRun, "cancel", again)


def test_tasks_are_paused_and_go_on(root: Client, rows: dict[type[Model], Model]) -> None:
    task = rows[Task]
    for action, paused in (("pause", True), ("resume", False)):
        act(root, Task, action, task)
        task.refresh_from_db()
        assert (task.paused_at is not None) == paused and last_audit() == f"task.{action}"
    assert "1 queued" in act(root, Task, "run_now", task)
    assert TaskRun.objects.filter(task=task, status="queued").count() == 1


def test_a_webhook_that_failed_is_sent_again_and_one_that_arrived_is_not(root: Client, rows: dict[type[Model], Model]) -> None:
    delivery = rows[WebhookDelivery]
    assert "1 sent again" in act(root, WebhookDelivery, "send_again", delivery)
    delivery.refresh_from_db()
    assert delivery.state == "pending" and last_audit() == "webhook.send_again"
    WebhookDelivery.objects.filter(pk=delivery.pk).update(state="delivered")
    assert "was delivered" in act(root, WebhookDelivery, "send_again", delivery)


def test_agent_runs_are_cancelled_and_agents_stopped(root: Client, rows: dict[type[Model], Model]) -> None:
    run = rows[AgentRun]
    AgentRun.objects.filter(pk=run.pk).update(status="running")
    assert "1 cancelled" in act(root, AgentRun, "cancel", run)
    assert AgentRun.objects.get(pk=run.pk).status == "cancelled" and last_audit() == "agentrun.cancel"
    act(root, Agent, "switch_off", rows[Agent])
    assert not Agent.objects.get(pk=rows[Agent].pk).enabled and last_audit() == "agent.disable"


def test_a_tools_headers_go_in_and_never_come_out(root: Client, rows: dict[type[Model], Model]) -> None:
    tool = rows[HttpTool]
    page = reverse("admin:agents_httptool_change", args=[tool.pk])
    form = {"name": "tool_new", "description": "d", "method": "GET", "url": "https://x.example/a", "parameters": "{}",
            "timeout_seconds": "5", "max_bytes": "1000", "enabled": "on"}  # fmt: skip
    assert root.post(page, form).status_code == 302
    tool.refresh_from_db()
    assert http.read_headers(tool) == {"X-Key": SECRET}, "empty keeps them"
    assert root.post(page, form | {"new_headers": "Authorization: Bearer new-secret\n\nX-Two: 2"}).status_code == 302
    tool.refresh_from_db()
    assert http.read_headers(tool) == {"Authorization": "Bearer new-secret", "X-Two": "2"}
    assert "new-secret" not in tool.headers_encrypted and "new-secret" not in text_of(root.get(page))
    assert "new-secret" not in text_of(root.get(reverse("admin:agents_httptool_changelist")))
    assert "Each line must be a header" in text_of(root.post(page, form | {"new_headers": "no colon"}))
    assert root.post(page, form | {"url": "https://elsewhere.example/a"}).status_code == 302
    tool.refresh_from_db()
    assert http.read_headers(tool) == {}, "another host gets none of them"
    assert not AuditEvent.objects.filter(details__icontains="secret").exists()


def test_a_test_call_goes_through_the_door_and_staff_pay(root: Client) -> None:
    """Nothing is configured here: the page says so, and it is logged."""
    model = AIModel.objects.filter(enabled=True, lifecycle="active").first() or office_rows.fill(1)[AIModel]
    assert "did not answer" in act(root, AIModel, "test_call", model)
    event = AuditEvent.objects.get(action="model.test")
    assert event.details["model"] == model.slug and event.details["error"]
    connection = ProviderConnection.objects.create(slug="alone", name="a", kind="openai", base_url="https://x.example")
    assert "no call was made" in act(root, ProviderConnection, "test", connection)


def test_periodic_tasks_are_switched_and_choose_among_known_ones(root: Client, rows: dict[type[Model], Model]) -> None:
    job = rows[PeriodicTask]
    page = text_of(root.get(reverse("admin:django_celery_beat_periodictask_change", args=[job.pk])))
    assert '<option value="tasks.tasks.tick_schedules"' in page
    act(root, PeriodicTask, "disable_tasks", job)
    assert not PeriodicTask.objects.get(pk=job.pk).enabled and last_audit() == "periodictask.disable"


def test_changing_actions_are_refused_to_those_who_only_look(rows: dict[type[Model], Model]) -> None:
    client = member("Auditor")
    for model, action in ((TaskRun, "requeue"), (Task, "run_now"), (Agent, "switch_off"), (AIModel, "switch_off"), (ApiKey, "revoke"),
                          (User, "disable"), (User, "make_admin"), (User, "set_budget"), (AIModel, "test_call"), (HttpTool, "switch_off"),
                          (PeriodicTask, "run_tasks"), (WebhookDelivery, "send_again"), (AgentRun, "cancel"),
                          (TokenFamily, "revoke")):  # fmt: skip
        before = AuditEvent.objects.exclude(action="admin.export").count()
        act(client, model, action, rows[model])
        assert AuditEvent.objects.exclude(action="admin.export").count() == before, action


def test_who_forges_a_form_is_refused() -> None:
    user = User.objects.create_superuser("careful@example.com", "correct horse battery staple")
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    assert client.post(reverse("admin:accounts_user_changelist"), {"action": "disable"}).status_code == 403
