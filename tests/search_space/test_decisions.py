"""The general machinery on spaces that know no SpineNet."""

from __future__ import annotations

import itertools
import math
import re
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest, chisquare

from search_space import Decision, Genotype, GenotypeError, NotInSpaceError, Space
from search_space.decisions import (
    check_genotype,
    count,
    crossover,
    enumerate_genotypes,
    mutate,
    neighbors,
    options,
    sample,
)
from search_space.testing import check_space
from tests.search_space.cell_space import CellSpace


def at_least_the_first_answer(answers: Genotype) -> range:
    return range(answers[0], 3)


@dataclass(frozen=True)
class MaskedSpace(Space):
    """A masked decision, a permutation of three things of which two are equal, and a partial one."""

    @property
    def decisions(self) -> tuple[Decision, ...]:
        low = Decision("low", ("0", "1", "2"))
        high = Decision("high", ("0", "1", "2"), mask=at_least_the_first_answer)
        order = tuple(Decision(f"place {i}", ("a", "a", "b"), group="order") for i in range(3))
        picks = tuple(Decision(f"pick {i}", ("w", "x", "y", "z"), group="picks") for i in range(2))
        return (low, high, *order, *picks)

    def decode(self, genotype: Genotype) -> tuple[str, ...]:
        self.check(genotype)
        return tuple(str(d.labels[a]) for d, a in zip(self.decisions, genotype, strict=True))

    def encode(self, spec: tuple[str, ...]) -> Genotype:
        for genotype in enumerate_genotypes(self.decisions):
            if self.decode(genotype) == spec:
                return genotype
        raise NotInSpaceError("not reachable")

    def key(self, spec: tuple[str, ...]) -> str:
        return " ".join(spec)


@pytest.mark.parametrize("space", [CellSpace(), MaskedSpace()])
def test_spaces_keep_the_contract(space: Space) -> None:
    check_space(space, samples=60)


@pytest.mark.parametrize(
    ("space", "size"), [(CellSpace(), 5**6), (MaskedSpace(), (3 + 2 + 1) * 6 * 12)], ids=["cell", "masked"]
)
def test_sizes_are_those_of_enumeration(space: Space, size: int) -> None:
    genotypes = list(enumerate_genotypes(space.decisions))
    assert space.size == count(space.decisions) == len(genotypes) == len(set(genotypes)) == size
    assert genotypes == sorted(genotypes)
    for genotype in genotypes[:: max(1, size // 200)]:
        space.check(genotype)


def test_neighbors_are_all_genotypes_one_step_away() -> None:
    space = CellSpace()
    genotype = (0, 1, 2, 3, 4, 0)
    expected = {
        g
        for g in enumerate_genotypes(space.decisions)
        if sum(a != b for a, b in zip(g, genotype, strict=True)) == 1
    }
    found = list(space.neighbors(genotype))
    assert len(found) == len(expected) == 24
    assert set(found) == expected


def test_neighbors_of_a_permutation_are_exchanges_that_mean_something() -> None:
    order = tuple(Decision(f"place {i}", ("a", "a", "b", "c"), group="order") for i in range(4))
    from search_space.decisions import neighbors

    found = list(neighbors(order, (0, 1, 2, 3)))
    meanings = {tuple(order[0].labels[a] for a in g) for g in found}
    assert len(found) == len(set(found)) == 5
    assert ("a", "a", "b", "c") not in meanings
    assert len(meanings) == 5


def test_neighbors_and_mutants_respect_masks() -> None:
    space, rng = MaskedSpace(), np.random.default_rng(0)
    valid = set(enumerate_genotypes(space.decisions))
    for genotype in sorted(valid)[::7]:
        for neighbor in space.neighbors(genotype):
            assert neighbor in valid
            assert space.decode(neighbor) != space.decode(genotype)
        for _ in range(5):
            mutant = space.mutate(genotype, rng)
            assert mutant in valid
            assert space.decode(mutant) != space.decode(genotype)


def test_every_genotype_can_be_reached_by_mutation() -> None:
    space, rng = MaskedSpace(), np.random.default_rng(0)
    seen, genotype = set(), space.sample(rng)
    for _ in range(20_000):
        seen.add(space.decode(genotype))
        genotype = space.mutate(genotype, rng)
    assert len(seen) == len({space.decode(g) for g in enumerate_genotypes(space.decisions)})


def test_children_inherit_every_free_decision_from_a_parent() -> None:
    space, rng = CellSpace(), np.random.default_rng(1)
    for _ in range(300):
        a, b = space.sample(rng), space.sample(rng)
        child = space.crossover(a, b, rng)
        assert all(c in (x, y) for c, x, y in zip(child, a, b, strict=True))


def test_children_of_equal_meaning_breed_true() -> None:
    space, rng = MaskedSpace(), np.random.default_rng(2)
    a, b = (0, 1, 0, 2, 1, 3, 0), (0, 1, 1, 2, 0, 3, 0)
    assert space.decode(a) == space.decode(b)
    for _ in range(50):
        assert space.decode(space.crossover(a, b, rng)) == space.decode(a)


def test_a_space_with_one_genotype_mutates_into_itself() -> None:
    from search_space.decisions import mutate

    only = (Decision("only", ("x",)), Decision("same", ("y", "y")))
    assert mutate(only, (0, 1), np.random.default_rng(0)) == (0, 1)


def test_sampling_is_uniform_over_permutations_and_the_test_would_notice_bias() -> None:
    order = tuple(Decision(f"place {i}", tuple("abcd"), group="order") for i in range(3))
    decisions = (*order, Decision("free", ("p", "q", "r")))
    from search_space.decisions import sample

    rng = np.random.default_rng(3)
    index = {g: i for i, g in enumerate(enumerate_genotypes(decisions))}
    assert len(index) == 72
    drawn = [sample(decisions, rng) for _ in range(36_000)]
    fair = np.bincount([index[g] for g in drawn], minlength=72)
    assert chisquare(fair).pvalue > 1e-3
    biased = np.bincount([index[(*sorted(g[:2]), *g[2:])] for g in drawn], minlength=72)
    assert chisquare(biased).pvalue < 1e-9


def test_same_generator_same_genotypes() -> None:
    space = MaskedSpace()

    def walk(seed: int) -> list[Genotype]:
        rng = np.random.default_rng(seed)
        a, b = space.sample(rng), space.sample(rng)
        return [a, b, space.mutate(a, rng), space.crossover(a, b, rng)]

    assert walk(5) == walk(5)
    assert walk(5) != walk(6)


@pytest.mark.parametrize("wrong", [(0,), (0, 0, 0, 0, 0, 5), (0, 0, 0, 0, 0, True), [0] * 6, "000000", None])
def test_wrong_genotypes_are_refused(wrong: object) -> None:
    with pytest.raises(GenotypeError):
        CellSpace().check(wrong)  # type: ignore[arg-type]


def test_the_refusal_names_the_decision_and_its_options() -> None:
    with pytest.raises(GenotypeError, match=r"decision 1 \(high\): 0 is not among \[2\]"):
        MaskedSpace().check((2, 0, 0, 1, 2, 0, 1))
    with pytest.raises(GenotypeError, match=r"decision 3 \(place 1\): 0 is not among \[1, 2\]"):
        MaskedSpace().check((0, 0, 0, 0, 2, 0, 1))


def nothing(answers: Genotype) -> tuple[int, ...]:
    return ()


def test_a_decision_without_options_is_an_error_and_no_hang() -> None:
    from search_space.decisions import mutate, sample

    dead_end = (Decision("fine", ("x", "y")), Decision("stuck", ("x",), mask=nothing))
    with pytest.raises(GenotypeError, match="stuck"):
        sample(dead_end, np.random.default_rng(0))
    assert mutate(dead_end, (0, 0), np.random.default_rng(0)) == (0, 0)
    assert count(dead_end) == 0


def test_options_are_what_enumeration_uses() -> None:
    space = MaskedSpace()
    prefixes = {g[:i] for g in enumerate_genotypes(space.decisions) for i in range(len(g))}
    for prefix in sorted(prefixes):
        allowed = options(space.decisions, prefix)
        assert allowed == sorted(set(allowed))
        assert allowed


class BrokenSpace(CellSpace):
    """Forgets one operation when it encodes."""

    def encode(self, spec: tuple[str, ...]) -> Genotype:
        return (0, *super().encode(spec)[1:])


def test_the_contract_notices_a_broken_space() -> None:
    with pytest.raises(AssertionError, match="encode gives a genotype of the same key"):
        check_space(BrokenSpace())


def test_the_contract_notices_a_space_that_workers_could_not_receive() -> None:
    class LocalSpace(CellSpace):
        """Cannot be pickled, as it is defined inside a function."""

    with pytest.raises(AssertionError, match="a space can be pickled"):
        check_space(LocalSpace(), samples=3)


class HashedSpace(CellSpace):
    """Its keys are Python's hashes, which differ between processes."""

    def key(self, spec: tuple[str, ...]) -> str:
        return str(hash(super().key(spec)))


def test_the_contract_notices_keys_that_another_process_does_not_give() -> None:
    with pytest.raises(
        AssertionError, match=r"the same in a fresh interpreter, but here it is '-?[0-9]+' and"
    ):
        check_space(HashedSpace(), samples=3)


KNOWN_HERE: set[str] = set()


class FailingElsewhere(CellSpace):
    """Its keys need what only this process knows."""

    def key(self, spec: tuple[str, ...]) -> str:
        if not KNOWN_HERE:
            raise LookupError("nothing is known")
        return super().key(spec)


def test_the_contract_notices_keys_that_fail_in_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "KNOWN_HERE", {"something"})
    with pytest.raises(AssertionError, match="fresh interpreter gives the keys, but LookupError: nothing is"):
        check_space(FailingElsewhere(), samples=3)


def test_a_space_that_no_other_process_can_import_is_checked_here_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = ModuleType("defined_in_a_notebook")
    kind = type("Space", (HashedSpace,), {"__module__": module.__name__, "__qualname__": "Space"})
    monkeypatch.setattr(module, "Space", kind, raising=False)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    check_space(kind(), samples=3)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("b", ("x", "y"), at_least_the_first_answer), "'b': group must be a text, .*; give mask=..."),
        (("b", ("x", "y"), "", 3), "'b': mask must be a function or None, not 3"),
        (("b", "xy"), "'b': labels must be a list of at least one text or finite number, not 'xy'"),
        (("b", ()), "'b': labels must be a list of at least one text or finite number, not ()"),
        (("b", ("x", None)), "'b': labels must be a list"),
        (
            ("b", (1, math.nan)),
            "'b': labels must be a list of at least one text or finite number, not (1, nan)",
        ),
        ((("x", "y"), "b"), "the name of a decision must be a text, not ('x', 'y')"),
    ],
)
def test_a_wrong_field_of_a_decision_is_named(arguments: tuple[Any, ...], told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told).replace(r"\.\*", ".*")):
        Decision(*arguments)


def test_names_become_texts_and_labels_stay_what_they_are() -> None:
    decision = Decision(7, [1, 2.5, True, "x"])  # type: ignore[arg-type]
    assert (decision.name, [*map(repr, decision.labels)]) == ("7", ["1", "2.5", "True", "'x'"])
    assert Decision("width", range(16, 65, 16)).labels == (16, 32, 48, 64)  # type: ignore[arg-type]
    assert hash(decision) == hash(Decision("7", (1, 2.5, True, "x")))


class NumberSpace(Space):
    """Depths and widths that a spec computes with."""

    decisions = (Decision("depth", (1, 2, 3)), Decision("width", (16, 32)), Decision("flip", (False, True)))

    def decode(self, genotype: Genotype) -> tuple[float, ...]:
        self.check(genotype)
        labels = [d.labels[a] for d, a in zip(self.decisions, genotype, strict=True)]
        return tuple(2 * label for label in labels if not isinstance(label, str))

    def encode(self, spec: tuple[float, ...]) -> Genotype:
        pairs = zip(self.decisions, spec, strict=True)
        return tuple(d.labels.index(value / 2) for d, value in pairs)

    def key(self, spec: tuple[float, ...]) -> str:
        return repr(spec)


def test_a_space_computes_with_labels_that_are_numbers() -> None:
    assert NumberSpace().decode((2, 1, 0)) == (6, 64, 0)
    check_space(NumberSpace(), samples=10, fresh_interpreter=False)


def test_cell_keys_know_that_skip_is_transparent() -> None:
    space = CellSpace()
    a = space.key(("skip", "conv 1x1", "conv 1x1", "none", "conv 3x3", "none"))
    b = space.key(("conv 1x1", "skip", "none", "none", "none", "conv 3x3"))
    assert a == "conv 3x3(x)"
    assert b == "conv 3x3(x)"
    assert (
        len(
            {space.key(space.decode(g)) for g in itertools.islice(enumerate_genotypes(space.decisions), 5000)}
        )
        > 100
    )


@pytest.mark.parametrize(
    ("given", "told"),
    [([True, False, True], "must give numbers of options, 0 to 2"), ([0, 5], r"0 to 2, not \[0, 5\]")],
)
def test_masks_that_give_no_options_are_told(given: list[int], told: str) -> None:
    with pytest.raises(GenotypeError, match=told):
        options((Decision("x", ("a", "b", "c"), mask=lambda answers: given),), ())


def test_masks_may_give_numpy_integers() -> None:
    decision = Decision("x", ("a", "b", "c"), mask=lambda answers: np.flatnonzero([1, 0, 1]))  # type: ignore
    genotype = sample((decision,), np.random.default_rng(0))
    check_genotype((decision,), genotype)
    assert type(genotype[0]) is int


def dead_end_after_b(answers: Genotype) -> tuple[int, ...]:
    return () if answers[0] == 1 else (0, 1)


def test_steps_into_a_dead_end_are_passed_over() -> None:
    decisions = (Decision("way", ("a", "b", "c")), Decision("then", ("x", "y"), mask=dead_end_after_b))
    assert set(neighbors(decisions, (0, 0))) == {(2, 0), (0, 1)}
    rng = np.random.default_rng(0)
    assert {mutate(decisions, (0, 0), rng) for _ in range(200)} == {(2, 0), (0, 1)}


def test_a_child_takes_each_decision_from_either_parent_with_equal_chances() -> None:
    decisions = tuple(Decision(f"d{i}", ("a", "b")) for i in range(10))
    rng = np.random.default_rng(0)
    children = [crossover(decisions, (0,) * 10, (1,) * 10, rng) for _ in range(1000)]
    assert binomtest(int(np.sum(children)), 10_000, 0.5).pvalue > 1e-4


def test_a_permutation_of_some_of_its_options_is_counted() -> None:
    picks = tuple(Decision(f"pick {i}", ("w", "x", "y", "z"), group="picks") for i in range(2))
    decisions = (*picks, Decision("free", ("p", "q", "r")))
    assert count(decisions) == len(list(enumerate_genotypes(decisions))) == 36
