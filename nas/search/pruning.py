"""Early stopping by Optuna's pruners over the reported scores, whatever the controller and objectives.

A trial is compared with the trials whose scores the controller knew when it was proposed, so that the
decision does not depend on which worker was quicker.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nas.journal.trials import Curve, Trial
from nas.search.scheduler import Decision, FullTraining

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.study import Study
    from optuna.trial import FrozenTrial
    from optuna.trial import Trial as OptunaTrial


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
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.pruner = pruner
        self._known: list[FrozenTrial] = []
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
        import optuna

        # Some pruners draw on the study's name, and some note in themselves what the first trials were like.
        pruner = copy.deepcopy(self.pruner)
        study = optuna.create_study(direction="maximize", pruner=pruner, study_name="search")
        study.add_trials(self._known[: self._known_at[number]])
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
        import optuna

        if trial.status not in ("completed", "pruned") or not trial.curve:
            return
        state = (
            optuna.trial.TrialState.PRUNED if trial.status == "pruned" else optuna.trial.TrialState.COMPLETE
        )
        self._known.append(
            optuna.trial.create_trial(
                state=state,
                value=trial.curve[max(trial.curve)],
                intermediate_values=trial.curve,
                system_attrs=dict(trial.pruner_attrs),
            )
        )
