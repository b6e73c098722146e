"""The scheduler decides how long each trial is trained: to its end, until it looks poor, or in steps.

A scheduler of your own inherits `FullTraining` and overrides what it needs. This one trains every trial to
its first report and then continues the better half::

    class Halving(FullTraining):
        def __init__(self):
            self.paused, self.promotions = [], []

        def report(self, trial, step, reward):
            return Decision.PAUSE if trial.resume_from is None else Decision.CONTINUE

        def observe(self, trial):
            if trial.status == "paused" and trial.rewards is not None:
                self.paused.append(trial)
                if len(self.paused) == 4:
                    best = sorted(self.paused, key=lambda t: -t.rewards[0])[:2]
                    self.promotions += [Promotion(t.number) for t in best]
                    self.paused.clear()

        def promote(self):
            return self.promotions.pop(0) if self.promotions else None

        def may_resume(self, trial):
            return trial in self.paused or any(p.trial == trial.number for p in self.promotions)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from nas.executors.job import Decision
from nas.journal.trials import Trial
from nas.plugins.faults import FaultError, one_line, reraise_as
from nas.search.ask_tell import checked_fidelity
from search_space.utils.strict_json import to_json
from search_space.utils.validation import is_whole

__all__ = ["Decision", "FullTraining", "GuardedScheduler", "Promotion", "Scheduler"]


@dataclass(frozen=True)
class Promotion:
    """A wish to train an earlier trial further, as a new trial that goes on from its checkpoint.

    Args:
        trial: number of the earlier trial; it has been observed, and is paused or completed.
        fidelity: of the new trial; None for that of the earlier one, whose evaluation is then continued.
        at_random: whether it goes on whatever its reward. Such trials tell what short trainings misjudge.
    """

    trial: int
    fidelity: float | None = None
    at_random: bool = False


class Scheduler(Protocol):
    """Decides how long each trial of a search is trained.

    What it knows must follow from `begin`, `observe` and `promote` alone, which are called in the same order
    in every run of a deterministic search and when a search is resumed. `report` is called in the order in
    which the workers report, so it may only answer; it is called again for what still runs when a search is
    resumed. Finalists are trained to their end and are not shown to a scheduler.
    """

    def promote(self) -> Promotion | None:
        """Says which trial to train further; None lets the controller propose a new one.

        After the last proposal it is asked on, until nothing runs and every trial has been observed. A call
        that gives None must change nothing.
        """

    def begin(self, trial: Trial) -> None:
        """Takes a new trial, before it is submitted.

        A trial that failed and has not been observed may come again, when a resumed search runs it again.
        """

    def report(self, trial: Trial, step: int, reward: float) -> Decision:
        """Answers a report.

        Args:
            trial: that reports; its curve holds the earlier reports and this one.
            step: of the report.
            reward: the intermediate reward.
        """

    def end(self, trial: Trial) -> dict[str, Any]:
        """Forgets what it keeps of a running trial; gives what `observe` will need as `pruner_attrs`."""

    def observe(self, trial: Trial) -> None:
        """Takes a trial that is over or paused, just before the controller does."""

    def may_resume(self, trial: Trial) -> bool:
        """Says whether a trial that is over or paused may still be promoted; if not, its checkpoint goes."""


@runtime_checkable
class RecallsPromotions(Protocol):
    """Ability of a scheduler: a recorded promotion can take the place of the one that it has just made.

    It is for schedulers that choose by long calculations; see `controllers.controller.Recalls`.
    """

    def recall(self, made: Promotion, recorded: Promotion) -> None:
        """Takes the recorded promotion.

        Raises:
            ValueError: if it could not have been made now.
        """


class FullTraining:
    """Trains every trial to its end."""

    def promote(self) -> Promotion | None:
        """Promotes nothing."""
        return None

    def begin(self, trial: Trial) -> None:
        """Does nothing."""

    def report(self, trial: Trial, step: int, reward: float) -> Decision:
        """Lets the trial go on."""
        return Decision.CONTINUE

    def end(self, trial: Trial) -> dict[str, Any]:
        """Has nothing to remember."""
        return {}

    def observe(self, trial: Trial) -> None:
        """Does nothing."""

    def may_resume(self, trial: Trial) -> bool:
        """Keeps the checkpoints of paused trials."""
        return trial.status == "paused"


class GuardedScheduler:
    """Passes everything on to a scheduler; a fault of it becomes a `FaultError` that names the method.

    Args:
        scheduler: perhaps a user's own.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler, self._name = scheduler, type(scheduler).__name__

    def promote(self) -> Promotion | None:
        """See `Scheduler`."""
        with reraise_as(f"{self._name}.promote"):
            found = self._scheduler.promote()
        if found is None:
            return None
        what = f"{self._name}.promote"
        if not isinstance(found, Promotion):
            raise FaultError(f"{what} must give a Promotion, not a {type(found).__name__}")
        if not is_whole(found.trial):
            raise FaultError(f"{what}: trial must be a whole number, not {found.trial!r}")
        return Promotion(
            int(found.trial), checked_fidelity(found.fidelity, what), at_random=bool(found.at_random)
        )

    def recall(self, made: Promotion, recorded: Promotion) -> None:
        """See `RecallsPromotions`; other schedulers recall nothing."""
        if not isinstance(self._scheduler, RecallsPromotions):
            raise ValueError(f"{self._name} recalls no promotions")
        with reraise_as(f"{self._name}.recall", but=(ValueError,)):
            self._scheduler.recall(made, recorded)

    def begin(self, trial: Trial) -> None:
        """See `Scheduler`."""
        with reraise_as(f"{self._name}.begin"):
            self._scheduler.begin(trial)

    def report(self, trial: Trial, step: int, reward: float) -> Decision:
        """See `Scheduler`."""
        with reraise_as(f"{self._name}.report"):
            found = self._scheduler.report(trial, step, reward)
        if not isinstance(found, Decision):
            raise FaultError(f"{self._name}.report must give a Decision, not {found!r}")
        return found

    def end(self, trial: Trial) -> dict[str, Any]:
        """See `Scheduler`."""
        with reraise_as(f"{self._name}.end"):
            found = self._scheduler.end(trial)
        try:
            if isinstance(found, dict) and to_json(found):
                return found
        except (TypeError, ValueError):
            pass
        raise FaultError(f"{self._name}.end must give a dict that JSON can keep, not {one_line(repr(found))}")

    def observe(self, trial: Trial) -> None:
        """See `Scheduler`."""
        with reraise_as(f"{self._name}.observe"):
            self._scheduler.observe(trial)

    def may_resume(self, trial: Trial) -> bool:
        """See `Scheduler`."""
        with reraise_as(f"{self._name}.may_resume"):
            return self._scheduler.may_resume(trial)
