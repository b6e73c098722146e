"""Draws what the published table says.

uv run python -m benchmarks.spinenet_bench.pictures docs/spinenet-bench.png
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator
from scipy.stats import rankdata

from benchmarks.spinenet_bench.facts import MOST_EXCESS, RANDOM, Facts, table_facts
from benchmarks.spinenet_bench.long_trainings import LONGEST, long_trainings
from benchmarks.spinenet_bench.neighbors import BIN, Neighbors
from benchmarks.spinenet_bench.recipe import FULL, LENGTHS
from benchmarks.spinenet_bench.seeds import Repeats
from nas.reporting.figures import FAINT, NEUTRAL, PALETTE, figure_file
from proxy_tasks.spinenet_bench.settings import SETTINGS, Settings, read_settings
from proxy_tasks.spinenet_bench.trainings import (
    DATA_FOLDER,
    TRAININGS,
    RecordedTraining,
    column,
    read_trainings,
)
from proxy_tasks.spinenet_bench.trainings import FULL as FULL_OUTPUT
from search_space.encoding import Matrix

COLUMNS = 4
"""Panels in a row."""


def draw(trainings: Sequence[RecordedTraining], settings: Settings, path: Path) -> None:
    """Draws a panel for each question of which the table says something.

    Always: AP over excess, depth and cost, ranks at short lengths, the surrogate, and how far the AP of specs
    differs that are near each other. Only once there are such trainings: noise over quality, and ranks at
    the full length against those at four times of it.

    Args:
        trainings: of the table.
        settings: of its surrogate.
        path: PNG, SVG or PDF file.
    """
    facts = table_facts(trainings, settings)
    kept = [place for place, training in enumerate(trainings) if training.group == RANDOM]
    expected = np.array(settings.expected)[kept, FULL_OUTPUT]
    random = [trainings[place] for place in kept]  # The figures are of these too.
    panels = [partial(_draw_excess, facts, random), partial(_draw_depth, random), partial(_draw_cost, random)]
    panels += [partial(_draw_ranks, random, length, FULL, facts.short[length][0]) for length in LENGTHS[1:-1]]
    if facts.long is not None:
        long = long_trainings(trainings)
        panels.append(partial(_draw_ranks, long, FULL, LONGEST, facts.long.ranks[FULL][0]))
    panels.append(partial(_draw_surrogate, expected, random, facts.surrogate[0]))
    if facts.repeats is not None:
        panels.append(partial(_draw_noise, facts.repeats))
    panels.append(partial(_draw_neighbors, facts.neighbors))
    rows = math.ceil(len(panels) / COLUMNS)
    with figure_file(path, 3.5 * COLUMNS, 3.2 * rows) as figure:
        places = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
        for axes, panel in zip_longest(places, panels):
            if panel is None:
                axes.set_axis_off()
            else:
                panel(axes)


def _jitter(count: int) -> Matrix:
    return np.random.default_rng(0).uniform(-0.2, 0.2, count)


def _draw_excess(facts: Facts, trainings: Sequence[RecordedTraining], axes: Any) -> None:
    excess = np.minimum(column(trainings, "excess"), MOST_EXCESS)
    _points(axes, excess + _jitter(len(excess)), column(trainings, f"val_AP_{FULL}"))
    for value, (_, mean) in facts.by_excess.items():
        axes.hlines(mean, value - 0.35, value + 0.35, color=PALETTE[1], linewidth=2)
    axes.set(title="AP by excess", xlabel="excess, summed over the outputs", ylabel=f"AP, {FULL} steps")
    axes.set_xticks(range(MOST_EXCESS + 1), [*map(str, range(MOST_EXCESS)), f"{MOST_EXCESS}+"])


def _draw_depth(trainings: Sequence[RecordedTraining], axes: Any) -> None:
    depth = column(trainings, "shortest_path")
    _points(axes, depth + _jitter(len(depth)), column(trainings, f"val_AP_{FULL}"))
    axes.set(title="AP by depth", xlabel="blocks on the shortest path, mean over outputs")


def _draw_cost(trainings: Sequence[RecordedTraining], axes: Any) -> None:
    _points(axes, column(trainings, "macs") / 1e6, column(trainings, f"val_AP_{FULL}"))
    axes.set(title="AP by cost", xlabel="million multiply-adds of an image")


def _draw_ranks(trainings: Sequence[RecordedTraining], length: int, last: int, tau: float, axes: Any) -> None:
    """Ranks after a length against those after the last one of the same trainings."""
    _points(axes, *(rankdata(-column(trainings, f"val_AP_{n}")) for n in (length, last)))
    axes.set(
        title=f"Ranks after {length} steps: tau {tau:.2f}",
        xlabel=f"rank after {length} steps",
        ylabel=f"rank after {last} steps",
    )


def _draw_surrogate(expected: Matrix, trainings: Sequence[RecordedTraining], tau: float, axes: Any) -> None:
    ap = column(trainings, f"val_AP_{FULL}")
    _points(axes, expected, ap)
    ends = [float(min(expected.min(), ap.min())), float(max(expected.max(), ap.max()))]
    axes.plot(ends, ends, color=NEUTRAL, linewidth=1)
    axes.set(title=f"Surrogate, cross-validated: tau {tau:.2f}", xlabel="expected AP", ylabel="AP")


def _draw_noise(repeats: Repeats, axes: Any) -> None:
    """A point for each spec with several seeds, and a line for each third of them."""
    _points(axes, repeats.means, repeats.deviations)
    parts = np.array_split(np.sort(repeats.means), len(repeats.by_quality))
    for part, (_, deviation) in zip(parts, repeats.by_quality, strict=True):
        axes.hlines(deviation, part.min(), part.max(), color=PALETTE[1], linewidth=2)
    axes.set(
        title=f"Noise over quality: {len(repeats.means)} specs",
        xlabel=f"mean AP of a spec, {FULL} steps",
        ylabel="standard deviation between seeds",
    )


def _draw_neighbors(neighbors: Neighbors, axes: Any) -> None:
    """Differences by distance: their mean, and the middle half of them."""
    found = neighbors.differences
    centers = [distance if neighbors.unit == "edits" else distance + (BIN - 1) / 2 for distance in found]
    means = [float(np.mean(values)) for values in found.values()]
    ends = [np.quantile(values, (0.25, 0.75)) for values in found.values()]
    axes.vlines(centers, [low for low, _ in ends], [high for _, high in ends], color=FAINT, linewidth=5)
    axes.plot(centers, means, "o", color=PALETTE[0])
    axes.axhline(neighbors.random, color=NEUTRAL, linewidth=1)
    axes.set_ylim(bottom=0)
    axes.set_xlim(min(centers, default=1) - 1, max(centers, default=1) + 1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    title, unit = "Random specs: differences of the AP", "decisions that differ (line: all pairs)"
    if neighbors.unit == "edits":
        title, unit = "How far neighbors resemble each other", "edits (line: two random specs)"
    axes.set(title=title, xlabel=unit, ylabel="absolute difference of the AP")


def _points(axes: Any, x: Any, y: Any) -> None:
    axes.scatter(x, y, s=14, color=PALETTE[0], edgecolor=FAINT, linewidth=0.4, alpha=0.8)


def main() -> None:
    """Draws the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("path", type=Path, help="file of the picture")
    parser.add_argument("--table", type=Path, default=DATA_FOLDER, help="folder of the published table")
    options = parser.parse_args()
    table = options.table
    draw(read_trainings(table / TRAININGS), read_settings(table / SETTINGS), options.path)


if __name__ == "__main__":
    main()
