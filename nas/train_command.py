"""`nas train`: one spec trained in full, and gone on with after a cut."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from nas.config import ConfigError, build_task, check_whole, config_text, merged, read_config
from nas.configured import run_configured
from nas.interrupts import raise_on_signals
from nas.spec_commands import Commands


def add_train_command(commands: Commands) -> None:
    """Adds the command to the parser's."""
    train = commands.add_parser(
        "train", help="train one spec in full; options are KEY=VALUE", add_help=False, prefix_chars="\0"
    )
    train.add_argument("overrides", nargs="*")
    train.set_defaults(run=_train)


def _train(options: argparse.Namespace) -> int:
    return run_configured("train", options.overrides, _start)


def _start(config: Any) -> int:
    from proxy_tasks.task import check_fidelity

    if config.scale is not None:
        config.task.scale = {"_target_": "search_space.parse_scale", "text": str(config.scale)}
    if config.run_dir is None:
        config.run_dir = free_folder(Path("trainings"))
    folder = Path(config.run_dir)
    if (folder / "journal.db").exists():
        raise ConfigError(f"{folder} holds a search; give another run_dir=")
    if (folder / "figures.json").exists() or (folder / "training.pt").exists():
        raise ConfigError(f"{folder} already holds a training; go on with: nas resume {folder}")
    check_whole(config, seed=0)
    if config.seed >= 2**32:
        raise ConfigError(f"seed must be below 2^32, not {config.seed}")
    check_fidelity(config.fidelity)
    return run(config)


def resume_training(folder: Path, overrides: list[str]) -> int:
    """Goes on with the training of a folder."""
    from nas.training_run import read_figures

    if read_figures(folder).finished:
        print(f"{folder}: the training is over; nothing to do")
        return 0
    config = merged(read_config(folder / "config.yaml"), overrides)
    config.run_dir = str(folder)
    return run(config)


def holds_training(folder: Path) -> bool:
    """Whether a folder is that of a training, not of a search."""
    return not (folder / "journal.db").exists() and (folder / "config.yaml").exists()


def run(config: Any) -> int:
    """Trains what a configuration says; here, or on Ray's workers."""
    from omegaconf import OmegaConf

    from proxy_tasks.distributed import process_rank
    from proxy_tasks.task import TaskFailureError

    folder = Path(config.run_dir)
    raise_on_signals()
    try:
        if OmegaConf.select(config, "ray.workers"):
            from nas.launching import train_on_ray

            _spec(str(config.spec))
            _task(config)  # Says what is wrong before workers are started.
            if train_on_ray(config):
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


def train_here(config: Any) -> None:
    """Trains in this process, which may be one of several that share the batches.

    Raises:
        TaskFailureError: if the training fails.
    """
    from nas.training_run import run_training
    from proxy_tasks.distributed import process_rank
    from proxy_tasks.fitting import chosen_device

    folder = Path(config.run_dir)
    spec, origin = _spec(str(config.spec))
    task = _task(config)
    chosen_device(getattr(task, "device", "auto"))  # A GPU that is not there is told before a folder is made.
    if process_rank() == 0:
        print(f"training {config.spec} in {folder}", flush=True)
    run_training(
        task,
        spec,
        folder,
        config_text(config),
        fidelity=float(config.fidelity),
        seed=int(config.seed),
        origin=origin,
        weights=None if config.weights is None else Path(config.weights),
    )


def _task(config: Any) -> Any:
    task = build_task(config.task)
    if not hasattr(task, "fit"):
        raise ConfigError(f"task: {type(task).__name__} has no fit, so it cannot train a model to keep")
    return task


def free_folder(parent: Path) -> str:
    """A folder that is not there yet, named by the time."""
    name = time.strftime("%Y-%m-%d-%H%M%S")
    names = [name, *(f"{name}-{i}" for i in range(2, 1000))]
    return next(str(path) for n in names if not (path := parent / n).exists())


def _spec(source: str) -> tuple[Any, str]:
    """The spec, and where it comes from: the search of a winner's file."""
    from search_space import load_any_spec

    if source == "r50-fpn":
        from proxy_tasks.resnet_fpn import R50FPNSpec

        return R50FPNSpec(), "ResNet-50 with FPN"
    spec: Any = load_any_spec(source)
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
