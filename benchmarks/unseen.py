"""Trains a network to the full length and measures it on images that no search saw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.spinenet_bench.recipe import test_task


def measure_unseen(spec: Any, seed: int, root: Path | None) -> dict[str, float]:
    """Trains a network with the `cpu` proxy at fidelity 1, on one thread.

    Args:
        spec: of the network.
        seed: of the training.
        root: a data set whose val split no search has seen; None for generated images.

    Returns:
        "val", the AP on the validation images, and "AP": for generated images that on the test images of the
        table of detectors, else the same.
    """
    import torch

    from nas.config import load_task
    from proxy_tasks.data.batches import Batches
    from proxy_tasks.task import Score

    torch.set_num_threads(1)
    task: Any = load_task("cpu", f"data.root={'null' if root is None else root}")
    task.open()
    found: dict[str, float] = {}

    def look(net: torch.nn.Module, step: int, score: Score) -> None:
        found["val"] = found["AP"] = score.reward
        if root is None:
            size, batch = task.train.image_size, 2 * task.train.batch
            images = Batches(test_task(task).data.caches(size)[1], size, torch.device("cpu"))
            found["AP"] = task.evaluator.measure(net, images, batch=batch)["AP"]

    task.fit(spec, 1.0, seed, lambda *_: None, None, on_evaluation=look)
    return found
