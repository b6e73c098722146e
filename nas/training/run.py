"""One full training in a folder: checkpoints, metrics, TensorBoard, and a model card at the end.

| file | what |
| --- | --- |
| config.yaml | the resolved configuration |
| spec.json | what is trained; a resume trains this, whatever has become of the file that it is from |
| origin.json | who began it, see `nas.utils.origin` |
| last.safetensors, best.safetensors | model files, see `proxy_tasks.models` |
| metrics.json | every evaluation, and whether the training is over |
| training.pt | the state to go on from, while it is under way |
| progress.json | where it is, while it is under way |
| card.md, spec.svg | the model card |
| log.txt, events.* | progress; TensorBoard |
"""

from __future__ import annotations

import platform
import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

from torch import nn

from nas.training.evaluations import read_evaluations
from nas.training.model_card import write_card
from nas.training.size import describe_size
from nas.utils.files import locked_folder, replace_file
from nas.utils.logging import tasks_log_to
from nas.utils.origin import write_origin
from nas.utils.run_files import METRICS_FILE, best_model, config_file, kept_spec
from proxy_tasks.adapted_task import adapt
from proxy_tasks.distributed import process_group, rank_and_size
from proxy_tasks.engine.progress import read_progress
from proxy_tasks.engine.state_file import STATE, forget_state
from proxy_tasks.models.model import Model
from proxy_tasks.models.model_file import save_model
from proxy_tasks.task import Score
from proxy_tasks.training_task import TrainingTask
from search_space import Spec
from search_space.utils.validation import is_number

STEPS_BETWEEN = 20
"""Steps between two points of the loss curve."""


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
        stack.enter_context(process_group(device_name(task)))
        if rank_and_size()[0] != 0:
            return task.fit(spec, fidelity, seed, lambda *_: None, folder, weights=weights)
        folder.mkdir(parents=True, exist_ok=True)
        stack.enter_context(locked_folder(folder))
        write_origin(folder)
        # The settings of a resume are kept by the logger, once the training goes on with them.
        if not (folder / STATE).exists():
            replace_file(kept_spec(folder), spec.to_json())
            replace_file(config_file(folder), config)
        stack.enter_context(tasks_log_to(stack.enter_context(_open_log(folder))))
        replace(adapt(task), finalist_task=None).setup(folder)  # A training has no finalists.
        how = _describe_training(config, seed, fidelity, origin)
        model = task.model(spec, task.categories())
        with suppress(ValueError):  # The training itself says what is wrong with the scale.
            print("\n".join(describe_size(model, spec.title)), flush=True)
        logger = TrainingLogger(folder, model, how)
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


def device_name(task: object) -> str:
    """The device that a task names; "auto" if it names none, as a user's own task may."""
    device = getattr(task, "device", None)
    return device if isinstance(device, str) else "auto"


def _open_log(folder: Path) -> IO[str]:
    return (folder / "log.txt").open("a", buffering=1, encoding="utf-8", errors="backslashreplace")


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
        before = read_progress(folder)
        self._before = max(self.evaluations.seconds, 0.0 if before is None else before.seconds)
        self._started = time.monotonic()
        self._config_kept = False
        self._board = SummaryWriter(str(folder))

    def on_evaluation(self, net: nn.Module, step: int, score: Score) -> None:
        """Writes the last model file, and the best one if it is that."""
        metrics = {"reward": score.reward, **score.metrics}
        self.evaluations.by_step[step] = metrics
        training = {**self.training, "step": step, "metrics": metrics}
        save_model(self.folder / "last.safetensors", self.model, net, training)
        if self.evaluations.best == step:
            save_model(best_model(self.folder), self.model, net, training)
        self._write()

    def report(self, step: int, score: Score) -> None:
        """Prints one line and adds a point to TensorBoard."""
        shown = {name: value for name, value in score.metrics.items() if name not in ("params", "macs")}
        for name, value in shown.items():
            if is_number(value):
                self._board.add_scalar(f"validation/{name}", value, step)
        words = ", ".join(f"{name} {value:.4g}" for name, value in list(shown.items())[:6])
        print(f"step {step}: {words}", flush=True)

    def on_step(self, step: int, loss: float, rate: float) -> None:
        """Adds a point to the loss curve now and then."""
        if not self._config_kept:  # The settings of a resume are kept once the training goes on with them.
            replace_file(config_file(self.folder), self.training["config"])
            self._config_kept = True
        if step % STEPS_BETWEEN == 0:
            self._board.add_scalar("training/loss", loss, step)
            self._board.add_scalar("training/learning_rate", rate, step)

    def finish(self) -> None:
        """Writes the model card and marks the training as over."""
        write_card(self.folder)
        self.evaluations.finished = True
        self._write()

    def close(self) -> None:
        """Closes TensorBoard's file."""
        self._board.close()

    def _write(self) -> None:
        self.evaluations.seconds = self._before + time.monotonic() - self._started
        replace_file(self.folder / METRICS_FILE, self.evaluations.to_json())


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
