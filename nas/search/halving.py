"""Asynchronous successive halving: every trial is begun, and the better part is continued, rung by rung.

After ASHA (Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning"). A trial is paused after
the reports at which rungs lie, with its checkpoint; a promotion goes on from there, so that no step is
trained twice. Whoever waits at a rung may still be promoted when others turn out worse. Nothing waits for a
rung to fill up: as soon as enough trials have come to a rung, its best one goes on.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np

from controllers.evidence import Prior
from nas.journal.trials import Rewards, Trial
from nas.search.picking import FEWEST, evidence_of
from nas.search.scheduler import Decision, FullTraining, Promotion
from search_space import Space
from search_space.utils.validation import AtLeast, AtMost, validate


@dataclass
class _Rung:
    """The trials that came to a rung.

    Args:
        arrived: how many have a reward there.
        promoted: how many have gone on.
        drawn: numbers of those that wait and will go on whatever their rewards.
        waiting: rewards by number, of the others that wait.
    """

    arrived: int = 0
    promoted: int = 0
    drawn: deque[int] = field(default_factory=deque)
    waiting: dict[int, Rewards] = field(default_factory=dict)


@dataclass(kw_only=True)
class HalvingScheduler(FullTraining):
    """Pauses trials at rungs. Of every `reduction` trials that came to a rung, the best one is promoted.

    With several objectives, a trial is better than another if fewer trials of its rung beat it in all
    rewards; among equals the first reward decides.

    Args:
        rungs: numbers of reports after which a trial is paused, ascending. With four reports a training,
            (1, 2) are a quarter and a half of it. A trial that has come past the last rung is trained to its
            end.
        reduction: of this number of trials that came to a rung, one is promoted; at least 2.
        random: share of the promotions that go to trials drawn at random from all that come to the rung. They
            tell whether short trainings misjudge some networks, such as deep ones.
        seed: of these.
        space: of the search. With it the trial goes on of which most is expected at the end of its training,
            from all that was measured of it and of its like; see `controllers.posterior`. Without it, and
            with several objectives, the one with the best reward goes on.
        waiting: how many trials wait at a rung, with their checkpoints on the disk. Beyond it the worst one
            is dropped: it would be promoted only if all others that wait were first.

    Raises:
        ValueError: if a value is out of its range, or the rungs do not ascend.
    """

    rungs: tuple[Annotated[int, AtLeast(1)], ...] = (1, 2)
    reduction: Annotated[int, AtLeast(2)] = 2
    random: Annotated[float, AtLeast(0), AtMost(1)] = 0.1
    seed: Annotated[int, AtLeast(0)] = 0
    space: Space | None = None
    waiting: Annotated[int, AtLeast(1)] = 100

    def __post_init__(self) -> None:
        validate(self)
        if not self.rungs or list(self.rungs) != sorted(set(self.rungs)):
            raise ValueError(f"rungs must ascend, and be at least one, not {list(self.rungs)}")
        self._rng = np.random.default_rng(self.seed)
        self._rungs = [_Rung() for _ in self.rungs]
        self._expectation = None if self.space is None else _Expectation(self.space)
        # Of running trials: the rung that they are on the way to, and the steps reported on the way.
        self._next: dict[int, int] = {}
        self._taken: tuple[_Rung, Rewards] | None = None  # Where the latest promotion waited.
        self._reported: dict[int, frozenset[int]] = {}

    def take_prior(self, prior: Prior) -> None:
        """Promotes by what the prior tells too."""
        if self.space is not None:
            self._expectation = _Expectation(self.space, prior)

    def recall(self, made: Promotion, recorded: Promotion) -> None:
        """Promotes the recorded one in the place of the one just made, at the same rung.

        Raises:
            ValueError: if it does not wait there.
        """
        if self._taken is None or made.at_random or recorded.at_random:
            raise ValueError("what is promoted at random follows from the seed")
        rung, rewards = self._taken
        if recorded.trial not in rung.waiting:
            raise ValueError(f"trial {recorded.trial} does not wait where trial {made.trial} did")
        del rung.waiting[recorded.trial]
        rung.waiting[made.trial], self._taken = rewards, None

    def begin(self, trial: Trial) -> None:
        """Notes to which rung the trial is on its way."""
        source = trial.resume_from if trial.promoted else None
        self._next[trial.number] = 0 if source is None else self._next[source] + 1

    def report(self, trial: Trial, step: int, reward: float) -> Decision:
        """Pauses a trial that has come to its rung."""
        rung = self._next[trial.number]
        if rung == len(self.rungs):
            return Decision.CONTINUE
        # A decision that got lost is made again at its own step, though later ones are known.
        done = sum(known <= step for known in self._all_steps(trial))
        return Decision.PAUSE if done >= self.rungs[rung] else Decision.CONTINUE

    def observe(self, trial: Trial) -> None:
        """Takes a trial that has come to its rung, or is over."""
        if self._expectation is not None:
            self._expectation.add(trial)
        if trial.status != "paused" or trial.rewards is None:
            return
        self._reported[trial.number] = self._all_steps(trial)
        rung = self._rungs[self._next[trial.number]]
        rung.arrived += 1
        if self.random and self._rng.random() < self.random / self.reduction:
            rung.drawn.append(trial.number)
            return
        rung.waiting[trial.number] = trial.rewards
        if len(rung.waiting) > self.waiting:
            del rung.waiting[_ranked(rung)[-1]]

    def _all_steps(self, trial: Trial) -> frozenset[int]:
        """The steps that a trial, or those that it goes on from, have reported."""
        source = trial.resume_from if trial.promoted else None
        return (frozenset() if source is None else self._reported[source]) | trial.curve.keys()

    def promote(self) -> Promotion | None:
        """Promotes from the highest rung at which that is due."""
        for rung in reversed(self._rungs):
            if rung.promoted == rung.arrived // self.reduction or not (rung.drawn or rung.waiting):
                continue
            rung.promoted += 1
            if rung.drawn:
                return Promotion(rung.drawn.popleft(), at_random=True)
            best = self._best(rung)
            self._taken = rung, rung.waiting.pop(best)
            return Promotion(best)
        return None

    def _best(self, rung: _Rung) -> int:
        """The number of the one that goes on, of those that wait."""
        ranked = _ranked(rung)
        expected = {} if self._expectation is None else self._expectation.of(rung.waiting)
        return max(ranked, key=lambda number: expected.get(number, -math.inf))  # The first one among equals.

    def may_resume(self, trial: Trial) -> bool:
        """Keeps the checkpoint of a trial that waits at its rung."""
        return any(trial.number in rung.waiting or trial.number in rung.drawn for rung in self._rungs)


class _Expectation:
    """What is expected of trials at the end of their trainings.

    Args:
        space: of the search.
        prior: what is known before it.
    """

    def __init__(self, space: Space, prior: Prior | None = None) -> None:
        from controllers.posterior import Posterior  # It imports scipy.

        self._posterior = Posterior(space, prior=prior)
        self._training: dict[int, int] = {}
        self._objectives = 0

    def add(self, trial: Trial) -> None:
        """Takes what was measured of a trial."""
        evidence = evidence_of(trial)
        if evidence is None or trial.rewards is None:
            return
        # The trials of one training share the proposal.
        self._training[trial.number] = trial.proposal.number
        self._posterior.add(trial.proposal.number, trial.genotype, evidence)
        self._objectives = len(trial.rewards)

    def of(self, numbers: Iterable[int]) -> dict[int, float]:
        """Gives the expected rewards of trials by number; those of which nothing is known are left out."""
        if self._objectives > 1 or self._posterior.trainings < FEWEST:
            return {}
        if not self._posterior.fit():
            return {}
        expected = self._posterior.expect(own=True)
        return {n: expected[self._training[n]] for n in numbers if self._training.get(n) in expected}


def _ranked(rung: _Rung) -> list[int]:
    """The numbers of those that wait, the best one first."""
    rewards = rung.waiting
    return sorted(rewards, key=lambda number: (*order(rewards[number], rewards.values()), number))


def order(rewards: Rewards, others: Any) -> tuple[int, float]:
    """What trials are sorted by: how many others beat one in all rewards, then the first reward."""
    beaten = 0 if len(rewards) == 1 else sum(_beats(other, rewards) for other in others)
    return beaten, -rewards[0]


def _beats(a: Sequence[float], b: Sequence[float]) -> bool:
    return a != b and all(x >= y for x, y in zip(a, b, strict=True))
