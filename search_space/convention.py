"""Conventions of padding and pooling: those of PyTorch and of the two TensorFlow codes."""

from __future__ import annotations

from typing import Literal

Convention = Literal["torch", "garden", "tpu"]
"""How strided convolutions and max-pools are padded, and how a factor of 8 or more is pooled.

- torch: symmetric padding; the pool is repeated 3x3 with stride 2.
- garden: TensorFlow's SAME padding, which is one-sided at even sizes; the pool is repeated 3x3 with
  stride 2; the mobile network's gates are hard sigmoids. For weights trained with tensorflow/models.
- tpu: symmetric padding of convolutions, SAME padding of pools; one pool with stride ratio/2, of kernel
  3 for a ratio of 4 and of kernel 5 beyond; the mobile network's squeezed gates are swish. For weights
  trained with tensorflow/tpu.
"""
