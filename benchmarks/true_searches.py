"""Whether searches with real trainings look like those that are simulated on the table of detectors.

    uv run python -m benchmarks.true_searches benchmarks/results/default-search OUT --simulated 200

The real searches are those that `benchmarks.default_search` or `benchmarks.real_searches` has made on
generated images, each with the rewards of its trials. The same searches are simulated on the shipped table
and its surrogate, with other seeds. What is compared is the best reward so far after each trial: a real
search looks like the simulated ones if it stays inside the band between their 5th and their 95th percentile.
Simulated searches that are in OUT are not made again.

The shipped prior is learned from the trainings of the table, so on the table it would know the answers. Where
a search begins with the prior, the simulated one gets it with noise, by which it ranks specs as well as the
surrogate ranks those that it does not know.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import kendalltau

from benchmarks.machine import write_report
from benchmarks.regret import CONTROLLERS
from benchmarks.rows import add_row, read_rows
from nas.executors import LocalExecutor
from nas.reporting.figures import NEUTRAL, PALETTE, figure_file
from nas.search.config import SearchConfig, default_staleness
from nas.search.loop import run_search
from proxy_tasks.adapted_task import adapt
from proxy_tasks.spinenet_bench import SpineNetBenchTask
from proxy_tasks.spinenet_bench.prior import TablePrior
from proxy_tasks.spinenet_bench.trainings import LENGTHS
from search_space import graph_features, published_space
from search_space.encoding import Matrix

LOW, HIGH = 0.05, 0.95
"""The band."""

TABLE_PRIOR, NOISE = TablePrior(), 0.4
"""What is known before the simulated searches, and how many deviations of noise are added to it."""

WORKERS = 2
"""Of the real searches; proposals know as many scores as theirs."""


@dataclass(frozen=True, kw_only=True)
class Design:
    """How a search is simulated.

    Args:
        controller: name in `benchmarks.regret.CONTROLLERS`.
        trials, fidelity: of the search.
        prior: whether it begins with what the table tells.
    """

    controller: str
    trials: int
    fidelity: float
    prior: bool

    @property
    def title(self) -> str:
        """The design in words."""
        what = f"{self.controller}{' with the prior' if self.prior else ''}"
        return f"{what},\n{self.trials} trainings of {round(self.fidelity * LENGTHS[-1])} steps"


DESIGNS = {
    "before": Design(controller="random", trials=10, fidelity=0.25, prior=False),
    "now": Design(controller="predictor", trials=14, fidelity=0.25, prior=True),
    "shorter": Design(controller="predictor", trials=26, fidelity=0.125, prior=True),
    "fifty": Design(controller="predictor", trials=160, fidelity=0.25, prior=False),
}
"""Those of `benchmarks.default_search` and of `benchmarks.real_searches`, by their names. The latter keep a
part of the validation images for finalists, so that their rewards are noisier than those of the table."""


FIRST_SEED = 10_000
"""Of the simulated searches."""


def noisy_prior(specs: Sequence[Any]) -> Matrix:
    """What the table tells of specs, with noise that is always the same for a spec."""
    noise = [np.random.default_rng([*spec.key().encode()]).standard_normal() for spec in specs]
    return TABLE_PRIOR(specs) + NOISE * np.array(noise)


def rank_correlations(seed: int = 0, count: int = 400) -> tuple[float, float]:
    """Kendall's tau of the noisy prior with the mean AP of random specs: over all, and within excess 0."""
    space, rng = published_space("spinenet-49"), np.random.default_rng(seed)
    specs: list[Any] = [space.decode(space.sample(rng)) for _ in range(count)]
    task = SpineNetBenchTask(evaluations=1, noise="mean")
    ap = np.array([task.evaluate(spec, 1.0, 0, lambda *_: None).reward for spec in specs])
    prior, zero = noisy_prior(specs), np.array([graph_features(spec)["excess"] == 0 for spec in specs])
    return float(kendalltau(prior, ap).statistic), float(kendalltau(prior[zero], ap[zero]).statistic)


def simulate(seed: int, design: Design) -> list[float]:
    """Simulates a search; gives the best reward so far after each trial."""
    space = published_space("spinenet-49")
    config = SearchConfig(
        seed=seed,
        fidelity=design.fidelity,
        max_staleness=default_staleness(WORKERS, design.trials, differ=False),
        prior=noisy_prior if design.prior else None,
    )
    controller, task = (
        CONTROLLERS[design.controller](space, seed, design.trials),
        adapt(SpineNetBenchTask(evaluations=1)),
    )
    found = run_search(space, controller, task, LocalExecutor(), design.trials, None, config=config)
    return best_so_far([trial.rewards[0] if trial.rewards else None for trial in found.trials.search])


def _simulate_row(job: tuple[str, int]) -> dict[str, Any]:
    name, seed = job
    best = [round(reward, 4) for reward in simulate(seed, DESIGNS[name])]
    return {"design": name, "seed": seed, "best": best}


def best_so_far(rewards: Sequence[float | None]) -> list[float]:
    """The best of the rewards up to each one; a failure has none, and is as poor as can be."""
    return [float(best) for best in np.maximum.accumulate([reward or 0.0 for reward in rewards])]


def inside(curve: Sequence[float], simulated: Matrix) -> float:
    """The share of the points of a curve that lie inside the band."""
    low, high = np.quantile(simulated, [LOW, HIGH], axis=0)
    return float(np.mean((low <= curve) & (curve <= high)))


def describe(real: Mapping[str, Sequence[Sequence[float]]], simulated: Mapping[str, Matrix]) -> str:
    """Gives for each design how many real searches and how many of their points are inside, in Markdown."""
    lines = [
        "| design | real searches | simulated | end inside the 90 % band | points inside "
        "| best rewards at the end | the band at the end |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, curves in real.items():
        band = np.quantile(simulated[name][:, -1], [LOW, HIGH])
        ends = sum(bool(band[0] <= curve[-1] <= band[1]) for curve in curves)
        points = np.mean([inside(curve, simulated[name]) for curve in curves])
        lines.append(
            f"| {name} | {len(curves)} | {len(simulated[name])} | {ends} | {points:.0%} "
            f"| {', '.join(f'{curve[-1]:.3f}' for curve in curves)} | {band[0]:.3f} to {band[1]:.3f} |"
        )
    return "\n".join(lines) + "\n"


def draw(real: Mapping[str, Sequence[Sequence[float]]], simulated: Mapping[str, Matrix], path: Path) -> None:
    """Draws the real searches over the bands of the simulated ones."""
    with figure_file(path, 4 * len(real), 3.4) as figure:
        axes = figure.subplots(1, len(real), sharey=True, squeeze=False).ravel()
        for axis, (name, curves) in zip(axes, real.items(), strict=True):
            low, middle, high = np.quantile(simulated[name], [LOW, 0.5, HIGH], axis=0)
            trials = np.arange(1, len(low) + 1)
            band = f"{HIGH - LOW:.0%} of {len(simulated[name])} simulated searches"
            axis.fill_between(trials, low, high, color=NEUTRAL, alpha=0.25, linewidth=0, label=band)
            axis.plot(trials, middle, color=NEUTRAL, linewidth=1, label="their median")
            for i, curve in enumerate(curves):
                label = f"{len(curves)} real searches" if i == 0 else None
                axis.plot(trials, curve, color=PALETTE[1], linewidth=1.2, label=label)
            axis.set(title=DESIGNS[name].title, xlabel="training", xlim=(1, len(low)))
        axes[0].set(ylabel="best AP so far")
        axes[0].legend(loc="lower right", fontsize="small")


def main() -> None:
    """Writes `table.md` and `searches.png`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("real", type=Path, help="folder that one of these has written")
    parser.add_argument("out", type=Path)
    parser.add_argument("--simulated", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    rows = read_rows(options.real / "searches.jsonl")
    real = {
        name: [best_so_far(row["rewards"]) for row in rows if row["design"] == name]
        for name in DESIGNS
        if any(row["design"] == name for row in rows)
    }
    path, digest = options.out / "simulated.jsonl", SpineNetBenchTask().digest
    if any(row["table"] != digest for row in read_rows(path)):
        parser.error(f"{path} has searches on another table; give another folder")
    done = {(row["design"], row["seed"]) for row in read_rows(path)}
    wanted = [(name, FIRST_SEED + number) for number in range(options.simulated) for name in real]
    with Pool(options.workers) as pool:
        for row in pool.imap_unordered(_simulate_row, [job for job in wanted if job not in done]):
            add_row(path, {"table": digest, **row})
    there = read_rows(path)
    simulated = {name: np.array([row["best"] for row in there if row["design"] == name]) for name in real}
    draw(real, simulated, options.out / "searches.png")
    text = describe(real, simulated)
    if any(DESIGNS[name].prior for name in real):
        taus = "{:.2f} over all, {:.2f} within excess 0".format(*rank_correlations())
        text += f"\nKendall's tau of the noisy prior with the mean AP: {taus}.\n"
    write_report(options.out / "table.md", "true_searches", text)


if __name__ == "__main__":
    main()
