"""What people's votes are worth to a model in routing: damped, bounded, fair."""

from __future__ import annotations

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from billing.catalogue import price_list, update
from billing.catalogue import snapshot as catalogue
from billing.catalogue import votes as vote_points
from billing.catalogue.votes import Votes
from billing.models import AIModel
from tests.kit import catalogue as installed_catalogue

COUNTS = st.integers(0, 100_000)
VOTES = st.builds(Votes, COUNTS, COUNTS)
USUAL = st.floats(0.1, 0.9)


@given(VOTES, USUAL)
def test_points_are_bounded_and_a_handful_of_votes_moves_little(votes, usual):
    found = abs(vote_points.points(votes, usual))
    assert found <= 10
    assert found <= 10 * votes.total / (votes.total + 30) + 0.001


@given(VOTES, USUAL)
def test_a_vote_more_for_a_model_never_takes_points_and_one_against_never_gives_any(votes, usual):
    now = vote_points.points(votes, usual)
    assert vote_points.points(Votes(votes.up + 1, votes.down), usual) >= now
    assert vote_points.points(Votes(votes.up, votes.down + 1), usual) <= now


@given(st.integers(0, 5), st.integers(0, 5), USUAL)
def test_five_votes_move_less_than_a_seventh_of_what_a_thousand_may(up, down, usual):
    if up + down <= 5:
        assert abs(vote_points.points(Votes(up, down), usual)) <= 10 * 5 / 35 + 0.001


@given(st.dictionaries(st.sampled_from("abcdef"), VOTES))
def test_the_approval_of_all_lies_between_its_ends_and_equal_models_move_alike(votes):
    usual = vote_points.approval(votes)
    assert 0.1 <= usual <= 0.9
    assert vote_points.points(Votes(), usual) == 0


def test_a_model_is_measured_against_the_others_not_against_one_half():
    votes = {"liked": Votes(95, 5), "usual": Votes(80, 20), "other": Votes(80, 20), "disliked": Votes(60, 40)}
    usual = vote_points.approval(votes)
    found = {name: vote_points.points(one, usual) for name, one in votes.items()}
    assert found["liked"] > 1 > abs(found["usual"]) and found["disliked"] < -1
    assert found["usual"] == found["other"]


def test_where_all_are_praised_alike_nothing_moves_much():
    votes = {name: Votes(10_000, 0) for name in "abc"}
    assert all(abs(vote_points.points(one, vote_points.approval(votes))) <= 1.2 for one in votes.values())


@pytest.fixture
def loaded(db):
    installed_catalogue.load()


def test_what_was_counted_stands_in_the_catalogue_and_goes_when_the_votes_do(loaded):
    votes = {"gpt-4o": Votes(40, 2), "gpt-4o-mini": Votes(3, 30), "gone": Votes(1, 1)}
    assert vote_points.keep(votes, timezone.now()) == 2
    assert vote_points.keep(votes, timezone.now()) == 0
    cards = catalogue.load().cards
    liked, disliked = cards["gpt-4o"], cards["gpt-4o-mini"]
    assert (liked.votes_up, liked.votes_down) == (40, 2) and liked.quality_in_use > liked.quality
    assert disliked.quality_in_use < disliked.quality
    assert [row["model"] for row in vote_points.report()] == ["gpt-4o", "gpt-4o-mini"]
    assert vote_points.report()[0]["quality_in_use"] == liked.quality_in_use
    assert vote_points.keep({}, timezone.now()) == 2
    assert catalogue.load().cards["gpt-4o"].quality_in_use == liked.quality and vote_points.report() == []


def test_the_process_sees_new_vote_points_at_once(loaded, django_capture_on_commit_callbacks):
    before = catalogue.current_sync().get("gpt-4o").quality_in_use
    with django_capture_on_commit_callbacks(execute=True):
        vote_points.keep({"gpt-4o": Votes(40, 2)}, timezone.now())
    assert catalogue.current_sync().get("gpt-4o").quality_in_use > before


def test_switched_off_the_catalogues_word_alone_counts(loaded, settings):
    vote_points.keep({"gpt-4o": Votes(40, 2)}, timezone.now())
    settings.ROUTING_FEEDBACK = False
    card = catalogue.load().cards["gpt-4o"]
    assert card.quality_in_use == card.quality and card.votes_up == 40


def test_an_update_of_the_catalogue_leaves_the_votes(loaded):
    vote_points.keep({"gpt-4o": Votes(40, 2)}, timezone.now())
    assert not update.update(price_list.installed())
    assert AIModel.objects.get(slug="gpt-4o").votes_up == 40


@pytest.mark.parametrize(("quality", "votes"), [(99, Votes(10**5, 0)), (2, Votes(0, 10**5))])
def test_quality_stays_between_0_and_100(loaded, quality, votes):
    AIModel.objects.filter(slug="gpt-4o").update(quality=quality)
    vote_points.keep({"gpt-4o": votes, "gpt-4o-mini": Votes(votes.down, votes.up)}, timezone.now())
    assert 0 <= catalogue.load().cards["gpt-4o"].quality_in_use <= 100
