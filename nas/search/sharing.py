"""Trials of the same spec and fidelity share one score: it is evaluated once."""

from __future__ import annotations

from nas.journal.trials import Trial, Trials


def find_source(trials: Trials, key: str, fidelity: float, resume_from: int | None) -> int | None:
    """Gives the number of the trial whose score a new one may share; None if there is none.

    Args:
        trials: of the search so far.
        key: of the new trial's spec.
        fidelity: of the new trial.
        resume_from: number of the trial that the new one goes on from, if it does.
    """
    number = trials.first_of.get((key, fidelity))
    if number is None or resume_from is None:
        return number
    # What goes on wants more than the score of a trial that was ended early.
    return None if trials.all[number].status in ("paused", "pruned") else number


def find_shared(trials: Trials, trial: Trial) -> Trial | None:
    """Gives the trial whose score a trial shares now; None if it is evaluated itself.

    Where the trial that it was to share with has failed, the next one of the key has a chance of its own, for
    all that follow.
    """
    shared = trial.source
    if shared is not None and trials.all[shared].status == "failed":
        shared = trials.first_of.get((trial.key, trial.fidelity))
        if shared is not None and shared >= trial.number:
            shared = None
    return None if shared is None else trials.all[shared]
