"""Early stopping by Optuna's pruners over the reported scores, whatever the controller and objectives.

A trial is compared with the trials whose scores the controller knew when it was proposed, so that the
verdict does not hang on which worker was quicker.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

Curve = dict[int, float]


class Pruning:
    """Keeps the reported curves and asks a pruner.

    Args:
        pruner: of `optuna.pruners`.
    """

    def __init__(self, pruner: Any) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.pruner = pruner
        self._known: list[Any] = []
        self._known_at: dict[int, int] = {}
        self._open: dict[int, tuple[Any, Any, Curve]] = {}
        self._condemned: set[int] = set()

    def begin(self, trial: int) -> None:
        """A trial begins; what is known now is what it is compared with."""
        self._known_at[trial] = len(self._known)

    def report(self, trial: int, step: int, reward: float) -> bool:
        """Whether the trial shall end after this report; a step that was reported before changes nothing."""
        if trial not in self._open:
            self._open[trial] = self._compared(trial)
        _, compared, curve = self._open[trial]
        if step not in curve:
            curve[step] = reward
            compared.report(reward, step)
        if compared.should_prune():
            self._condemned.add(trial)
        return trial in self._condemned

    def _compared(self, trial: int) -> tuple[Any, Any, Curve]:
        import optuna

        # Some pruners draw on the study's name, and some note in themselves what the first trials were like.
        pruner = copy.deepcopy(self.pruner)
        study = optuna.create_study(direction="maximize", pruner=pruner, study_name="search")
        study.add_trials(self._known[: self._known_at[trial]])
        return study, study.ask(), {}

    def end(self, trial: int) -> dict[str, Any]:
        """Forgets an ended trial; gives back what the pruner noted of it, such as its rungs."""
        self._known_at.pop(trial, None)
        self._condemned.discard(trial)
        if trial not in self._open:
            return {}
        study, compared, _ = self._open.pop(trial)
        return dict(study.get_trials(deepcopy=False)[compared.number].system_attrs)

    def know(self, curve: Curve, pruned: bool, noted: Mapping[str, Any]) -> None:
        """A trial's curve, and what `end` gave, become part of what later trials are compared with."""
        import optuna

        if not curve:
            return
        state = optuna.trial.TrialState.PRUNED if pruned else optuna.trial.TrialState.COMPLETE
        known = optuna.trial.create_trial(
            state=state, value=curve[max(curve)], intermediate_values=curve, system_attrs=dict(noted)
        )
        self._known.append(known)
