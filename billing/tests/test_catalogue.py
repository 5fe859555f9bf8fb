"""The snapshot every process keeps."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal as D

import pytest
import redis
from asgiref.sync import async_to_sync
from django.db import OperationalError
from django.utils import timezone

from aiagents.core.errors import ModelNotFound
from aiagents.core.valkey import clients as valkey
from billing.catalogue import snapshot as catalogue
from billing.models import AIModel, ModelPrice

pytestmark = pytest.mark.django_db


def make_model(slug="m1", **extra):
    values = {"display_name": slug, "provider": "openai", "vendor_model": slug, "context_window": 1000, "max_output_tokens": 100}
    return AIModel.objects.create(slug=slug, **{**values, **extra})


@pytest.fixture(autouse=True)
def _own_snapshot():
    catalogue.current_snapshot = None
    yield
    catalogue.current_snapshot = None


@pytest.fixture
def reads(monkeypatch):
    """Counts how often the database is read."""
    counted = []
    load = catalogue.load
    monkeypatch.setattr(catalogue, "load", lambda: counted.append(1) or load())
    return counted


def test_a_card_tells_what_the_row_and_its_price_say():
    model = make_model(vision=True, json=False, quality=77)
    price = model.prices.create(input=D(1), output=D(2), effective_from=timezone.now() - timedelta(days=1), source="test")
    card = catalogue.current_sync().get("m1")
    assert card.capabilities == {"vision", "tools", "temperature"}
    assert (card.quality, card.price_id, card.rates.input, card.rates.source, card.usable) == (77, price.pk, D(1), "test", True)


def test_a_model_without_a_price_row_has_no_rates():
    make_model()
    assert catalogue.current_sync().get("m1").rates is None


def test_an_unknown_model_is_404():
    with pytest.raises(ModelNotFound):
        catalogue.current_sync().get("nobody")


def test_switched_off_and_retired_models_are_known_and_not_usable():
    for slug, extra in [("on", {}), ("off", {"enabled": False}), ("old", {"lifecycle": "deprecated"}), ("gone", {"lifecycle": "retired"})]:
        make_model(slug, **extra)
    found = catalogue.current_sync()
    assert {card.slug for card in found.usable()} == {"on", "old"}
    assert set(found.cards) == {"on", "off", "old", "gone"}


def test_the_price_of_the_moment_counts_and_tomorrows_takes_effect_by_itself(monkeypatch):
    model = make_model()
    now = timezone.now()
    for days, rate in [(-9, 9), (-2, 2), (1, 7)]:
        model.prices.create(input=D(rate), output=D(rate), effective_from=now + timedelta(days=days))
    assert catalogue.current_sync().get("m1").rates.input == 2
    assert catalogue.load(now + timedelta(days=2)).get("m1").rates.input == 7
    monkeypatch.setattr(catalogue.timezone, "now", lambda: now + timedelta(days=1, seconds=1))
    assert catalogue.current_sync().get("m1").rates.input == 7


def test_saving_a_model_or_a_price_shows_at_once(settings):
    settings.CATALOGUE_CHECK_SECONDS = 60
    model = make_model()
    assert catalogue.current_sync().get("m1").rates is None
    price = ModelPrice.objects.create(model=model, input=D(1), output=D(1), effective_from=timezone.now())
    assert catalogue.current_sync().get("m1").rates.input == 1
    price.delete()
    assert catalogue.current_sync().get("m1").rates is None
    model.delete()
    assert "m1" not in catalogue.current_sync().cards


def test_nothing_is_read_while_the_snapshot_is_young(settings, reads):
    settings.CATALOGUE_CHECK_SECONDS = 60
    for _ in range(3):
        catalogue.current_sync()
        async_to_sync(catalogue.current)()
    assert len(reads) == 1


def test_only_the_version_is_asked_while_nothing_changed(reads):
    for _ in range(3):
        catalogue.current_sync()
    assert len(reads) == 1


def test_another_process_announces_its_change(reads):
    catalogue.current_sync()
    valkey.sync_client().incr(catalogue.VERSION_KEY)
    catalogue.current_sync()
    assert len(reads) == 2


def test_a_change_is_announced_when_it_is_committed(django_capture_on_commit_callbacks):
    before = valkey.sync_client().get(catalogue.VERSION_KEY)
    with django_capture_on_commit_callbacks(execute=True):
        make_model()
    assert valkey.sync_client().get(catalogue.VERSION_KEY) != before


def test_without_valkey_the_catalogue_is_read_every_few_seconds(settings, reads, monkeypatch, django_capture_on_commit_callbacks):
    class Away:
        def get(self, key):
            raise redis.ConnectionError

        incr = get

    monkeypatch.setattr(catalogue.valkey, "sync_client", Away)
    with django_capture_on_commit_callbacks(execute=True):
        make_model()
    catalogue.current_sync()
    catalogue.current_sync()
    assert len(reads) == 1
    settings.CATALOGUE_RELOAD_SECONDS = 0
    assert "m1" in catalogue.current_sync().cards
    assert len(reads) == 2


def test_without_the_database_the_last_catalogue_serves(monkeypatch, settings):
    make_model()
    found = catalogue.current_sync()
    settings.CATALOGUE_RELOAD_SECONDS = 0

    def away():
        raise OperationalError

    monkeypatch.setattr(catalogue, "load", away)
    assert catalogue.current_sync() is found
    catalogue.current_snapshot = None
    with pytest.raises(OperationalError):
        catalogue.current_sync()


def test_no_request_waits_for_a_reload_in_another_thread(reads):
    found = async_to_sync(catalogue.current)()
    with catalogue.loading_lock:
        assert async_to_sync(catalogue.current)() is found


def test_the_baselines_rates(settings):
    model = make_model("base")
    model.prices.create(input=D(3), output=D(4), effective_from=timezone.now())
    settings.ROUTING_BASELINE_MODEL = "base"
    assert catalogue.baseline(catalogue.current_sync()).input == 3
    settings.ROUTING_BASELINE_MODEL = "nobody"
    assert catalogue.baseline(catalogue.current_sync()) is None
