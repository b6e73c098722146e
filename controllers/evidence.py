"""Evidence: what was measured on the way to a reward, for controllers that learn from more than rewards."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from controllers.controller import Proposal

REWARD = "reward"
"""Name of the first reward among the metrics."""


class Length(NamedTuple):
    """How far an evaluation had come; longer ones are larger.

    Args:
        fidelity: of the evaluation.
        step: of the report; infinity at its end.
    """

    fidelity: float
    step: float = math.inf


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What was measured when an evaluation was interrupted, or at its end.

    Args:
        length: how far it had come.
        metrics: numbers by name, the first reward among them as "reward".
    """

    length: Length
    metrics: Mapping[str, float]


@runtime_checkable
class LearnsFromEvidence(Protocol):
    """Ability of a controller: it learns from scores of short and long evaluations together.

    A scheduler may interrupt an evaluation, and let it go on later. Other controllers learn the first reward
    that they are told of a proposal, and no later ones.
    """

    def learn_evidence(self, proposal: Proposal, evidence: Evidence) -> None:
        """Takes what was measured; the first time just before `tell`, and again whenever it went on."""
