"""`python -m benchmarks.routing FOLDER`: score the shipped policy on the public tables below FOLDER.

FOLDER holds checkouts of the repositories, each under its own name:

    for name in lm-sys/RouteLLM shuhao02/RouterDC WildEval/ZeroEval tatsu-lab/alpaca_eval TIGER-AI-Lab/MMLU-Pro; do
        git clone --depth 1 "https://github.com/$name" "FOLDER/${name#*/}"
    done
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from benchmarks.routing.scores import RESAMPLES, Figures, figures
from benchmarks.routing.tables import Table, load

Policy = Callable[[str], float]
HEADS = ("table", "family", "prompts", "weak", "strong", "APGR", "95 %", "PGR 20 %", "PGR 50 %", "CPT 50 %", "CPT 80 %", "files")


def shipped() -> Policy:
    """The difficulty that `auto` estimates for a prompt."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aiagents.settings.test")
    import django

    django.setup()
    from agents.messages import CompletionRequest, Message, Text
    from agents.routing.rank import difficulty

    return lambda prompt: difficulty(CompletionRequest((Message("user", (Text(prompt),)),)))


def line(table: Table, found: Figures) -> str:
    low, high = found.interval
    cells = [
        table.name, table.family, str(len(table.rows)), f"{table.accuracy(0):.3f}", f"{table.accuracy(1):.3f}", f"{found.apgr:.3f}",
        f"{low:.3f}–{high:.3f}", f"{found.pgr_20:.2f}", f"{found.pgr_50:.2f}", f"{found.cpt_50:.2f}", f"{found.cpt_80:.2f}", table.digest,
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def report(folder: Path, policy: Policy, resamples: int = RESAMPLES) -> list[str]:
    """Return the lines of a Markdown table, the mean APGR, and what was not measured."""
    tables, absent = load(folder)
    lines, found = [f"| {' | '.join(HEADS)} |", "|---" * len(HEADS) + "|"], []
    for table in tables:
        found.append(figures(table, [policy(row.prompt) for row in table.rows], resamples))
        lines.append(line(table, found[-1]))
    if found:
        lines += ["", f"Mean APGR of {len(found)} tables: {sum(one.apgr for one in found) / len(found):.3f} (random: 0.500)."]
    return lines + [f"Not measured: {name}, without {path}." for name, path in absent.items()]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder", type=Path)
    options.add_argument("--resamples", type=int, default=RESAMPLES)
    chosen = options.parse_args()
    print("\n".join(report(chosen.folder, shipped(), chosen.resamples)))


if __name__ == "__main__":
    main()
