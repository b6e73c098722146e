"""Weights from names: the same numbers wherever numpy runs, so that golden files need not store them."""

from __future__ import annotations

from zlib import crc32

import numpy as np
from numpy.typing import NDArray


def normal(name: str, *shape: int) -> NDArray[np.float32]:
    """Standard normal numbers that depend on the name alone (numpy keeps this stream for good)."""
    random = np.random.RandomState(crc32(name.encode()))
    return random.standard_normal(shape).astype(np.float32)


def conv(name: str, *shape: int) -> NDArray[np.float32]:
    """A kernel [out, in / groups, height, width] that keeps the variance of its input."""
    kernel: NDArray[np.float32] = normal(f"{name}.conv", *shape) / np.float32(np.sqrt(np.prod(shape[1:])))
    return kernel


def norm(name: str, channels: int) -> dict[str, NDArray[np.float32]]:
    """A batch norm in use: nothing at its initial value."""
    return {
        "gamma": 1 + 0.2 * normal(f"{name}.gamma", channels),
        "beta": 0.1 * normal(f"{name}.beta", channels),
        "mean": 0.1 * normal(f"{name}.mean", channels),
        "variance": np.exp(0.2 * normal(f"{name}.variance", channels)),
    }


def images(batch: int, size: int) -> NDArray[np.float32]:
    """[batch, 3, size, size]."""
    return normal("images", batch, 3, size, size)


def variable(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """A variable of a whole model, in TensorFlow's order of axes; its last word tells what it is."""
    kind = name.rsplit("/", 1)[-1]
    if kind in ("gamma", "moving_variance"):
        return np.asarray(np.exp(0.2 * normal(name, *shape)))
    if kind in ("beta", "moving_mean", "bias"):
        return np.asarray(np.float32(0.1) * normal(name, *shape))
    fan_in = shape[0] * shape[1] if kind == "depthwise_kernel" else int(np.prod(shape[:-1]))
    return np.asarray(normal(name, *shape) / np.float32(np.sqrt(fan_in)))
