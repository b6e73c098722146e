"""Which decisions of a space went with the rewards of a search, and how much chance alone would show."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

SHUFFLES, CONFIDENCE = 40, 0.95


def importance(genotypes: Sequence[Sequence[int]], rewards: Sequence[float]) -> list[float]:
    """Share of the rewards' variance that each decision's answer explains alone, less what chance gives.

    The bias-corrected correlation ratio (epsilon squared), at least 0.

    Args:
        genotypes: of the trials, answers in the order of the decisions.
        rewards: of the same trials.
    """
    return _shares(_groups(genotypes), np.asarray(rewards, float))


def chance_level(genotypes: Sequence[Sequence[int]], rewards: Sequence[float]) -> float:
    """The share that the greatest of all decisions stays below in 19 of 20 shuffles of the rewards.

    With few trials and many decisions some decision always seems to matter; what lies above this does.
    """
    groups, rng = _groups(genotypes), np.random.default_rng(0)
    shuffled = (rng.permutation(np.asarray(rewards, float)) for _ in range(SHUFFLES))
    return float(np.quantile([max(_shares(groups, y), default=0.0) for y in shuffled], CONFIDENCE))


def _groups(genotypes: Sequence[Sequence[int]]) -> list[npt.NDArray[np.int64]]:
    """For each decision, the number of each trial's answer among those given."""
    return [np.unique(answers, return_inverse=True)[1] for answers in np.asarray(genotypes).T]


def _shares(groups: list[npt.NDArray[np.int64]], rewards: npt.NDArray[np.float64]) -> list[float]:
    y = rewards / max(float(np.abs(rewards).max()), np.finfo(float).tiny)  # Squares of huge ones overflow.
    y -= y.mean()
    total = float(y @ y)
    found = []
    for group in groups:
        sizes = np.bincount(group)
        between = float((np.bincount(group, y) ** 2 / sizes).sum())
        free = len(y) - len(sizes)
        share = 1 - (total - between) / free * (len(y) - 1) / total if free > 0 and total > 0 else 0.0
        found.append(max(0.0, share))
    return found
