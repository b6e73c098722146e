"""Tensors that follow from the size of the input alone, such as anchors: made once, then kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import torch

Made = TypeVar("Made")


Sizes = dict[int, tuple[int, int]]
"""Height and width of each level's feature."""


class Constants(Generic[Made]):
    """Makes something for the sizes of a pyramid and keeps the last that it has made.

    Args:
        make: makes it from sizes and device.
    """

    def __init__(self, make: Callable[[Sizes, torch.device], Made]) -> None:
        self.make = make
        self._key: object = None
        self._made: Made | None = None

    def __call__(self, sizes: Sizes, device: torch.device) -> Made:
        """Gives it for these sizes, on this device."""
        if torch.compiler.is_compiling():  # What an export makes holds no numbers, and must not be kept.
            return self.make(sizes, device)
        key = (tuple(sizes.items()), device)
        if self._made is None or key != self._key:
            # An evaluation may be the first to ask; what inference makes cannot be used in training.
            with torch.inference_mode(False), torch.no_grad():
                self._made, self._key = self.make(sizes, device), key
        return self._made

    def __deepcopy__(self, memo: object) -> Constants[Made]:
        """Copies of a network may be moved to another device; they make their own."""
        return Constants(self.make)

    def __reduce__(self) -> tuple[type[Constants[Made]], tuple[Callable[[Sizes, torch.device], Made]]]:
        """Leaves out what was made, which every process can make itself."""
        return type(self), (self.make,)
