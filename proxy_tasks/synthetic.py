"""A score without training: deterministic and rugged, it depends on levels, order, connections and kinds.

It says nothing about detection. It lets one try controllers, loops and clusters in seconds. A spec is good if
its blocks have one parent of a near and one of a far level, if the level changes from block to block, if its
outputs can be reached from fine and coarse features, and if the kinds suit the levels.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Annotated

from proxy_tasks.task import Report, Score, TaskFailureError
from search_space import SpineNetSpec
from search_space.utils.validation import AtLeast, AtMost, validate

RUGGED = 0.15
"""Share of the score that depends on unrelated details, as in real scores."""


@dataclass(frozen=True, kw_only=True)
class SyntheticTask:
    """Scores specs without training.

    Args:
        noise: standard deviation of the score over seeds.
        seconds: simulated time of an evaluation at fidelity 1, given as the metric "seconds".
        sleep: real seconds of an evaluation at fidelity 1.
        reports: number of intermediate scores.
        failing: share of the specs that fail; these are always the same specs.

    Raises:
        ValueError: if a number is out of range.
    """

    noise: Annotated[float, AtLeast(0)] = 0.0
    seconds: Annotated[float, AtLeast(0)] = 60.0
    sleep: Annotated[float, AtLeast(0)] = 0.0
    reports: Annotated[int, AtLeast(0)] = 0
    failing: Annotated[float, AtLeast(0), AtMost(1)] = 0.0

    def __post_init__(self) -> None:
        validate(self)

    def check_spec(self, spec: object) -> None:
        """Checks that a spec is of SpineNet's family.

        Raises:
            ValueError: if it is not.
        """
        if not isinstance(spec, SpineNetSpec):
            raise ValueError(
                f"SyntheticTask scores specs of SpineNet's family alone, not {type(spec).__name__}; give "
                "space=spinenet-49"
            )

    def evaluate(
        self, spec: SpineNetSpec, fidelity: float, seed: int, report: Report, checkpoint: Path | None
    ) -> Score:
        """See `proxy_tasks.task.Task.evaluate`.

        Raises:
            TaskFailureError: "diverged", for the share `failing` of the specs.
        """
        if _chance("fails", repr(spec)) < self.failing:
            raise TaskFailureError("diverged", "the synthetic loss is infinite", 1)
        reward = synthetic_score(spec) + self.noise * _normal(f"{seed} {spec!r}")
        length = 0.5 + _chance("seconds", repr(spec))
        metrics = {"AP": reward, "seconds": self.seconds * fidelity * length}
        for step in range(1, self.reports + 1):
            time.sleep(self.sleep * fidelity / self.reports)
            part = step / self.reports
            now = {"AP": reward * part**0.5, "seconds": metrics["seconds"] * part}
            report(step, Score(now["AP"], now))
        if not self.reports:
            time.sleep(self.sleep * fidelity)
        return Score(reward, metrics)


def synthetic_score(spec: SpineNetSpec) -> float:
    """Returns a score from 0 to 1, about 0.4 for random specs of SpineNet-49's space."""
    levels = [block.level for block in spec.stem] + [block.level for block in spec.blocks]
    first = len(spec.stem)
    fine: list[frozenset[int]] = [frozenset({level}) for level in levels[:first]]
    parts: list[float] = []
    for i, block in enumerate(spec.blocks, start=first):
        apart = sorted(abs(levels[p] - block.level) for p in block.parents)
        mixed = (apart[0] == 0) * 0.3 + (apart[0] <= 1) * 0.2 + (1 <= apart[1] <= 2) * 0.5
        change = 1.0 if levels[i - 1] != block.level else 0.4
        suits = 1.0 if (block.kind == "bottleneck") == (block.level >= 4) else 0.6
        seen = fine[block.parents[0]] | fine[block.parents[1]]
        fine.append(seen | {block.level})
        spread = min(1.0, len(seen) / 4)
        neighbors = tuple(sorted(levels[p] for p in block.parents))
        luck = _chance("luck", f"{i} {block.level} {block.kind} {neighbors}")
        whole = 0.35 * mixed + 0.15 * change + 0.2 * suits + 0.3 * spread
        parts.append((1 - RUGGED) * whole + RUGGED * luck)
    outputs = [part for part, block in zip(parts, spec.blocks, strict=True) if block.output]
    mean, worst = sum(parts) / len(parts), min(outputs or parts)
    return (0.7 * mean + 0.3 * worst) ** 2


def _chance(what: str, text: str) -> float:
    """Returns a number in [0, 1) that depends on the texts alone, on every machine."""
    digest = blake2b(f"{what} {text}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def _normal(text: str) -> float:
    """Returns about a standard normal number: the sum of twelve chances, less its mean."""
    return sum(_chance(str(i), text) for i in range(12)) - 6.0
