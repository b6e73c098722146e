"""Conventions of padding and pooling: those of PyTorch and of the two TensorFlow codes."""

from __future__ import annotations

from typing import Literal

Convention = Literal["torch", "garden", "tpu"]
"""How strided convolutions and max-pools are padded, and how a factor of 4 or more is pooled.

- torch: symmetric padding; the pool is repeated 3x3 with stride 2.
- garden: TensorFlow's SAME padding, which is one-sided at even sizes; the pool is repeated 3x3 with
  stride 2; the mobile network's gates are hard sigmoids. For weights trained with tensorflow/models.
- tpu: symmetric padding of convolutions, SAME padding of pools. After the strided convolution comes one
  pool, if the parent is at least three times as wide as the target. Its kernel is 3 up to a ratio of the
  widths of 4, and 5 beyond. Its stride is half the ratio, rounded down, or 2 if the ratio is no whole
  number. If the result has another size than the target, it takes the nearest neighbors. The mobile
  network's squeezed gates are swish. For weights trained with tensorflow/tpu.
"""
