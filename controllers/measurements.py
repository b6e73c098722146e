"""What was measured of the trainings of a search, and which lengths can be learned from it."""

from __future__ import annotations

import math
from bisect import bisect
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from controllers.controller import LARGEST
from controllers.evidence import REWARD, Evidence, Length
from search_space import Genotype
from search_space.encoding import Matrix

MOST_LENGTHS = 4
"""Reports after which trainings were ended early, and that are learned as lengths of their own. A training
that was ended at another one counts by what it reported before."""


@dataclass
class _Training:
    """One evaluation, which may have been interrupted several times.

    Args:
        genotype: what was trained.
        measured: values of the metrics by length, [F]; NaN for those that were not measured. The reward is
            the first of them; losses are negative, so that more is better.
        curve: rewards by length that were reported on the way.
        failed: whether its last word is a failure.
    """

    genotype: Genotype
    measured: dict[Length, Matrix] = field(default_factory=dict)
    curve: dict[Length, float] = field(default_factory=dict)
    failed: bool = False


class Measurements:
    """Keeps what was measured of trainings.

    Args:
        losses: metrics that are kept beside the reward; smaller ones are better.

    Attributes:
        added: how often something was added.
    """

    def __init__(self, losses: Sequence[str]) -> None:
        self.losses = tuple(losses)
        self.added = 0
        self._trainings: dict[int, _Training] = {}

    def __len__(self) -> int:
        return len(self._trainings)

    def __contains__(self, training: int) -> bool:
        return training in self._trainings

    def genotype(self, training: int) -> Genotype:
        """Gives what a known training trains."""
        return self._trainings[training].genotype

    def add(self, training: int, genotype: Genotype, evidence: Evidence) -> None:
        """Takes what was measured of a training, which may be known already.

        Args:
            training: its number.
            genotype: what was trained.
            evidence: without a reward that can be squared it is left out.
        """
        losses = [-evidence.metrics.get(name, math.nan) for name in self.losses]
        found = np.array([evidence.metrics.get(REWARD, math.nan), *losses], np.float64)
        found[~(np.abs(found) < LARGEST)] = np.nan
        if np.isnan(found[0]):
            return
        self.added += 1
        known = self._trainings.setdefault(training, _Training(genotype))
        known.measured[evidence.length], known.failed = found, False
        for step, reward in evidence.curve.items():
            if abs(reward) < LARGEST:
                known.curve[evidence.length._replace(step=step)] = reward

    def add_failure(self, training: int, genotype: Genotype) -> None:
        """Takes a failure: it counts like the worst reward of all trainings at the first length."""
        self.added += 1
        self._trainings.setdefault(training, _Training(genotype)).failed = True

    def by_length(self) -> dict[int, Mapping[Length, Matrix]]:
        """What was measured of the trainings, by number, at the lengths that are learned.

        A failed one has a reward too.
        """
        done = {number: t for number, t in self._trainings.items() if not t.failed}
        kept = _kept_lengths([length for training in done.values() for length in training.measured])
        if not kept:
            return {}
        found = {number: self._at(kept, training) for number, training in done.items()}
        worst = np.full(1 + len(self.losses), np.nan)
        worst[0] = min(measured[kept[0]][0] for measured in found.values() if kept[0] in measured)
        return {n: {kept[0]: worst} if t.failed else found[n] for n, t in self._trainings.items()}

    def _at(self, lengths: Sequence[Length], training: _Training) -> dict[Length, Matrix]:
        """What was measured of a training at lengths; on its way it may have reported rewards alone."""
        found = {}
        for length in lengths:
            if length in training.measured:
                found[length] = training.measured[length]
            elif length in training.curve:
                found[length] = np.full(1 + len(self.losses), np.nan)
                found[length][0] = training.curve[length]
        if not found:  # It was ended where few others were, and nothing tells what it had reported before.
            last = max(training.measured)
            found[lengths[max(0, bisect(lengths, last) - 1)]] = training.measured[last]
        return found


def _kept_lengths(ended: Sequence[Length]) -> list[Length]:
    """The lengths that are learned, ascending: all ends of evaluations, and some of the reports after which
    trainings were ended early: the first, the last and the commonest."""
    counts = Counter(ended)
    whole = [length for length in counts if math.isinf(length.step)]
    early = sorted(counts.keys() - whole)
    between = sorted(early[1:-1], key=lambda length: -counts[length])[: MOST_LENGTHS - 2]
    return sorted({*whole, *early[:1], *early[-1:], *between})
