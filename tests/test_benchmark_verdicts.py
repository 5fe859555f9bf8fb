"""What `benchmarks.gateway --against` calls slower, and what it leaves to chance."""

from __future__ import annotations

import random

import pytest

from benchmarks.gateway.against import interval, judge


def rounds(middle: float, spread: float, seed: int, count: int = 10) -> list[dict[str, float]]:
    chance = random.Random(seed)
    return [{name: middle * chance.uniform(1 - spread, 1 + spread) for name in ("p50_ms", "cpu_ms")} for _ in range(count)]


def slower(scenario: str, here: list[dict[str, float]], there: list[dict[str, float]]) -> set[str]:
    return {verdict.figure for verdict in judge(scenario, here, there) if verdict.slower}


def test_ten_values_give_the_second_and_the_ninth():
    """P(fewer than 2 of 10 coins are heads) = 11/1024 = 1.1 %; of fewer than 3, 5.5 %."""
    assert interval([10, 9, 8, 7, 6, 5, 4, 3, 2, 1]) == (2, 9)


def test_six_values_are_the_fewest():
    assert interval([3, 1, 2, 6, 5, 4]) == (1, 6)
    with pytest.raises(ValueError, match="too few"):
        interval([1, 2, 3, 4, 5])


@pytest.mark.parametrize("seed", range(20))
def test_six_percent_more_in_every_round_is_slower(seed: int):
    assert slower("rate 30", rounds(1.06, 0.01, seed), rounds(1.0, 0.01, seed + 100)) == {"p50_ms", "cpu_ms"}


@pytest.mark.parametrize("seed", range(20))
def test_noise_without_a_cause_is_not_slower(seed: int):
    assert slower("rate 30", rounds(1.0, 0.2, seed), rounds(1.0, 0.2, seed + 100)) == set()


def test_one_disturbed_round_decides_nothing():
    here, there = rounds(1.0, 0.01, 1), rounds(1.0, 0.01, 2)
    here[3] = {name: value * 50 for name, value in here[3].items()}
    assert slower("rate 30", here, there) == set()


def test_a_lower_rate_is_worse_and_a_higher_one_is_not():
    figures = {"p50_ms": 1.0, "cpu_ms": 1.0, "memory_mb": 1.0}
    fast, slow = [figures | {"rate": 100.0}] * 10, [figures | {"rate": 90.0}] * 10
    assert slower("json 16", slow, fast) == {"rate"}
    assert slower("json 16", fast, slow) == set()


def test_a_figure_that_was_not_measured_is_an_error():
    with pytest.raises(RuntimeError, match="not measured"):
        list(judge("rate 30", [{"p50_ms": 1.0, "cpu_ms": float("nan")}] * 10, [{"p50_ms": 1.0, "cpu_ms": 1.0}] * 10))
