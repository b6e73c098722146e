"""One fit: a network trained by a configuration, evaluated on the way and at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from torch import nn

from proxy_tasks.distributed import rank_and_size
from proxy_tasks.engine.memory import memory_faults
from proxy_tasks.engine.optimizer import learning_rate
from proxy_tasks.engine.train import Training, train
from proxy_tasks.task import Report, Score, TaskFailureError


class OnEvaluation(Protocol):
    """Is called on the first process after every evaluation, to keep what is worth keeping."""

    def __call__(self, net: nn.Module, step: int, score: Score) -> None:
        """Receives the evaluated network, the number of steps done, and its score."""


class OnStep(Protocol):
    """Is called on the first process for every step, in order; the calls of several steps come together."""

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

    A score has the metrics of the evaluation, and mean losses of the training so far, see
    `proxy_tasks.engine.loss_log.LossLog.means`; the last one has the seconds of the training too.

    Args:
        net: on the device.
        training: what it is trained on, and how.
        evaluation: how and how often it is evaluated.
        report: receives every score, the last one included; what it raises ends the fit.
        on_evaluation, on_step: see `OnEvaluation` and `OnStep`.

    Raises:
        TaskFailureError: if the metrics lack the reward; see also `proxy_tasks.engine.train.train`.
    """
    follower = _Follower(training, evaluation, report, on_evaluation, on_step)
    trained, more = train(net, training, follower)
    return trained, follower.evaluate(training.steps, trained, more)


@dataclass(frozen=True)
class _Follower:
    """Evaluates the network of a training when it is time; the arguments are those of `fit`."""

    training: Training
    evaluation: Evaluation
    report: Report
    on_evaluation: OnEvaluation | None
    on_step: OnStep | None

    def on_losses(self, step: int, losses: Sequence[float]) -> None:
        """Hands on the losses one by one, with their learning rates."""
        if self.on_step is None or rank_and_size()[0] != 0:
            return
        for done, loss in enumerate(losses, step - len(losses) + 1):
            self.on_step(done, loss, learning_rate(self.training.config, done - 1))

    def wants(self, step: int) -> bool:
        """Whether an evaluation is due; the last one is the score's own."""
        return step in self._due

    @cached_property
    def _due(self) -> frozenset[int]:
        steps, times = self.training.steps, self.evaluation.times
        return frozenset(round(steps * (i + 1) / times) for i in range(times - 1)) - {steps}

    def on_network(self, step: int, net: nn.Module, losses: Mapping[str, float]) -> None:
        """Evaluates the network."""
        self.evaluate(step, net, losses)

    def evaluate(self, step: int, net: nn.Module, more: Mapping[str, float]) -> Score:
        """Measures the network, and reports its score with some metrics more."""
        with memory_faults(step):
            metrics = self.evaluation.measure(net)
        reward = self.evaluation.reward
        if reward not in metrics:
            known = ", ".join(metrics) or "none at all"
            raise TaskFailureError(
                "error",
                f"the reward is {reward}, for which the validation images have no object; "
                f"measured are {known}",
            )
        score = Score(metrics[reward], {**metrics, **more})
        if self.on_evaluation is not None and rank_and_size()[0] == 0:
            self.on_evaluation(net, step, score)
        self.report(step, score)
        return score
