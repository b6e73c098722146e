"""How well surrogates of fewer random trainings know the others: what more rows would bring.

uv run python -m benchmarks.spinenet_bench.learning_curve benchmarks/results/spinenet-bench
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import kendalltau

from benchmarks.machine import command_line, machine_name, write_report
from benchmarks.spinenet_bench.facts import RANDOM
from benchmarks.spinenet_bench.held_out import judge
from nas.utils.files import replace_file
from proxy_tasks.spinenet_bench.settings import table_digest
from proxy_tasks.spinenet_bench.trainings import (
    DATA_FOLDER,
    FULL,
    TRAININGS,
    RecordedTraining,
    read_trainings,
)

NAME = "learning-curve"

SIZES = (25, 50, 100, 150, 300, 600)
"""Trainings from which surrogates learn, as far as a quarter of the table is left to be asked about."""

FIGURES = {
    "tau": "Kendall's tau",
    "tau_excess_0": "tau, excess 0",
    "error": "mean absolute error",
    "inside": "inside 90 %",
    "inside_excess_0": "inside 90 %, excess 0",
}


def learning_curve(
    trainings: Sequence[RecordedTraining], sizes: Sequence[int], subsets: int, seed: int
) -> dict[int, list[dict[str, float]]]:
    """Makes surrogates of random subsets, and asks them about the trainings that are left.

    Args:
        trainings: of random specs.
        sizes: of the subsets, each less than the number of trainings.
        subsets: how many of each size.
        seed: of the subsets.

    Returns:
        by size, for each subset: the figures of the AP of the full length that `FIGURES` names.
    """
    rng, found = np.random.default_rng(seed), dict[int, list[dict[str, float]]]()
    for size in sizes:
        orders = [rng.permutation(len(trainings)).tolist() for _ in range(subsets)]
        chosen = [[trainings[place] for place in order] for order in orders]
        found[size] = [figures(order[:size], order[size:]) for order in chosen]
    return found


def figures(known: Sequence[RecordedTraining], asked: Sequence[RecordedTraining]) -> dict[str, float]:
    """Gives the figures of a surrogate of known trainings, asked about others; see `FIGURES`."""
    judged = judge(known, asked)
    expected, measured, zero = judged.expected[:, FULL], judged.measured[:, FULL], judged.zero
    return {
        "tau": float(kendalltau(expected, measured).statistic),
        "tau_excess_0": float(kendalltau(expected[zero], measured[zero]).statistic),
        "error": float(np.abs(expected - measured).mean()),
        "inside": float(judged.inside[:, FULL].mean()),
        "inside_excess_0": float(judged.inside[zero, FULL].mean()),
    }


def describe(curve: Mapping[int, Sequence[Mapping[str, float]]], trainings: int) -> str:
    """Gives a learning curve as a table in Markdown.

    Args:
        curve: see `learning_curve`.
        trainings: of random specs in the table.
    """
    lines = [
        f"Each surrogate is asked about the random trainings, of {trainings}, that it has not learned from. "
        "The figures are of the AP after the full length: mean ± standard deviation over the subsets.\n",
        f"| trainings | subsets | {' | '.join(FIGURES.values())} |",
        "| --- | --- |" + " --- |" * len(FIGURES),
    ]
    for size, subsets in curve.items():
        columns = [np.array([subset[name] for subset in subsets]) for name in FIGURES]
        digits = [3 if name == "error" else 2 for name in FIGURES]
        cells = [
            f"{values.mean():.{places}f} ± {values.std(ddof=1):.{places}f}"
            for values, places in zip(columns, digits, strict=True)
        ]
        lines.append(f"| {size} | {len(subsets)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Writes the curve's figures and a table of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path, help="folder of the results")
    parser.add_argument("--table", type=Path, default=DATA_FOLDER, help="folder of the published table")
    parser.add_argument("--subsets", type=int, default=8, help="surrogates of each size, at least 2")
    parser.add_argument("--seed", type=int, default=0, help="of the subsets")
    options = parser.parse_args()
    random = [t for t in read_trainings(options.table / TRAININGS) if t.group == RANDOM]
    sizes = [size for size in SIZES if size <= 0.75 * len(random)]
    curve = learning_curve(random, sizes, options.subsets, options.seed)
    benchmark = f"spinenet_bench.{Path(__file__).stem}"
    data: dict[str, Any] = {
        "command": command_line(benchmark),
        "machine": machine_name(),
        "versions": {name: version(name) for name in ("spinenas", "numpy", "scipy")},
        "seed": options.seed,
        "trainings": len(random),
        "table": table_digest(random),
        "curve": curve,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    replace_file(options.out / f"{NAME}.json", json.dumps(data, indent=1) + "\n")
    write_report(options.out / f"{NAME}.md", benchmark, describe(curve, len(random)))


if __name__ == "__main__":
    main()
