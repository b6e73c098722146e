"""Searches with real trainings at the cost of fifty, and their winners beside other networks.

    uv run python -m benchmarks.real_searches OUT --searches 3 --again 5
    uv run python -m benchmarks.real_searches OUT --root DIR --searches 2 --again 5

A search is `nas search` with the settings that pay on the table of detectors (`benchmarks.search_cost`):
short trainings that the predictor proposes, and finalists that are judged on images of their own. Its winner
is trained with fresh seeds at fidelity 1. So are SpineNet-49's spec, R50-FPN with as many multiply-adds,
random specs of excess 0 (another one for each seed) and, on generated images, what the random trainings of
the table have found. All are measured once on images that no search saw: other generated ones, or the val
split of the set in DIR, where searches hold out a part of train. What is done is in OUT and is not done
again; a search that was cut off is resumed. What the table has found depends on its version, and R50-FPN on
the searches that were there: a network that is another one by now is not trained further.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from benchmarks.machine import write_report
from benchmarks.rows import add_row, keep_to, read_rows
from benchmarks.search_cost import cost
from benchmarks.spinenet_bench.plan import draw_excess_0, space
from benchmarks.unseen import measure_unseen
from nas.config import load_task
from nas.journal.history import read_history
from nas.journal.trials import finalist_rewards
from proxy_tasks.spinenet_bench import SpineNetBenchTask, read_trainings
from search_space import Genotype, SpineNetSpec, graph_features, published_spec
from search_space.resnet_fpn.fitting import fit_r50_fpn

DESIGN = "fifty"
"""Name of the searches' settings in `benchmarks.true_searches`."""

SETTINGS = (
    "controller=predictor",
    "prior=none",
    "trials=160",
    "fidelity=0.25",
    "search.finalists=5",
    "task.data.selection=0.3",
)
"""50 trainings: 160 quarters, and five finalists twice."""

SPINENET, RESNET, RANDOM, TABLE = (
    "SpineNet-49",
    "R50-FPN, equal MACs",
    "random, excess 0",
    "best of the table",
)

OTHERS = (SPINENET, RESNET, RANDOM, TABLE)
"""What the winners are compared with."""


def search(number: int, out: Path, root: Path | None) -> dict[str, Any]:
    """Searches, or goes on with a search; gives its row."""
    run = out / "runs" / f"search-{number}"
    data = [] if root is None else [f"task.data.root={root}", "task.data.validation=held-out"]
    words = ["search", *SETTINGS, *data, f"seed={number}", f"run_dir={run}"]
    if (run / "config.yaml").exists():
        words = ["resume", str(run)]
    subprocess.run([sys.executable, "-m", "nas", *words], check=True, stdout=subprocess.DEVNULL)
    trials = read_history(run).trials
    assert trials.picked is not None
    spec: Any = space().decode(trials.genotype(trials.picked))
    return {
        "design": DESIGN,
        "seed": number,
        "cost": cost(trials),
        "seconds": round(trials.seconds),
        "rewards": [trial.rewards[0] if trial.rewards else None for trial in trials.search],
        "finalists": {str(n): rewards for n, rewards in finalist_rewards(trials).items()},
        "winner": trials.picked,
        "genotype": list(trials.genotype(trials.picked)),
        **graph_features(spec, summary=True),
    }


def table_best() -> Genotype:
    """What a searcher takes from the random trainings of the table: the one with the best score."""
    uniform = [training for training in read_trainings() if training.group == "uniform"]
    return max(uniform, key=lambda training: training.curve("val")[-1]).genotype


def networks(searches: Sequence[dict[str, Any]], again: int, generated: bool) -> dict[str, list[Any]]:
    """The networks by name, one for each of so many trainings; only the random ones differ.

    Args:
        searches: their rows.
        again: trainings of each.
        generated: whether images are those of the table.
    """
    task = load_task("cpu")
    found = {f"search {row['seed']}": space().decode(tuple(row["genotype"])) for row in searches}
    macs = float(np.mean([task.costs(spec)["macs"] for spec in found.values()]))
    found[SPINENET] = published_spec("spinenet-49")
    found[RESNET] = fit_r50_fpn(lambda spec: task.costs(spec)["macs"], macs)
    if generated:
        found[TABLE] = space().decode(table_best())
    drawn = islice(draw_excess_0(np.random.default_rng(1618)), again)
    return {name: [spec] * again for name, spec in found.items()} | {RANDOM: [*map(space().decode, drawn)]}


def train(job: tuple[str, int, Any], root: Path | None) -> dict[str, Any]:
    """Trains a network with a fresh seed; gives the row of the training."""
    name, again, spec = job
    features = graph_features(spec, summary=True) if isinstance(spec, SpineNetSpec) else {}
    costs = load_task("cpu").costs(spec)
    about = {"name": name, "again": again, "key": spec.key()}
    if name == TABLE:
        about["table"] = SpineNetBenchTask().digest
    row = {**about, "macs": costs["macs"], "params": costs["params"], **features}
    return row | measure_unseen(spec, 5000 + again, root)


def missing(
    specs: Mapping[str, Sequence[Any]], trainings: Sequence[dict[str, Any]]
) -> list[tuple[str, int, Any]]:
    """Gives what is to be trained: name, number and spec.

    Args:
        specs: the networks by name, one for each training.
        trainings: rows of those that are done.

    Raises:
        SystemExit: if a network of which a training is missing is another one than that of its rows.
    """
    done = {(row["name"], row["again"]): row["key"] for row in trainings}
    jobs = [
        (name, again, spec)
        for again, same in enumerate(zip(*specs.values(), strict=True))
        for name, spec in zip(specs, same, strict=True)
        if (name, again) not in done
    ]
    for name in {name for name, _, _ in jobs}:
        for again, spec in enumerate(specs[name]):
            before = done.get((name, again), spec.key())
            if before != spec.key():
                raise SystemExit(
                    f"{name}: training {again} was of the network {before}, and today it would be of "
                    f"{spec.key()}, because the table or the searches have changed; give another folder"
                )
    return jobs


def describe(searches: Sequence[dict[str, Any]], trainings: Sequence[dict[str, Any]]) -> str:
    """Gives the searches and the networks as tables in Markdown."""
    lines = [
        "| search | trainings | minutes | best short training | winner's final evaluations | excess |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in searches:
        finals = ", ".join(f"{value:.3f}" for value in row["finalists"][str(row["winner"])])
        best = max(reward for reward in row["rewards"] if reward is not None)
        lines.append(
            f"| {row['seed']} | {row['cost']:.1f} | {row['seconds'] / 60:.0f} | {best:.3f} "
            f"| {finals} | {row['excess']:g} |"
        )
    names = [f"search {row['seed']}" for row in searches]
    found = {name: _each(trainings, name) for name in (*names, *OTHERS)}
    lines += ["", "| network | params M | MACs M | AP | each training |", "| --- | --- | --- | --- | --- |"]
    for name, values in found.items():
        if values:
            own = [row for row in trainings if row["name"] == name]
            macs, params = (np.mean([row[key] for row in own]) / 1e6 for key in ("macs", "params"))
            each = ", ".join(f"{value:.3f}" for value in values)
            lines.append(f"| {name} | {params:.3f} | {macs:.0f} | {spread(values)} | {each} |")
    lines += ["", "| winners against | difference (90 %) | p, one-sided |", "| --- | --- | --- |"]
    for name, against in compare(searches, trainings).items():
        lines.append(f"| {name} | {against.describe()} | {against.p:.2g} |")
    lines += ["", "One value a search against one value a training, Welch's t."]
    return "\n".join(lines) + "\n"


def _each(trainings: Sequence[dict[str, Any]], name: str) -> list[float]:
    """AP of each training of a network."""
    return [row["AP"] for row in trainings if row["name"] == name]


@dataclass(frozen=True, kw_only=True)
class Against:
    """The winners beside another network.

    Args:
        difference: of the mean AP.
        low, high: ends of its 90 % interval.
        p: one-sided, of Welch's t-test.
    """

    difference: float
    low: float
    high: float
    p: float

    def describe(self) -> str:
        """The difference, and its interval."""
        return f"{self.difference:+.3f} ({self.low:+.3f} to {self.high:+.3f})"


def compare(searches: Sequence[dict[str, Any]], trainings: Sequence[dict[str, Any]]) -> dict[str, Against]:
    """Compares the winners, one value a search, with each other network, one value a training.

    Networks that were trained less than twice are left out.
    """
    names = [f"search {row['seed']}" for row in searches]
    winners = [float(np.mean(values)) for name in names if (values := _each(trainings, name))]
    found = {}
    for name in OTHERS:
        values = _each(trainings, name)
        if len(winners) > 1 and len(values) > 1:
            one_sided = stats.ttest_ind(winners, values, equal_var=False, alternative="greater")
            both = stats.ttest_ind(winners, values, equal_var=False).confidence_interval(0.9)
            found[name] = Against(
                difference=float(np.mean(winners) - np.mean(values)),
                low=float(both.low),
                high=float(both.high),
                p=float(one_sided.pvalue),
            )
    return found


def spread(values: Sequence[float]) -> str:
    """Mean and standard error."""
    error = f" ± {stats.sem(values):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{error}"


def main() -> None:
    """Does what is missing, and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("out", type=Path)
    parser.add_argument("--root", type=Path)
    parser.add_argument("--searches", type=int, default=3)
    parser.add_argument("--again", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    root = options.root and options.root.resolve()
    keep_to(options.out, root)
    path, trained = options.out / "searches.jsonl", options.out / "trainings.jsonl"
    for number in range(options.searches):
        if number not in {row["seed"] for row in read_rows(path)}:
            add_row(path, search(number, options.out.resolve(), root))
            print(f"search {number + 1} of {options.searches} has ended", file=sys.stderr, flush=True)
    searches = sorted(read_rows(path), key=lambda row: row["seed"])
    specs = networks(searches, options.again, root is None)
    jobs = missing(specs, read_rows(trained))
    with get_context("spawn").Pool(options.workers) as pool:
        for row in pool.imap_unordered(partial(train, root=root), jobs):
            add_row(trained, row)
            print(f"{row['name']}, training {row['again']}: AP {row['AP']:.3f}", file=sys.stderr, flush=True)
    text = describe(searches, read_rows(trained))
    write_report(options.out / "table.md", "real_searches", text)


if __name__ == "__main__":
    main()
