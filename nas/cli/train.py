"""`nas train`: trains one spec in full, and continues a training that was interrupted."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from nas.cli.arguments import Commands, add_configured_command
from nas.cli.hydra_app import run_configured
from nas.utils.terminal import raise_on_signals


def add_train_command(commands: Commands) -> None:
    """Adds the command to the parser's."""
    add_configured_command(commands, "train", "train one spec in full", _train)


def _train(options: argparse.Namespace) -> int:
    return run_configured("train", options.overrides, _start)


def _start(config: Any) -> int:
    from nas.config import ConfigError
    from nas.training.launch import read_settings

    read_settings(config)
    if config.scale is not None:
        config.task.scale = {"_target_": "search_space.parse_scale", "text": str(config.scale)}
    if config.run_dir is None:
        config.run_dir = free_folder(Path("trainings"))
    folder = Path(config.run_dir)
    if (folder / "journal.db").exists():
        raise ConfigError(f"{folder} holds a search; give another run_dir=")
    if (folder / "metrics.json").exists() or (folder / "training.pt").exists():
        raise ConfigError(f"{folder} already holds a training; go on with: nas resume {folder}")
    return run(config)


def resume_training(folder: Path, overrides: list[str]) -> int:
    """Continues the training of a folder."""
    from nas.config import merge_overrides, read_config
    from nas.training.run import read_evaluations

    if read_evaluations(folder).finished:
        print(f"{folder}: the training is over; nothing to do")
        return 0
    config = merge_overrides(read_config(folder / "config.yaml"), overrides)
    config.run_dir = str(folder)
    return run(config)


def holds_training(folder: Path) -> bool:
    """Whether a folder is that of a training, not of a search."""
    return not (folder / "journal.db").exists() and (folder / "config.yaml").exists()


def run(config: Any) -> int:
    """Trains what a configuration says, in this process or on workers of Ray."""
    from nas.training.launch import build_trainable, read_settings, read_train_spec, train_here
    from proxy_tasks.distributed import process_rank
    from proxy_tasks.task import TaskFailureError

    folder = Path(config.run_dir)
    raise_on_signals()
    try:
        if config.ray.workers:
            from nas.training.ray_train import train_on_ray

            read_train_spec(str(config.spec))
            build_trainable(config)  # Says what is wrong before workers are started.
            if train_on_ray(config, read_settings(config).ray):
                return 1
        else:
            train_here(config)
    except KeyboardInterrupt:
        print(f"\nnas: interrupted; go on with: nas resume {folder}", file=sys.stderr)
        return 130
    except TaskFailureError as error:
        print(f"nas: the training failed ({error.kind}): {error}", file=sys.stderr)
        return 1
    if process_rank() == 0:
        print(f"model: {folder / 'best.safetensors'}, card: {folder / 'card.md'}")
    return 0


def free_folder(parent: Path) -> str:
    """A folder that is not there yet, named by the time."""
    name = time.strftime("%Y-%m-%d-%H%M%S")
    names = [name, *(f"{name}-{i}" for i in range(2, 1000))]
    return next(str(path) for n in names if not (path := parent / n).exists())
