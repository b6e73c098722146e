"""Evidence: what was measured on the way to a reward, or elsewhere, for what learns from more than that."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

from controllers.controller import Proposal
from search_space.encoding import Matrix

REWARD = "reward"
"""Name of the first reward among the metrics."""


class Length(NamedTuple):
    """How far an evaluation had come; longer ones are larger.

    Args:
        fidelity: of the evaluation.
        step: of the report; infinity at its end.
        apart: whether it was measured on other images than most are, where all scores may be higher or lower.
    """

    fidelity: float
    step: float = math.inf
    apart: bool = False


Prior = Callable[[Sequence[Any]], Matrix]
"""Gives what is known of N specs before a search, [N]: how far they lie above what is usual in their space,
in units of the deviation there."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What was measured when an evaluation was interrupted, or at its end.

    Args:
        length: how far it had come.
        metrics: numbers by name, the first reward among them as "reward".
        curve: first rewards at the steps of earlier reports, where these are known.
    """

    length: Length
    metrics: Mapping[str, float]
    curve: Mapping[int, float] = field(default_factory=dict)


@runtime_checkable
class LearnsFromEvidence(Protocol):
    """Ability of a controller: it learns from scores of short and long evaluations together.

    A scheduler may interrupt an evaluation, and let it go on later. Other controllers learn the first reward
    that they are told of a proposal, and no later ones.
    """

    def learn_evidence(self, proposal: Proposal, evidence: Evidence) -> None:
        """Takes what was measured; the first time just before `tell`, and again whenever it went on."""


@runtime_checkable
class TakesPrior(Protocol):
    """Ability of a controller or a scheduler: it makes use of what is known of specs before the search."""

    def take_prior(self, prior: Prior) -> None:
        """Takes the prior, before anything else."""
