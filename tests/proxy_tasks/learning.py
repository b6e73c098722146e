"""Trains until something has been learned: what is learned early need not be trained to its end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from proxy_tasks.task import Score
from proxy_tasks.training_task import TrainingTask
from search_space import Spec


class LearnedError(Exception):
    """Ends a training."""


def train_until(
    learned: Callable[[Score], bool], task: TrainingTask, spec: Spec, fidelity: float = 1.0
) -> list[Score]:
    """Trains with seed 0, evaluates on the way as often as the task says, and gives the scores.

    Args:
        learned: whether a score is what was waited for; the training ends there.
        task, spec, fidelity: what is trained, at most to its end.
    """
    scores: list[Score] = []

    def look(_: int, score: Score) -> None:
        scores.append(score)
        if learned(score):
            raise LearnedError

    with contextlib.suppress(LearnedError):
        task.evaluate(spec, fidelity, 0, look, None)
    return scores
