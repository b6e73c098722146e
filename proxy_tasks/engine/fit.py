"""One fit: a network trained by a configuration, evaluated on the way and at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import nn

from proxy_tasks.distributed import rank_and_size
from proxy_tasks.engine.optimizer import learning_rate
from proxy_tasks.engine.train import Training, train
from proxy_tasks.task import Report, Score, TaskFailureError


class OnEvaluation(Protocol):
    """Is called on the first process after every evaluation, to keep what is worth keeping."""

    def __call__(self, net: nn.Module, step: int, score: Score) -> None:
        """Receives the evaluated network, the number of steps done, and its score."""


class OnStep(Protocol):
    """Is called on the first process after every step."""

    def __call__(self, step: int, loss: float, rate: float) -> None:
        """Receives the number of steps done, the loss of the last one, and its learning rate."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How a network is evaluated.

    Args:
        measure: computes the metrics of a network.
        reward: which of the metrics is the score's reward.
        times: how often the network is evaluated, the end included; at least 1.
    """

    measure: Callable[[nn.Module], Mapping[str, float]]
    reward: str
    times: int = 1


def fit(
    net: nn.Module,
    training: Training,
    evaluation: Evaluation,
    report: Report,
    *,
    on_evaluation: OnEvaluation | None = None,
    on_step: OnStep | None = None,
) -> tuple[nn.Module, Score]:
    """Trains a network; returns the one that was evaluated last, and its score.

    Args:
        net: on the device.
        training: what it is trained on, and how.
        evaluation: how and how often it is evaluated.
        report: receives every score, the last one included; what it raises ends the fit.
        on_evaluation, on_step: see `OnEvaluation` and `OnStep`.

    Raises:
        TaskFailureError: if the metrics lack the reward; see also `proxy_tasks.engine.train.train`.
    """
    started = time.perf_counter()
    steps, times = training.config.steps, evaluation.times
    due = {round(steps * (i + 1) / times) for i in range(times - 1)}
    due -= {0, steps}  # The last evaluation is the score's own.
    first = rank_and_size()[0] == 0

    def evaluate(step: int, current: nn.Module, more: Mapping[str, float]) -> Score:
        metrics = evaluation.measure(current)
        if evaluation.reward not in metrics:
            known = ", ".join(metrics) or "none at all"
            raise TaskFailureError(
                "error",
                f"the reward is {evaluation.reward}, for which the validation images have no object; "
                f"measured are {known}",
            )
        score = Score(metrics[evaluation.reward], {**metrics, **more})
        if on_evaluation is not None and first:
            on_evaluation(current, step, score)
        report(step, score)
        return score

    def after_step(step: int, current: nn.Module, loss: float) -> None:
        if on_step is not None and first:
            on_step(step, loss, learning_rate(training.config, step - 1))
        if step in due:
            evaluate(step, current, {"loss": loss})

    trained = train(net, training, after_step)
    score = evaluate(steps, trained, {"training_seconds": time.perf_counter() - started})
    return trained, score


def estimate_fit_seconds(net: nn.Module, training: Training, evaluation: Evaluation, share: float) -> float:
    """Estimates how long a fit takes here, by a dry run of a few steps and a part of an evaluation.

    Args:
        net: on the device; it is trained a little.
        training: of the fit.
        evaluation: of the fit, but it measures only a part of the validation images.
        share: which part of the validation images that is, above 0 and up to 1.
    """

    def seconds_of(run: Callable[[], object]) -> float:
        started = time.perf_counter()
        run()
        if training.device.type == "cuda":
            torch.cuda.synchronize(training.device)
        return time.perf_counter() - started

    def train_for(steps: int) -> None:
        config = replace(training.config, steps=steps)
        train(net, replace(training, config=config, seed=0, checkpoint=None))

    train_for(2)
    step = seconds_of(lambda: train_for(5)) / 5
    measuring = seconds_of(lambda: evaluation.measure(net)) / share
    return step * training.config.steps + measuring * evaluation.times
