"""Keeps what matters of a search: every trial, the winner, a summary and a picture.

uv run python -m benchmarks.keep RUN OUT --command "nas search ..."
"""

from __future__ import annotations

import argparse
import csv
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.machine import machine_name
from nas.files import replace_file
from nas.journal import Event, read_events
from nas.trials import Trials


def main() -> None:
    """Writes `trials.csv`, `summary.md`, `search.png`, `best.json` and `best.svg`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--command", required=True)
    parser.add_argument("--note", default="")
    options = parser.parse_args()
    events, trials = read_events(options.run), Trials()
    for event in events:
        trials.apply(event)
    options.out.mkdir(parents=True, exist_ok=True)
    ended = {e.trial: e for e in events if e.kind == "ended" and not e.data["again"]}
    write_trials(trials, ended, options.out / "trials.csv")
    for name in ("best.json", "best.svg"):
        if (options.run / "winners" / name).is_file():
            shutil.copyfile(options.run / "winners" / name, options.out / name)
    draw(trials, options.out / "search.png", options.out.name)
    replace_file(options.out / "summary.md", summary(options, events, trials, ended))


def write_trials(trials: Trials, ended: dict[int | None, Event], path: Path) -> None:
    """One row a trial."""
    metrics = ("AP", "AP50", "params", "macs")
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["trial", "status", "reward", *metrics, "seconds", "key"])
        for trial in trials.all:
            end = ended.get(trial.number)
            found: dict[str, Any] = {} if end is None else end.data["metrics"]
            reward = "" if trial.rewards is None else f"{trial.rewards[0]:.5f}"
            seconds = "" if end is None else f"{end.data['seconds']:.1f}"
            values = [f"{found[name]:.6g}" if name in found else "" for name in metrics]
            rows.writerow([trial.number, trial.status, reward, *values, seconds, trial.key])


def summary(
    options: argparse.Namespace, events: list[Event], trials: Trials, ended: dict[int | None, Event]
) -> str:
    """The search on a page."""
    rewards = [trial.rewards[0] for trial in trials.all if trial.rewards]
    third = max(1, len(rewards) // 3)
    kinds = Counter(e.kind for e in events)
    seconds = sum(e.data["seconds"] for e in ended.values())
    best = trials.best
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
        f"| best in the search | {max(rewards):.4f} (trial {best}) |",
        f"| journal | {', '.join(f'{count} {kind}' for kind, count in sorted(kinds.items()))} |",
        "",
    ]
    if trials.retrained:
        lines += ["Trained again:", "", "| trial | fidelity | rewards |", "| --- | --- | --- |"]
        for number in dict.fromkeys(e["trial_number"] for e in trials.retrained):
            entries = [e for e in trials.retrained if e["trial_number"] == number]
            told = ", ".join("failed" if e["reward"] is None else f"{e['reward']:.4f}" for e in entries)
            lines.append(f"| {number} | {entries[0]['fidelity']:g} | {told} |")
        lines.append("")
    return "\n".join([*lines, "![Every trial and the best so far](search.png)", ""])


def draw(trials: Trials, path: Path, title: str) -> None:
    """Every trial and the best so far."""
    from matplotlib.figure import Figure

    numbers = [t.number for t in trials.all if t.rewards]
    rewards = [t.rewards[0] for t in trials.all if t.rewards]
    best = [max(rewards[: i + 1]) for i in range(len(rewards))]
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.plot(numbers, rewards, "o", ms=4, color="#a9c6d8", label="trial")
    axes.step(numbers, best, where="post", color="#2a6f97", label="best so far")
    axes.set_xlabel("trial")
    axes.set_ylabel("reward")
    axes.set_title(title, loc="left")
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    main()
