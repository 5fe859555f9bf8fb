"""Loading and updating the catalogue: staff's edits stay, nonsense is refused, the last good one is kept."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from io import StringIO
from types import SimpleNamespace

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from billing import tasks
from billing.catalogue import price_list, update
from billing.catalogue import snapshot as catalogue
from billing.catalogue.price_list import Unlisted
from billing.catalogue.update import Refused
from billing.models import AIModel, ModelPrice

pytestmark = pytest.mark.django_db
INSTALLED = price_list.installed()
MISSION = {
    "gpt-4", "gpt-4-turbo", "gpt-3.5-turbo", "o3-mini", "claude-3-opus", "claude-3-sonnet", "claude-3-haiku",
    "gemini-1.5-pro", "gemini-1.5-flash",
}  # fmt: skip


@pytest.fixture
def loaded(db):
    return update.load(INSTALLED)


def changed(change) -> price_list.PriceList:
    """The installed list with every model of ours passed through `change(provider id, model)`; None takes it out."""
    providers = []
    for provider in INSTALLED.providers:
        if provider.id in price_list.VENDORS:
            provider = copy.copy(provider)
            provider.models = [found for model in provider.models if (found := change(provider.id, copy.copy(model))) is not None]
        providers.append(provider)
    return price_list.PriceList("genai-prices next", tuple(providers))


def with_prices(slug, **prices):
    """The installed list with other prices for one model."""

    def change(provider, model):
        if model.id == slug:
            model.prices = copy.copy(model.prices)
            for key, value in prices.items():
                setattr(model.prices, key, value)
        return model

    return changed(change)


def stored_rows():
    return sorted(ModelPrice.objects.values_list("model__slug", "effective_from", "input", "output", "source"))


def test_the_missions_models_are_there_with_prices_and_usable(loaded):
    now = catalogue.load()
    assert set(now.cards) >= MISSION
    for slug in MISSION:
        assert now.cards[slug].usable
        assert now.cards[slug].rates is not None
    assert 25 <= sum(not card.embeds for card in now.cards.values()) <= 40


def test_every_successor_exists_and_every_window_holds_its_output(loaded):
    for model in AIModel.objects.all():
        assert not model.replaced_by or AIModel.objects.filter(slug=model.replaced_by, lifecycle="active").exists(), model
        assert 0 <= model.quality <= 100
        assert model.ttft_ms > 0
        if model.embeddings:
            assert model.dimensions > 0 == model.max_output_tokens
        else:
            assert 0 < model.max_output_tokens <= model.context_window
            assert model.tokens_per_second > 0


def test_embedding_models_have_a_price_for_input_and_none_for_output(loaded):
    made = [card for card in catalogue.load().cards.values() if card.embeds]
    assert {"text-embedding-3-small", "text-embedding-3-large", "gemini-embedding-001"} <= {card.slug for card in made}
    for card in made:
        assert card.capabilities == {"embeddings"} and card.rates is not None
        assert card.rates.input > 0 == card.rates.output


def test_the_settings_models_are_in_the_catalogue(loaded, settings):
    cards = catalogue.load().cards
    assert cards[settings.DEFAULT_MODEL].usable
    assert cards[settings.ROUTING_BASELINE_MODEL].rates is not None


def test_a_model_without_a_known_price_has_no_price_row(loaded):
    assert catalogue.load().cards["gpt-6.2-sol"].rates is None
    assert any(line.startswith("gpt-6.2-sol: ") for line in loaded.unknown)


def test_tiers_and_announced_prices_are_loaded(loaded):
    cards = catalogue.load(datetime(2026, 11, 23, tzinfo=UTC)).cards
    haiku = cards["claude-haiku-5-5"].rates
    assert (haiku.tier_threshold, haiku.input, haiku.tier_input, haiku.tier_cache_write) == (100_000, D("0.1"), D("0.5"), D("0.625"))
    assert cards["gemini-4-argon"].rates.input == 2
    assert catalogue.load(datetime(2026, 12, 2, tzinfo=UTC)).cards["gemini-4-argon"].rates.input == 4


def test_loading_twice_changes_nothing(loaded):
    before = stored_rows()
    assert not update.load(INSTALLED)
    assert stored_rows() == before


def test_loading_and_updating_keep_what_staff_changed(loaded):
    AIModel.objects.filter(slug="gpt-4o").update(enabled=False, quality=1)
    ModelPrice.objects.create(model=AIModel.objects.get(slug="gpt-4o"), input=D(1), output=D(1), source="staff")
    update.load(INSTALLED)
    update.update(with_prices("gpt-4o", input_mtok=D("2.6")))
    model = AIModel.objects.get(slug="gpt-4o")
    assert (model.enabled, model.quality) == (False, 1)
    assert model.prices.order_by("-effective_from").first().source == "staff"


def test_an_update_follows_the_file_where_staff_did_not_touch(loaded, monkeypatch):
    entries = update.entries()
    for entry in entries:
        if entry["slug"] == "gpt-4o":
            entry |= {"quality": 60, "display_name": "GPT-4o (2024)", "lifecycle": "retired"}
    monkeypatch.setattr(update, "entries", lambda: [*entries, {**entries[0], "slug": "brand-new"}])
    AIModel.objects.filter(slug="gpt-4o").update(display_name="Ours")
    diff = update.update(INSTALLED)
    model = AIModel.objects.get(slug="gpt-4o")
    assert (model.quality, model.lifecycle, model.display_name) == (60, "retired", "Ours")
    assert "~ gpt-4o.quality: 66 -> 60" in diff.lines
    assert "+ brand-new" in diff.lines
    assert not update.update(INSTALLED)


def test_a_new_price_is_a_new_row_from_now_on(loaded):
    before = timezone.now()
    diff = update.update(with_prices("gpt-4o", input_mtok=D("2.6")))
    assert diff.lines == ["~ gpt-4o input=2.5 output=10 cached_input=1.25 -> input=2.6 output=10 cached_input=1.25"]
    rows = AIModel.objects.get(slug="gpt-4o").prices.order_by("effective_from")
    assert [row.input for row in rows] == [D("2.5"), D("2.6")]
    assert rows[1].effective_from >= before
    assert rows[1].source == "genai-prices next"


def test_a_dry_run_changes_nothing(loaded):
    before = stored_rows()
    assert update.update(with_prices("gpt-4o", input_mtok=D("2.6")), apply=False).lines
    assert stored_rows() == before


def test_announced_prices_follow_the_list(loaded):
    argon = AIModel.objects.get(slug="gemini-4-argon")
    if not argon.prices.filter(effective_from__gt=timezone.now()).exists():
        argon.prices.create(input=D(4), output=D(20), effective_from=timezone.now() + timedelta(days=9), source="genai-prices test")
    coming = argon.prices.get(effective_from__gt=timezone.now())

    def later(provider, model):
        if model.id == "gemini-4-argon":
            model.prices = [copy.deepcopy(one) for one in model.prices]
            model.prices[-1].constraint.start_date = (timezone.now() + timedelta(days=60)).date()
            model.prices[-1].prices.output_mtok = D(21)
        return model

    staff = argon.prices.create(input=D(3), output=D(3), effective_from=timezone.now() + timedelta(days=90), source="staff")
    update.update(changed(later))
    rows = argon.prices.filter(effective_from__gt=timezone.now()).order_by("effective_from")
    assert [row.output for row in rows] == [D(21), D(3)]
    assert coming.pk not in {row.pk for row in rows}
    assert rows[1] == staff


def test_a_price_that_becomes_known_is_added(loaded):
    AIModel.objects.get(slug="gpt-4o").prices.all().delete()
    assert any(line.startswith("+ gpt-4o input=2.5") for line in update.update(INSTALLED).lines)


def test_a_price_only_in_the_future_waits(loaded):
    model = AIModel.objects.get(slug="gpt-4o")
    model.prices.all().delete()
    model.prices.create(input=D(1), output=D(1), effective_from=timezone.now() + timedelta(days=1), source="staff")
    assert not update.update(INSTALLED)


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (lambda: with_prices("gpt-4o", input_mtok=D(2500)), "gpt-4o.input would go from 2.5 to 2500"),
        (lambda: with_prices("gpt-4o", output_mtok=D("0.01")), "gpt-4o.output would go from 10 to 0.01"),
        (lambda: with_prices("gpt-4o", input_mtok=D(0)), "gpt-4o.input would go from 2.5 to 0"),
        (
            lambda: changed(lambda provider, model: None if model.id == "gpt-4o" else model),
            "gpt-4o has a price and is no longer in the list",
        ),
        (lambda: changed(lambda provider, model: model if len(model.id) % 2 else None), "models of our vendors"),
        (lambda: with_prices("gpt-4o", output_mtok=None), "gpt-4o has a price and is no longer in the list (openai/gpt-4o has no price"),
    ],
)
def test_an_absurd_list_is_refused_and_the_last_good_one_kept(loaded, broken, why):
    before = stored_rows()
    with pytest.raises(Refused, match=why.replace("(", r"\(")) as refused:
        update.update(broken(), INSTALLED)
    assert refused.value.diff.refused
    assert stored_rows() == before


def test_staff_who_looked_may_force_it(loaded):
    update.update(with_prices("gpt-4o", input_mtok=D(2500)), INSTALLED, force=True)
    assert catalogue.load().cards["gpt-4o"].rates.input == 2500


@pytest.mark.parametrize("value", [D(-1), D("NaN"), D("0.0000001")])
def test_a_rate_that_is_none_is_an_error(loaded, value):
    with pytest.raises(ValueError, match="is not a rate"):
        update.update(with_prices("gpt-4o", input_mtok=value))


def test_prices_our_rows_cannot_express_count_as_unknown():
    def prices_of(**changes):
        found = INSTALLED.providers[[one.id for one in INSTALLED.providers].index("openai")].find_model("gpt-5.4")
        price = copy.deepcopy(found.prices)
        for key, value in changes.items():
            setattr(price, key, value)
        return changed(lambda provider, model: _with(model, price) if model.id == "gpt-5.4" else model)

    def _with(model, price):
        model.prices = price
        return model

    def tiers(*starts):
        return SimpleNamespace(base=D(1), tiers=[SimpleNamespace(start=start, price=D(2)) for start in starts])

    with pytest.raises(Unlisted, match="several tiers"):
        prices_of(input_mtok=tiers(1, 2)).prices("openai", "gpt-5.4")
    with pytest.raises(Unlisted, match="several tiers"):
        prices_of(input_mtok=tiers(100)).prices("openai", "gpt-5.4")
    by_the_hour = SimpleNamespace(constraint=SimpleNamespace(), prices=None)
    with pytest.raises(Unlisted, match="depends on"):
        changed(lambda provider, model: _with(model, [by_the_hour]) if model.id == "gpt-5.4" else model).prices("openai", "gpt-5.4")
    with pytest.raises(Unlisted, match="does not contain"):
        replace(INSTALLED, providers=()).prices("openai", "gpt-5.4")


def run(*args, **options) -> str:
    out = StringIO()
    call_command("catalogue", *args, stdout=out, stderr=out, **options)
    return out.getvalue()


def price_file(tmp_path, rate):
    """The file as the package publishes it, with the few models that this test needs."""
    path = tmp_path / "data.json"
    match = {"equals": "gpt-4o"}
    model = {"id": "gpt-4o", "match": match, "prices": {"input_mtok": rate, "output_mtok": 10, "cache_read_mtok": 1.25}}
    path.write_text(json.dumps([{"id": "openai", "name": "OpenAI", "api_pattern": "x", "models": [model]}]))
    return path


def test_the_command_loads_shows_and_updates(db):
    assert "+ gpt-4o input=2.5" in run("load")
    assert run("load").startswith("nothing to change\nprice unknown: ")
    assert run("diff").startswith("nothing to change\n")
    assert run("update").startswith("nothing to change\n")


def test_the_command_refuses_a_shrunk_file_unless_forced(loaded, tmp_path):
    path = price_file(tmp_path, 2.6)
    assert "suspicious: the list has 1 models" in run("diff", prices=path)
    with pytest.raises(CommandError, match="nothing was changed"):
        run("update", prices=path)
    assert catalogue.load().cards["gpt-4o"].rates.input == D("2.5")
    assert "~ gpt-4o" in run("update", prices=path, force=True)
    assert catalogue.load().cards["gpt-4o"].rates.input == D("2.6")
    assert catalogue.load().cards["gpt-4"].rates.input == 30


@pytest.mark.parametrize("content", ["", "{", '{"a": 1}', '[{"id": 1}]', "null"])
def test_the_command_refuses_a_broken_file(loaded, tmp_path, content):
    path = tmp_path / "data.json"
    path.write_text(content)
    with pytest.raises(CommandError, match="cannot be read"):
        run("update", prices=path)
    with pytest.raises(CommandError, match="cannot be read"):
        run("update", prices=tmp_path / "missing.json")


def test_the_daily_task_updates_and_says_loudly_what_it_refuses(loaded, monkeypatch, caplog):
    assert tasks.update_catalogue() == 0
    monkeypatch.setattr(tasks.price_list, "installed", lambda: with_prices("gpt-4o", input_mtok=D("2.6")))
    assert tasks.update_catalogue() == 1
    monkeypatch.setattr(tasks.price_list, "installed", lambda: with_prices("gpt-4o", input_mtok=D(2600)))
    assert tasks.update_catalogue() == 0
    assert "catalogue_update_refused" in caplog.text
    assert catalogue.load().cards["gpt-4o"].rates.input == D("2.6")
