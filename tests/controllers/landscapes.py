"""Scores of known optimum on the cell space, and a loop that searches them with scores arriving late."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import cache
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from controllers import Controller, Proposal
from proxy_tasks.spinenet_bench import SpineNetBenchTask, read_trainings
from proxy_tasks.spinenet_bench.settings import SETTINGS, find_settings, write_settings
from proxy_tasks.spinenet_bench.trainings import TRAININGS, write_trainings
from search_space import Genotype, published_space
from tests.search_space.cell_space import CellSpace

CELLS = CellSpace()
WORTH = (0.0, 0.35, 0.6, 1.0, 0.25)
"""Of the operations none, skip, conv 1x1, conv 3x3, average pool on an edge."""
IMPORTANCE = (1.0, 0.6, 0.8, 1.2, 0.7, 1.0)


@cache
def cell_score(genotype: Genotype) -> float:
    """0 to 100, rugged: edges add up, pairs of edges interact, and some cells are broken."""
    nodes = CELLS.key(CELLS.decode(genotype))
    if nodes == "zero":
        return 0.0
    total = sum(weight * WORTH[answer] for weight, answer in zip(IMPORTANCE, genotype, strict=True))
    pairs = 0.0
    for i in range(6):
        for j in range(i):
            digest = blake2b(f"{i} {j} {genotype[i]} {genotype[j]}".encode(), digest_size=4).digest()
            pairs += int.from_bytes(digest, "big") / 2**32 - 0.5
    return 60 + 6 * total + 1.5 * pairs


DETECTOR_SPACE = published_space("spinenet-49")

FIRST = 150
"""Trainings of the table of detectors."""


@cache
def detectors() -> tuple[SpineNetBenchTask, TemporaryDirectory[str]]:
    """A table of trained detectors with its surrogate, and the folder, which must stay.

    It has the first rows of the shipped one, which grows: every outcome would change with it.
    """
    first = [found for found in read_trainings() if found.group == "uniform" and found.number < FIRST]
    folder = TemporaryDirectory()
    write_trainings(first, Path(folder.name) / TRAININGS)
    write_settings(find_settings(first), Path(folder.name) / SETTINGS)
    return SpineNetBenchTask(folder=Path(folder.name), noise="mean", evaluations=1), folder


@cache
def detector_score(genotype: Genotype) -> float:
    """The mean AP of trained detectors by a table and its surrogate, as a percentage."""
    spec: Any = DETECTOR_SPACE.decode(genotype)
    return 100 * detectors()[0].evaluate(spec, 1.0, 0, lambda *_: None).reward


@cache
def best_cell_score() -> float:
    from search_space.decisions import enumerate_genotypes

    return max(cell_score(genotype) for genotype in enumerate_genotypes(CELLS.decisions))


def best_after(
    controller: Controller, score: Callable[[Genotype], float | None], asks: int, lag: int = 4
) -> list[float]:
    """Best score after each ask, with `lag` proposals under way."""
    under_way: deque[Proposal] = deque()
    best, curve = float("-inf"), []
    for _ in range(asks):
        proposal = controller.ask()
        under_way.append(proposal)
        value = score(proposal.genotype)
        best = max(best, value if value is not None else best)
        curve.append(best)
        if len(under_way) > lag:
            done = under_way.popleft()
            controller.tell(done, score(done.genotype))
    return curve
