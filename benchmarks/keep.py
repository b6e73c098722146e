"""Keeps what matters of a search: every trial, the winner, a summary and a picture.

uv run python -m benchmarks.keep RUN OUT --command "nas search ..."
"""

from __future__ import annotations

import argparse
import csv
import shutil
from pathlib import Path

from benchmarks.machine import machine_name
from nas.journal.history import History, TrialRow, read_history
from nas.reporting.figures import FAINT, PALETTE, figure_file
from nas.utils.files import replace_file

METRICS = ("AP", "AP50", "params", "macs")


def main() -> None:
    """Writes `trials.csv`, `summary.md`, `search.png`, `best.json` and `best.svg`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--command", required=True)
    parser.add_argument("--note", default="")
    options = parser.parse_args()
    history = read_history(options.run)
    options.out.mkdir(parents=True, exist_ok=True)
    write_trials(history.search_rows(), options.out / "trials.csv")
    for name in ("best.json", "best.svg"):
        if (options.run / "winners" / name).is_file():
            shutil.copyfile(options.run / "winners" / name, options.out / name)
    scored = [row for row in history.search_rows() if row.rewards]
    draw(scored, options.out / "search.png", options.out.name)
    replace_file(options.out / "summary.md", summary(options, history, scored))


def write_trials(rows: list[TrialRow], path: Path) -> None:
    """Writes a CSV file with one row for each trial."""
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["trial", "status", "reward", *METRICS, "seconds", "key", "genotype"])
        for row in rows:
            reward = "" if row.rewards is None else f"{row.rewards[0]:.5f}"
            seconds = "" if row.seconds is None else f"{row.seconds:.1f}"
            values = [f"{row.metrics[name]:.6g}" if name in row.metrics else "" for name in METRICS]
            genotype = " ".join(map(str, row.genotype))
            table.writerow([row.number, row.status, reward, *values, seconds, row.key, genotype])


def summary(options: argparse.Namespace, history: History, scored: list[TrialRow]) -> str:
    """The search on a page.

    Args:
        options: of the command line.
        history: the whole search.
        scored: its trials with a reward, by number.
    """
    trials, rewards = history.trials, first_rewards(scored)
    third = max(1, len(rewards) // 3)
    seconds = sum(row.seconds or 0.0 for row in history.search_rows())
    lines = [
        f"# {options.out.name}",
        "",
        f"`{options.command}`",
        "",
        f"{machine_name()}. {options.note}".strip(),
        "",
        "| figure | value |",
        "| --- | --- |",
        f"| trials | {', '.join(f'{count} {status}' for status, count in trials.counts.items() if count)} |",
        f"| wall time, time in trials | {trials.seconds / 60:.1f} min, {seconds / 60:.1f} min |",
        f"| reward of the first third, of the last | {sum(rewards[:third]) / third:.4f}, "
        f"{sum(rewards[-third:]) / third:.4f} |",
        f"| best in the search | {max(rewards):.4f} (trial {trials.best}) |",
        f"| journal | {', '.join(f'{count} {kind}' for kind, count in sorted(history.events.items()))} |",
        "",
    ]
    if trials.finalists:
        lines += ["Finalists:", "", "| trial | fidelity | rewards |", "| --- | --- | --- |"]
        for number in dict.fromkeys(trial.finalist_of for trial in trials.finalists):
            again = [trial for trial in trials.finalists if trial.finalist_of == number]
            told = ", ".join("failed" if t.rewards is None else f"{t.rewards[0]:.4f}" for t in again)
            lines.append(f"| {number} | {again[0].fidelity:g} | {told} |")
        lines.append("")
    return "\n".join([*lines, "![Every trial and the best so far](search.png)", ""])


def first_rewards(rows: list[TrialRow]) -> list[float]:
    """The first reward of each trial that has one."""
    return [row.rewards[0] for row in rows if row.rewards]


def draw(scored: list[TrialRow], path: Path, title: str) -> None:
    """Draws every trial and the best so far."""
    rewards = first_rewards(scored)
    best = [max(rewards[: i + 1]) for i in range(len(rewards))]
    numbers = [row.number for row in scored]
    with figure_file(path, 7, 3.2) as figure:
        axes = figure.subplots()
        axes.plot(numbers, rewards, "o", ms=4, color=FAINT, label="trial")
        axes.step(numbers, best, where="post", color=PALETTE[0], label="best so far")
        axes.set_xlabel("trial")
        axes.set_ylabel("reward")
        axes.set_title(title)
        axes.legend(loc="lower right")


if __name__ == "__main__":
    main()
