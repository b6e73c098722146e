"""One fit: a network trained by a plan, measured on the way and at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from proxy_tasks.distributed import rank_and_size
from proxy_tasks.task import Report, Score
from proxy_tasks.training import LossOf, OnStep, Plan, learning_rate, train

STATE = "training.pt"
Keep = Callable[[nn.Module, int, Score], None]
"""Handed (network, step, score) at every evaluation, to keep what is worth keeping."""


@dataclass(frozen=True)
class Lesson:
    """What a network learns from and is measured by.

    Args:
        images: number of training images.
        loss_of: see `proxy_tasks.training.train`.
        measure: figures of a network on the validation images.
        reward: which of them is the score's reward.
    """

    images: int
    loss_of: LossOf
    measure: Callable[[nn.Module], Mapping[str, float]]
    reward: str


def fit(
    net: nn.Module,
    lesson: Lesson,
    plan: Plan,
    seed: int,
    device: torch.device,
    evaluations: int,
    report: Report,
    checkpoint: Path | None,
    keep: Keep | None = None,
    on_step: OnStep | None = None,
) -> tuple[nn.Module, Score]:
    """Trains a network; returns the one that was measured last, and its score.

    Args:
        net: on the device.
        lesson, plan, seed, device: see `proxy_tasks.training.train`.
        evaluations: how often it is measured, the end included.
        report: told every score, the last one included.
        checkpoint: folder for the state of a training that is cut off, see `forget_state`; None keeps none.
        on_step: see `proxy_tasks.training.OnStep`; called on the first process only.
        keep: handed the network whenever it was measured, on the first process only.

    Raises:
        TaskFailureError: see `proxy_tasks.training.train`.
    """
    started = time.perf_counter()
    state = None if checkpoint is None else checkpoint / STATE
    due = {round(plan.steps * (i + 1) / evaluations) for i in range(evaluations - 1)}
    due -= {0, plan.steps}  # The last evaluation is the score's own.
    first = rank_and_size()[0] == 0

    def measured(step: int, current: nn.Module, more: Mapping[str, float]) -> Score:
        found = lesson.measure(current)
        score = Score(found[lesson.reward], {**found, **more})
        if keep is not None and first:
            keep(current, step, score)
        report(step, score)
        return score

    def after_step(step: int, current: nn.Module, loss: float) -> None:
        if on_step is not None and first:
            on_step(step, loss, learning_rate(plan, step - 1))
        if step in due:
            measured(step, current, {"loss": loss})

    trained = train(net, lesson.images, lesson.loss_of, plan, seed, device, after_step, state)
    score = measured(plan.steps, trained, {"training_seconds": time.perf_counter() - started})
    return trained, score


def forget_state(checkpoint: Path | None) -> None:
    """Removes what `fit` kept to go on from, once its result is safe."""
    if checkpoint is not None and rank_and_size()[0] == 0:
        (checkpoint / STATE).unlink(missing_ok=True)


def chosen_device(name: str) -> torch.device:
    """The device of a name: "cpu", "cuda", or "auto" for a GPU where there is one.

    Raises:
        ValueError: if it is another name, or there is no GPU.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name not in ("cpu", "cuda"):
        raise ValueError(f"device must be cpu, cuda or auto, not {name!r}")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device cuda: torch finds no GPU that it can use; device=auto takes what there is")
    return torch.device("cuda", torch.cuda.current_device()) if name == "cuda" else torch.device(name)


def seconds_of_fit(
    net: nn.Module, lesson: Lesson, plan: Plan, device: torch.device, evaluations: int, part: float
) -> float:
    """About how long a fit takes here, by a dry run of a few steps and a part of an evaluation.

    Args:
        net, lesson, plan, device, evaluations: of the fit; the lesson measures only a part of the images.
        part: which part of the validation images that is, above 0 and up to 1.
    """

    def timed(run: Callable[[], object]) -> float:
        started = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - started

    def some(steps: int) -> Callable[[], object]:
        return lambda: train(net, lesson.images, lesson.loss_of, replace(plan, steps=steps), 0, device)

    some(2)()
    step = timed(some(5)) / 5
    return step * plan.steps + timed(lambda: lesson.measure(net)) / part * evaluations
