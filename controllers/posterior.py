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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from controllers.evidence import Evidence, Length, Prior
from controllers.level import Level, fit_line
from controllers.measurements import Measurements
from search_space import Genotype, Space
from search_space.encoding import MOST_KNOWN, Encoding, Matrix
from search_space.utils.gaussian_process import Kernel, condition, find_kernel, leave_out

LOSSES = ("loss_25",)
"""Metrics that are evidence beside the reward, where a task has them."""

MOST_TRAININGS = 400
"""Trainings that a level is learned from: half of them the best, the others the latest. A fit takes cubic
time."""

NEWS = 20
"""A process fits its settings again when its data have grown by one part in this number."""

FEWEST = 20
"""Trainings from which a process is learned of what a level has beside the one before."""

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
        self._measurements = Measurements(self.losses)
        self._levels: dict[Length, Level] = {}
        self._learned: set[int] = set()  # The trainings that the levels are learned from.
        self._kernels: dict[Length, Kernel] = {}
        # Counts of what was added until the last fit, and until kernels were last found.
        self._fitted_at = self._found_at = 0

    @property
    def trainings(self) -> int:
        """How many trainings are known."""
        return len(self._measurements)

    @property
    def has_news(self) -> bool:
        """Whether something was added since the last fit."""
        return self._fitted_at != self._measurements.added

    def knows(self, training: int) -> bool:
        """Whether something is known of a training."""
        return training in self._measurements

    def genotype(self, training: int) -> Genotype:
        """Gives what a known training trains."""
        return self._measurements.genotype(training)

    def add(self, training: int, genotype: Genotype, evidence: Evidence) -> None:
        """Takes what was measured of a training, which may be known already; see `Measurements.add`."""
        self._measurements.add(training, genotype, evidence)

    def add_failure(self, training: int, genotype: Genotype) -> None:
        """Takes a failure; see `Measurements.add_failure`."""
        self._measurements.add_failure(training, genotype)

    def fit(self) -> bool:
        """Learns from what is known; returns whether there is anything to learn from.

        The kernels of the processes are kept until a twentieth of what is known is new: to find them takes
        much longer than to learn with them.
        """
        if not self.has_news:
            return bool(self._levels)
        self._fitted_at = self._measurements.added
        if (self._measurements.added - self._found_at) * NEWS >= self._found_at:
            self._kernels, self._found_at = {}, self._measurements.added
        self._levels, self._learned, known = {}, set(), self._measurements.by_length()
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
        known = {
            number: at for number, at in self._measurements.by_length().items() if number in self._learned
        }
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

    def _learn(self, length: Length, known: Mapping[int, Mapping[Length, Matrix]]) -> Level:
        """Learns a length, given those before, which have been learned already."""
        chosen = _choose({n: float(at[length][0]) for n, at in known.items() if length in at})
        self._learned.update(chosen)
        genotypes = [self.genotype(number) for number in chosen]
        inputs = self._inputs(genotypes)
        values = np.array([known[number][length] for number in chosen])
        before = self._carry_on({number: known[number] for number in chosen}, inputs)
        last = next(reversed(self._levels.values()), None)
        level = fit_line(values, before, last)
        if last is not None and len(chosen) < FEWEST:
            return level
        apart = np.fmax(values[:, 0], level.floors[0]) - level.line(before)
        if length not in self._kernels:
            self._kernels[length] = find_kernel(inputs.encoded, apart)
        process = condition(self._kernels[length], inputs.encoded, apart)
        others: dict[int, float] = {}
        if last is None:
            expected = level.line(before) + leave_out(process, genotypes)
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
