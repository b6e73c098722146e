"""The share of a GPU that a worker was given."""

from __future__ import annotations

import os

GPU_SHARE = "NAS_GPU_SHARE"
"""Environment variable that tells a worker which share of a GPU, or how many GPUs, it was given."""


def gpu_share() -> float:
    """Gives the share of its GPU that this process was given, or how many GPUs; 1 if nobody has said it."""
    return float(os.environ.get(GPU_SHARE, "1"))
