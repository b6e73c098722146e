"""Tasks that look at the GPU that they were given. Workers of Ray import their module, and so no torch."""

from __future__ import annotations

import os
import time
from pathlib import Path

from proxy_tasks.gpu_share import GPU_SHARE
from proxy_tasks.task import Score


class Looks:
    """Its metrics are what it was given."""

    def evaluate(self, spec: object, fidelity: float, seed: int, report: object, checkpoint: object) -> Score:
        seen = os.environ.get("CUDA_VISIBLE_DEVICES")
        share = float(os.environ.get(GPU_SHARE, "0"))
        return Score(1.0, {"gpu": -1.0 if not seen else float(seen), "hidden": seen == "", "share": share})


class Greedy:
    """Trials 2 and 7 need a whole GPU, and look whether they have it; trial 5 needs two.

    Args:
        folder: where each trial that runs has a file, named by its GPU.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def evaluate(self, spec: str, fidelity: float, seed: int) -> float:
        gpu = os.environ["CUDA_VISIBLE_DEVICES"]
        mine = Path(self.folder, f"{gpu}-{seed}")
        mine.touch()
        try:
            alone = float(os.environ[GPU_SHARE]) == 1
            if seed in (2, 5, 7):
                if not alone or seed == 5:
                    import torch

                    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
                time.sleep(0.3)
                assert [path.name for path in Path(self.folder).glob(f"{gpu}-*")] == [mine.name]
            else:
                assert not alone
                time.sleep(0.1)
        finally:
            mine.unlink()
        return 1.0
