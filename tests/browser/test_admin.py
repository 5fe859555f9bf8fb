"""The back office in real Chromium: each page is drawn, complains of nothing, asks nobody else, and runs no text as code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.visit import Visit
from tests.kit.servers.live import PASSWORD, Live

pytestmark = [pytest.mark.browser, pytest.mark.long]
EMAIL = "root@example.com"
_SEED = f"""
from django.contrib.auth.models import Group
from accounts.models import User
from tests.kit import office_rows
User.objects.create_superuser("{EMAIL}", "{PASSWORD}")
auditor = User.objects.create_user("auditor@example.com", "{PASSWORD}", is_staff=True)
auditor.groups.add(Group.objects.get(name="Auditor"))
office_rows.fill(3)
office_rows.usage(300)
for model in office_rows.models():
    row = model._default_manager.order_by("-pk").first()
    print("page", model._meta.app_label, model._meta.model_name, row.pk)
"""
DASHBOARDS = ("", "analytics/usage/", "analytics/usage/?group_by=user&range=90d", "analytics/costs/", "analytics/models/",
              "analytics/users/", "analytics/system/")  # fmt: skip


@pytest.fixture(scope="module")
def pages(chromium: Any, live: Live) -> list[str]:
    """The list and one row's page of every model."""
    printed = live.manage("shell", "-v0", "-c", _SEED)
    rows = [line.split()[1:] for line in printed.splitlines() if line.startswith("page ")]
    return [page for app, model, pk in rows for page in (f"{app}/{model}/", f"{app}/{model}/{pk}/change/")]


@pytest.fixture
def office(chromium: Any, live: Live, pages: list[str]) -> Iterator[Any]:
    """`office(email, …)`: signed in through the login page. What went wrong in any page fails the test at its end."""
    visits: list[Visit] = []

    def enter(email: str = EMAIL, **options: Any) -> Visit:
        one = Visit(chromium.new_context(**{"viewport": {"width": 1440, "height": 900}, **options}), live.url)
        visits.append(one)
        one.page.goto(f"{live.url}/admin/login/")
        one.page.get_by_label("Email").fill(email)
        one.page.get_by_label("Password").fill(PASSWORD)
        one.page.keyboard.press("Enter")
        one.page.wait_for_selector("#nav-sidebar-apps")
        return one

    yield enter
    for one in visits:
        one.context.close()
    for one in visits:
        one.check()


def test_every_list_and_page_opens_clean(office: Any, pages: list[str]) -> None:
    one = office()
    for path in pages:
        answer = one.page.goto(f"{one.url}/admin/{path}")
        assert answer.status == 200, path
        assert not one.trouble, f"{path}: {one.trouble}"


def test_the_browsable_api_opens_clean_and_takes_what_is_typed(office: Any) -> None:
    one = office()
    page = one.page
    for path in ("chat/conversations", "tasks/", "agents/", "auth/api-keys", "billing/summary", "admin/overview", "admin/users"):
        answer = page.goto(f"{one.url}/api/v1/{path}")
        assert answer.status == 200 and page.title().endswith("aiagents API"), path
        assert "style-src-attr 'unsafe-inline'" in answer.headers["content-security-policy"]
        assert not one.trouble, f"{path}: {one.trouble}"
    page.goto(f"{one.url}/api/v1/chat/conversations")
    page.locator("textarea[name=_content]").fill('{"title": "By hand"}')
    page.locator("#post-generic-content-form").get_by_role("button", name="POST").click()
    page.get_by_text("HTTP 201 Created").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_dashboard_draws_its_charts(office: Any, scheme: str) -> None:
    one = office(color_scheme=scheme)
    for path in DASHBOARDS:
        assert one.page.goto(f"{one.url}/admin/{path}").status == 200
        drawn = one.page.evaluate(
            """() => [...document.querySelectorAll("canvas[data-chart]")].map((canvas) => {
                 const chart = Chart.getChart(canvas);
                 return Boolean(chart) && chart.data.datasets.length > 0 && canvas.clientHeight > 50;
               })"""
        )
        assert all(drawn) and (drawn or path == "analytics/system/"), path
        assert not one.trouble, f"{path}: {one.trouble}"


def test_a_chart_is_walked_by_keyboard_and_said_aloud(office: Any) -> None:
    one = office()
    one.page.goto(f"{one.url}/admin/analytics/usage/")
    canvas = one.page.locator("canvas[data-chart='cost']")
    canvas.focus()
    one.page.keyboard.press("End")
    said = canvas.locator("xpath=../..").locator(".board-said")
    assert re.search(r"\d{4}-\d\d-\d\d: .*\$", said.inner_text())
    last = said.inner_text()
    one.page.keyboard.press("ArrowLeft")
    assert said.inner_text() != last
    one.page.keyboard.press("Escape")
    assert said.inner_text() == ""


def test_the_theme_is_changed_and_charts_follow(office: Any) -> None:
    one = office(color_scheme="light")
    one.page.goto(f"{one.url}/admin/analytics/usage/")
    colour = "() => Chart.getChart(document.querySelector('canvas[data-chart]')).options.scales.y.ticks.color"
    before = one.page.evaluate(colour)
    one.page.evaluate("document.documentElement.classList.add('dark')")
    one.page.wait_for_function(f"(before) => ({colour})() !== before", arg=before)


def test_the_range_is_chosen_and_the_table_is_downloaded(office: Any) -> None:
    one = office()
    one.page.goto(f"{one.url}/admin/analytics/usage/")
    one.page.get_by_role("button", name="7 days").click()
    one.page.wait_for_url(re.compile("range=7d"))
    assert one.page.get_by_role("button", name="7 days").get_attribute("aria-pressed") == "true"
    with one.page.expect_download() as download:
        one.page.get_by_role("link", name="Cost as CSV").click()
    assert download.value.suggested_filename == "cost.csv"
    one.page.goto(f"{one.url}/admin/accounts/user/?q=person")
    with one.page.expect_download() as download:
        one.page.get_by_role("link", name="CSV").click()
    assert download.value.suggested_filename == "user.csv"


def test_the_live_view_lives_and_ends_with_the_right_to_it(office: Any, live: Live) -> None:
    one = office("auditor@example.com")
    one.page.goto(f"{one.url}/admin/analytics/live/")
    one.page.wait_for_function("() => /^Live, /.test(document.getElementById('live-state').textContent)")
    first = one.page.locator("#live-state").inner_text()
    one.page.wait_for_function("(first) => document.getElementById('live-state').textContent !== first", arg=first)
    assert one.page.locator("#live-cards .board-card-value").first.inner_text() != "–"
    assert one.page.locator("#live-vendor-rows tr").count() > 0
    live.manage("shell", "-v0", "-c", "from accounts.models import User; User.objects.get(email='auditor@example.com').groups.clear()")
    one.page.wait_for_function("() => /no longer allowed/.test(document.getElementById('live-state').textContent)", timeout=15_000)


def test_an_action_is_run_from_the_list(office: Any) -> None:
    one = office()
    one.page.goto(f"{one.url}/admin/billing/aimodel/?q=model-")
    one.page.locator("input.action-select").first.check()
    one.page.locator("select[name=action]").select_option("switch_off")
    one.page.get_by_role("button", name="Run").click()
    one.page.get_by_text("1 switched off.").wait_for()


def test_a_model_is_called_through_the_door_and_staff_pay(office: Any, live: Live) -> None:
    one = office()
    one.page.goto(f"{one.url}/admin/billing/aimodel/?q=gpt-4o-mini")
    one.page.locator("input.action-select").first.check()
    one.page.locator("select[name=action]").select_option("test_call")
    one.page.get_by_role("button", name="Run").click()
    one.page.get_by_text(re.compile(r"answered in .* for \$")).wait_for()
    whose = "JOIN accounts_user person ON person.id = log.user_id WHERE person.email = %s"
    sql = f"SELECT log.purpose, log.surface FROM billing_usagelog log {whose}"
    assert ("test", "admin") in [tuple(row) for row in live.query(sql, EMAIL)]
