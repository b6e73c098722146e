"""Families: trainings of networks that are alike because one was made from the other.

A model that knows one of a family knows much of the others. So cross-validation keeps a family together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from proxy_tasks.spinenet_bench.trainings import RecordedTraining

NEAR_ANSWERS = 8
"""Specs are of one family if no more answers differ: four edits change at most eight. Of 1,200 random specs
of the space, no two differ in fewer than 25 of their 54 answers."""


def families(trainings: Sequence[RecordedTraining], most: int = NEAR_ANSWERS) -> list[list[int]]:
    """Gives the places of each family's trainings, in the order of the first ones.

    Trainings of one spec are of a family, and so are specs whose genotypes are near each other, directly or
    by way of others: a chain of edits with its start, what a local search visits, parents and children.

    Args:
        trainings: N of them.
        most: answers in which specs that are near each other differ.
    """
    genotypes = np.array([training.genotype for training in trainings])
    names = np.arange(len(trainings))
    first: dict[str, int] = {}
    for place, training in enumerate(trainings):
        near = (genotypes[: place + 1] != genotypes[place]).sum(1) <= most
        near[first.setdefault(training.key, place)] = True
        joined = np.isin(names, np.unique(names[: place + 1][near]))
        names[joined] = names[joined].min()
    return [np.flatnonzero(names == name).tolist() for name in np.unique(names)]


def assign_folds(trainings: Sequence[RecordedTraining], folds: int) -> NDArray[np.int64]:
    """Gives the number of each training's fold, [N].

    A family is in one fold. If there are fewer families than folds, it is the trainings of a spec that are.

    Args:
        trainings: N of them.
        folds: how many there are at most.
    """
    groups = families(trainings)
    if len(groups) < folds:
        groups = families(trainings, 0)
    found = np.empty(len(trainings), np.int64)
    for i, number in enumerate(np.random.default_rng(0).permutation(len(groups)).tolist()):
        found[groups[number]] = i % folds
    return found
