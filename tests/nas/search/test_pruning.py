"""Pruners decide as they do on a study that holds a copy of every known trial."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controllers import Proposal
from nas.journal.trials import Trial
from nas.search.pruning import PruningScheduler
from nas.search.scheduler import Decision

PRUNERS: dict[str, Any] = {
    "median": lambda: optuna.pruners.MedianPruner(n_startup_trials=2),
    "percentile": lambda: optuna.pruners.PercentilePruner(25.0, n_startup_trials=1, n_min_trials=2),
    "halving": lambda: optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2),
    "hyperband": lambda: optuna.pruners.HyperbandPruner(min_resource=1, max_resource=8, reduction_factor=2),
    "patient": lambda: optuna.pruners.PatientPruner(optuna.pruners.MedianPruner(n_startup_trials=1), 1),
    "wilcoxon": lambda: optuna.pruners.WilcoxonPruner(n_startup_steps=2),
}


def make_trial(number: int) -> Trial:
    return Trial(number, Proposal(number, (0,)), f"key {number}", 0, 1.0)


class Copying:
    """The plain way: each trial has a study with copies of all trials that are known."""

    def __init__(self, pruner: optuna.pruners.BasePruner) -> None:
        self.pruner, self.known = pruner, list[optuna.trial.FrozenTrial]()

    def run(self, curve: list[float]) -> tuple[int, dict[str, Any]]:
        """The step at which a trial is stopped, or -1, and what the pruner noted."""
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        study = optuna.create_study(direction="maximize", pruner=self.pruner, study_name="search")
        study.add_trials(self.known)
        trial, stopped = study.ask(), -1
        for step, reward in enumerate(curve):
            trial.report(reward, step)
            if trial.should_prune():
                stopped = step
                break
        noted = dict(study.get_trials(deepcopy=False)[trial.number].system_attrs)
        self.known.append(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState.PRUNED if stopped >= 0 else optuna.trial.TrialState.COMPLETE,
                value=curve[stopped],
                intermediate_values=dict(enumerate(curve[: stopped + 1] if stopped >= 0 else curve)),
                system_attrs=noted,
            )
        )
        return stopped, noted


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("name", PRUNERS)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), trials=st.integers(1, 25), steps=st.integers(1, 8))
def test_shared_trials_change_no_decision(name: str, seed: int, trials: int, steps: int) -> None:
    rng = np.random.default_rng(seed)
    curves = np.sort(rng.random((trials, steps)), axis=1) + rng.normal(0, 0.05, (trials, steps))
    scheduler, stops = PruningScheduler(PRUNERS[name]()), 0
    plain = Copying(PRUNERS[name]())
    for number, curve in enumerate(curves.tolist()):
        # As the scheduler does: some pruners note in themselves what the first trials were like.
        plain.pruner = copy.deepcopy(PRUNERS[name]())
        expected, noted = plain.run(curve)
        trial, stopped = make_trial(number), -1
        scheduler.begin(trial)
        for step, reward in enumerate(curve):
            trial.curve[step] = reward
            if scheduler.report(trial, step, reward) is Decision.STOP:
                stopped = step
                break
        trial.pruner_attrs = scheduler.end(trial)
        trial.status = "pruned" if stopped >= 0 else "completed"
        scheduler.observe(trial)
        assert (stopped, trial.pruner_attrs) == (expected, noted)
        stops += stopped >= 0
