"""Draws what the published table says.

uv run python -m benchmarks.spinenet_bench.pictures docs/spinenet-bench.png
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

from benchmarks.spinenet_bench.facts import MOST_EXCESS, RANDOM, column, table_facts
from benchmarks.spinenet_bench.recipe import FULL, LENGTHS
from nas.reporting.figures import FAINT, NEUTRAL, PALETTE, figure_file
from proxy_tasks.spinenet_bench.surrogate import FULL as FULL_OUTPUT
from proxy_tasks.spinenet_bench.surrogate import SETTINGS, Settings, read_settings
from proxy_tasks.spinenet_bench.trainings import DATA_FOLDER, TRAININGS, RecordedTraining, read_trainings


def draw(trainings: Sequence[RecordedTraining], settings: Settings, path: Path) -> None:
    """Draws AP over excess, depth and cost, ranks at short lengths, and the surrogate.

    Args:
        trainings: of the table.
        settings: of its surrogate.
        path: PNG, SVG or PDF file.
    """
    facts = table_facts(trainings, settings)
    kept = [place for place, training in enumerate(trainings) if training.group == RANDOM]
    expected = np.array(settings.expected)[kept, FULL_OUTPUT]
    trainings = [trainings[place] for place in kept]  # The figures are of these too.
    ap = column(trainings, f"val_AP_{FULL}")
    jitter = np.random.default_rng(0).uniform(-0.2, 0.2, len(ap))
    excess = np.minimum(column(trainings, "excess"), MOST_EXCESS)
    depth = column(trainings, "shortest_path")
    with figure_file(path, 11, 6.4) as figure:
        axes = figure.subplots(2, 3).ravel()
        _points(axes[0], excess + jitter, ap)
        for value, (_, mean) in facts.by_excess.items():
            axes[0].hlines(mean, value - 0.35, value + 0.35, color=PALETTE[1], linewidth=2)
        axes[0].set(
            title="AP by excess", xlabel="excess, summed over the outputs", ylabel=f"AP, {FULL} steps"
        )
        axes[0].set_xticks(range(MOST_EXCESS + 1), [*map(str, range(MOST_EXCESS)), f"{MOST_EXCESS}+"])
        _points(axes[1], depth + jitter, ap)
        axes[1].set(title="AP by depth", xlabel="blocks on the shortest path, mean over outputs")
        _points(axes[2], column(trainings, "macs") / 1e6, ap)
        axes[2].set(title="AP by cost", xlabel="million multiply-adds of an image")
        for place, length in enumerate(LENGTHS[1:-1], start=3):
            ranks = [rankdata(-column(trainings, f"val_AP_{n}")) for n in (length, FULL)]
            _points(axes[place], *ranks)
            axes[place].set(
                title=f"Ranks after {length} steps: tau {facts.short[length][0]:.2f}",
                xlabel=f"rank after {length} steps",
                ylabel=f"rank after {FULL} steps",
            )
        _points(axes[5], expected, ap)
        ends = [float(min(expected.min(), ap.min())), float(max(expected.max(), ap.max()))]
        axes[5].plot(ends, ends, color=NEUTRAL, linewidth=1)
        axes[5].set(
            title=f"Surrogate, cross-validated: tau {facts.surrogate[0]:.2f}",
            xlabel="expected AP",
            ylabel="AP",
        )


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
