"""The keys of `nas train`: types, ranges and defaults of what configs/train.yaml does not say."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from proxy_tasks.task import Fidelity
from search_space.utils.paths import OR_FILE
from search_space.utils.validation import AtLeast, Below, validate


@dataclass(frozen=True, kw_only=True)
class RaySettings:
    """A launcher of several processes; torchrun is the other one.

    Args:
        workers: processes on Ray that share every batch; 0 for this process alone.
        gpus: of each of them.
        address: "auto" or the address of a cluster; None starts Ray on this machine.

    Raises:
        ValueError: if a value is of the wrong type or out of its range.
    """

    workers: Annotated[int, AtLeast(0)] = 0
    gpus: Annotated[float, AtLeast(0)] = 0
    address: str | None = None

    def __post_init__(self) -> None:
        validate(self)


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """The keys of a training.

    Args:
        task: node of what trains.
        spec: a published name, or a file such as runs/DATE/winners/best.json.
        scale: of the network, such as 49S, 96, or "49,activation=swish"; None for the task's own.
        fidelity: length of the training relative to the task's own.
        seed: of weights and data.
        weights: a model file whose backbone the training starts from, whatever its head.
        run_dir: folder of the training; None for trainings/<date and time>.
        ray: settings of several processes.
        layout: version of the files in a run folder.

    Raises:
        ValueError: if a value is of the wrong type or out of its range.
    """

    task: Any
    spec: Annotated[str, OR_FILE] = "spinenet-49"
    scale: str | int | None = None
    fidelity: Fidelity = 1.0
    seed: Annotated[int, AtLeast(0), Below(2**32)] = 0
    weights: Path | None = None
    run_dir: str | None = None
    ray: RaySettings = field(default_factory=RaySettings)
    layout: Literal[2] = 2

    def __post_init__(self) -> None:
        validate(self)
