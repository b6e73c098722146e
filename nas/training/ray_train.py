"""A full training on several workers of Ray Train, on this machine or on a cluster."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.training.settings import RaySettings
from nas.utils.terminal import complain


def train_on_ray(config: Any, ray: RaySettings) -> int:
    """Runs `nas train` on workers of Ray; the first one writes the run folder, which all nodes must share.

    Args:
        config: of the training.
        ray: its settings of several processes.

    Returns:
        The exit status.

    Raises:
        OSError: if Ray cannot be reached.
    """
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    from nas.executors.on_ray.runtime import ray_connection

    with ray_connection(ray.address, ray.workers + 1):
        return _fit(config, ray.workers, ray.gpus)


def _fit(config: Any, workers: int, gpus: float) -> int:
    from omegaconf import OmegaConf
    from pyarrow.fs import LocalFileSystem
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
        # A path alone would be read as an address, in which some characters mean something.
        run_config=RunConfig(  # type: ignore[call-arg]  # Its types are those of Ray Train's first version.
            storage_path=str(Path(config.run_dir).resolve()),
            storage_filesystem=LocalFileSystem(),
            name="ray",
            # Without GPUs of their own, all workers of a machine would train on its first one.
            worker_runtime_env={} if gpus else {"env_vars": {"CUDA_VISIBLE_DEVICES": ""}},
        ),
    )
    print(f"training {config.spec} on {workers} workers of Ray in {config.run_dir}", flush=True)
    try:
        trainer.fit()
    except Exception as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        complain(f"the training failed: {(lines or [type(error).__name__])[-1].strip()}")
        return 1
    return 0


def _work(loop: Mapping[str, Any]) -> None:
    """Runs on every worker, after Ray has joined the process group."""
    sys.path[:] = [*loop["path"], *(path for path in sys.path if path not in loop["path"])]
    if Path(loop["folder"]).is_dir():
        os.chdir(loop["folder"])
    from omegaconf import OmegaConf

    from nas.training.launch import train_here

    train_here(OmegaConf.create(loop["config"]))
