"""One full training in a folder: checkpoints, metrics, TensorBoard, and a model card at the end.

| file | what |
| --- | --- |
| config.yaml | the resolved configuration |
| last.safetensors, best.safetensors | model files, see `proxy_tasks.models` |
| metrics.json | every evaluation, and whether the training is over |
| training.pt | the state to go on from, while it is under way |
| card.md, spec.svg | the model card |
| log.txt, events.* | progress; TensorBoard |
"""

from __future__ import annotations

import json
import platform
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import nn

from nas.training.model_card import write_card
from nas.utils.files import locked_folder, replace_file
from nas.utils.logging import tasks_log_to
from proxy_tasks.distributed import process_group, rank_and_size
from proxy_tasks.engine.checkpoint import STATE, forget_state
from proxy_tasks.models.model import Model
from proxy_tasks.models.model_file import save_model
from proxy_tasks.task import Score
from proxy_tasks.training_task import TrainingTask
from search_space import Spec

METRICS_FILE = "metrics.json"
"""Name of the file that keeps every evaluation."""

STEPS_BETWEEN = 20
"""Steps between two points of the loss curve."""


@dataclass
class Evaluations:
    """The evaluations of a training.

    Args:
        by_step: the metrics of each, and its "reward".
        finished: whether the training is over.
    """

    by_step: dict[int, dict[str, float]] = field(default_factory=dict)
    finished: bool = False

    @property
    def best(self) -> int | None:
        """The step with the best reward, the earliest of equals; None if there is no evaluation."""
        steps = self.by_step
        return max(steps, key=lambda step: (steps[step]["reward"], -step)) if steps else None


def read_evaluations(folder: Path) -> Evaluations:
    """Reads a folder's `metrics.json`; there are no evaluations if it is not there.

    Raises:
        ValueError: if it is damaged.
    """
    path = folder / METRICS_FILE
    if not path.is_file():
        return Evaluations()
    try:
        data = json.loads(path.read_text())
        by_step = {int(step): dict(metrics) for step, metrics in data["evaluations"].items()}
        return Evaluations(by_step, data["finished"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged: {error}") from None


def run_training(
    task: TrainingTask,
    spec: Spec,
    folder: Path,
    config: str,
    *,
    fidelity: float = 1.0,
    seed: int = 0,
    origin: str = "",
    weights: Path | None = None,
) -> Score:
    """Trains a spec to the end, or continues a training that was cut off.

    Under torchrun every process calls this; the first one writes.

    Args:
        task: what trains.
        spec: what is trained.
        folder: of the run; made if needed.
        config: the resolved configuration, to be kept.
        fidelity, seed: see `proxy_tasks.task.Task.evaluate`.
        weights: a model file whose backbone the training starts from.
        origin: where the spec comes from, for the model card.

    Raises:
        TaskFailureError: if the training fails; it can be gone on with where that is the machine's fault.
        FolderInUseError: if another process works in this folder.
        OSError: if the folder cannot be written.
    """
    with ExitStack() as stack:
        stack.enter_context(process_group())
        if rank_and_size()[0] != 0:
            return task.fit(spec, fidelity, seed, lambda *_: None, folder, weights=weights)
        folder.mkdir(parents=True, exist_ok=True)
        stack.enter_context(locked_folder(folder))
        # The settings of a resume are kept by the logger, once the training goes on with them.
        if not (folder / STATE).exists():
            replace_file(folder / "config.yaml", config)
        stack.enter_context(tasks_log_to(stack.enter_context((folder / "log.txt").open("a", buffering=1))))
        how = _describe_training(config, seed, fidelity, origin)
        logger = TrainingLogger(folder, task.model(spec, task.categories()), how)
        stack.callback(logger.close)
        score = task.fit(
            spec,
            fidelity,
            seed,
            logger.report,
            folder,
            on_evaluation=logger.on_evaluation,
            on_step=logger.on_step,
            weights=weights,
        )
        logger.finish()
        forget_state(folder)
        return score


class TrainingLogger:
    """Writes what a training leaves in its folder.

    Args:
        folder: of the run.
        model: what is trained.
        training: how it is trained, for the model files; "config" is the resolved configuration.
    """

    def __init__(self, folder: Path, model: Model, training: dict[str, Any]) -> None:
        from tensorboardX import SummaryWriter

        self.folder, self.model, self.training = folder, model, training
        self.evaluations = read_evaluations(folder)
        self._config_kept = False
        self._board = SummaryWriter(str(folder))

    def on_evaluation(self, net: nn.Module, step: int, score: Score) -> None:
        """Writes the last model file, and the best one if it is that."""
        metrics = {"reward": score.reward, **score.metrics}
        self.evaluations.by_step[step] = metrics
        training = {**self.training, "step": step, "metrics": metrics}
        save_model(self.folder / "last.safetensors", self.model, net, training)
        if self.evaluations.best == step:
            save_model(self.folder / "best.safetensors", self.model, net, training)
        self._write()

    def report(self, step: int, score: Score) -> None:
        """Prints one line and adds a point to TensorBoard."""
        shown = {name: value for name, value in score.metrics.items() if name not in ("params", "macs")}
        for name, value in shown.items():
            self._board.add_scalar(f"validation/{name}", value, step)
        words = ", ".join(f"{name} {value:.4g}" for name, value in list(shown.items())[:6])
        print(f"step {step}: {words}", flush=True)

    def on_step(self, step: int, loss: float, rate: float) -> None:
        """Adds a point to the loss curve now and then."""
        if not self._config_kept:  # The settings of a resume are kept once the training goes on with them.
            replace_file(self.folder / "config.yaml", self.training["config"])
            self._config_kept = True
        if step % STEPS_BETWEEN == 0:
            self._board.add_scalar("training/loss", loss, step)
            self._board.add_scalar("training/learning_rate", rate, step)

    def finish(self) -> None:
        """Marks the training as over and writes the model card."""
        self.evaluations.finished = True
        self._write()
        write_card(self.folder)

    def close(self) -> None:
        """Closes TensorBoard's file."""
        self._board.close()

    def _write(self) -> None:
        data = {"finished": self.evaluations.finished, "evaluations": self.evaluations.by_step}
        replace_file(self.folder / METRICS_FILE, json.dumps(data, indent=1) + "\n")


def _describe_training(config: str, seed: int, fidelity: float, origin: str) -> dict[str, Any]:
    versions = {name: version(name) for name in ("spinenas", "torch", "torchvision", "numpy")}
    return {
        "config": config,
        "seed": seed,
        "fidelity": fidelity,
        "origin": origin,
        "versions": {"python": platform.python_version(), **versions},
        "processes": rank_and_size()[1],
    }
