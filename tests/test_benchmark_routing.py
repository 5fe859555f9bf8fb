"""`benchmarks.routing` reads the public files' formats, and its figures are those of their definitions."""

from __future__ import annotations

import csv
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.routing import __main__ as command
from benchmarks.routing.scores import area, at_share, curve, figures, share_for
from benchmarks.routing.tables import KNOWN, Row, Table, load

RESULTS = st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.booleans()), min_size=3, max_size=40)


def table(*results: tuple[float, float]) -> Table:
    """A table of (weak, strong) results; the prompts are numbers."""
    return Table("made up", "any", "weak", "strong", tuple(Row(str(at), *both) for at, both in enumerate(results)), "nowhere", "")


FIVE = table((0, 1), (0, 1), (1, 1), (1, 1), (0, 0))


def test_the_best_order_recovers_the_gap_first_and_the_worst_last():
    best, worst = curve(FIVE, [5, 4, 3, 2, 1]), curve(FIVE, [1, 2, 3, 4, 5])
    assert area(best) == pytest.approx(0.8) and area(worst) == pytest.approx(0.2)
    assert at_share(best, 0.2) == pytest.approx(0.5) and at_share(worst, 0.5) == 0
    assert share_for(best, 0.5) == pytest.approx(0.2) and share_for(worst, 0.8) == pytest.approx(0.92)


def test_a_constant_score_is_random():
    found = figures(FIVE, [1] * 5, resamples=3)
    assert (found.apgr, found.pgr_20, found.pgr_50, found.cpt_50, found.cpt_80) == pytest.approx((0.5, 0.2, 0.5, 0.5, 0.8))


@settings(max_examples=50, deadline=None)
@given(RESULTS)
def test_the_reverse_order_has_the_rest_of_the_area(results: list[tuple[int, bool, bool]]):
    made = table(*((weak, strong) for _, weak, strong in results))
    if made.accuracy(1) == made.accuracy(0):
        return  # no gap
    scores = [score for score, _, _ in results]
    assert area(curve(made, scores)) + area(curve(made, [-score for score in scores])) == pytest.approx(1)
    assert at_share(curve(made, scores), 1) == pytest.approx(1)


def test_the_interval_holds_the_figure_and_is_always_the_same():
    made = table(*[(0, 1), (1, 1), (0, 0), (0, 1)] * 50)
    found = figures(made, list(range(200)))
    assert found.interval[0] < found.apgr < found.interval[1] and found == figures(made, list(range(200)))


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Made-up files in the form of each public table: of two prompts the weak model answers one, the strong one both."""
    mixtral, gpt4 = "mistralai/Mixtral-8x7B-Instruct-v0.1", "gpt-4-1106-preview"
    evals = tmp_path / "RouteLLM/routellm/evals"
    pair = [{"prompt": f"Question {at}?", mixtral: at == 1, gpt4: True} for at in range(2)]
    write_csv(evals / "mmlu/responses/mmlu_astronomy.csv", pair)
    write_csv(evals / "gsm8k/gsm8k_responses.csv", pair)
    marks = [{"question_id": at, "model": name, "score": mark} for at in range(2) for name, mark in ((mixtral, 10 * at), (gpt4, 10))]
    (evals / "mt_bench").mkdir()
    (evals / "mt_bench/judgements.jsonl").write_text("\n".join(map(json.dumps, marks)))
    questions = [{"question_id": at, "turns": ["Tell me.", "And?"]} for at in range(2)]
    (evals / "mt_bench/question.jsonl").write_text("\n".join(map(json.dumps, questions)))
    for name in ("mbpp", "arc_challenge", "winograde"):
        for part, weak in (("train", 0.0), ("test", 1.0)):
            row = {"prompt": "['Solve', 'this']", "mistralai/mixtral-8x7b-chat": weak, gpt4: 1.0}
            write_csv(tmp_path / f"RouterDC/datasets/routerbench_zs/{name}_{part}.csv", [row, {**row, gpt4: ""}])
    zero = tmp_path / "ZeroEval/result_dirs"
    for task, models in {
        "gsm": ("gpt-4o-mini-2024-07-18", "gpt-4o-2024-08-06"), "crux": ("gpt-4o-mini-2024-07-18", "gpt-4o-2024-08-06"),
        "math-l5": ("gpt-4o-mini-2024-07-18", "o1-mini-2024-09-12", "claude-3-haiku-20240307", "claude-3-5-sonnet-20241022"),
    }.items():  # fmt: skip
        for number, model in enumerate(models):
            answers = ["$1,000" if at or number % 2 else "7" for at in range(2)]
            rows = [
                {"id": at, "question": "How many?", "answer": "# 1000", "output": [f'{{"answer": "{answers[at]}"}}']} for at in range(2)
            ]
            write_json(zero / task / f"{model}.json", rows)
    alpaca = "alpaca_eval/results/Mixtral-8x7B-Instruct-v0.1_concise/weighted_alpaca_eval_gpt4_turbo/annotations.json"
    write_json(tmp_path / alpaca, [{"instruction": "Write.", "preference": mark} for mark in (1.0, 1.5, None)])
    for model, guesses in (("Mixtral-8x7B-Instruct-v0.1", "BA"), ("gemini-1.5-pro-002", "AA")):
        path = tmp_path / f"MMLU-Pro/eval_results/model_outputs_{model}_5shots.zip"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [{"question_id": at, "question": "Which?", "options": ["a", "b"], "answer": "A", "pred": guesses[at]} for at in range(2)]
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("results.json", json.dumps(rows))
    return tmp_path


def test_every_public_format_is_read(folder: Path):
    tables, absent = load(folder)
    assert not absent and [one.name for one in tables] == [name for name, *_ in KNOWN]
    for one in tables:
        weak, strong = (0.25, 0.75) if one.name == "alpaca" else (0.5, 1.0)
        assert (one.accuracy(0), one.accuracy(1)) == (weak, strong), one.name
        assert len(one.rows) == 2 and len(one.digest) == 12
    assert "\nA. a\nB. b" in next(one for one in tables if one.name == "mmlu-pro").rows[0].prompt


def test_a_table_that_is_not_there_is_reported(folder: Path):
    (folder / "RouteLLM/routellm/evals/gsm8k/gsm8k_responses.csv").unlink()
    lines = command.report(folder, len, resamples=2)
    assert lines[-1] == "Not measured: gsm8k, without RouteLLM/routellm/evals/gsm8k/gsm8k_responses.csv."
    assert sum(line.startswith("| ") for line in lines) == len(KNOWN) and "Mean APGR of 11 tables" in lines[-2]
