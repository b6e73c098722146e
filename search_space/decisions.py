"""Decisions: a space as a sequence of masked categorical choices, and the operators that follow from it.

A genotype answers every decision, in order, with the index of an option. What may be chosen can depend
on the answers before: decisions of one permutation group take different options, and a decision may
have a mask. Sampling, neighbors, mutation, crossover and counting need nothing else, so they serve
every space.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import numpy as np

from search_space.utils.parsing import shown

Genotype = tuple[int, ...]


Mask = Callable[[Genotype], Sequence[int]]


Label = str | float
"""The name of an option."""


class GenotypeError(ValueError):
    """A genotype does not answer the decisions; the message names the decision and the allowed options."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One categorical choice.

    Args:
        name: unique within the space, such as "block 3 kind". A number becomes a text.
        labels: the options' names, at least one: texts or finite numbers, which stay as they are given. A
            journal keeps them as texts. Options with equal labels mean the same, such as two base blocks of
            one level.
        group: name of the permutation that the decision belongs to, or "". Decisions of one group have
            the same labels and never take the same option.
        mask: gives the allowed options, ascending, from the answers so far; all if None. Use a function
            that can be pickled.

    Raises:
        ValueError: if a field has a wrong type, or there are no labels.
    """

    name: str
    labels: tuple[Label, ...]
    group: str = ""
    mask: Mask | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, (str, Real)):
            raise ValueError(f"the name of a decision must be a text, not {shown(self.name)}")
        object.__setattr__(self, "name", str(self.name))
        labels: object = self.labels
        if not isinstance(labels, (tuple, list, range)) or not labels or not all(map(_is_label, labels)):
            raise self._fault("labels", "a list of at least one text or finite number")
        object.__setattr__(self, "labels", tuple(labels))
        if not isinstance(self.group, str):
            raise self._fault("group", "a text", "; give mask=..." if callable(self.group) else "")
        if self.mask is not None and not callable(self.mask):
            raise self._fault("mask", "a function or None")

    def _fault(self, name: str, expected: str, advice: str = "") -> ValueError:
        found = shown(getattr(self, name))
        return ValueError(f"decision {self.name!r}: {name} must be {expected}, not {found}{advice}")


def _is_label(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, Real) and math.isfinite(value))


Decisions = tuple[Decision, ...]


def options(decisions: Decisions, answers: Sequence[int]) -> list[int]:
    """Returns the options of decision number len(answers), ascending, given the answers before it."""
    decision = decisions[len(answers)]
    allowed = list(range(len(decision.labels))) if decision.mask is None else _unmasked(decision, answers)
    if decision.group:
        taken = {a for d, a in zip(decisions, answers, strict=False) if d.group == decision.group}
        return [option for option in allowed if option not in taken]
    return allowed


def _unmasked(decision: Decision, answers: Sequence[int]) -> list[int]:
    """Returns the options that a decision's mask allows, as plain ints."""
    assert decision.mask is not None
    given = list(decision.mask(tuple(answers)))
    allowed = [int(option) for option in given if not isinstance(option, (bool, np.bool_))]
    last = len(decision.labels) - 1
    if len(allowed) < len(given) or any(not 0 <= option <= last for option in allowed):
        raise GenotypeError(
            f"the mask of {decision.name} must give numbers of options, 0 to {last}, not {given}"
        )
    return allowed


def check_genotype(decisions: Decisions, genotype: Genotype) -> None:
    """Checks that a genotype answers every decision with an allowed option.

    Raises:
        GenotypeError: naming the first decision that is answered wrongly.
    """
    if not isinstance(genotype, tuple) or len(genotype) != len(decisions):
        size = len(genotype) if isinstance(genotype, (tuple, list)) else type(genotype).__name__
        raise GenotypeError(f"a genotype of this space is a tuple of {len(decisions)} ints, not {size}")
    taken: dict[str, set[int]] = {}
    for i, (decision, answer) in enumerate(zip(decisions, genotype, strict=True)):
        fits = type(answer) is int and 0 <= answer < len(decision.labels)
        if decision.group:
            group = taken.setdefault(decision.group, set())
            fits = fits and answer not in group
            group.add(answer)
        if not fits or (decision.mask is not None and answer not in _unmasked(decision, genotype[:i])):
            allowed = options(decisions, genotype[:i])
            raise GenotypeError(f"decision {i} ({decision.name}): {answer!r} is not among {allowed}")


def sample(decisions: Decisions, rng: np.random.Generator) -> Genotype:
    """Answers every decision uniformly among its options.

    This is uniform over genotypes wherever the number of options does not depend on earlier answers;
    permutations keep that property, masks may break it.

    Raises:
        GenotypeError: if the masks lead to a decision without options.
    """
    if any(d.mask for d in decisions):
        return repair(decisions, (), lambda allowed: allowed[rng.integers(len(allowed))])
    answers = [0] * len(decisions)
    free = [i for i, d in enumerate(decisions) if not d.group]
    drawn = rng.integers([len(decisions[i].labels) for i in free]).tolist()
    for i, answer in zip(free, drawn, strict=True):
        answers[i] = answer
    for members in permutation_groups(decisions).values():
        order = rng.permutation(len(decisions[members[0]].labels)).tolist()
        for i, answer in zip(members, order, strict=False):
            answers[i] = answer
    return tuple(answers)


def neighbors(decisions: Decisions, genotype: Genotype) -> Iterator[Genotype]:
    """Yields all genotypes one step away: one decision differs, or two of a permutation change places.

    Exchanges of options with equal labels are left out, as they change nothing. Answers that a mask
    forbids after the step are replaced by the first allowed option.
    """
    masked = any(d.mask for d in decisions)
    for i in range(len(decisions)):
        for option in _other_options(decisions, genotype, i, ordered=True):
            candidate = _step(decisions, genotype, i, option)
            if not masked:
                yield candidate
                continue
            try:
                mended = repair(decisions, candidate, lambda allowed: allowed[0])
            except GenotypeError:
                continue
            if mended[i] == candidate[i]:
                yield mended


def mutate(decisions: Decisions, genotype: Genotype, rng: np.random.Generator) -> Genotype:
    """Takes one random step: a decision drawn uniformly takes another option, drawn uniformly.

    In a permutation the two decisions exchange their options. Answers that a mask forbids after the
    step are drawn anew. A space with a single genotype gives that genotype back.
    """
    masked = any(d.mask for d in decisions)
    for i in rng.permutation(len(decisions)).tolist():
        others = _other_options(decisions, genotype, i)
        order: list[int] = rng.permutation(len(others)).tolist()
        for option in (others[j] for j in order):
            step = _step(decisions, genotype, i, option)
            if not masked:
                return step
            try:
                mended = repair(decisions, step, lambda allowed: allowed[rng.integers(len(allowed))])
            except GenotypeError:
                continue
            if mended[i] == step[i]:
                return mended
    return genotype


def crossover(decisions: Decisions, a: Genotype, b: Genotype, rng: np.random.Generator) -> Genotype:
    """Makes a child of two parents: it takes every decision from one of them, with equal chances.

    A permutation keeps the places inherited from a and fills the others with what is left, in b's
    order. Options with equal labels are interchangeable, so parents that differ only in these
    have children like themselves, if the permutation takes all its options.
    """
    from_b = rng.random(len(decisions)) < 0.5
    child = [y if take else x for x, y, take in zip(a, b, from_b.tolist(), strict=True)]
    for members in permutation_groups(decisions).values():
        labels = decisions[members[0]].labels
        order_a = _relabel([a[i] for i in members], labels)
        order_b = _relabel([b[i] for i in members], labels)
        kept = {x for i, x in zip(members, order_a, strict=True) if not from_b[i]}
        rest = iter(
            [y for y in order_b if y not in kept] + [x for x in order_a if x not in {*kept, *order_b}]
        )
        for i, x in zip(members, order_a, strict=True):
            child[i] = next(rest) if from_b[i] else x
    if any(d.mask for d in decisions):
        return repair(decisions, tuple(child), lambda allowed: allowed[rng.integers(len(allowed))])
    return tuple(child)


def repair(decisions: Decisions, wish: Genotype, choose: Callable[[list[int]], int]) -> Genotype:
    """Keeps the wished answers that are allowed, and takes choose(options) for all others.

    Raises:
        GenotypeError: if a decision has no option left.
    """
    answers: list[int] = []
    for i, decision in enumerate(decisions):
        allowed = options(decisions, answers)
        if not allowed:
            raise GenotypeError(f"decision {i} ({decision.name}) has no option after {answers}")
        answers.append(wish[i] if i < len(wish) and wish[i] in allowed else choose(allowed))
    return tuple(answers)


def count(decisions: Decisions) -> int:
    """Counts the genotypes exactly. With masks this visits every genotype, so it suits small spaces only."""
    if any(d.mask for d in decisions):
        return sum(1 for _ in enumerate_genotypes(decisions))
    groups = permutation_groups(decisions).values()
    orders = math.prod(math.perm(len(decisions[m[0]].labels), len(m)) for m in groups)
    return orders * math.prod(len(d.labels) for d in decisions if not d.group)


def enumerate_genotypes(decisions: Decisions) -> Iterator[Genotype]:
    """Yields all genotypes in lexicographic order."""
    stack: list[Genotype] = [()]
    while stack:
        answers = stack.pop()
        if len(answers) == len(decisions):
            yield answers
        else:
            stack.extend((*answers, option) for option in reversed(options(decisions, answers)))


def permutation_groups(decisions: Decisions) -> dict[str, list[int]]:
    """Returns the positions of the decisions of each permutation, by the name of its group."""
    groups: dict[str, list[int]] = {}
    for i, decision in enumerate(decisions):
        if decision.group:
            groups.setdefault(decision.group, []).append(i)
    return groups


def _other_options(decisions: Decisions, genotype: Genotype, i: int, ordered: bool = False) -> list[int]:
    """Returns the options that change the meaning of decision i; `ordered` gives each exchange only once."""
    decision = decisions[i]
    now = decision.labels[genotype[i]]
    found = [option for option, label in enumerate(decision.labels) if label != now]
    if decision.group and ordered:
        before = {genotype[j] for j in range(i) if decisions[j].group == decision.group}
        found = [option for option in found if option not in before]
    return found


def _step(decisions: Decisions, genotype: Genotype, i: int, option: int) -> Genotype:
    """Answers decision i anew; in a permutation, the decision that had the option takes the old answer."""
    changed = list(genotype)
    group = decisions[i].group
    if group:
        for j, decision in enumerate(decisions):
            if decision.group == group and genotype[j] == option:
                changed[j] = genotype[i]
    changed[i] = option
    return tuple(changed)


def _relabel(order: Sequence[int], labels: Sequence[Any]) -> list[int]:
    """Returns the same sequence of labels, with the options of each label in ascending order."""
    spare: dict[Any, list[int]] = {}
    for option in sorted(order, reverse=True):
        spare.setdefault(labels[option], []).append(option)
    return [spare[labels[option]].pop() for option in order]
