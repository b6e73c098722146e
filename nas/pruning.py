"""Early stopping by Optuna's pruners over the reported scores, whatever the controller and objectives.

A trial is compared with the trials whose scores the controller knew when it was proposed, so that the
verdict does not hang on which worker was quicker.
"""

from __future__ import annotations

from typing import Any

Curve = dict[int, float]


class Pruning:
    """Keeps the reported curves and asks a pruner.

    Args:
        pruner: of `optuna.pruners`.
    """

    def __init__(self, pruner: Any) -> None:
        self.pruner = pruner
        self._known: list[Any] = []
        self._open: dict[int, tuple[Any, Curve]] = {}

    def begin(self, trial: int) -> None:
        """A trial begins; what is known now is what it is compared with."""
        import optuna

        study = optuna.create_study(direction="maximize", pruner=self.pruner)
        study.add_trials(self._known)
        self._open[trial] = (study.ask(), {})

    def report(self, trial: int, step: int, reward: float) -> bool:
        """Whether the trial shall end after this report."""
        compared, curve = self._open[trial]
        if step not in curve:
            curve[step] = reward
            compared.report(reward, step)
        return bool(compared.should_prune())

    def know(self, curve: Curve, pruned: bool) -> None:
        """A trial's curve becomes part of what later trials are compared with."""
        import optuna

        if not curve:
            return
        state = optuna.trial.TrialState.PRUNED if pruned else optuna.trial.TrialState.COMPLETE
        last = curve[max(curve)]
        self._known.append(optuna.trial.create_trial(state=state, value=last, intermediate_values=curve))

    def end(self, trial: int) -> None:
        """Forgets an ended trial."""
        self._open.pop(trial, None)
