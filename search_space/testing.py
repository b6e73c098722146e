"""Contract tests for spaces: a space of your own passes the ones that ours pass.

from search_space.testing import check_space

def test_my_space() -> None:
    check_space(MySpace())
"""

from __future__ import annotations

import itertools
import json
import os
import pickle
import subprocess
import sys

import numpy as np

from search_space.decisions import GenotypeError, options
from search_space.space import Space

KEYS_IN_FRESH_INTERPRETER = 5
"""Genotypes whose keys are computed again in another process."""


def check_space(space: Space, samples: int = 200, seed: int = 0, *, fresh_interpreter: bool = True) -> None:
    """Checks what a controller relies on, on random genotypes.

    Decisions have different names and non-empty options; sampling is deterministic and valid; decode and
    encode agree up to key; neighbors, mutants and children are valid and differ as they should; wrong
    genotypes are refused; the space survives pickling, as workers receive it that way; a fresh interpreter
    gives the same keys, as a resumed search compares them.

    Args:
        space: the space.
        samples: number of random genotypes.
        seed: of the genotypes.
        fresh_interpreter: whether keys are computed once more in a fresh interpreter, which takes about a
            second. It is left out if the space cannot be imported there, as one that a notebook defines.

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
    if fresh_interpreter:
        _check_keys_elsewhere(space, genotypes[:KEYS_IN_FRESH_INTERPRETER])


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


_PRINT_KEYS = """
import json, pickle, sys
answer, sys.stdout = sys.stdout, sys.stderr
sys.path[:] = pickle.load(sys.stdin.buffer)
try:
    space, genotypes = pickle.load(sys.stdin.buffer)
except (Exception, SystemExit):
    keys = None
else:
    keys = [space.key(space.decode(genotype)) for genotype in genotypes]
answer.write(json.dumps(keys))
"""


def _check_keys_elsewhere(space: Space, genotypes: list[tuple[int, ...]]) -> None:
    """Checks that keys do not depend on the process, such as on Python's hash of a text."""
    hash_seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    child = subprocess.run(
        [sys.executable, "-c", _PRINT_KEYS],
        input=pickle.dumps(sys.path) + pickle.dumps((space, genotypes)),
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        check=False,
    )
    fault = child.stderr.decode(errors="replace").strip().splitlines()[-1:]
    expect(child.returncode == 0, f"a fresh interpreter gives the keys, but {''.join(fault)}")
    for genotype, key in zip(genotypes, json.loads(child.stdout) or (), strict=False):
        here = space.key(space.decode(genotype))
        expect(
            key == here,
            f"the key of {genotype} is the same in a fresh interpreter, but here it is {here!r} and "
            f"there {key!r}; Python's hash() differs between processes",
        )


def expect(holds: bool, promise: str) -> None:
    """Raises AssertionError naming the promise that does not hold."""
    if not holds:
        raise AssertionError(f"broken promise: {promise}")
