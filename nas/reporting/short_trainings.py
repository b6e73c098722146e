"""What short trainings misjudge: trials that went on whatever their rewards, before and after."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from scipy.stats import kendalltau

from nas.journal.history import History
from nas.journal.trials import Trial
from nas.reporting.blocks import Table

FEWEST = 8
"""Of fewer trials, nothing is said."""

DEPTH = "shortest_path"
"""The metric that tells how deep a network is: blocks from the stem to an output."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """A trial that went on at random from a rung.

    Args:
        rung: how often it had been paused.
        before: reward at the rung.
        after: reward at the next one, or at the end.
        depth: blocks from the stem to an output, on average; NaN where this is not known.
    """

    rung: int
    before: float
    after: float
    depth: float


def random_steps(history: History) -> Iterator[Step]:
    """Gives the trials that went on at random and have come to the next rung or the end."""
    for row in history.rows:
        if not row.trial.at_random or row.trial.resume_from is None or row.rewards is None:
            continue
        before = history.rows[row.trial.resume_from]
        if before.rewards is None:
            continue
        known = [found.metrics.get(DEPTH) for found in (row, before)]
        depth = next((float(value) for value in known if isinstance(value, int | float)), math.nan)
        rung = _pauses(before.trial, history.trials.all)
        yield Step(rung=rung, before=before.rewards[0], after=row.rewards[0], depth=depth)


def _pauses(trial: Trial, trials: Sequence[Trial]) -> int:
    """How often a paused trial had been paused, this time included."""
    return 1 if trial.resume_from is None else 1 + _pauses(trials[trial.resume_from], trials)


def show_short_trainings(folder: Path, history: History) -> Table | None:
    """For each rung: how rewards before and after agree, and whether deep networks gain more than others."""
    steps = list(random_steps(history))
    if not steps:
        return None
    rows = []
    for rung in sorted({step.rung for step in steps}):
        chosen = [step for step in steps if step.rung == rung]
        deep = [step for step in chosen if not math.isnan(step.depth)]
        agreement = _kendall([step.before for step in chosen], [step.after for step in chosen])
        bias = _kendall([step.depth for step in deep], [step.after - step.before for step in deep])
        rows.append([str(rung), str(len(chosen)), agreement, bias])
    return Table(
        title="Short trainings, and what they misjudge",
        head=["rung", "went on at random", "Kendall, reward here and next", "Kendall, depth and gain"],
        rows=rows,
        notes=[
            "Only trials that went on at random are counted, because the best of a rung are the lucky ones. "
            "The gain is the reward at the next rung, or at the end, minus the reward here. A positive last "
            "column means that short trainings are unfair to deep networks."
        ],
    )


def _kendall(a: Sequence[float], b: Sequence[float]) -> str:
    """A rank correlation with its p, or why there is none."""
    if len(a) < FEWEST:
        return f"too few: {len(a)} of {FEWEST}"
    if len(set(a)) < 2 or len(set(b)) < 2:
        return "all are equal"
    found = kendalltau(a, b)
    return f"{found.statistic:.2f} (p {found.pvalue:.2g})"
