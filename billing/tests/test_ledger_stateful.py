"""Any order of holds, settlements, sweeps, new limits and new months, against a model of a few lines."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal as D

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, precondition, rule, run_state_machine_as_test

from accounts.models import ApiKey, User
from aiagents.core.errors import BudgetExceeded, NotAuthenticated
from aiagents.core.ids import uuid7
from billing import invariants
from billing.budgets import budgets
from billing.ledger.admission import Range
from billing.ledger.charging import Outcome, charge
from billing.models import BudgetWindow, Hold, UsageLog
from billing.tests.making import RATES, Ledger, call_of, make_user, used
from tests.kit.sampling import examples

pytestmark = [pytest.mark.django_db, pytest.mark.long]
# A coarse grid, so that sums often meet a limit exactly.
AMOUNTS = st.integers(0, 6).map(lambda n: n * D("0.01"))
LIMITS = st.none() | st.integers(0, 12).map(lambda n: n * D("0.01"))


class LedgerMachine(RuleBasedStateMachine):
    """Two users, a key each, one agent. The model: what each scope has spent and holds this month."""

    holds = Bundle("holds")

    def __init__(self) -> None:
        super().__init__()
        self.atomic = transaction.atomic()
        self.atomic.__enter__()
        self.users = [make_user(D("0.1")), make_user(None)]
        self.keys = [ApiKey.objects.create(user=user, name="k", prefix="p", digest=uuid7().hex) for user in self.users]
        self.agent = uuid7()
        self.limits = {("user", self.users[0].pk): D("0.1"), ("user", self.users[1].pk): None, ("system", None): None}
        self.spent: dict = {}
        self.open: dict = {}
        self.month = 0
        self.scopes_of: dict = {}
        self.logged = D(0)

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.atomic.__exit__(None, None, None)

    def held_in(self, scope) -> D:
        return sum(
            (held.amount for held, month in self.open.values() if month == self.month and scope in self.scopes_of[held.call.call_id]), D(0)
        )

    def left(self, scope) -> D | None:
        limit = self.limits.get(scope)
        return None if limit is None else limit - self.spent.get((self.month, scope), D(0)) - self.held_in(scope)

    def fits(self, scopes, amount) -> bool:
        return all((left := self.left(scope)) is None or amount <= left for scope in scopes)

    def close(self, held, cost) -> None:
        _, month = self.open.pop(held.call.call_id)
        for scope in self.scopes_of[held.call.call_id]:
            self.spent[month, scope] = self.spent.get((month, scope), D(0)) + cost
        self.logged += cost

    @rule(
        target=holds,
        who=st.integers(0, 1),
        with_key=st.booleans(),
        with_agent=st.booleans(),
        amount=AMOUNTS,
        wide=st.sampled_from([1, 3, 9]),
    )
    def hold(self, who, with_key, with_agent, amount, wide):
        user = User.objects.get(pk=self.users[who].pk)
        call = call_of(user, api_key_id=self.keys[who].pk if with_key else None, agent_id=self.agent if with_agent else None)
        scopes = [("user", user.pk), ("system", None)]
        scopes += [("key", self.keys[who].pk)] * with_key + [("agent", self.agent)] * with_agent
        amounts = Range(amount * wide, amount, amount / 2)
        expected = min(
            [amounts.most, *(amounts.within(left, self.held_in(scope)) for scope in scopes if (left := self.left(scope)) is not None)]
        )
        try:
            held = Ledger.hold(call, amounts.most, RATES, 10, usual=amounts.usual, least=amounts.least)
        except NotAuthenticated:
            assert not user.is_active
            return multiple()
        except BudgetExceeded as refused:
            assert user.is_active
            assert not self.fits(scopes, amounts.least), "refused while the money was there"
            least = min(left for scope in scopes if (left := self.left(scope)) is not None and left < amounts.least)
            assert D(refused.details["left_usd"]) == max(least, D(0))
            return multiple()
        assert user.is_active
        assert self.fits(scopes, held.amount), "admitted above a limit"
        assert amounts.least <= held.amount and abs(held.amount - expected) <= D("1e-11")
        self.open[call.call_id], self.scopes_of[call.call_id] = (held, self.month), scopes
        return held

    @rule(held=holds, cost=AMOUNTS, ended=st.sampled_from(["reported", "silent", "unborn"]))
    def settle(self, held, cost, ended):
        """Also of holds that are closed already: then nothing may change."""
        outcome = {"reported": used(cost), "silent": Outcome("cancelled", None, 7), "unborn": Outcome("failed", None, started=False)}[ended]
        charged = Ledger.settle(held, outcome)
        if held.call.call_id in self.open:
            assert charged == charge(held, outcome)
            self.close(held, charged.cost_usd)
        assert UsageLog.objects.get(call_id=held.call.call_id).cost_usd == charged.cost_usd

    @rule(target=holds, held=consumes(holds), cost=AMOUNTS)
    def reattempt(self, held, cost):
        if held.call.call_id not in self.open:
            return multiple()
        user = User.objects.get(pk=held.call.user_id)
        outcome = used(cost, "failed")
        call = call_of(user, api_key_id=held.call.api_key_id, agent_id=held.call.agent_id, attempt=2)
        scopes, month = self.scopes_of[held.call.call_id], self.open[held.call.call_id][1]
        cost = charge(held, outcome).cost_usd
        try:
            following = Ledger.reattempt(held, outcome, call, RATES)
        except NotAuthenticated:
            assert not user.is_active
            return held
        except BudgetExceeded:
            assert cost > 0
            assert month != self.month or not self.fits(scopes, cost)
            return held
        assert user.is_active
        assert cost == 0 or month != self.month or self.fits(scopes, cost)
        self.close(held, cost)
        self.open[call.call_id], self.scopes_of[call.call_id] = (following, month), scopes
        return following

    @rule(seen=st.integers(0, 50))
    @precondition(lambda self: self.open)
    def sweep(self, seen):
        """Half of the open holds fall silent."""
        silent = [held for held, _ in self.open.values()][::2]
        Ledger.progress({held.call.call_id: seen for held in silent})
        ids = [held.call.call_id for held in silent]
        tokens = dict(Hold.objects.filter(pk__in=ids).values_list("pk", "output_tokens_seen"))
        Hold.objects.filter(pk__in=ids).update(heartbeat_at=timezone.now() - timedelta(hours=1))
        assert Ledger.sweep() == len(silent)
        for held in silent:
            self.close(held, charge(held, Outcome("interrupted", None, tokens[held.call.call_id])).cost_usd)

    @rule(which=st.integers(0, 5), limit=LIMITS)
    def set_limit(self, which, limit):
        """Of an existing budget, or of a new one, which takes over what was spent and is held."""
        scopes = [("user", self.users[0].pk), ("user", self.users[1].pk), ("system", None)]
        scope = [*scopes, ("key", self.keys[0].pk), ("key", self.keys[1].pk), ("agent", self.agent)][which]
        budgets.set_limit(*scope, limit)
        self.limits[scope] = limit

    @rule(who=st.integers(0, 1))
    def toggle_user(self, who):
        user = User.objects.get(pk=self.users[who].pk)
        User.objects.filter(pk=user.pk).update(is_active=not user.is_active)

    @rule()
    def new_month(self):
        """All that was is moved 40 days back."""
        back = timedelta(days=40)
        for row in BudgetWindow.objects.order_by("starts_at"):
            BudgetWindow.objects.filter(pk=row.pk).update(starts_at=row.starts_at - back, ends_at=row.ends_at - back)
        for model in (Hold, UsageLog):
            for row in model.objects.all():
                model._base_manager.filter(pk=row.pk).update(created_at=row.created_at - back)
        self.month += 1

    @invariant()
    def all_invariants_hold(self):
        assert invariants.violations() == []
        total = sum(UsageLog.objects.values_list("cost_usd", flat=True), D(0))
        assert total == self.logged
        for scope in self.limits:
            window = BudgetWindow.objects.filter(budget__scope=scope[0], budget__scope_id=scope[1], ends_at__gt=timezone.now()).first()
            if window is not None:
                assert window.spent_usd == self.spent.get((self.month, scope), D(0))
                assert window.held_usd == self.held_in(scope)


@pytest.mark.soak
def test_all_invariants_hold_in_any_order_of_events():
    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    # Not shrunk: each step costs database work, and 30 steps can be read. `Phase.shrink` finds the shortest in minutes.
    phases = [Phase.explicit, Phase.reuse, Phase.generate]
    some = settings(max_examples=examples(8, 100), stateful_step_count=30, deadline=None, suppress_health_check=checks, phases=phases)
    run_state_machine_as_test(LedgerMachine, settings=some)
