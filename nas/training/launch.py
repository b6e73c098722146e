"""From a configuration to a training in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nas.config import ConfigError, build, build_task, config_text
from nas.training.settings import TrainSettings
from proxy_tasks.task import Trainable


def train_here(config: Any) -> None:
    """Trains in this process, which may be one of several that share the batches.

    Raises:
        TaskFailureError: if the training fails.
    """
    from nas.training.run import run_training
    from proxy_tasks.distributed import process_rank, select_device

    folder = Path(config.run_dir)
    spec, origin = read_train_spec(str(config.spec))
    settings = read_settings(config)
    task: Any = build_trainable(config)
    select_device(getattr(task, "device", "auto"))  # Fails before a folder is made.
    if process_rank() == 0:
        print(f"training {config.spec} in {folder}", flush=True)
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


def read_settings(config: Any) -> TrainSettings:
    """Checks the keys of a training; the task is left as a node.

    Raises:
        ConfigError: if a value is wrong; it names the key.
    """
    from omegaconf import OmegaConf

    values: Any = OmegaConf.to_container(config, resolve=True)
    named = {str(key): value for key, value in values.items() if not str(key).startswith("_")}
    weights = None if config.weights is None else Path(str(config.weights))
    try:
        return TrainSettings(**{**named, "ray": build(config.ray, "ray"), "weights": weights})
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(str(error)) from None


def build_trainable(config: Any) -> Trainable:
    """Builds the task of a training.

    Raises:
        ConfigError: if it cannot train a network that is kept.
    """
    task = build_task(config.task)
    if task.trainable is None:
        raise ConfigError(f"task: {task.name} has no method fit, so it cannot train a network to keep")
    return task.trainable


def read_train_spec(source: str) -> tuple[Any, str]:
    """The spec, and where it comes from: the search of a winner's file."""
    from search_space import load_spec

    spec = load_spec(source)
    summary = Path(source).parent / "summary.json"
    if not summary.is_file():
        return spec, source
    import json

    try:
        found = json.loads(summary.read_text())
        rewards = ", ".join(f"{reward:.4f}" for reward in found["rewards"])
        return spec, f"{source}: trial {found['trial']} of that search, reward {rewards}"
    except (ValueError, KeyError, TypeError):
        return spec, source
