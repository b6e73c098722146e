"""One full training in a folder: checkpoints, figures, TensorBoard, and a model card at the end.

| file | what |
| --- | --- |
| config.yaml | the resolved configuration |
| last.safetensors, best.safetensors | model files, see `proxy_tasks.models` |
| figures.json | every evaluation, and whether the training is over |
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

from nas.files import locked_folder, replace_file
from nas.logs import tasks_log_to
from nas.model_card import write_card
from proxy_tasks.backbones import AnySpec
from proxy_tasks.distributed import joined, rank_and_size
from proxy_tasks.fitting import STATE, forget_state
from proxy_tasks.models import Model, save_model
from proxy_tasks.task import Score
from proxy_tasks.training_task import TrainingTask

STEPS_BETWEEN = 20
"""Steps between two points of the loss curve."""


@dataclass
class Figures:
    """Evaluations by step.

    Args:
        by_step: figures of each.
        finished: whether the training is over.
    """

    by_step: dict[int, dict[str, float]] = field(default_factory=dict)
    finished: bool = False

    @property
    def best(self) -> int | None:
        """The step with the best reward."""
        steps = self.by_step
        return max(steps, key=lambda step: (steps[step]["reward"], -step)) if steps else None


def read_figures(folder: Path) -> Figures:
    """What a folder's `figures.json` holds; nothing if there is none.

    Raises:
        ValueError: if it is damaged.
    """
    path = folder / "figures.json"
    if not path.is_file():
        return Figures()
    try:
        data = json.loads(path.read_text())
        return Figures(
            {int(step): dict(found) for step, found in data["evaluations"].items()}, data["finished"]
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged: {error}") from None


def run_training(
    task: TrainingTask,
    spec: AnySpec,
    folder: Path,
    config: str,
    *,
    fidelity: float = 1.0,
    seed: int = 0,
    origin: str = "",
    weights: Path | None = None,
) -> Score:
    """Trains a spec to the end, or goes on where a training was cut off.

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
        stack.enter_context(joined())
        if rank_and_size()[0] != 0:
            return task.fit(spec, fidelity, seed, lambda *_: None, folder, weights=weights)
        folder.mkdir(parents=True, exist_ok=True)
        stack.enter_context(locked_folder(folder))
        # Settings given to a resume are kept once the training goes on with them.
        if not (folder / STATE).exists():
            replace_file(folder / "config.yaml", config)
        stack.enter_context(tasks_log_to(stack.enter_context((folder / "log.txt").open("a", buffering=1))))
        keeper = _Keeper(folder, task.model(spec, task.categories()), _how(config, seed, fidelity, origin))
        stack.callback(keeper.board.close)
        keeper.config = config
        score = task.fit(spec, fidelity, seed, keeper.report, folder, keeper.keep, keeper.on_step, weights)
        keeper.end()
        forget_state(folder)
        return score


class _Keeper:
    """Writes what a training leaves."""

    def __init__(self, folder: Path, model: Model, how: dict[str, Any]) -> None:
        from tensorboardX import SummaryWriter

        self.folder, self.model, self.how = folder, model, how
        self.config: str | None = None
        self.figures = read_figures(folder)
        self.board = SummaryWriter(str(folder))

    def keep(self, net: nn.Module, step: int, score: Score) -> None:
        """Writes the last model file, and the best one if it is that."""
        self.figures.by_step[step] = {"reward": score.reward, **score.metrics}
        how = {**self.how, "step": step, "figures": self.figures.by_step[step]}
        save_model(self.folder / "last.safetensors", self.model, net, how)
        if self.figures.best == step:
            save_model(self.folder / "best.safetensors", self.model, net, how)
        self._write()

    def report(self, step: int, score: Score) -> None:
        """One line and a point on TensorBoard."""
        found = {name: value for name, value in score.metrics.items() if name not in ("params", "macs")}
        for name, value in found.items():
            self.board.add_scalar(f"validation/{name}", value, step)
        shown = ", ".join(f"{name} {value:.4g}" for name, value in list(found.items())[:6])
        print(f"step {step}: {shown}", flush=True)

    def on_step(self, step: int, loss: float, rate: float) -> None:
        """A point of the loss curve now and then."""
        if self.config is not None:
            replace_file(self.folder / "config.yaml", self.config)
            self.config = None
        if step % STEPS_BETWEEN == 0:
            self.board.add_scalar("training/loss", loss, step)
            self.board.add_scalar("training/learning_rate", rate, step)

    def end(self) -> None:
        """The training is over."""
        self.figures.finished = True
        self._write()
        write_card(self.folder)

    def _write(self) -> None:
        data = {"finished": self.figures.finished, "evaluations": self.figures.by_step}
        replace_file(self.folder / "figures.json", json.dumps(data, indent=1) + "\n")


def _how(config: str, seed: int, fidelity: float, origin: str) -> dict[str, Any]:
    versions = {name: version(name) for name in ("spinenas", "torch", "torchvision", "numpy")}
    return {
        "config": config,
        "seed": seed,
        "fidelity": fidelity,
        "origin": origin,
        "versions": {"python": platform.python_version(), **versions},
        "processes": rank_and_size()[1],
    }
