"""Deviations: how far scores lie from what is expected, as they were seen on the table.

A training deviates for two reasons: its spec's own, which its graph does not tell, and its seed's. Each is
drawn from what was seen, for all lengths and parts at once, from trainings whose expected AP is near.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from proxy_tasks.spinenet_bench.trainings import FULL, OUTPUTS, RecordedTraining, spec_groups
from search_space.encoding import Matrix

NEAR = 40
"""A deviation is drawn from this number of seen ones: those whose expected AP is nearest."""

SEED_SPREAD = {70: 0.0141, 140: 0.0316, 280: 0.0367, 560: 0.0193}
"""By length, the standard deviation of the AP over seeds: 24 random specs of excess 0 with two seeds each
(benchmarks/results/anytime)."""

SEED_FREEDOM = 24
"""Degrees of freedom of `SEED_SPREAD`: what the table's repeated specs tell is weighed against it."""

FAR_SHARE, FAR = 0.05, 4.0
"""Share of the specs that lie far from what is expected, and how far beside the deviation of usual ones. Of
the table's random specs of excess 0, 4 % have an AP that is some 0.1 lower than their like."""

MAD, LEAST_VARIANCE = 1.4826, 1e-8
"""Standard deviation of a normal distribution with a median absolute deviation of 1; a least variance."""

FEWEST_REPEATED = 20
"""Specs with several trainings from which the deviations of seeds are drawn; fewer tell too few of them."""


@dataclass(frozen=True, kw_only=True)
class Deviations:
    """Deviations that were seen.

    Args:
        at: expected AP of the full length at which each was seen, ascending, [D].
        values: of each output, [D, outputs].
    """

    at: Matrix
    values: Matrix

    def draw(self, expected: float, text: str) -> Matrix:
        """Gives one of those that were seen nearest to an expected AP, without their mean, [outputs].

        Each has a rank that depends on the text, and the first of those near wins: where the expected AP
        changes a little, the choice seldom does.

        Args:
            expected: the AP.
            text: which one.
        """
        near = nearest(self.at, expected)
        first = min(near, key=lambda place: chance(f"{text} {place}"))
        return np.asarray(self.values[first] - self.values[near].mean(0))

    def around(self, expected: float) -> Matrix:
        """Gives those that were seen nearest to an expected AP, without their mean, [`NEAR`, outputs].

        So what is drawn is on average what is expected, also where searches have trained the nearest ones.
        """
        values = self.values[nearest(self.at, expected)]
        return np.asarray(values - values.mean(0))


def nearest(at: Matrix, expected: float) -> list[int]:
    """Gives the places of the `NEAR` expectations, of [N], that are nearest to one."""
    found: list[int] = np.argsort(np.abs(at - expected), kind="stable")[:NEAR].tolist()
    return found


def chance(text: str) -> float:
    """Gives a number in [0, 1) that depends on the text alone, on every machine."""
    digest = blake2b(text.encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53


def deviations(
    trainings: Sequence[RecordedTraining], targets: Matrix, expected: Matrix, shares: Matrix
) -> tuple[Deviations, Deviations]:
    """Gives the specs' own deviations and those of seeds.

    Args:
        trainings: N of them.
        targets: their scores, [N, outputs].
        expected: what models that do not know them expect of them, [N, outputs].
        shares: see `own_shares`, [N, outputs].
    """
    apart, at = targets - expected, expected[:, FULL]
    repeated = [places for places in spec_groups(trainings) if len(places) > 1]
    if len(repeated) >= FEWEST_REPEATED:
        of_seeds = [
            (
                float(at[place]),
                (targets[place] - targets[places].mean(0)) * np.sqrt(len(places) / (len(places) - 1)),
            )
            for places in repeated
            for place in places
        ]
    else:
        of_seeds = _pairs(at, apart * np.sqrt(1 - shares))
    of_specs = _pairs(at, apart * np.sqrt(shares))
    return _sorted(of_specs), _sorted(of_seeds)


def trained_once(
    trainings: Sequence[RecordedTraining], targets: Matrix, expected: Matrix, shares: Matrix
) -> dict[str, tuple[Matrix, Matrix]]:
    """Gives, by key, what was expected of specs with one training, and their mean scores, [outputs] each.

    What the training deviates from what was expected is the spec's own in part, and the seed's in part. The
    mean score has the first part alone.

    Args:
        trainings, targets, expected, shares: see `deviations`.
    """
    return {
        trainings[place].key: (
            expected[place],
            expected[place] + shares[place] * (targets[place] - expected[place]),
        )
        for place, *others in spec_groups(trainings)
        if not others
    }


def _pairs(at: Matrix, values: Matrix) -> list[tuple[float, Matrix]]:
    return list(zip(at.tolist(), values, strict=True))


def _sorted(found: Sequence[tuple[float, Matrix]]) -> Deviations:
    ordered = sorted(found, key=lambda pair: pair[0])
    return Deviations(at=np.array([a for a, _ in ordered]), values=np.array([value for _, value in ordered]))


def seed_variance(trainings: Sequence[RecordedTraining], targets: Matrix) -> Matrix:
    """Gives the variance of each output over seeds, [outputs].

    It is the square of `SEED_SPREAD`, with the weight of `SEED_FREEDOM`, and the variance of repeated specs
    of excess 0, or of all if there are none of these, with the weight of one less than the trainings of each.

    Args:
        trainings: N of them.
        targets: their scores, [N, outputs].
    """
    alike = [place for place, training in enumerate(trainings) if training.scores.get("excess") == 0]
    alike = alike or list(range(len(trainings)))
    squares = SEED_FREEDOM * np.square([SEED_SPREAD[length] for _, length in OUTPUTS])
    freedom = SEED_FREEDOM
    for places in spec_groups([trainings[place] for place in alike]):
        values = targets[[alike[place] for place in places]]
        squares = squares + np.square(values - values.mean(0)).sum(0)
        freedom += len(places) - 1
    return np.asarray(squares / freedom)


def own_shares(apart: Matrix, at: Matrix, seeds: Matrix) -> Matrix:
    """Gives the share of each deviation that is the spec's own, [N, outputs]; the rest is the seed's.

    Most trainings deviate hardly more than seeds do, and some specs lie far off. So a deviation is taken for
    one of two kinds: a usual one, as large as those of the trainings near it, or a far one. The shares of
    both follow from their variances and that of seeds, and count as likely as the kinds are.

    Args:
        apart: how far N trainings lie from what was expected, [N, outputs].
        at: expected AP of each after the full length, [N].
        seeds: variance over seeds, [outputs].
    """
    found = np.empty_like(apart)
    for place, expected in enumerate(at.tolist()):
        near = apart[nearest(at, expected)]
        middle = np.median(near, axis=0)
        usual = np.square(MAD * np.median(np.abs(near - middle), axis=0)).clip(LEAST_VARIANCE)
        far = usual * (1 + FAR**2)
        square = np.square(apart[place] - middle)
        # Logarithm of how much likelier it is that the deviation is a far one.
        odds = np.log(FAR_SHARE / (1 - FAR_SHARE) * np.sqrt(usual / far)) + square * (1 / usual - 1 / far) / 2
        is_far = 1 / (1 + np.exp(-odds.clip(-50, 50)))
        shares = [(1 - seeds / variance).clip(0) for variance in (usual, far)]
        found[place] = (1 - is_far) * shares[0] + is_far * shares[1]
    return found
