"""Regret of every controller after so many asks, over seeds: on synthetic scores and on trained detectors.

    uv run python -m benchmarks.regret --seeds 20 --asks 300

The cell space has a known optimum; elsewhere the best score that any run found stands for it. The score of
the detectors is the mean AP in percent, without the noise of single trainings, by a table of the first 150
random trainings of the shipped one and a surrogate of its own: so it stays the same while the table grows.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import cache
from multiprocessing import Pool

import numpy as np
from scipy import stats

from controllers import (
    LocalSearch,
    OptunaController,
    PolicyGradient,
    PredictorSearch,
    RandomSearch,
    RegularizedEvolution,
)
from controllers.controller import Controller
from proxy_tasks.synthetic import synthetic_score
from search_space import Genotype, Space, published_space
from tests.controllers.landscapes import CELLS, best_after, cell_score, detector_score

SPINENET = published_space("spinenet-49")
POINTS = (50, 100, 150, 300, 1000)


@cache
def spinenet_score(genotype: Genotype) -> float:
    """The synthetic score as a percentage."""
    return 100 * synthetic_score(SPINENET.decode(genotype))


SPACES: dict[str, tuple[Space, Callable[[Genotype], float]]] = {
    "cells": (CELLS, cell_score),
    "spinenet-49": (SPINENET, spinenet_score),
    "detectors": (SPINENET, detector_score),
}
CONTROLLERS: dict[str, Callable[[Space, int, int], Controller]] = {
    "random": lambda space, seed, asks: RandomSearch(space, seed),
    "local search": lambda space, seed, asks: LocalSearch(space, seed),
    "evolution": lambda space, seed, asks: RegularizedEvolution(space, seed, trials=asks),
    "reinforce": lambda space, seed, asks: PolicyGradient(space, seed, method="reinforce", trials=asks),
    "ppo": lambda space, seed, asks: PolicyGradient(space, seed, method="ppo", trials=asks),
    "predictor": lambda space, seed, asks: PredictorSearch(space, seed, trials=asks),
    "tpe": lambda space, seed, asks: OptunaController(space, seed),
}


def run(job: tuple[str, str, int, int, int]) -> tuple[list[float], float]:
    """One search: best score after each ask, and seconds."""
    import torch

    torch.set_num_threads(1)
    name, where, seed, asks, lag = job
    space, score = SPACES[where]
    started = time.perf_counter()
    curve = best_after(CONTROLLERS[name](space, seed, asks), score, asks, lag)
    return curve, time.perf_counter() - started


def main() -> None:
    """Prints one table for every space."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seeds", type=int, default=20, help="at least 2")
    parser.add_argument("--asks", type=int, default=300)
    parser.add_argument("--lag", type=int, default=4)
    parser.add_argument("--controllers", nargs="+", default=list(CONTROLLERS))
    parser.add_argument("--spaces", nargs="+", default=list(SPACES))
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    points = [p for p in POINTS if p <= options.asks]
    with Pool(options.workers) as pool:
        for where in options.spaces:
            curves, seconds = {}, {}
            for name in options.controllers:
                jobs = [(name, where, seed, options.asks, options.lag) for seed in range(options.seeds)]
                found = pool.map(run, jobs, chunksize=1)
                curves[name] = np.array([curve for curve, _ in found])
                seconds[name] = float(np.mean([s for _, s in found]))
            best = max(float(c.max()) for c in curves.values())
            if where == "cells":
                from tests.controllers.landscapes import best_cell_score

                best = best_cell_score()
            print(f"\n{where}: mean regret ± standard error, {options.seeds} seeds, best score {best:.2f}\n")
            print("| controller | " + " | ".join(map(str, points)) + " | ms an ask | p against random |")
            print("| --- " * (len(points) + 3) + "|")
            baseline = curves.get("random")
            for name, curve in curves.items():
                regrets = best - curve[:, [point - 1 for point in points]]
                pairs = zip(regrets.mean(0), np.asarray(stats.sem(regrets)), strict=True)
                cells = [f"{mean:.2f} ± {error:.2f}" for mean, error in pairs]
                p_value = "-"
                if baseline is not None and name != "random":
                    last = points[-1] - 1
                    test = stats.mannwhitneyu(curve[:, last], baseline[:, last], alternative="greater")
                    p_value = f"{test.pvalue:.1e}"
                pace = 1000 * seconds[name] / options.asks
                print(f"| {name} | " + " | ".join(cells) + f" | {pace:.1f} | {p_value} |", flush=True)


if __name__ == "__main__":
    main()
