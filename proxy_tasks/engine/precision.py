"""In which precision a network trains, by what its device can do."""

from __future__ import annotations

import logging
from typing import Literal

import torch

LOG = logging.getLogger(__name__)

Precision = Literal["fp32", "bf16", "fp16"]
"""Of the forward pass; weights, losses and updates are always in fp32."""


def resolve_precision(asked: Literal["auto", "fp32", "bf16", "fp16"], device: torch.device) -> Precision:
    """Finds the precision for a device; "auto" takes the fastest that its hardware computes.

    "auto" is bf16 where the hardware has it, else fp16 with scaled losses on NVIDIA's GPUs, else fp32. A
    precision that is only emulated works, and is slower than fp32: one line in the log says so.

    Args:
        asked: what the configuration says.
        device: where the network trains.

    Raises:
        ValueError: if the device cannot train in this precision.
    """
    if asked == "auto":
        if has_bf16(device):
            return "bf16"
        return "fp16" if device.type == "cuda" else "fp32"
    if asked == "fp16" and device.type != "cuda":
        raise ValueError(
            f"train.precision: fp16 needs an NVIDIA GPU, not {device.type}; auto takes what is fastest here"
        )
    if asked == "bf16" and not has_bf16(device):
        LOG.warning("train.precision: this %s emulates bf16, slower than fp32; use auto", _named(device))
    return asked


def has_bf16(device: torch.device) -> bool:
    """Says whether a device's hardware computes in bf16."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        found = torch.cpu.get_capabilities()
        return bool(found.get("avx512_bf16") or found.get("amx_bf16"))
    return False


def _named(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper()
