"""From a configuration to a training in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nas.config import ConfigError, build_root, build_task, config_text
from nas.training.settings import TrainSettings
from nas.utils.run_files import config_file, kept_spec
from nas.utils.run_folder import short_path
from nas.utils.terminal import show_reward
from proxy_tasks.task import Trainable
from search_space import Spec


def train_here(config: Any) -> None:
    """Trains in this process, which may be one of several that share the batches.

    Raises:
        TaskFailureError: if the training fails.
    """
    from nas.executors.resources import count_gpus
    from nas.training.run import device_name, run_training
    from nas.utils.logging import print_notices
    from proxy_tasks.distributed import announced_size, process_rank, select_device
    from proxy_tasks.models.model import numbered_categories
    from proxy_tasks.models.model_file import check_backbone, read_model
    from proxy_tasks.training_task import TrainingTask

    folder = Path(config.run_dir)
    spec, origin = read_kept_spec(config)
    settings = read_settings(config)
    task: Any = build_trainable(config)
    if settings.weights is not None:  # Before a folder is made.
        source, _ = read_model(settings.weights)
        if isinstance(task, TrainingTask):
            task = task.starting_from(source)
        check_backbone(task.model(spec, numbered_categories(1)), source, settings.weights)
    chosen = select_device(device_name(task))  # Fails before a folder is made.
    if process_rank() == 0:
        print(f"training {config.spec} in {short_path(folder)}", flush=True)
        hint = "" if chosen.type == "cpu" else idle_gpus(count_gpus(), announced_size())
        if hint:
            print(hint, flush=True)
    with print_notices():
        run_training(
            task,
            spec,
            folder,
            config_text(config),
            fidelity=settings.fidelity,
            seed=settings.seed,
            origin=origin,
            weights=settings.weights,
        )


def read_kept_spec(config: Any) -> tuple[Spec, str]:
    """Gives the spec of a training, and where it comes from.

    A training that goes on has its spec in its folder: the file that it was begun with may be another one by
    now, such as the winner of a search that has gone on.

    Raises:
        ConfigError, SpecError, OSError: see `read_train_spec`.
    """
    from search_space import load_spec

    folder = Path(config.run_dir)
    if not (config_file(folder).is_file() and kept_spec(folder).is_file()):
        return read_train_spec(str(config.spec))
    kept = load_spec(kept_spec(folder))
    try:
        now, origin = read_train_spec(str(config.spec))
    except (ValueError, OSError):
        return kept, ""
    return kept, origin if now == kept else ""


def idle_gpus(gpus: int, processes: int) -> str:
    """A line if GPUs of this machine stay idle in a training; "" if none does.

    Args:
        gpus: how many there are.
        processes: of the training; each has one.
    """
    idle = gpus - processes
    if idle < 1:
        return ""
    return (
        f"{idle} of {gpus} GPUs will be idle: torchrun --nproc-per-node {gpus} -m nas train ... "
        "shares every batch out over all of them"
    )


def read_settings(config: Any) -> TrainSettings:
    """Checks the keys of a training; the task is left as a node.

    Raises:
        ConfigError: if a value is wrong; it names the key.
    """
    return build_root(config, TrainSettings)


def build_trainable(config: Any) -> Trainable:
    """Builds the task of a training.

    Raises:
        ConfigError: if it cannot train a network that is kept.
    """
    task = build_task(config.task)
    if task.trainable is None:
        raise ConfigError(
            f"task: {task.name} has no fit, model and categories as proxy_tasks.TrainingTask has them, so it "
            "cannot train a network to keep"
        )
    return task.trainable


def read_train_spec(source: str) -> tuple[Any, str]:
    """The spec, and where it comes from: the search of a winner's file."""
    from search_space import load_spec

    spec = load_spec(source)
    summary = Path(source).parent / "summary.json"
    if not summary.is_file():
        return spec, source
    from search_space.utils.json_text import parse_json

    try:
        found = parse_json(summary.read_bytes())
        rewards = ", ".join(map(show_reward, found["rewards"]))
        return spec, f"{source}: trial {found['trial']} of that search, reward {rewards}"
    except Exception:  # Whatever is wrong with it, the spec can be trained.
        return spec, source
