"""The live figures and their WebSocket: who may watch, for how long, and what a slow or a loud client gets."""

from __future__ import annotations

import asyncio

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from accounts import keys
from accounts.authentication import Principal
from accounts.models import User
from accounts.sign_in import tickets, tokens
from aiagents.core.db.calls import in_db
from aiagents.core.live import credential_watch
from aiagents.endpoints import LIVE_SOCKET
from aiagents.monitoring import live, sharing
from chat.tests.socket import Refused, Socket
from tests.kit import catalogue as installed_catalogue
from tests.kit.people import PASSWORD

pytestmark = pytest.mark.django_db
ORIGIN = "http://testserver"


@pytest.fixture(autouse=True)
def _sockets(monkeypatch: pytest.MonkeyPatch):
    live.forget()
    monkeypatch.setattr(live, "EVERY", 0.05)
    monkeypatch.setattr(live, "FRESH", 0.01)
    monkeypatch.setattr(credential_watch, "CHECK_EVERY", 0.1)
    yield
    live.forget()


@pytest.fixture
def root(db) -> User:
    return User.objects.create_superuser("root@example.com", PASSWORD)


def watch(**options) -> Socket:
    return Socket(path=LIVE_SOCKET, **options)


def token(user: User) -> str:
    return tokens.sign_in(user).access


def cookie(user: User) -> str:
    client = Client()
    client.force_login(user)
    return f"session={client.cookies['session'].value}"


class Browser(Socket):
    """A page's socket: its cookie goes along."""

    def __init__(self, cookie: str, **options):
        super().__init__(path=LIVE_SOCKET, **{"origin": ORIGIN, **options})
        self.scope["headers"].append((b"cookie", cookie.encode()))


async def code_of(socket: Socket) -> int | None:
    async with socket:
        return await socket.closed()


# --- the figures ----------------------------------------------------------------------------------


@pytest.fixture
def models(db):
    installed_catalogue.load()


async def test_the_figures_name_all_that_the_dashboard_shows(models):
    sharing.Publisher("web").publish()
    found = await live.figures()
    assert found["complete"] is True and found["processes"] == {"web": 1, "worker": 0}
    assert {
        "at", "requests_per_second", "running_turns", "tokens_per_second", "calls_per_second", "errors_last_minute", "latency", "queues",
        "queued", "open_sockets", "today", "holds", "vendors",
    } <= set(found)  # fmt: skip
    assert found["today"] == {"spend_usd": "0.00000000", "calls": 0, "input_tokens": 0, "output_tokens": 0}
    assert {"openai", "anthropic", "google"} <= set(found["vendors"]) and found["vendors"]["openai"]["status"] == "idle"


async def test_without_valkey_the_figures_say_that_they_are_not_complete(settings, monkeypatch):
    import redis.asyncio

    monkeypatch.setattr(live.valkey, "client", lambda: redis.asyncio.Redis(port=1, socket_connect_timeout=0.1))
    found = await live.figures()
    assert found["complete"] is False and found["queues"] is None
    assert found["holds"] == {"open": 0, "held_usd": "0.00000000"}


async def test_many_watchers_cost_one_reading(monkeypatch):
    monkeypatch.setattr(live, "FRESH", 5)
    readings = 0
    real = live.read_figures

    async def counted():
        nonlocal readings
        readings += 1
        return await real()

    monkeypatch.setattr(live, "read_figures", counted)
    await asyncio.gather(*(live.figures() for _ in range(20)))
    assert readings == 1


async def test_a_failed_part_is_null_and_the_rest_is_there(monkeypatch):
    async def broken():
        raise RuntimeError("no")

    monkeypatch.setitem(live.registered_sources, "holds", (broken, 0))
    found = await live.figures()
    assert found["holds"] is None and found["today"] is not None


# --- who may watch --------------------------------------------------------------------------------


async def test_an_admin_gets_figures_again_and_again(root):
    async with watch(key=await in_db(token, root)) as socket:
        frames = [await socket.frame() for _ in range(3)]
    assert [frame["type"] for frame in frames] == ["figures"] * 3
    assert frames[0]["at"] < frames[2]["at"]


async def test_a_ticket_opens_it_once(root):
    ticket = await in_db(tickets.issue, Principal(root, root.auth_epoch))
    async with watch(protocols=("aiagents.v1", f"ticket.{ticket}"), origin=ORIGIN) as socket:
        assert socket.subprotocol == "aiagents.v1"
        assert (await socket.frame())["type"] == "figures"
    assert await code_of(watch(protocols=("aiagents.v1", f"ticket.{ticket}"), origin=ORIGIN)) == 4401


async def test_users_keys_and_nobody_get_nothing(root, user):
    key = (await in_db(lambda: keys.create(root, name="k", scopes=["read", "chat", "billing", "agents", "tasks"])))[1]
    for credential in (await in_db(token, user), key, "aia_" + "x" * 43, ""):
        async with watch(key=credential) as socket:
            frames = await socket.until("figures")
        assert [frame.get("type") for frame in frames if frame] == ["error"] and socket.code == 4401, credential


async def test_the_session_of_staff_opens_it_from_our_own_pages_only(root):
    session = await in_db(cookie, root)
    async with Browser(session) as socket:
        assert (await socket.frame())["type"] == "figures"
    for origin in ("https://evil.example", "http://testserver:8888", "null"):
        with pytest.raises(Refused):
            async with Browser(session, origin=origin):
                pass
    assert await code_of(Browser(session, origin=None)) == 4401, "a cookie without an Origin proves no page of ours"


async def test_a_session_of_a_user_is_nothing_and_of_an_analyst_is_enough(user):
    assert await code_of(Browser(await in_db(cookie, user))) == 4401

    def promote():
        user.is_staff = True
        user.save()

    await in_db(promote)
    assert await code_of(Browser(await in_db(cookie, user))) == 4401
    await in_db(lambda: user.user_permissions.add(Permission.objects.get(codename="view_systemmetric")))
    async with Browser(await in_db(cookie, user)) as socket:
        assert (await socket.frame())["type"] == "figures"


@pytest.mark.parametrize("header", ["session=", "session=../../x", "session=" + "a" * 500, "; ; =", "session=doesnotexist0000000000000000"])
async def test_hostile_cookies_open_nothing(header):
    assert await code_of(Browser(header)) == 4401


@pytest.mark.parametrize("change", ["role", "is_active", "logout_all"])
@pytest.mark.parametrize("by", ["token", "session"])
async def test_who_loses_the_right_is_shown_out(root, change, by):
    socket = watch(key=await in_db(token, root)) if by == "token" else Browser(await in_db(cookie, root))

    def lose():
        fresh = User.objects.get(pk=root.pk)
        if change == "logout_all":
            fresh.end_sessions(reason="logout_all")
        else:
            setattr(fresh, change, {"role": "user", "is_active": False}[change])
            fresh.save()

    async with socket:
        assert (await socket.frame())["type"] == "figures"
        await in_db(lose)
        async with asyncio.timeout(5):
            frames = await socket.until("never")
    assert socket.code == 4401 and frames[-2]["type"] == "error"


async def test_a_slow_reader_is_closed_and_nothing_piles_up_for_it(root, monkeypatch):
    monkeypatch.setattr(live, "SLOW", 0.2)
    socket = watch(key=await in_db(token, root))
    socket.outbox = asyncio.Queue(maxsize=2)  # what the kernel takes for somebody who does not read
    async with socket:
        await asyncio.sleep(1)  # a reader that stops for longer than SLOW
        frames = await socket.until("never")
    assert socket.code == 4429 and len(frames) <= 4


async def test_a_loud_client_is_closed(root):
    async with watch(key=await in_db(token, root)) as socket:
        for _ in range(live.MOST_FRAMES + 1):
            socket.send({"type": "ping"})
        assert await socket.closed() == 4429
    async with watch(key=await in_db(token, root)) as socket:
        socket.send("x" * (live.MOST_FRAME_BYTES + 1))
        assert await socket.closed() == 4413


async def test_a_token_in_the_address_is_refused(root):
    key = await in_db(token, root)
    for query in ("token=abc", "t%6fken=abc", "%2574oken=abc", "api%5fkey=abc", f"anything={key}"):
        assert await code_of(watch(query=query.encode(), key=key)) == 4401, query


async def test_nothing_is_left_behind_by_a_watcher_that_goes(root):
    async with watch(key=await in_db(token, root)) as socket:
        await socket.frame()
    files = [task.get_coro().cr_code.co_filename for task in asyncio.all_tasks()]
    assert not [name for name in files if name == live.__file__]
    assert not live.open_views.get(asyncio.get_running_loop())
