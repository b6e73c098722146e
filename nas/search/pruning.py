"""Early stopping by Optuna's pruners over the reported scores, whatever the controller and objectives.

A trial is compared with the trials whose scores the controller knew when it was proposed, so that the
decision does not depend on which worker was quicker.
"""

from __future__ import annotations

import copy
from collections.abc import Container
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import optuna
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.journal.trials import Curve, Trial
from nas.search.scheduler import Decision, FullTraining

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.study import Study
    from optuna.trial import Trial as OptunaTrial


class KnownTrials:
    """The trials that later ones are compared with, in the order in which they became known."""

    def __init__(self) -> None:
        self._all: list[FrozenTrial] = []
        self._completed: list[FrozenTrial] = []
        self._completed_before = [0]

    def __len__(self) -> int:
        return len(self._all)

    def add(self, trial: FrozenTrial) -> None:
        """Adds one; its number becomes its place."""
        trial.number = len(self._all)
        self._all.append(trial)
        if trial.state is TrialState.COMPLETE:
            self._completed.append(trial)
        self._completed_before.append(len(self._completed))

    def first(self, count: int, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
        """Gives those of the first `count` trials that have one of the states; all if `states` is None."""
        if states is None:
            return self._all[:count]
        if states == (TrialState.COMPLETE,):  # What most pruners ask for, at every report.
            return self._completed[: self._completed_before[count]]
        return [trial for trial in self._all[:count] if trial.state in states]


class ComparisonStorage(InMemoryStorage):
    """Holds one running trial and shows the known ones beside it, without a copy of them.

    A copy for each open trial would cost a search of n trials n^2 copies.

    Args:
        known: all known trials.
        count: how many of the first ones are shown.
    """

    def __init__(self, known: KnownTrials, count: int) -> None:
        super().__init__()
        self._known, self._count = known, count

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Numbers the trial behind the known ones: some pruners draw on the number."""
        created = super().create_new_trial(study_id, template_trial)
        super().get_trial(created).number = self._count
        return created

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Gives the known trials and the running one."""
        known = self._known.first(self._count, states)
        return (copy.deepcopy(known) if deepcopy else known) + super().get_all_trials(
            study_id, deepcopy, states
        )

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        """Gives the completed trial of the highest value.

        Raises:
            ValueError: if there is none.
        """
        completed = self._known.first(self._count, (TrialState.COMPLETE,))
        return max(completed, key=lambda trial: trial.value or 0.0)


@dataclass
class _Comparison:
    """A running trial among those that it is compared with.

    Args:
        study: of these trials.
        trial: the running one in the study.
        curve: its reported rewards by step.
        stopped: whether the pruner has decided against it.
    """

    study: Study
    trial: OptunaTrial
    curve: Curve = field(default_factory=dict)
    stopped: bool = False


class PruningScheduler(FullTraining):
    """Stops trials whose reports look poor.

    Args:
        pruner: of `optuna.pruners`; each trial is judged by a copy of it.
    """

    def __init__(self, pruner: BasePruner) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.pruner = pruner
        self._known = KnownTrials()
        self._known_at: dict[int, int] = {}
        self._running: dict[int, _Comparison] = {}

    def begin(self, trial: Trial) -> None:
        """Notes what is known now, which is what the trial is compared with."""
        self._known_at[trial.number] = len(self._known)

    def report(self, trial: Trial, step: int, reward: float) -> Decision:
        """Asks the pruner; a step that was reported before changes nothing."""
        found = self._running.get(trial.number)
        if found is None:
            found = self._running[trial.number] = self._compare(trial.number)
        if step not in found.curve:
            found.curve[step] = reward
            found.trial.report(reward, step)
        found.stopped = found.stopped or found.trial.should_prune()
        return Decision.STOP if found.stopped else Decision.CONTINUE

    def _compare(self, number: int) -> _Comparison:
        # Some pruners draw on the study's name, and some note in themselves what the first trials were like.
        pruner = copy.deepcopy(self.pruner)
        storage = ComparisonStorage(self._known, self._known_at[number])
        study = optuna.create_study(direction="maximize", pruner=pruner, study_name="search", storage=storage)
        return _Comparison(study, study.ask())

    def end(self, trial: Trial) -> dict[str, Any]:
        """Gives what the pruner noted of the trial, such as its rungs."""
        self._known_at.pop(trial.number, None)
        found = self._running.pop(trial.number, None)
        if found is None:
            return {}
        return dict(found.study.get_trials(deepcopy=False)[found.trial.number].system_attrs)

    def observe(self, trial: Trial) -> None:
        """Compares later trials with this one."""
        if trial.status not in ("completed", "pruned") or not trial.curve:
            return
        self._known.add(
            create_trial(
                state=TrialState.PRUNED if trial.status == "pruned" else TrialState.COMPLETE,
                value=trial.curve[max(trial.curve)],
                intermediate_values=trial.curve,
                system_attrs=dict(trial.pruner_attrs),
            )
        )
