"""A small table whose scores follow a known rule, so that a surrogate can be held against it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from proxy_tasks.spinenet_bench.settings import SETTINGS, find_settings, write_settings
from proxy_tasks.spinenet_bench.trainings import LENGTHS, TRAININGS, RecordedTraining, write_trainings
from search_space import Genotype, SpineNetSpec, published_space

SPACE = published_space("spinenet-49")

OWN, NOISE = 0.02, 0.02
"""Deviations of a spec that its graph does not tell, and of seeds, at the full length."""


def rule(genotype: Genotype) -> float:
    """The AP at the full length that the graph of a spec tells."""
    spec = SPACE.decode(genotype)
    assert isinstance(spec, SpineNetSpec)
    features = spec.graph_features()
    return 0.4 - 0.02 * features["excess"] + 0.03 * (features["shortest_path"] - 2)


@cache
def trainings(specs: int = 70, repeated: int = 15) -> tuple[RecordedTraining, ...]:
    """Random specs, some of them with four seeds."""
    rng = np.random.default_rng(5)
    found: list[RecordedTraining] = []
    for number in range(specs):
        genotype = SPACE.sample(rng)
        mean = rule(genotype) + OWN * rng.normal()
        for seed in range(4 if number < repeated else 1):
            ap = mean + NOISE * rng.normal()
            scores = {
                f"{part}_AP_{length}": float(ap * (length / LENGTHS[-1]) ** 0.7 - 0.01 * (part == "test"))
                for length in LENGTHS
                for part in ("val", "test")
            }
            found.append(
                RecordedTraining(
                    group="uniform",
                    number=len(found),
                    key=SPACE.key(SPACE.decode(genotype)),
                    genotype=genotype,
                    seed=seed,
                    seconds=float(np.exp(0.2 * rng.normal())),
                    scores={**scores, "macs": 1e8},
                )
            )
    return tuple(found)


def write_table(folder: Path) -> Path:
    """Writes the table and its surrogate into a folder, and returns it."""
    write_trainings(trainings(), folder / TRAININGS)
    write_settings(find_settings(trainings()), folder / SETTINGS)
    return folder
