"""Cost: parameters, multiply-adds and activation memory of a network, from arithmetic alone.

The conventions are those of the published tables. Parameters are convolution weights, batch norm scales and
offsets, and head biases. MACs are the multiply-adds of convolutions and of the classifier's linear layer. A
SpineNet's last 1x1 convolution of an upsampled connection is counted at the resolution of its target; the
backbone computes it before upsampling, and `executed_macs` counts what it really computes in evaluation.
Training computes the same, unless the upsampling repeats some values more often than others: then it
upsamples first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from search_space.scale import Activation, level_size
from search_space.utils.parsing import shown
from search_space.utils.validation import is_whole

VALUE_BYTES = 4


INDEX_BYTES = 8


class CostError(ValueError):
    """The cost of a network cannot be computed; the message says which argument is wrong."""


@dataclass(frozen=True, slots=True)
class PartCost:
    """Cost of one part of a network.

    Args:
        name: such as "block 5", "P3" or "head".
        params: trainable parameters.
        macs: multiply-adds for one image, published convention.
        executed_macs: multiply-adds that the backbone really does for one image in evaluation.
        activation_bytes: memory of the values that one float32 training step keeps for its backward
            pass, for one image.
    """

    name: str
    params: int
    macs: int
    executed_macs: int
    activation_bytes: int


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost of a whole network.

    Args:
        params: trainable parameters.
        macs: multiply-adds for one image, published convention.
        executed_macs: multiply-adds that the backbone really does for one image.
        activation_bytes: bytes that one float32 training step keeps for its backward pass, for one image.
        parts: what the others are the sums of, in the order in which data pass through them.
    """

    params: int
    macs: int
    executed_macs: int
    activation_bytes: int
    parts: tuple[PartCost, ...]


Size = tuple[int, int]


Sums = tuple[int, int, int, int]
"""Parameters, MACs, executed MACs and activation bytes."""


# A search asks for the same blocks again and again, so their sums are remembered.
remember = lru_cache(maxsize=16384)


class Tally:
    """Running sums over the layers of one part of a network.

    Args:
        activation: of all layers, "relu" or "swish"; swish may keep more for the backward pass.
    """

    def __init__(self, activation: Activation = "relu") -> None:
        self.swish = activation == "swish"
        self.params = self.macs = self.executed_macs = self.kept_bytes = 0

    def conv(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int,
        area: int,
        *,
        groups: int = 1,
        activated: bool = True,
        bias: bool = False,
        norms: int = 1,
        executed_area: int | None = None,
    ) -> None:
        """Adds a convolution with an output of `area` pixels, its batch norms and its activation."""
        weights = kernel * kernel * channels_in // groups * channels_out
        self.params += weights + bias * channels_out + 2 * norms * channels_out
        self.macs += weights * area
        self.executed_macs += weights * (area if executed_area is None else executed_area)
        if norms:
            self.keep(channels_out * area)
        if activated:
            self.activation(channels_out * area)

    def activation(self, values: int, output_kept: bool = True) -> None:
        """Adds an activation. ReLU keeps its output, swish its input; a next convolution keeps the output."""
        self.keep(values * (self.swish + output_kept if self.swish else 1))

    def max_pool(self, values: int) -> None:
        """Adds a max-pool with `values` outputs, which keeps the places that they come from."""
        self.keep(values)
        self.keep_indices(values)

    def keep(self, values: int) -> None:
        """Adds values that the backward pass needs."""
        self.kept_bytes += VALUE_BYTES * values

    def keep_indices(self, values: int) -> None:
        """Adds the places that a max-pool with `values` outputs keeps."""
        self.kept_bytes += INDEX_BYTES * values

    def add(self, sums: Sums, times: int = 1) -> None:
        """Adds the sums of another tally, as often as its layers are repeated."""
        params, macs, executed_macs, kept_bytes = (times * number for number in sums)
        self.params += params
        self.macs += macs
        self.executed_macs += executed_macs
        self.kept_bytes += kept_bytes

    def sums(self) -> Sums:
        """Returns parameters, MACs, executed MACs and kept bytes so far."""
        return self.params, self.macs, self.executed_macs, self.kept_bytes


def check_size(size: object) -> Size:
    """Returns height and width in pixels of a size, which is one whole number or a list of two.

    Raises:
        CostError: if a side is no whole number in 1..65536.
    """
    pair = size if isinstance(size, (tuple, list)) else (size, size)
    if len(pair) != 2 or not all(is_whole(side) and 1 <= side <= 65536 for side in pair):
        raise CostError(f"size must be pixels in 1..65536, one number or two, not {shown(size)}")
    height, width = pair
    return int(height), int(width)


def check_classes(classes: object) -> int:
    """Returns a number of classes.

    Raises:
        CostError: if it is no whole number in 1..1000000.
    """
    if not is_whole(classes) or not 1 <= classes <= 1_000_000:
        raise CostError(f"classes must be a whole number in 1..1000000, not {shown(classes)}")
    return int(classes)


def add_parts(parts: Sequence[PartCost]) -> Cost:
    """Adds up the parts of a network."""
    return Cost(
        params=sum([part.params for part in parts]),
        macs=sum([part.macs for part in parts]),
        executed_macs=sum([part.executed_macs for part in parts]),
        activation_bytes=sum([part.activation_bytes for part in parts]),
        parts=tuple(parts),
    )


def area_at_level(size: Size, level: int) -> int:
    """Returns the pixels of a feature at a level, for an input of the given height and width."""
    height, width = level_size(size, level)
    return height * width
