"""Asynchronous successive halving: every trial is begun, and the better part is continued, rung by rung.

After ASHA (Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning"). A trial is paused after
the reports at which rungs lie, with its checkpoint; a promotion goes on from there, so that no step is
trained twice. Whoever waits at a rung may still be promoted when others turn out worse. Nothing waits for a
rung to fill up: as soon as enough trials have come to a rung, its best one goes on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np

from nas.journal.trials import Rewards, Trial
from nas.search.scheduler import Decision, FullTraining, Promotion
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
    """Pauses trials at rungs, and promotes the best one of a rung for every so many that came to it.

    With several objectives, a trial is better than another if fewer trials of its rung beat it in all
    rewards; among equals the first reward decides.

    Args:
        rungs: numbers of reports after which a trial is paused, ascending. With four reports a training,
            (1, 2) are a quarter and a half of it. A trial that has come past the last rung is trained to its
            end.
        reduction: of so many trials that came to a rung, one is promoted.
        random: share of the promotions that go to trials drawn at random from all that come to the rung. They
            tell whether short trainings misjudge some networks, such as deep ones.
        seed: of these.
        waiting: how many trials wait at a rung, with their checkpoints on the disk. Beyond it the worst one
            is dropped: it would be promoted only if all others that wait were first.

    Raises:
        ValueError: if a value is out of its range, or the rungs do not ascend.
    """

    rungs: tuple[Annotated[int, AtLeast(1)], ...] = (1, 2)
    reduction: Annotated[int, AtLeast(2)] = 2
    random: Annotated[float, AtLeast(0), AtMost(1)] = 0.1
    seed: Annotated[int, AtLeast(0)] = 0
    waiting: Annotated[int, AtLeast(1)] = 100

    def __post_init__(self) -> None:
        validate(self)
        if not self.rungs or list(self.rungs) != sorted(set(self.rungs)):
            raise ValueError(f"rungs must ascend, and be at least one, not {list(self.rungs)}")
        self._rng = np.random.default_rng(self.seed)
        self._rungs = [_Rung() for _ in self.rungs]
        # Of running trials: the rung that they are on the way to, and the steps reported on the way.
        self._next: dict[int, int] = {}
        self._reported: dict[int, frozenset[int]] = {}

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
            best = _ranked(rung)[0]
            del rung.waiting[best]
            return Promotion(best)
        return None

    def may_resume(self, trial: Trial) -> bool:
        """Keeps the checkpoint of a trial that waits at its rung."""
        return any(trial.number in rung.waiting or trial.number in rung.drawn for rung in self._rungs)


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
