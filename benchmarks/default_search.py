"""What `nas search` finds in its few minutes, before its defaults were changed and since then.

    uv run python -m benchmarks.default_search OUT --repeats 5 --again 3
    uv run python -m benchmarks.default_search OUT --root DIR --repeats 5 --again 3

Each search is the command, with a seed of its own. Its winner is trained again at fidelity 1 with fresh
seeds, and is measured on images that no search saw: other generated ones, or the val split of the set in DIR,
where the searches hold out a part of train. The searches are compared by the mean AP of their winners; p is
that of an exact permutation test, one-sided. What is done is in OUT and is not done again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from itertools import combinations, product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import sem

from benchmarks.machine import write_report
from benchmarks.rows import add_row, keep_to, read_rows
from benchmarks.unseen import measure_unseen
from nas.journal.history import read_history
from search_space import graph_features, load_spec

DESIGNS = {
    "before": ("controller=evolution", "prior=none", "trials=10", "fidelity=0.25"),
    "now": ("controller=predictor", "prior=spinenet-bench", "trials=14", "fidelity=0.25"),
    "shorter": ("controller=predictor", "prior=spinenet-bench", "trials=26", "fidelity=0.125"),
}
"""By name, the settings of a search. Ten proposals of evolution are ten random ones."""


def search(design: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Searches; gives the row of the search."""
    run = options.out / "runs" / f"{design}-{seed}"
    data = [] if options.root is None else [f"task.data.root={options.root}", "task.data.validation=held-out"]
    command = [sys.executable, "-m", "nas", "search", *DESIGNS[design], *data, f"seed={seed}"]
    shutil.rmtree(run, ignore_errors=True)  # Of a search that was cut off.
    started = time.perf_counter()
    subprocess.run([*command, f"run_dir={run}"], check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    spec = load_spec(run / "winners" / "best.json")
    rewards = [trial.rewards[0] if trial.rewards else None for trial in read_history(run).trials.search]
    return {
        "design": design,
        "seed": seed,
        "seconds": round(seconds, 1),
        "rewards": rewards,
        "spec": json.loads(spec.to_json()),
        **graph_features(spec, summary=True),
    }


def train(job: tuple[str, int, int], options: argparse.Namespace) -> dict[str, Any]:
    """Trains the winner of a search with a fresh seed; gives the row of the training."""
    design, number, seed = job
    spec = load_spec(options.out / "runs" / f"{design}-{number}" / "winners" / "best.json")
    found = measure_unseen(spec, 1000 + 10 * number + seed, options.root)
    return {"design": design, "seed": number, "again": seed, **found}


def note(path: Path, row: dict[str, Any]) -> None:
    """Writes a row, and says it."""
    add_row(path, row)
    told = {
        name: value for name, value in row.items() if name in ("design", "seed", "again", "seconds", "AP")
    }
    print(told, file=sys.stderr, flush=True)


def permutation_p(better: Sequence[float], worse: Sequence[float]) -> float:
    """The share of all divisions in two groups whose difference of means is at least as large."""
    both = np.array([*better, *worse])
    shares = [both[list(places)].mean() for places in combinations(range(len(both)), len(better))]
    # With groups of given sizes, the mean of one tells the difference.
    return float(np.mean(np.array(shares) >= np.mean(better) - 1e-12))


def describe(searches: Sequence[dict[str, Any]], trainings: Sequence[dict[str, Any]]) -> str:
    """Gives the designs as a table in Markdown."""
    lines = [
        "| design | searches | seconds each | excess 0 | AP of the winner, trained again | each search |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    means: dict[str, list[float]] = {}
    for design in DESIGNS:
        own = [row for row in searches if row["design"] == design]
        again = [[r["AP"] for r in trainings if (r["design"], r["seed"]) == (design, s["seed"])] for s in own]
        means[design] = [float(np.mean(found)) for found in again if found]
        if len(means[design]) < 2:
            continue
        seconds, good = np.mean([row["seconds"] for row in own]), sum(row["excess"] == 0 for row in own)
        lines.append(
            f"| {design}: `{' '.join(DESIGNS[design])}` | {len(own)} | {seconds:.0f} | {good} "
            f"| {np.mean(means[design]):.3f} ± {sem(means[design]):.3f} "
            f"| {', '.join(f'{ap:.3f}' for ap in means[design])} |"
        )
    lines.append("")
    for design, found in means.items():
        if design != "before" and min(len(found), len(means["before"])) >= 2:
            gain, p = np.mean(found) - np.mean(means["before"]), permutation_p(found, means["before"])
            lines.append(
                f"- {design} against before: {gain:+.3f} AP, p {p:.3f} (permutation of searches, one-sided)"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Does what is missing, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("out", type=Path)
    parser.add_argument("--root", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--again", type=int, default=3)
    parser.add_argument("--designs", nargs="+", choices=DESIGNS, default=list(DESIGNS))
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    options.root = options.root and options.root.resolve()
    keep_to(options.out, options.root)
    searches, trainings = options.out / "searches.jsonl", options.out / "trainings.jsonl"
    done = {(row["design"], row["seed"]) for row in read_rows(searches)}
    for seed, design in product(range(options.repeats), options.designs):
        if (design, seed) not in done:
            note(searches, search(design, seed, options))
    there = {(row["design"], row["seed"], row["again"]) for row in read_rows(trainings)}
    wanted = [
        (d, s, again)
        for again, s, d in product(range(options.again), range(options.repeats), options.designs)
    ]
    with get_context("spawn").Pool(options.workers) as pool:
        jobs = [job for job in wanted if job not in there]
        for row in pool.imap_unordered(partial(train, options=options), jobs):
            note(trainings, row)
    text = describe(read_rows(searches), read_rows(trainings))
    write_report(options.out / "table.md", "default_search", text)


if __name__ == "__main__":
    main()
