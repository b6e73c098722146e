"""What the surrogate expects of winners of real searches, beside what they score when they are trained again.

    uv run python -m benchmarks.spinenet_bench.winners OUT benchmarks/results/default-search

The table knows none of these networks, and each was trained several times with fresh seeds. So they tell
whether the surrogate expects too much of what searches find, how far a spec's mean lies from what is
expected, and what seeds do. The folders are those of `benchmarks.default_search` and
`benchmarks.real_searches` on generated images, whose images, steps and settings are those of the table.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from benchmarks.machine import write_report
from benchmarks.rows import read_rows
from benchmarks.spinenet_bench.measures import tau
from benchmarks.spinenet_bench.recipe import SPACE
from proxy_tasks.spinenet_bench import read_trainings
from proxy_tasks.spinenet_bench.surrogate import Surrogate, read_surrogate
from proxy_tasks.spinenet_bench.trainings import DATA_FOLDER, TRAININGS
from search_space import Genotype, published_space, spec_from_dict
from search_space.encoding import Matrix


@dataclass(frozen=True, kw_only=True)
class Winner:
    """A network that a real search has found.

    Args:
        search: its name.
        genotype: of the network.
        excess: of its spec.
        scores: AP of each training again, on the images that a search sees.
    """

    search: str
    genotype: Genotype
    excess: float
    scores: tuple[float, ...]


def read_winners(folder: Path) -> Iterator[Winner]:
    """Gives the winners of the searches of a folder that were trained again."""
    trainings = read_rows(folder / "trainings.jsonl")
    for row in read_rows(folder / "searches.jsonl"):
        name = f"search {row['seed']}"
        scores = [found["val"] for found in trainings if _is_of(found, row, name)]
        if len(scores) > 1:
            yield Winner(
                search=f"{row['design']}, {name}",
                genotype=_genotype(row),
                excess=row["excess"],
                scores=tuple(scores),
            )


def _is_of(training: Mapping[str, Any], search: Mapping[str, Any], name: str) -> bool:
    if "name" in training:
        return bool(training["name"] == name)
    return (training["design"], training["seed"]) == (search["design"], search["seed"])


def _genotype(row: Mapping[str, Any]) -> Genotype:
    if "genotype" in row:
        return tuple(row["genotype"])
    return published_space(SPACE).encode(spec_from_dict(row["spec"]))


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """How winners deviate.

    Args:
        difference: mean of what they score minus what is expected.
        error: standard error of this mean.
        own: standard deviation of a winner's mean score around what is expected, without the chance of seeds.
        seeds: standard deviation of trainings around their winner's mean.
        tau: rank correlation of the mean scores with what is expected.
    """

    difference: float
    error: float
    own: float
    seeds: float
    tau: float


def deviation(winners: Sequence[Winner], expected: Matrix) -> Deviation:
    """Finds how winners deviate.

    Args:
        winners: N of them, at least 2.
        expected: AP that the surrogate expects of each, [N].
    """
    means = np.array([np.mean(winner.scores) for winner in winners])
    counts = np.array([len(winner.scores) for winner in winners])
    squares = np.array([np.var(winner.scores, ddof=1) for winner in winners])
    apart = means - expected
    # The mean of n trainings still has 1 / n of the variance of seeds.
    own = float(apart.var(ddof=1) - (squares / counts).mean())
    return Deviation(
        difference=float(apart.mean()),
        error=float(stats.sem(apart)),
        own=max(0.0, own) ** 0.5,
        seeds=float((squares * (counts - 1)).sum() / (counts - 1).sum()) ** 0.5,
        tau=tau(means, expected),
    )


def describe(winners: Sequence[Winner], surrogate: Surrogate) -> str:
    """Gives all winners and how those of excess 0 deviate, in Markdown."""
    expected = surrogate.full([winner.genotype for winner in winners])
    lines = [
        "| search | excess | expected | trained again: mean | each training |",
        "| --- | --- | --- | --- | --- |",
    ]
    for winner, value in zip(winners, expected, strict=True):
        each = ", ".join(f"{score:.3f}" for score in winner.scores)
        lines.append(
            f"| {winner.search} | {winner.excess:.0f} | {value:.3f} | {np.mean(winner.scores):.3f} | {each} |"
        )
    within = [place for place, winner in enumerate(winners) if winner.excess == 0]
    found = deviation([winners[place] for place in within], expected[within])
    usual = float(np.median(expected[within]))
    own, of_seeds = surrogate.spreads(usual)
    lines += [
        f"\n{len(within)} winners of excess 0, of which the surrogate expects {usual:.3f} (median):\n",
        "| | measured | drawn by the task there |",
        "| --- | --- | --- |",
        f"| mean score minus what is expected | {found.difference:+.4f} ± {found.error:.4f} | 0 |",
        f"| standard deviation of a spec's own | {found.own:.4f} | {own:.4f} |",
        f"| standard deviation of seeds | {found.seeds:.4f} | {of_seeds:.4f} |",
        f"\nKendall's tau of the mean scores with what is expected: {found.tau:.2f}.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Writes and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path, help="folder of the results")
    parser.add_argument("searches", type=Path, nargs="+", help="folders of real searches")
    parser.add_argument("--table", type=Path, default=DATA_FOLDER, help="folder of the published table")
    options = parser.parse_args()
    winners = [winner for folder in options.searches for winner in read_winners(folder)]
    if len(winners) < 2:
        parser.error("there are no two searches whose winners were trained again")
    surrogate = read_surrogate(read_trainings(options.table / TRAININGS), options.table)
    options.out.mkdir(parents=True, exist_ok=True)
    benchmark = f"spinenet_bench.{Path(__file__).stem}"
    write_report(options.out / "winners.md", benchmark, describe(winners, surrogate))


if __name__ == "__main__":
    main()
