"""A score without training: deterministic, rugged, aware of scales, order, connections and kinds.

It says nothing about detection. It is there to try controllers, loops and clusters in seconds: good specs
have blocks that draw on one near and one far scale, whose level changes from block to block, whose
outputs can be reached from fine and coarse features, and whose kinds suit their levels.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from proxy_tasks.task import Report, Score, TaskFailureError
from search_space import SpineNetSpec

RUGGED = 0.15
"""Share of the score that hangs on unrelated details, as real scores do."""


@dataclass(frozen=True)
class SyntheticTask:
    """Scores specs without training.

    Args:
        noise: standard deviation of the score over seeds.
        seconds: simulated time of an evaluation at fidelity 1, told as the metric "seconds".
        sleep: real seconds of an evaluation at fidelity 1.
        reports: intermediate scores reported on the way.
        failing: share of the specs that fail, always the same.
    """

    noise: float = 0.0
    seconds: float = 60.0
    sleep: float = 0.0
    reports: int = 0
    failing: float = 0.0

    def evaluate(
        self, spec: SpineNetSpec, fidelity: float, seed: int, report: Report, checkpoint: Path | None
    ) -> Score:
        """See `proxy_tasks.task.Task.evaluate`."""
        if _chance("fails", repr(spec)) < self.failing:
            raise TaskFailureError("diverged", "the synthetic loss is infinite", 1)
        reward = synthetic_score(spec) + self.noise * _normal(f"{seed} {spec!r}")
        length = 0.5 + _chance("seconds", repr(spec))
        metrics = {"AP": reward, "seconds": self.seconds * fidelity * length}
        for step in range(1, self.reports + 1):
            time.sleep(self.sleep * fidelity / self.reports)
            part = step / self.reports
            report(step, Score(reward * part**0.5, {"AP": reward * part**0.5}))
        if not self.reports:
            time.sleep(self.sleep * fidelity)
        return Score(reward, metrics)


def synthetic_score(spec: SpineNetSpec) -> float:
    """A score in 0..1; about 0.4 for random specs of SpineNet-49's space."""
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
        neighbours = tuple(sorted(levels[p] for p in block.parents))
        luck = _chance("luck", f"{i} {block.level} {block.kind} {neighbours}")
        whole = 0.35 * mixed + 0.15 * change + 0.2 * suits + 0.3 * spread
        parts.append((1 - RUGGED) * whole + RUGGED * luck)
    outputs = [part for part, block in zip(parts, spec.blocks, strict=True) if block.output]
    mean, worst = sum(parts) / len(parts), min(outputs or parts)
    return (0.7 * mean + 0.3 * worst) ** 2


def _chance(what: str, text: str) -> float:
    """A number in [0, 1) that depends on the text alone, on any machine."""
    digest = blake2b(f"{what} {text}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def _normal(text: str) -> float:
    """About normal: twelve chances, less their mean."""
    return sum(_chance(str(i), text) for i in range(12)) - 6.0
