"""Public tables with the results of two models for the same prompts, read from checkouts of their repositories in one folder.

Nothing of them is committed here. A table whose files are absent is reported as not measured.
"""

from __future__ import annotations

import ast
import csv
import hashlib
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

csv.field_size_limit(10**9)


@dataclass(frozen=True, slots=True)
class Row:
    """One prompt, with how good each model's answer is: 0 (wrong) to 1 (right), or a judge's mark in that range."""

    prompt: str
    weak: float
    strong: float


@dataclass(frozen=True, slots=True)
class Table:
    """`family` names the kind of task; `source` the repository, and `digest` the start of the SHA-256 of the files read."""

    name: str
    family: str
    weak: str
    strong: str
    rows: tuple[Row, ...]
    source: str
    digest: str

    def accuracy(self, strong_share: float) -> float:
        """Return the mean result where a random part of this size goes to the strong model."""
        weak = sum(row.weak for row in self.rows) / len(self.rows)
        strong = sum(row.strong for row in self.rows) / len(self.rows)
        return weak + strong_share * (strong - weak)


class Absent(Exception):
    """A table's file is not in the folder; the message names it."""


class Files:
    """Reads files below a folder and keeps the digest of all that it read."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._digest = folder, hashlib.sha256()

    def read(self, path: str) -> bytes:
        try:
            content = (self.folder / path).read_bytes()
        except OSError:
            raise Absent(path) from None
        self._digest.update(content)
        return content

    def rows(self, path: str) -> Iterator[dict[str, str]]:
        return csv.DictReader(self.read(path).decode().splitlines(keepends=True))

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()[:12]


def _mmlu(files: Files) -> Iterator[Row]:
    weak, strong = "mistralai/Mixtral-8x7B-Instruct-v0.1", "gpt-4-1106-preview"
    folder = "RouteLLM/routellm/evals/mmlu/responses"
    names = sorted(path.name for path in (files.folder / folder).glob("*.csv"))
    if not names:
        raise Absent(f"{folder}/*.csv")
    for name in names:
        for row in files.rows(f"{folder}/{name}"):
            yield Row(row["prompt"], row[weak] == "True", row[strong] == "True")


def _gsm8k(files: Files) -> Iterator[Row]:
    for row in files.rows("RouteLLM/routellm/evals/gsm8k/gsm8k_responses.csv"):
        yield Row(row["prompt"], row["mistralai/Mixtral-8x7B-Instruct-v0.1"] == "True", row["gpt-4-1106-preview"] == "True")


def _mt_bench(files: Files) -> Iterator[Row]:
    """The mean of the judge's marks (1 to 10) of both turns, by the first turn's prompt."""
    marks: dict[tuple[int, str], list[float]] = {}
    for line in files.read("RouteLLM/routellm/evals/mt_bench/judgements.jsonl").splitlines():
        one = json.loads(line)
        marks.setdefault((one["question_id"], one["model"]), []).append(one["score"])
    for line in files.read("RouteLLM/routellm/evals/mt_bench/question.jsonl").splitlines():
        one = json.loads(line)
        weak, strong = (marks.get((one["question_id"], model)) for model in ("mistralai/Mixtral-8x7B-Instruct-v0.1", "gpt-4-1106-preview"))
        if weak and strong:
            yield Row(one["turns"][0], sum(weak) / len(weak) / 10, sum(strong) / len(strong) / 10)


def _router_bench(name: str, weak: str, strong: str) -> Callable[[Files], Iterator[Row]]:
    def read(files: Files) -> Iterator[Row]:
        for part in ("train", "test"):
            for row in files.rows(f"RouterDC/datasets/routerbench_zs/{name}_{part}.csv"):
                prompt = row["prompt"]
                if not (row[weak] and row[strong]):
                    continue  # one of the two has no result for this prompt
                texts = ast.literal_eval(prompt) if prompt.startswith("[") else [prompt]
                yield Row("\n".join(texts), float(row[weak]), float(row[strong]))

    return read


def _zero_eval(task: str, weak: str, strong: str) -> Callable[[Files], Iterator[Row]]:
    def read(files: Files) -> Iterator[Row]:
        first, second = (json.loads(files.read(f"ZeroEval/result_dirs/{task}/{name}.json")) for name in (weak, strong))
        others = {one["id"]: one for one in second}
        for one in first:
            if (other := others.get(one["id"])) is not None:
                yield Row(one.get("question") or one["problem"], _answered(one), _answered(other))

    return read


def _answered(one: dict[str, object]) -> bool:
    """Whether the last `"answer"` of the model's JSON is the expected one, spaces, currency and thousands apart."""
    output = one["output"]
    text = str(output[0] if isinstance(output, list) else output)
    found = re.findall(r'"answer"\s*:\s*("(?:[^"\\]|\\.)*"|[^,}\n]+)', text)
    return bool(found) and _plain(found[-1]) == _plain(str(one["answer"]))


def _plain(text: str) -> str:
    text = text.strip().strip('"').replace("\\\\", "\\").replace("\\'", "'").replace("'", '"').replace('\\"', '"')
    text = re.sub(r"[\s$,#]|\\!|\\text\{[^}]*\}|(?<=\d)\.0+$", "", text)
    return text.removesuffix(".").strip()


def _mmlu_pro(weak: str, strong: str) -> Callable[[Files], Iterator[Row]]:
    def results(files: Files, model: str) -> dict[str, dict[str, object]]:
        path = f"MMLU-Pro/eval_results/model_outputs_{model}_5shots.zip"
        files.read(path)
        with zipfile.ZipFile(files.folder / path) as archive:
            name = next(name for name in archive.namelist() if name.endswith(".json") and "MACOSX" not in name)
            return {str(one["question_id"]): one for one in json.loads(archive.read(name))}

    def read(files: Files) -> Iterator[Row]:
        first, second = results(files, weak), results(files, strong)
        for key, one in first.items():
            if key in second:
                letters = "ABCDEFGHIJKLMNOP"
                options = one["options"] if isinstance(one["options"], list) else []
                prompt = "\n".join([str(one["question"]), *(f"{letters[at]}. {text}" for at, text in enumerate(options))])
                yield Row(prompt, one["pred"] == one["answer"], second[key]["pred"] == second[key]["answer"])

    return read


def _alpaca_eval(model: str) -> Callable[[Files], Iterator[Row]]:
    """How far the judge preferred the model's answer (0 to 1) to GPT-4 Turbo's, which is the strong one."""

    def read(files: Files) -> Iterator[Row]:
        for one in json.loads(files.read(f"alpaca_eval/results/{model}/weighted_alpaca_eval_gpt4_turbo/annotations.json")):
            if one.get("preference") is not None:
                preferred = float(one["preference"]) - 1  # 1 is the baseline, 2 the model
                yield Row(one["instruction"], preferred, 1 - preferred)

    return read


_GPT4, _MIXTRAL = "gpt-4-1106-preview", "mistralai/mixtral-8x7b-chat"
_MINI, _GPT4O, _O1_MINI = "gpt-4o-mini-2024-07-18", "gpt-4o-2024-08-06", "o1-mini-2024-09-12"
_HAIKU, _SONNET = "claude-3-haiku-20240307", "claude-3-5-sonnet-20241022"
_PAIR = ("Mixtral 8x7B", "GPT-4 1106")
_ROUTE_LLM, _ROUTER_DC, _ZERO_EVAL = "lm-sys/RouteLLM", "shuhao02/RouterDC", "WildEval/ZeroEval"
# name, family, (weak model, strong model), repository, reader
KNOWN: tuple[tuple[str, str, tuple[str, str], str, Callable[[Files], Iterator[Row]]], ...] = (
    ("mmlu", "knowledge", _PAIR, _ROUTE_LLM, _mmlu),
    ("gsm8k", "school maths", _PAIR, _ROUTE_LLM, _gsm8k),
    ("mt-bench", "open questions", _PAIR, _ROUTE_LLM, _mt_bench),
    ("mbpp", "code", _PAIR, _ROUTER_DC, _router_bench("mbpp", _MIXTRAL, _GPT4)),
    ("arc-c", "knowledge", _PAIR, _ROUTER_DC, _router_bench("arc_challenge", _MIXTRAL, _GPT4)),
    ("winogrande", "common sense", _PAIR, _ROUTER_DC, _router_bench("winograde", _MIXTRAL, _GPT4)),
    ("gsm-zero", "school maths", ("GPT-4o mini", "GPT-4o"), _ZERO_EVAL, _zero_eval("gsm", _MINI, _GPT4O)),
    ("math-l5", "maths", ("GPT-4o mini", "o1-mini"), _ZERO_EVAL, _zero_eval("math-l5", _MINI, _O1_MINI)),
    ("math-l5-b", "maths", ("Claude 3 Haiku", "Claude 3.5 Sonnet"), _ZERO_EVAL, _zero_eval("math-l5", _HAIKU, _SONNET)),
    ("crux", "code", ("GPT-4o mini", "GPT-4o"), _ZERO_EVAL, _zero_eval("crux", _MINI, _GPT4O)),
    ("alpaca", "open questions", _PAIR, "tatsu-lab/alpaca_eval", _alpaca_eval("Mixtral-8x7B-Instruct-v0.1_concise")),
    (
        "mmlu-pro", "knowledge", ("Mixtral 8x7B", "Gemini 1.5 Pro"), "TIGER-AI-Lab/MMLU-Pro",
        _mmlu_pro("Mixtral-8x7B-Instruct-v0.1", "gemini-1.5-pro-002"),
    ),
)  # fmt: skip


def load(folder: Path) -> tuple[list[Table], dict[str, str]]:
    """Return the tables whose files are in the folder, and for each other its name with the file that is absent."""
    tables, absent = [], {}
    for name, family, (weak, strong), source, read in KNOWN:
        files = Files(folder)
        try:
            rows = tuple(read(files))
        except Absent as missing:
            absent[name] = str(missing)
            continue
        tables.append(Table(name, family, weak, strong, rows, source, files.digest))
    return tables, absent
