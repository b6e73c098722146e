"""A prior, perhaps a user's own, whose faults are told as its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from controllers.evidence import Prior
from nas.plugins.faults import FaultError, one_line, reraise_as
from search_space.encoding import Matrix


class GuardedPrior:
    """Passes specs on to a prior.

    Args:
        prior: gives what is known of N specs, [N].
    """

    def __init__(self, prior: Prior) -> None:
        self._prior = prior
        call = getattr(prior, "func", prior)  # A function with settings is a partial.
        self._name = getattr(call, "__name__", type(prior).__name__)

    def __call__(self, specs: Sequence[Any]) -> Matrix:
        """Gives what is known of N specs, [N].

        Raises:
            FaultError: if the prior fails, or gives anything but a finite number for each spec.
        """
        with reraise_as(self._name):
            told = self._prior(specs)
        try:
            found = np.asarray(told, np.float64)
        except (TypeError, ValueError):
            raise FaultError(f"{self._name} must give numbers, not {one_line(repr(told))}") from None
        if found.shape != (len(specs),):
            raise FaultError(f"{self._name} must give {len(specs)} numbers, not an array {found.shape}")
        if not np.isfinite(found).all():
            raise FaultError(f"{self._name} must give finite numbers, not {one_line(repr(told))}")
        return found
