"""Contract tests for spaces: a space of your own passes the ones that ours pass.

from search_space.testing import check_space

def test_my_space() -> None:
    check_space(MySpace())
"""

from __future__ import annotations

import itertools
import pickle

import numpy as np

from search_space.decisions import GenotypeError, options
from search_space.space import Space


def check_space(space: Space, samples: int = 200, seed: int = 0) -> None:
    """Checks what a controller relies on, on random genotypes.

    Decisions have different names and non-empty options; sampling is deterministic and valid; decode and
    encode agree up to key; neighbors, mutants and children are valid and differ as they should; wrong
    genotypes are refused; the space survives pickling, as workers receive it that way.

    Raises:
        AssertionError: saying which promise is broken, with the genotype that breaks it.
    """
    decisions = space.decisions
    expect(len(decisions) > 0, "a space has at least one decision")
    names = [decision.name for decision in decisions]
    expect(len(set(names)) == len(names), f"decisions have different names, but {names}")
    for decision in decisions:
        expect(len(decision.labels) > 0, f"decision {decision.name} has options")

    first = [space.sample(np.random.default_rng(seed)) for _ in range(2)]
    expect(first[0] == first[1], "the same generator gives the same sample")
    rng = np.random.default_rng(seed)
    genotypes = [space.sample(rng) for _ in range(samples)]
    for genotype in genotypes:
        _check_genotype(space, genotype)
    for a, b in itertools.pairwise(genotypes):
        _check_operators(space, a, b, rng)
    _check_refusals(space, genotypes[0])

    try:
        copied = pickle.loads(pickle.dumps(space))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise AssertionError(f"broken promise: a space can be pickled, but {error}") from None
    expect(copied.decisions == decisions, "a pickled space has the same decisions")
    expect(copied.sample(np.random.default_rng(seed)) == first[0], "a pickled space samples alike")


def _check_genotype(space: Space, genotype: tuple[int, ...]) -> None:
    space.check(genotype)
    for i, answer in enumerate(genotype):
        expect(answer in options(space.decisions, genotype[:i]), f"answer {i} of {genotype} is an option")
    spec = space.decode(genotype)
    key = space.key(spec)
    expect(isinstance(key, str) and key != "", f"the key of {genotype} is a string")
    expect(key == space.key(space.decode(genotype)), f"the key of {genotype} is always the same")
    expect(space.contains(spec), f"the space contains what {genotype} decodes to")
    again = space.encode(spec)
    space.check(again)
    expect(space.key(space.decode(again)) == key, f"encode gives a genotype of the same key for {genotype}")


def _check_operators(space: Space, a: tuple[int, ...], b: tuple[int, ...], rng: np.random.Generator) -> None:
    mutant = space.mutate(a, rng)
    space.check(mutant)
    child = space.crossover(a, b, rng)
    space.check(child)
    itself = space.decode(space.crossover(a, a, rng))
    expect(space.key(itself) == space.key(space.decode(a)), f"{a} crossed with itself stays itself")
    for neighbor in itertools.islice(space.neighbors(a), 20):
        space.check(neighbor)
        expect(neighbor != a, f"a neighbor of {a} differs from it")


def _check_refusals(space: Space, genotype: tuple[int, ...]) -> None:
    too_large = (len(space.decisions[0].labels), *genotype[1:])
    for wrong in ((), genotype[:-1], (*genotype, 0), (-1, *genotype[1:]), too_large):
        try:
            space.check(wrong)
        except GenotypeError:
            continue
        raise AssertionError(f"{wrong} is no genotype and must be refused with a GenotypeError")


def expect(holds: bool, promise: str) -> None:
    """Raises AssertionError naming the promise that does not hold."""
    if not holds:
        raise AssertionError(f"broken promise: {promise}")
