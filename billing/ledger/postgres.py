"""The ledger's steps on PostgreSQL: each is one statement, one round trip, its own transaction.

READ COMMITTED and row locks make them safe. Every statement locks the windows of its call in the same order: user, key,
agent, task, and last the system's, which all calls share. Two statements therefore cannot deadlock. Each statement
reads balances only from rows that it has locked: `locked` waits for the previous writer and then reads its result.
Each statement reads budgets and limits again, so a changed limit applies to the next call. All parameters are text
with casts: a statement has one signature, and each connection plans it once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

import orjson
import psycopg
from django.conf import settings
from django.db import connection

from aiagents.core.db.calls import in_db, on_postgres
from aiagents.core.jsonio import dumps
from billing.ledger.admission import Admission, Range, Refusal
from billing.ledger.charging import Call, Held, whole

_CALLER = """
caller AS MATERIALIZED (
    SELECT COALESCE(bool_and(
        u.is_active AND u.auth_epoch = %(auth_epoch)s::bigint
        AND (%(api_key_id)s::uuid IS NULL OR EXISTS (
            SELECT FROM accounts_apikey k
            WHERE k.id = %(api_key_id)s::uuid AND k.user_id = u.id AND k.revoked_at IS NULL
                AND (k.expires_at IS NULL OR k.expires_at > now())))), FALSE) AS ok
    FROM accounts_user u WHERE u.id = %(user_id)s::uuid
)"""

# A hold commits asynchronously. A crash of the database server may lose the holds of its last instants. The settlement
# of such a call charges it nevertheless, and a settlement waits for the disk, which also flushes every earlier hold.
_NO_WAIT = "set_config('synchronous_commit', 'off', TRUE)"

# `least` is the amount that must fit.
_REFUSALS = """
    CASE WHEN NOT v.fits THEN (
        SELECT jsonb_agg(jsonb_build_array(l.scope, l.limit_usd::text, l.spent_usd::text, l.held_usd::text))
        FROM locked l WHERE l.spent_usd + l.held_usd + %(least)s::numeric > l.limit_usd) END"""

# What a budget gives, as admission.Range.within computes it; NULL without a limit. `free` is from the locked row.
_PART = """
    CASE WHEN l.limit_usd IS NOT NULL THEN GREATEST(
        LEAST(%(usual)s::numeric, l.limit_usd - l.spent_usd - l.held_usd),
        trunc((l.limit_usd - l.spent_usd - l.held_usd) * %(usual)s::numeric / NULLIF(2 * %(usual)s::numeric + l.held_usd, 0), 12)) END"""

_HOLD = f"""
WITH {_CALLER},
scoped AS MATERIALIZED (
    SELECT b.id, b.scope, b.limit_usd,
        CASE b.scope WHEN 'user' THEN 1 WHEN 'key' THEN 2 WHEN 'agent' THEN 3 WHEN 'task' THEN 4 ELSE 9 END AS rank
    FROM billing_budget b
    WHERE (b.scope = 'user' AND b.scope_id = %(user_id)s::uuid)
        OR (b.scope = 'key' AND b.scope_id = %(api_key_id)s::uuid)
        OR (b.scope = 'agent' AND b.scope_id = %(agent_id)s::uuid)
        OR (b.scope = 'task' AND b.scope_id = %(task_id)s::uuid)
        OR (b.scope = 'system' AND b.scope_id IS NULL)
),
locked AS MATERIALIZED (
    SELECT w.id, w.spent_usd, w.held_usd, s.limit_usd, s.scope, s.rank
    FROM scoped s JOIN billing_budgetwindow w ON w.budget_id = s.id AND w.starts_at <= now() AND w.ends_at > now()
    WHERE (SELECT ok FROM caller)
    ORDER BY s.rank
    FOR NO KEY UPDATE OF w
),
verdict AS MATERIALIZED (
    SELECT count(*) = (SELECT count(*) FROM scoped) AND count(*) FILTER (WHERE l.scope IN ('user', 'system')) = 2 AS complete,
        COALESCE(bool_and(l.limit_usd IS NULL OR l.spent_usd + l.held_usd + %(least)s::numeric <= l.limit_usd), FALSE) AS fits,
        LEAST(%(most)s::numeric, min({_PART})) AS amount,
        jsonb_agg(l.id ORDER BY l.rank) AS windows
    FROM locked l
),
taken AS (
    UPDATE billing_budgetwindow w SET held_usd = w.held_usd + v.amount
    FROM locked l, verdict v WHERE w.id = l.id AND v.complete AND v.fits
),
opened AS (
    INSERT INTO billing_hold
        (id, status, amount_usd, windows, call, input_tokens_estimate, output_tokens_seen, heartbeat_at, created_at)
    SELECT %(call_id)s::uuid, 'open', v.amount, v.windows, %(facts)s::jsonb, %(input_tokens)s::int, 0, now(), now()
    FROM verdict v WHERE v.complete AND v.fits
)
SELECT c.ok, v.complete, v.windows, {_REFUSALS}, v.amount::text, {_NO_WAIT} FROM verdict v, caller c
"""

# One parameter carries the whole row: its keys are the columns, in any order.
_LOG = """
    INSERT INTO billing_usagelog
    SELECT r.* FROM {source} c,
        LATERAL jsonb_populate_record(NULL::billing_usagelog, %(row)s::jsonb || jsonb_build_object('created_at', c.created_at)) r"""

# The LIMIT is for the planner. It estimates a hundred elements for any JSON array, and would then scan the whole table
# of windows for each settlement. A call has at most one window of each scope.
_LOCK_HELD = """
    SELECT w.id, w.spent_usd, w.held_usd, b.limit_usd, b.scope
    FROM {source} c, LATERAL (
        SELECT one.id, one.place FROM jsonb_array_elements_text(c.windows) WITH ORDINALITY AS one(id, place) LIMIT 8) held
        JOIN billing_budgetwindow w ON w.id = held.id::bigint JOIN billing_budget b ON b.id = w.budget_id
    {where}
    ORDER BY held.place
    FOR NO KEY UPDATE OF w"""

_SETTLE = f"""
WITH claimed AS (
    UPDATE billing_hold SET status = %(status)s, closed_at = now()
    WHERE id = %(call_id)s::uuid AND status = 'open'
        AND (%(silent_since)s::timestamptz IS NULL OR heartbeat_at = %(silent_since)s::timestamptz)
    RETURNING amount_usd, windows, created_at
),
locked AS MATERIALIZED ({_LOCK_HELD.format(source="claimed", where="")}),
moved AS (
    UPDATE billing_budgetwindow w SET held_usd = w.held_usd - c.amount_usd, spent_usd = w.spent_usd + %(cost)s::numeric
    FROM locked l, claimed c WHERE w.id = l.id
),
logged AS ({_LOG.format(source="claimed")})
SELECT count(*), CASE WHEN NOT %(waits)s::boolean THEN {_NO_WAIT} END FROM claimed
"""

# The next attempt takes over the hold, so the cost of the failed one (mostly zero) must fit beside it. `least` is that
# cost.
_REATTEMPT = f"""
WITH {_CALLER},
old AS MATERIALIZED (
    SELECT h.amount_usd, h.windows, h.created_at FROM billing_hold h
    WHERE h.id = %(old_id)s::uuid AND h.status = 'open' FOR NO KEY UPDATE
),
locked AS MATERIALIZED ({_LOCK_HELD.format(source="old", where="WHERE %(least)s::numeric > 0")}),
verdict AS MATERIALIZED (
    SELECT COALESCE(bool_and(l.limit_usd IS NULL OR l.spent_usd + l.held_usd + %(least)s::numeric <= l.limit_usd), TRUE) AS fits
    FROM locked l
),
going AS MATERIALIZED (SELECT o.* FROM old o, verdict v, caller c WHERE v.fits AND c.ok),
closed AS (
    UPDATE billing_hold h SET status = 'settled', closed_at = now() FROM going g WHERE h.id = %(old_id)s::uuid
),
moved AS (
    UPDATE billing_budgetwindow w SET spent_usd = w.spent_usd + %(least)s::numeric FROM locked l, going g WHERE w.id = l.id
),
logged AS ({_LOG.format(source="going")}),
opened AS (
    INSERT INTO billing_hold
        (id, status, amount_usd, windows, call, input_tokens_estimate, output_tokens_seen, heartbeat_at, created_at)
    SELECT %(call_id)s::uuid, 'open', g.amount_usd, g.windows, %(facts)s::jsonb, %(input_tokens)s::int, 0, now(), g.created_at
    FROM going g
)
SELECT c.ok, o.windows IS NOT NULL, o.windows, {_REFUSALS}, o.amount_usd::text FROM verdict v, caller c LEFT JOIN old o ON TRUE
"""

# SKIP LOCKED: a hold that is being settled needs no heartbeat any more.
_PROGRESS = """
UPDATE billing_hold h SET output_tokens_seen = GREATEST(h.output_tokens_seen, s.seen), heartbeat_at = now()
FROM unnest(%(ids)s::uuid[], %(seen)s::int[]) AS s(id, seen)
WHERE h.id = s.id AND h.id IN (
    SELECT id FROM billing_hold WHERE id = ANY(%(ids)s::uuid[]) AND status = 'open' FOR NO KEY UPDATE SKIP LOCKED)
"""


def hold(wanted: Held, amounts: Range) -> Admission:
    """Hold one amount out of the range in every budget of the call, or nothing in any."""
    values = {"most": f"{amounts.most:f}", "usual": f"{amounts.usual:f}", "least": f"{amounts.least:f}"}
    return _admission(execute(_HOLD, {**_caller(wanted.call), **_opening(wanted), **values}))


def settle(call_id: UUID, row: dict[str, Any], status: str, silent_since: datetime | None, waits: bool = True) -> bool:
    """Close the hold and write its usage log row.

    Returns False when the hold is not open, or when its heartbeat is no longer `silent_since` (which the sweeper
    gives). The commit waits for the disk unless `waits` is False; then the caller must flush (`group_commit`).
    """
    since = silent_since.isoformat() if silent_since else None
    values = {"call_id": str(call_id), "status": str(status), "silent_since": since, "waits": str(waits)}
    values |= {"cost": f"{row['cost_usd']:f}", "row": _text(row)}
    return bool(execute(_SETTLE, values)[0])


def reattempt(call_id: UUID, row: dict[str, Any], following: Held) -> Admission:
    """Close the failed attempt's hold, write its log row, and open the next hold for the same amount."""
    values = {**_caller(following.call), **_opening(following), "old_id": str(call_id), "least": f"{row['cost_usd']:f}", "row": _text(row)}
    return _admission(execute(_REATTEMPT, values))


def progress(seen: Mapping[UUID, int]) -> None:
    """Record the output tokens and the heartbeat of open holds; a count never decreases."""
    ids, counts = ",".join(map(str, seen)), ",".join(str(whole(count)) for count in seen.values())
    execute(_PROGRESS, {"ids": f"{{{ids}}}", "seen": f"{{{counts}}}"}, answers=False)


def execute(statement: str, values: dict[str, str | None], *, answers: bool = True) -> Any:
    """Return the statement's one row.

    The statement is prepared on the server: Django's cursor would plan it each time.
    """
    connection.ensure_connection()
    raw = connection.connection
    if raw.prepare_threshold is None and settings.DATABASE_PREPARE:
        raw.prepare_threshold = 5  # Django turns it off because of poolers; its cursors never use it
    with connection.wrap_database_errors, psycopg.Cursor(raw) as cursor:
        cursor.execute(statement, values, prepare=True if settings.DATABASE_PREPARE else None)
        return cursor.fetchone() if answers else None


def _caller(call: Call) -> dict[str, str | None]:
    names = ("user_id", "api_key_id", "agent_id", "task_id")
    found = {name: None if (value := getattr(call, name)) is None else str(value) for name in names}
    return {**found, "auth_epoch": str(call.auth_epoch)}


def _opening(wanted: Held) -> dict[str, str | None]:
    return {"call_id": str(wanted.call.call_id), "facts": _text(wanted.facts()), "input_tokens": str(whole(wanted.input_tokens))}


def _text(value: dict[str, Any]) -> str:
    return dumps(value).decode()


def _admission(row: Any) -> Admission:
    caller_ok, complete, windows, refused, amount = row[:5]  # Django's connections give jsonb as text
    found = orjson.loads(refused) if refused else ()
    refusals = tuple(Refusal(scope, Decimal(limit), Decimal(spent), Decimal(held)) for scope, limit, spent, held in found)
    return Admission(caller_ok, complete, tuple(orjson.loads(windows)) if windows else (), refusals, Decimal(amount or 0))


@asynccontextmanager
async def group_commit() -> AsyncGenerator[bool, None]:
    """Let concurrent settlements of a process share one disk flush. The settlement is on the disk after the block.

    A synchronous commit keeps its rows locked until the disk has flushed. Every settlement locks the system's budget, so
    a database could not settle more calls than its disk can flush. A settlement that runs beside others therefore commits
    asynchronously and releases its rows. It then waits for one flush that all concurrent settlements share.

    The block gets True when its commit itself must wait for the disk. A settlement without others beside it waits itself:
    a separate flush would cost it a second round trip.
    """
    here = _flushes.setdefault(asyncio.get_running_loop(), _Flushes())
    alone = not here.under_way or not on_postgres()
    here.under_way += 1
    try:
        yield alone
        if not alone:
            await here.flushed()
    finally:
        here.under_way -= 1


class _Flushes:
    def __init__(self) -> None:
        self.under_way = 0
        self.running: asyncio.Task[None] | None = None
        self.following: asyncio.Task[None] | None = None

    async def flushed(self) -> None:
        if self.following is None:
            self.following = asyncio.create_task(self._flush(self.running))
        await asyncio.shield(self.following)

    async def _flush(self, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        # A settlement that arrives from now on may commit too late for this flush.
        self.running, self.following = self.following, None
        await in_db(write_to_disk)


_flushes: WeakKeyDictionary[asyncio.AbstractEventLoop, _Flushes] = WeakKeyDictionary()


def write_to_disk() -> None:
    # A synchronous commit also flushes every earlier commit, but a transaction that wrote nothing does not wait.
    # This transaction writes an empty message into the write-ahead log and nothing else.
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_logical_emit_message(TRUE, 'flush', '')")
