"""Posterior: what all measurements of a search together tell of its networks.

A training is measured at several lengths, and only good trainings are continued. At the first length the
score is a Gaussian process of the network, plus noise. At every other length it is a line over what was
measured at the length before and what had been expected of that, plus another process, plus noise. So what
short trainings say is carried on to the greatest length; it counts as much as it has turned out to be worth;
and what it misjudges, such as deep networks, is corrected by what continued trainings have shown. After the
autoregressive model of Kennedy and O'Hagan (2000, "Predicting the output from a complex computer code when
fast approximations are available"), fitted level by level (Le Gratiet and Garnier 2014). As each level is
learned given that before, it does no harm that only good trainings come to it.

What is known of networks before a search, such as what trainings on other images tell, may stand before the
first length: the search's own trainings show how much it is worth.

A genotype is encoded by the labels of its answers, and by what the graph of its spec tells, where the spec
has graph features.
"""

from __future__ import annotations

import math
from bisect import bisect
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from controllers.controller import LARGEST
from controllers.evidence import REWARD, Evidence, Length, Prior
from controllers.outliers import floor
from search_space import Genotype, Space
from search_space.encoding import MOST_KNOWN, Encoding, Matrix
from search_space.utils.gaussian_process import (
    GaussianProcess,
    Kernel,
    condition,
    find_kernel,
    leave_out,
)

LOSSES = ("loss_25",)
"""Metrics that are evidence beside the reward, where a task has them."""

MOST_TRAININGS = 400
"""Trainings that a level is learned from: half of them the best, the others the latest. A fit takes cubic
time."""

LOWEST = 2.0
"""Values are cut off at this number of deviations below the median: how poor the poor ones are explains
nothing."""

MOST_LENGTHS = 4
"""Reports after which trainings were ended early, and that are learned as lengths of their own. A training
that was ended at another one counts by what it reported before."""

NEWS = 20
"""A process fits its settings again when its data have grown by one part in this number."""

FEWEST = 20
"""Trainings from which a process is learned of what a level has beside the one before."""

ASSUMED = 3
"""This number of trainings counts as much as what is assumed of a line before any training was seen."""

USUAL_SLOPE = 0.4
"""Assumed slope over the reward at the shorter length, and over the expectation of that reward, in
deviations."""

PRIOR_SLOPE = 0.6
"""Assumed slope over the prior, in deviations."""

OWN, TRUST = 0.75, 4
"""A share of the variance that no process explains is a network's own; the rest differs from one of its
trainings to the next. `OWN` is the share that is assumed before any network was trained twice. The assumption
counts as much as `TRUST` second trainings."""


@dataclass(frozen=True, kw_only=True)
class _Inputs:
    """What is known of N networks without any training.

    Args:
        encoded: their encoding.
        prior: of each, [N, 1]; [N, 0] without one.
    """

    encoded: Sequence[Matrix]
    prior: Matrix


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


@dataclass(frozen=True, kw_only=True)
class _Level:
    """What is learned of the F metrics at one length.

    Args:
        floors: lower values count as these, [F].
        spreads: by how much values deviate, [F].
        usual: factors and constants by which metrics follow from the reward, [F, 2].
        center: mean of the rewards.
        before: means of the metrics at the length before, and of the reward that was expected there from the
            inputs alone, [F + 1]; at the first length that of the prior, [1], or nothing, [0].
        slopes: of the line over these.
        process: of the rewards' distances to the line; None where too few are known.
        others: at the first length, what is expected of each training if its own reward is not known. Few
            trainings reach the later lengths, and their own rewards there count.
    """

    floors: Matrix
    spreads: Matrix
    usual: Matrix
    center: float
    before: Matrix
    slopes: Matrix
    process: GaussianProcess | None
    others: Mapping[int, float]

    def line(self, before: Matrix) -> Matrix:
        """The rewards [N] on the line over what is known before, [N, F + 1] or as `before`."""
        return np.asarray(self.center + (before - self.before) @ self.slopes)

    def metrics_of(self, rewards: Matrix) -> Matrix:
        """The metrics [N, F] that usually go with rewards [N]."""
        return rewards[:, None] * self.usual[:, 0] + self.usual[:, 1]

    def filled(self, measured: Matrix) -> Matrix:
        """Measured metrics [F] without gaps and without extremes."""
        low = np.fmax(measured, self.floors)
        return np.where(np.isnan(measured), self.metrics_of(low[:1])[0], low)


class Posterior:
    """Learns from evidence what to expect of networks.

    Args:
        space: whose genotypes they are.
        losses: metrics that are evidence beside the reward; smaller ones are better.
        prior: what is known before any training; None for nothing.
    """

    def __init__(self, space: Space, losses: Sequence[str] = LOSSES, prior: Prior | None = None) -> None:
        self.losses, self._prior = tuple(losses), prior
        self._encoding, self._decode = Encoding(space), space.decode
        self._told: dict[Genotype, float] = {}  # What the prior says: trainings are asked for at every fit.
        self._trainings: dict[int, _Training] = {}
        self._levels: dict[Length, _Level] = {}
        self._learned: set[int] = set()  # The trainings that the levels are learned from.
        self._kernels: dict[Length, Kernel] = {}
        # Counts of what was added: in all, until the last fit, and until kernels were last found.
        self._added = self._fitted_at = self._found_at = 0

    @property
    def trainings(self) -> int:
        """How many trainings are known."""
        return len(self._trainings)

    @property
    def has_news(self) -> bool:
        """Whether something was added since the last fit."""
        return self._fitted_at != self._added

    def knows(self, training: int) -> bool:
        """Whether something is known of a training."""
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
        self._added += 1
        known = self._trainings.setdefault(training, _Training(genotype))
        known.measured[evidence.length], known.failed = found, False
        for step, reward in evidence.curve.items():
            if abs(reward) < LARGEST:
                known.curve[evidence.length._replace(step=step)] = reward

    def add_failure(self, training: int, genotype: Genotype) -> None:
        """Takes a failure: it counts like the worst reward of all trainings at the first length."""
        self._added += 1
        self._trainings.setdefault(training, _Training(genotype)).failed = True

    def fit(self) -> bool:
        """Learns from what is known; returns whether there is anything to learn from.

        The kernels of the processes are kept until a twentieth of what is known is new: to find them takes
        much longer than to learn with them.
        """
        if not self.has_news:
            return bool(self._levels)
        self._fitted_at = self._added
        if (self._added - self._found_at) * NEWS >= self._found_at:
            self._kernels, self._found_at = {}, self._added
        self._levels, self._learned, known = {}, set(), self._known()
        for length in sorted({length for measured in known.values() for length in measured}):
            self._levels[length] = self._learn(length, known)
        return bool(self._levels)

    def predict(self, genotypes: Sequence[Genotype]) -> tuple[Matrix, Matrix]:
        """Gives the reward that is expected of genotypes at the greatest length, and how unsure that is.

        Args:
            genotypes: N of them; both results are arrays [N]. The second is a deviation, in which noise has
                no part.

        Raises:
            ValueError: before a `fit` that has learned something.
        """
        return self._by_inputs(self._inputs(genotypes))

    def expect(self, *, own: bool) -> dict[int, float]:
        """Gives the reward that is expected of trainings at the greatest length, by number.

        These are the trainings that the latest `fit` has learned from; it leaves out poor ones of thousands.

        Args:
            own: whether these trainings are meant, or others of the same networks.

        Raises:
            ValueError: before a `fit` that has learned something.
        """
        known = {number: at for number, at in self._known().items() if number in self._learned}
        numbers = list(known)
        genotypes = [self.genotype(number) for number in numbers]
        found = self._carry_on(known, self._inputs(genotypes))
        # What others tell of a network: its own rewards must not count twice.
        expected, by_inputs = found[:, 0], found[:, -1]
        if own:
            return dict(zip(numbers, expected.tolist(), strict=True))
        places: dict[Genotype, list[int]] = {}
        for place, genotype in enumerate(genotypes):
            places.setdefault(genotype, []).append(place)
        last = next(reversed(self._levels))
        whole = [[place for place in same if last in known[numbers[place]]] for same in places.values()]
        apart = expected - by_inputs
        share = _own_share(apart, whole)
        for same in places.values():
            kept = len(same) * share / (1 + (len(same) - 1) * share)
            expected[same] = float(by_inputs[same].mean()) + kept * float(apart[same].mean())
        return dict(zip(numbers, expected.tolist(), strict=True))

    def _inputs(self, genotypes: Sequence[Genotype]) -> _Inputs:
        encoded = self._encoding.encode(genotypes)
        if self._prior is None:
            return _Inputs(encoded=encoded, prior=np.zeros((len(genotypes), 0)))
        if len(self._told) + len(genotypes) > MOST_KNOWN:
            self._told.clear()
        new = [genotype for genotype in dict.fromkeys(genotypes) if genotype not in self._told]
        if new:
            self._told.update(zip(new, self._prior([*map(self._decode, new)]).tolist(), strict=True))
        return _Inputs(encoded=encoded, prior=np.array([[self._told[genotype]] for genotype in genotypes]))

    def _known(self) -> dict[int, Mapping[Length, Matrix]]:
        """What was measured of the trainings, by number; a failed one has a reward too."""
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

    def _learn(self, length: Length, known: Mapping[int, Mapping[Length, Matrix]]) -> _Level:
        """Learns a length, given those before, which have been learned already."""
        chosen = _choose({n: float(at[length][0]) for n, at in known.items() if length in at})
        self._learned.update(chosen)
        inputs = self._inputs([self.genotype(number) for number in chosen])
        values = np.array([known[number][length] for number in chosen])
        floors = np.array([floor(column, LOWEST) for column in values.T])
        values = np.where(np.isnan(values), np.nan, np.fmax(values, floors))
        rewards, usual = values[:, 0], _usual(values)
        last = next(reversed(self._levels.values()), None)
        before = self._carry_on({number: known[number] for number in chosen}, inputs)
        if last is None:
            spreads, units, usual_slope = _spreads(values), np.ones(before.shape[1]), PRIOR_SLOPE
        else:
            spreads, units = _spreads(values, last.spreads), np.append(last.spreads, last.spreads[0])
            usual_slope = USUAL_SLOPE
        slopes = _slopes(before / units, rewards, usual_slope * spreads[0]) / units
        center = float(rewards.mean())
        level = _Level(
            floors=floors,
            spreads=spreads,
            usual=usual,
            center=center,
            before=before.mean(0),
            slopes=slopes,
            process=None,
            others={},
        )
        if last is not None and len(chosen) < FEWEST:
            return level
        apart = rewards - level.line(before)
        if length not in self._kernels:
            self._kernels[length] = find_kernel(inputs.encoded, apart)
        process = condition(self._kernels[length], inputs.encoded, apart)
        others: dict[int, float] = {}
        if last is None:
            expected = level.line(before) + leave_out(process, [self.genotype(n) for n in chosen])
            others = dict(zip(chosen, expected.tolist(), strict=True))
        return replace(level, process=process, others=others)

    def _carry_on(self, known: Mapping[int, Mapping[Length, Matrix]], inputs: _Inputs) -> Matrix:
        """What is known of trainings at the last length that has been learned, [N, F + 1].

        These are the metrics, where they were not measured expected from what was measured before, and the
        reward that is expected from the inputs alone. Before the first length it is the prior.

        Args:
            known: what was measured of N trainings.
            inputs: of these.
        """
        found = by_inputs = inputs.prior
        for length, level in self._levels.items():
            process = level.process
            more = 0.0 if process is None else process.mean(inputs.encoded)
            metrics = level.metrics_of(level.line(found) + more)
            others = level.line(by_inputs) + more
            for place, (number, measured) in enumerate(known.items()):
                others[place] = level.others.get(number, others[place])
                if length in measured:
                    metrics[place] = level.filled(measured[length])
            found = np.column_stack([metrics, others])
            by_inputs = np.column_stack([level.metrics_of(others), others])
        return found

    def _by_inputs(self, inputs: _Inputs) -> tuple[Matrix, Matrix]:
        """Expected rewards of N networks at the greatest length, and deviations, from the inputs alone."""
        if not self._levels:
            raise ValueError("nothing has been learned yet")
        found, variance = inputs.prior, np.zeros(len(inputs.prior))
        usual = np.zeros(found.shape[1])
        for level in self._levels.values():
            rewards = level.line(found)
            variance = variance * float(level.slopes @ usual) ** 2
            if level.process is not None:
                mean, deviation = level.process.predict(inputs.encoded)
                rewards, variance = rewards + mean, variance + np.square(deviation)
            found, usual = (
                np.column_stack([level.metrics_of(rewards), rewards]),
                np.append(level.usual[:, 0], 1.0),
            )
        return found[:, 0], np.sqrt(variance)


def _kept_lengths(ended: Sequence[Length]) -> list[Length]:
    """The lengths that are learned, ascending: all ends of evaluations, and some of the reports after which
    trainings were ended early: the first, the last and the commonest."""
    counts = Counter(ended)
    whole = [length for length in counts if math.isinf(length.step)]
    early = sorted(counts.keys() - whole)
    between = sorted(early[1:-1], key=lambda length: -counts[length])[: MOST_LENGTHS - 2]
    return sorted({*whole, *early[:1], *early[-1:], *between})


def _own_share(apart: Matrix, networks: Sequence[Sequence[int]]) -> float:
    """Gives the share of what no process explains that is a network's own.

    Args:
        apart: what is not explained of each training.
        networks: places of the whole trainings of each network.
    """
    again = sum(len(same) - 1 for same in networks if same)
    every = [place for same in networks for place in same]
    variance = float(apart[every].var()) if again else 0.0
    if not variance:
        return OWN
    squares = sum(len(same) * float(apart[list(same)].var()) for same in networks if same)
    seen = min(1.0, max(0.0, 1 - squares / again / variance))
    return (TRUST * OWN + again * seen) / (TRUST + again)


def _choose(rewards: Mapping[int, float]) -> list[int]:
    """The numbers that are learned from, of rewards by number: the best ones, and the latest."""
    numbers, half = list(rewards), MOST_TRAININGS // 2
    if len(numbers) <= MOST_TRAININGS:
        return numbers
    best = sorted(numbers[:-half], key=lambda number: -rewards[number])[:half]
    return [*sorted(best), *numbers[-half:]]


def _usual(values: Matrix) -> Matrix:
    """How metrics follow from the reward, the first of the metrics in values [N, F]: factors, constants."""
    found = np.zeros((values.shape[1], 2))
    for column, metric in enumerate(values.T):
        known = ~np.isnan(metric)
        if not known.any():
            continue
        rewards = values[known, 0]
        apart = rewards - rewards.mean()
        squares = float(apart @ apart)
        factor = float(apart @ metric[known]) / squares if squares else float(column == 0)
        found[column] = factor, metric[known].mean() - factor * rewards.mean()
    return found


def _spreads(values: Matrix, assumed: Matrix | None = None) -> Matrix:
    """By how much metrics [N, F] deviate; of few values, much like at the length before."""
    found = []
    for column, metric in enumerate(values.T):
        known = metric[~np.isnan(metric)]
        count, variance = len(known), float(known.var()) if len(known) else 0.0
        if assumed is not None:
            variance = (count * variance + ASSUMED * float(assumed[column]) ** 2) / (count + ASSUMED)
        deviation, mean = math.sqrt(variance), abs(float(known.mean())) if count else 0.0
        # What is constant deviates by its rounding.
        found.append(deviation if deviation > 1e-9 * mean else max(1.0, mean))
    return np.array(found)


def _slopes(before: Matrix, rewards: Matrix, usual: float) -> Matrix:
    """Slopes [C] of rewards [N] over what is known before.

    Args:
        before: the expected reward is the last column, and the reward itself the first, [N, C].
        rewards: what was measured.
        usual: what is assumed of the slopes over these two.
    """
    scaled, count = before - before.mean(0), before.shape[1]
    assumed = np.zeros(count)
    assumed[[0, -1] if count else []] = usual
    matrix = scaled.T @ scaled + ASSUMED * np.eye(count)
    known = scaled.T @ (rewards - rewards.mean())
    return np.asarray(np.linalg.solve(matrix, known + ASSUMED * assumed))
