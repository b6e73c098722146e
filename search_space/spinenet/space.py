"""ScalePermutedSpace: the search space of SpineNet (paper section 3.1 and 5.1).

Decisions, in this order: the permutation of the intermediate blocks, the permutation of the output
blocks, then for each block its level shift (intermediates only), its kind and its two parents. As in
the paper, permutations are of labeled blocks, so that answering every decision uniformly is uniform
over sequences of levels. Decisions with one option are left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import combinations
from typing import Annotated, Any

import numpy as np

from search_space.decisions import Decision, Decisions, Genotype, count
from search_space.space import NotInSpaceError, Space
from search_space.spec_file import MAX_BLOCKS, SpecError
from search_space.spinenet.spec import LEVELS, Block, Kind, Level, SpineNetSpec, StemBlock, check_stem
from search_space.utils.validation import AtLeast, validate

MOST_COUNTED = 15
"""Intermediates up to which the levels are counted one multiset at a time."""


class SpaceError(ValueError):
    """A space is impossible; the message says which field is wrong and what would be right."""


@dataclass(frozen=True)
class ScalePermutedSpace(Space):
    """All scale-permuted networks with a given stem and allocation of blocks.

    Args:
        stem: the fixed stem; all its blocks may be parents.
        base_levels: base level of each intermediate block, in any order, such as (2, 3, 3, 4).
        output_levels: level of each output block; outputs come after all intermediates.
        parent_window: number of last features among which an intermediate has its parents; None is no limit.
            Outputs have no limit.
        level_shifts: what may be added to an intermediate's base level; no result is outside 1..7.
        kinds: block kinds to choose from, for intermediates and outputs alike.

    Raises:
        SpaceError: if a field is wrong or the space would be empty.
    """

    stem: tuple[StemBlock, ...]
    base_levels: tuple[Level, ...]
    output_levels: tuple[Level, ...] = (3, 4, 5, 6, 7)
    parent_window: Annotated[int, AtLeast(2)] | None = 5
    level_shifts: tuple[int, ...] = (0,)
    kinds: tuple[Kind, ...] = ("bottleneck",)

    def __post_init__(self) -> None:
        validate(self, SpaceError)
        try:
            check_stem(self.stem)
        except SpecError as error:
            raise SpaceError(str(error)) from None
        object.__setattr__(self, "base_levels", tuple(sorted(self.base_levels)))
        object.__setattr__(self, "output_levels", tuple(sorted(self.output_levels)))
        self._check()

    @cached_property
    def decisions(self) -> Decisions:
        """Permutations first, then shift, kind and parents of each block."""
        n, first = len(self.base_levels), len(self.stem)
        found = [
            *_permutation("intermediate", range(first, first + n), self.base_levels),
            *_permutation("output", range(first + n, first + self._num_blocks), self.output_levels),
        ]
        base_of = {d.name: i for i, d in enumerate(found)}
        for i in range(self._num_blocks):
            block = f"block {first + i}"
            if i < n and len(self.level_shifts) > 1:
                slot = base_of.get(f"{block} base")
                found.append(Decision(f"{block} shift", self._shift_labels, mask=self._shift_mask(slot)))
            if len(self.kinds) > 1:
                found.append(Decision(f"{block} kind", self.kinds))
            if len(pairs := self._pairs[i]) > 1:
                found.append(Decision(f"{block} parents", tuple(f"{a},{b}" for a, b in pairs)))
        return tuple(found)

    @cached_property
    def size(self) -> int:
        """The exact number of genotypes, which is the paper's count of the space (section 3.1)."""
        shifts = math.prod(len(self._legal_shifts(base)) for base in self.base_levels)
        unmasked = tuple(d for d in self.decisions if not d.name.endswith(" shift"))
        return shifts * count(unmasked)

    @cached_property
    def num_specs(self) -> int | None:
        """The exact number of distinct specs; blocks of one level are interchangeable.

        Specs that differ only in build order or dead blocks still count as different, so this is more than
        the number of keys. It is None if the shifts are not consecutive numbers and there are more than 15
        intermediates, where counting takes too long.
        """
        choices = math.prod(len(self.kinds) * len(pairs) for pairs in self._pairs)
        sequences = self._num_level_sequences()
        return None if sequences is None else sequences * math.factorial(len(self.output_levels)) * choices

    def describe(self) -> Mapping[str, str]:
        """Describes stem, blocks and choices for a table of spaces."""
        return {
            "stem": str(len(self.stem)),
            "permuted": f"{len(self.base_levels)}+{len(self.output_levels)}",
            "shifts": ",".join(map(str, self.level_shifts)),
            "kinds": "/".join(self.kinds),
            "window": str(self.parent_window),
        }

    def decode(self, genotype: Genotype) -> SpineNetSpec:
        """Makes the spec of a genotype.

        Raises:
            GenotypeError: if the genotype does not answer the decisions.
        """
        self.check(genotype)
        answers = iter(genotype)
        n = len(self.base_levels)
        bases = _read_permutation(answers, self.base_levels)
        outputs = _read_permutation(answers, self.output_levels)
        blocks = []
        for i in range(self._num_blocks):
            level = bases[i] if i < n else outputs[i - n]
            if i < n:
                level += self.level_shifts[next(answers) if len(self.level_shifts) > 1 else 0]
            kind = self.kinds[next(answers) if len(self.kinds) > 1 else 0]
            pairs = self._pairs[i]
            blocks.append(Block(level, kind, pairs[next(answers) if len(pairs) > 1 else 0], i >= n))
        return SpineNetSpec(self.stem, tuple(blocks))

    def encode(self, spec: SpineNetSpec) -> Genotype:
        """Returns the genotype of a spec that uses the nearest base levels, lowest labels first.

        Raises:
            NotInSpaceError: if the space does not hold the spec; the message names the first such block.
        """
        self._check_frame(spec)
        n, first = len(self.base_levels), len(self.stem)
        labels = self._assign_bases([block.level for block in spec.blocks[:n]])
        outputs = {level: label for label, level in enumerate(self.output_levels)}
        answers: list[int] = []
        if n > 1:
            answers += labels
        if len(outputs) > 1:
            answers += [outputs[block.level] for block in spec.blocks[n:]]
        for i, block in enumerate(spec.blocks):
            if i < n and len(self.level_shifts) > 1:
                answers.append(self.level_shifts.index(block.level - self.base_levels[labels[i]]))
            if len(self.kinds) > 1:
                answers.append(self.kinds.index(block.kind))
            parents = (min(block.parents), max(block.parents))
            if parents not in self._pair_numbers[i]:
                allowed = sorted({p for pair in self._pairs[i] for p in pair})
                raise NotInSpaceError(
                    f"block {first + i}: parents {list(parents)} are not both in {allowed[0]}..{allowed[-1]}"
                )
            if len(self._pairs[i]) > 1:
                answers.append(self._pair_numbers[i][parents])
        return tuple(answers)

    def key(self, spec: SpineNetSpec) -> str:
        """Returns the spec's key; see `search_space.canonical`."""
        return spec.key()

    @property
    def _num_blocks(self) -> int:
        return len(self.base_levels) + len(self.output_levels)

    @cached_property
    def _pairs(self) -> tuple[tuple[tuple[int, int], ...], ...]:
        """The pairs of parents that each permuted block may have."""
        first, pairs = len(self.stem), []
        for i in range(self._num_blocks):
            windowed = i < len(self.base_levels) and self.parent_window is not None
            start = max(0, first + i - (self.parent_window or 0)) if windowed else 0
            pairs.append(tuple(combinations(range(start, first + i), 2)))
        return tuple(pairs)

    @cached_property
    def _pair_numbers(self) -> tuple[dict[tuple[int, int], int], ...]:
        return tuple({pair: i for i, pair in enumerate(pairs)} for pairs in self._pairs)

    @cached_property
    def _shift_labels(self) -> tuple[str, ...]:
        return tuple(f"{shift:+d}" if shift else "0" for shift in self.level_shifts)

    def _shift_mask(self, slot: int | None) -> Any:
        """Returns None if every base level allows every shift, so that sampling stays uniform and quick."""
        legal = [self._legal_shifts(base) for base in self.base_levels]
        if all(len(shifts) == len(self.level_shifts) for shifts in legal):
            return None
        return partial(_allowed_shifts, tuple(map(tuple, legal)), slot)

    def _legal_shifts(self, base: int) -> list[int]:
        return [i for i, shift in enumerate(self.level_shifts) if base + shift in LEVELS]

    def _check_frame(self, spec: SpineNetSpec) -> None:
        if getattr(spec, "format", None) != SpineNetSpec.format:
            raise NotInSpaceError(f"the space holds SpineNets, and {type(spec).__name__} is none")
        n, first = len(self.base_levels), len(self.stem)
        if spec.stem != self.stem:
            raise NotInSpaceError("the spec has another stem than the space")
        if len(spec.blocks) != self._num_blocks:
            raise NotInSpaceError(
                f"the spec has {len(spec.blocks)} permuted blocks, the space {self._num_blocks}"
            )
        for i, block in enumerate(spec.blocks):
            if block.output != (i >= n):
                expected = "an output" if i >= n else "an intermediate"
                raise NotInSpaceError(f"block {first + i}: must be {expected} block")
            if block.kind not in self.kinds:
                raise NotInSpaceError(
                    f"block {first + i}: kind {block.kind} is not among {', '.join(self.kinds)}"
                )
        if spec.output_levels != self.output_levels:
            raise NotInSpaceError(
                f"the spec has outputs at levels {list(spec.output_levels)}, "
                f"the space at {list(self.output_levels)}"
            )

    def _assign_bases(self, levels: Sequence[int]) -> list[int]:
        """Returns the label of a base block for each final level.

        It is the assignment with the least sum of distances between base and final levels; of equal ones,
        low labels go to early blocks.
        """
        from scipy.optimize import linear_sum_assignment

        n = len(levels)
        shifts = np.subtract.outer(np.array(levels, int), np.array(self.base_levels, int))
        order = np.multiply.outer(np.arange(n), np.arange(n))  # Its sum over all blocks is below n ** 3.
        costs = np.where(np.isin(shifts, self.level_shifts), np.abs(shifts) * n**3 - order, np.inf)
        try:
            labels: list[int] = linear_sum_assignment(costs)[1].tolist()
        except ValueError:
            raise NotInSpaceError(
                f"intermediate levels {list(levels)} cannot be reached from the base levels "
                f"{list(self.base_levels)} with shifts {list(self.level_shifts)}"
            ) from None
        return labels

    def _num_level_sequences(self) -> int | None:
        """Counts the distinct sequences of final levels of the intermediates, or gives None; see above."""
        reachable = [
            [base + self.level_shifts[i] for i in self._legal_shifts(base)] for base in self.base_levels
        ]
        shifts = sorted(self.level_shifts)
        if shifts == list(range(shifts[0], shifts[-1] + 1)):
            return _count_sequences_in_order(reachable)
        return _count_sequences(reachable) if len(reachable) <= MOST_COUNTED else None

    def _check(self) -> None:
        for name in ("output_levels", "level_shifts", "kinds"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise SpaceError(
                    f"{name} must be a list of at least one item, all different, not {list(values)}"
                )
        if len(self.stem) + self._num_blocks > MAX_BLOCKS:
            raise SpaceError(f"base_levels: with stem and outputs there are more than {MAX_BLOCKS} blocks")
        for base in self.base_levels:
            if not self._legal_shifts(base):
                raise SpaceError(f"level_shifts: none keeps a block of base level {base} within 1..7")
        kinds = {*self.kinds, *(block.kind for block in self.stem)}
        if "mbconv" in kinds and len(kinds) > 1:
            raise SpaceError("kinds: mbconv cannot be mixed with other kinds in one network")


def _count_sequences_in_order(reachable: Sequence[Sequence[int]]) -> int:
    """Counts the sequences of levels that blocks reach in any order, if levels and blocks match in order.

    With consecutive shifts, blocks reach a sequence if the block of the k-th smallest base reaches its k-th
    smallest level, for all k. So each level in turn takes the next blocks.

    Args:
        reachable: the levels that each block reaches, by ascending base.
    """
    n = len(reachable)
    counts = [1] + [0] * n  # Sequences of the first blocks with the levels so far.
    for level in LEVELS:
        before, counts = counts, list(counts)
        for start, sequences in enumerate(before):
            for end in range(start + 1, n + 1):
                if level not in reachable[end - 1]:
                    break
                counts[end] += sequences * math.comb(end, start)
    return counts[n]


def _count_sequences(reachable: Sequence[Sequence[int]]) -> int:
    """Counts the sequences of levels that blocks reach in any order.

    The set of reachable multisets of levels grows block by block; the number of sequences of each multiset
    is a multinomial coefficient.
    """
    reached = {(0,) * len(LEVELS)}
    for levels in reachable:
        spots = [level - LEVELS[0] for level in levels]
        reached = {(*c[:spot], c[spot] + 1, *c[spot + 1 :]) for c in reached for spot in spots}
    n = len(reachable)
    return sum(math.factorial(n) // math.prod(map(math.factorial, counts)) for counts in reached)


def _permutation(group: str, slots: range, levels: Sequence[int]) -> list[Decision]:
    """Returns one decision for each slot: which of the labeled blocks is there."""
    if len(slots) < 2:
        return []
    labels = tuple(f"L{level}" for level in levels)
    return [Decision(f"block {slot} base", labels, group=group) for slot in slots]


def _read_permutation(answers: Iterator[int], levels: Sequence[int]) -> list[int]:
    if len(levels) < 2:
        return list(levels)
    return [levels[next(answers)] for _ in levels]


def _allowed_shifts(legal: Sequence[Sequence[int]], slot: int | None, answers: Genotype) -> Sequence[int]:
    """Returns the shifts allowed for the base block in `slot`, or for the only one without a permutation."""
    return legal[0 if slot is None else answers[slot]]
