"""Settings of batch normalization, which every backbone and head shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from search_space.utils.validation import Above, AtMost, validate


@dataclass(frozen=True, kw_only=True)
class NormConfig:
    """Batch normalization.

    Args:
        momentum: weight of a batch in the running statistics, above 0 and up to 1 (torch's convention).
        eps: added to variances, above 0.

    Raises:
        ValueError: if a number is out of range.
    """

    momentum: Annotated[float, Above(0), AtMost(1)] = 0.01
    eps: Annotated[float, Above(0)] = 1e-3

    def __post_init__(self) -> None:
        validate(self)
