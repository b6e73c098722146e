"""How training images vary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from search_space.utils.validation import Above, AtMost, validate


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How training images vary.

    Args:
        low, high: range of the random scale, relative to filling the network's input.
        flip: whether half of the images are mirrored.

    Raises:
        ValueError: if a field is out of range; the message names it as "augmentation.low" and so on.
    """

    low: Annotated[float, Above(0), AtMost(10)] = 1.0
    high: Annotated[float, Above(0), AtMost(10)] = 1.0
    flip: bool = True

    def __post_init__(self) -> None:
        validate(self, where="augmentation.")
        if self.low > self.high:
            raise ValueError(
                f"augmentation.low must be at most augmentation.high, {self.high}, not {self.low}"
            )
