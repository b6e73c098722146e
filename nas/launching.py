"""A full training on several workers of Ray Train, on this machine or a cluster."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.config import ConfigError


def train_on_ray(config: Any) -> int:
    """Runs `nas train` on Ray's workers; the first one writes the run folder, which all nodes must share.

    Args:
        config: of the training; `config.ray` has `workers`, `gpus` of each and `address`.

    Returns:
        The exit status.

    Raises:
        ConfigError: if the number of workers or GPUs makes no sense.
        OSError: if Ray cannot be reached.
    """
    options = config.ray
    workers, gpus = options.workers, options.gpus
    if type(workers) is not int or workers < 1:
        raise ConfigError(f"ray.workers must be a whole number of at least 1, not {workers!r}")
    if gpus < 0:
        raise ConfigError(f"ray.gpus must be at least 0, not {gpus}")
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    from nas.ray_start import connected

    with connected(options.address, workers + 1):
        return _fitted(config, workers, gpus)


def _fitted(config: Any, workers: int, gpus: float) -> int:
    from omegaconf import OmegaConf
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    resources = {"CPU": 1.0} | ({"GPU": gpus} if gpus else {})
    trainer = TorchTrainer(
        _work,
        train_loop_config={
            "config": OmegaConf.to_container(config),
            "path": list(sys.path),
            "folder": str(Path.cwd()),
        },
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=gpus > 0, resources_per_worker=resources),
        run_config=RunConfig(storage_path=str(Path(config.run_dir).resolve()), name="ray"),
    )
    print(f"training {config.spec} on {workers} workers of Ray in {config.run_dir}", flush=True)
    try:
        trainer.fit()
    except Exception as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        print(f"nas: the training failed: {(lines or [type(error).__name__])[-1].strip()}", file=sys.stderr)
        return 1
    return 0


def _work(loop: Mapping[str, Any]) -> None:
    """What every worker does: Ray has joined the process group."""
    sys.path[:] = [*loop["path"], *(path for path in sys.path if path not in loop["path"])]
    if Path(loop["folder"]).is_dir():
        os.chdir(loop["folder"])
    from omegaconf import OmegaConf

    from nas.train_command import train_here

    train_here(OmegaConf.create(loop["config"]))
