"""NAS-FPN: a pyramid network of merging cells on a fixed backbone, and the space of them.

Ghiasi et al., "NAS-FPN: Learning Scalable Feature Pyramid Architecture for Object Detection", CVPR 2019.
The backbone gives features P3 to P7. A cell merges two earlier features at a level by a sum or by attention;
the last five cells are the outputs, one for each level, in any order. The whole is stacked several times.
A feature that nothing draws on is added to the output of its level; SpineNet took the rule from here.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Literal, get_args

from search_space.canonical import canonical_rows
from search_space.decisions import Decision, Genotype
from search_space.space import NotInSpaceError, Space
from search_space.spec import SpecError, check_keys, read_item, read_list

INPUTS = (3, 4, 5, 6, 7)
"""Levels of the features that the backbone gives, which are those of the outputs too."""
R50 = (3, 4, 6, 3)
"""Bottleneck blocks of ResNet-50 at levels 2 to 5."""
STACKS = 7
"""Of the published network."""
Merge = Literal["sum", "attention"]
FORMAT, VERSION = "merging-cells-spec", 1
MOST_CELLS, MOST_REPEATS = 64, 1000


@dataclass(frozen=True)
class MergingCell:
    """Two features merged at a level, and a 3x3 convolution.

    Args:
        level: of the result, 3 to 7.
        merge: "sum", or "attention": the second feature, weighted by the sigmoid of the first one's maxima
            over height and width, is added to the first.
        parents: numbers of two different features: 0 to 4 are P3 to P7, 5 is the first cell's.
    """

    level: int
    merge: Merge
    parents: tuple[int, int]


@dataclass(frozen=True)
class MergingCellsSpec:
    """A pyramid network on a ResNet.

    Args:
        cells: in the order in which they are built; the last five are the outputs.
        layers: blocks of the backbone at levels 2 to 5; ResNet-50's by default.
        stacks: how often the whole is repeated, each time on the outputs of the time before.

    Raises:
        SpecError: naming the cell that is wrong.
    """

    cells: tuple[MergingCell, ...]
    layers: tuple[int, ...] = R50
    stacks: int = STACKS

    def __post_init__(self) -> None:
        for number, cell in enumerate(self.cells):
            where = f"cells[{number}]"
            if type(cell.level) is not int or cell.level not in INPUTS:
                raise SpecError(f"{where}: level must be in 3..7, not {cell.level!r}")
            if cell.merge not in get_args(Merge):
                raise SpecError(f"{where}: merge must be {' or '.join(get_args(Merge))}, not {cell.merge!r}")
            built = len(INPUTS) + number
            for parent in cell.parents:
                if type(parent) is not int or not 0 <= parent < built:
                    raise SpecError(f"{where}: parent {parent!r} is not in 0..{built - 1}")
            if len(cell.parents) != 2 or cell.parents[0] == cell.parents[1]:
                raise SpecError(f"{where}: needs two different parents, not {list(cell.parents)}")
        outputs = [cell.level for cell in self.cells[-len(INPUTS) :]]
        if sorted(outputs) != list(INPUTS):
            raise SpecError(f"cells: the last five are the outputs, one for each of P3 to P7, not {outputs}")
        if len(self.cells) > MOST_CELLS:
            raise SpecError(f"cells: at most {MOST_CELLS}, not {len(self.cells)}")
        _check_size(self.layers, self.stacks)

    @property
    def joins(self) -> tuple[tuple[int, ...], ...]:
        """For every cell the features that are added to it because nothing has drawn on them before it."""
        levels = [*INPUTS, *(cell.level for cell in self.cells)]
        first_output = len(self.cells) - len(INPUTS)
        used: set[int] = set()
        found = []
        for number, cell in enumerate(self.cells):
            used |= set(cell.parents)
            joined: list[int] = []
            if number >= first_output:
                before = range(len(INPUTS) + number)
                joined = [f for f in before if f not in used and levels[f] == cell.level]
            used |= set(joined)
            found.append(tuple(joined))
        return tuple(found)

    def to_json(self) -> str:
        """As a spec file."""
        cells = [{"level": c.level, "merge": c.merge, "parents": list(c.parents)} for c in self.cells]
        lines = ",\n    ".join(json.dumps(cell) for cell in cells)
        head = f'"format": "{FORMAT}",\n  "version": {VERSION},\n  "layers": {json.dumps(list(self.layers))},'
        head += f'\n  "stacks": {self.stacks}'
        return f'{{\n  {head},\n  "cells": [\n    {lines}\n  ]\n}}\n'

    @classmethod
    def from_data(cls, data: Mapping[str, object]) -> MergingCellsSpec:
        """Of a spec file's data, whose format is known.

        Raises:
            SpecError: if it is none.
        """
        if type(data.get("version")) is not int or data["version"] != VERSION:
            raise SpecError(f"version {data.get('version')!r} is not known; {VERSION} is")
        check_keys(data, ("format", "version", "layers", "stacks", "cells"), ("about",))
        cells = tuple(
            read_item(item, f"cells[{i}]", _read_cell, ("level", "merge", "parents"))
            for i, item in enumerate(read_list(data, "cells"))
        )
        return cls(cells, tuple(read_list(data, "layers")), data["stacks"])  # type: ignore[arg-type]


def _read_cell(level: int, merge: Merge, parents: object) -> MergingCell:
    pair: Any = tuple(read_list({"parents": parents}, "parents"))
    return MergingCell(level, merge, pair)


def _check_size(layers: Sequence[object], stacks: object) -> None:
    """Of the ResNet and of the pyramid."""
    whole = all(type(n) is int and 1 <= n <= MOST_REPEATS for n in layers)
    if len(layers) != 4 or not whole:
        raise SpecError(f"layers: four whole numbers in 1..{MOST_REPEATS}, not {list(layers)}")
    if type(stacks) is not int or not 1 <= stacks <= MOST_REPEATS:
        raise SpecError(f"stacks must be a whole number in 1..{MOST_REPEATS}, not {stacks!r}")


@dataclass(frozen=True)
class MergingCellSpace(Space):
    """All networks of so many cells.

    Args:
        intermediates: cells before the outputs; 2 in the published search.
        levels: that intermediates may have.
        layers, stacks: of all specs, see `MergingCellsSpec`.
    """

    intermediates: int = 2
    levels: tuple[int, ...] = (4, 5, 6, 7)
    layers: tuple[int, ...] = R50
    stacks: int = STACKS
    _decisions: tuple[Decision, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        most = MOST_CELLS - len(INPUTS)
        if type(self.intermediates) is not int or not 0 <= self.intermediates <= most:
            raise ValueError(f"intermediates must be a whole number in 0..{most}, not {self.intermediates!r}")
        for name in ("levels", "layers"):
            if isinstance(getattr(self, name), str) or not isinstance(getattr(self, name), Sequence):
                raise ValueError(f"{name} must be a list, not {getattr(self, name)!r}")
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not self.levels or not set(self.levels) <= set(INPUTS):
            raise ValueError(f"levels must be among {INPUTS}, not {list(self.levels)}")
        _check_size(self.layers, self.stacks)
        found = []
        merges = get_args(Merge)
        for number in range(self.intermediates + len(INPUTS)):
            intermediate = number < self.intermediates
            name = f"cell {number}" if intermediate else f"output {number - self.intermediates}"
            labels = tuple(map(str, self.levels if intermediate else INPUTS))
            found.append(Decision(f"{name} level", labels, "" if intermediate else "outputs"))
            found.append(Decision(f"{name} merge", merges))
            pairs = itertools.combinations(range(len(INPUTS) + number), 2)
            found.append(Decision(f"{name} parents", tuple(f"{a},{b}" for a, b in pairs)))
        object.__setattr__(self, "_decisions", tuple(found))

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """Level, merge and parents of every cell; the outputs' levels are a permutation."""
        return self._decisions

    def decode(self, genotype: Genotype) -> MergingCellsSpec:
        """The network of a genotype."""
        self.check(genotype)
        labels: list[Any] = [d.labels[answer] for d, answer in zip(self._decisions, genotype, strict=True)]
        cells = []
        for level, merge, parents in zip(labels[::3], labels[1::3], labels[2::3], strict=True):
            first, second = parents.split(",")
            cells.append(MergingCell(int(level), merge, (int(first), int(second))))
        return MergingCellsSpec(tuple(cells), self.layers, self.stacks)

    def encode(self, spec: MergingCellsSpec) -> Genotype:
        """The genotype of a network; parents of a sum may be in any order."""
        ours = self.intermediates, self.layers, self.stacks
        theirs = len(spec.cells) - len(INPUTS), spec.layers, spec.stacks
        if theirs != ours:
            told = "{} intermediate cells on layers {}, {} stacks".format
            raise NotInSpaceError(f"the space has {told(*ours)}, the spec {told(*theirs)}")
        labels = []
        for cell in spec.cells:
            parents = tuple(sorted(cell.parents)) if cell.merge == "sum" else cell.parents
            labels += [str(cell.level), cell.merge, f"{parents[0]},{parents[1]}"]
        answers = []
        for decision, label in zip(self._decisions, labels, strict=True):
            if label not in decision.labels:
                raise NotInSpaceError(f"{decision.name} has no option {label}")
            answers.append(decision.labels.index(label))
        return tuple(answers)

    def key(self, spec: MergingCellsSpec) -> str:
        """See `merging_key`."""
        return merging_key(spec)


def merging_key(spec: MergingCellsSpec) -> str:
    """One digest for all specs of one function: cells may stand in another order, a sum's parents too."""
    labels: list[tuple[int, str, bool]] = [(level, "input", False) for level in INPUTS]
    parents: list[list[int]] = [[] for _ in INPUTS]
    joins: list[list[int]] = [[] for _ in INPUTS]
    vertex = list(range(len(INPUTS)))
    for number, (cell, joined) in enumerate(zip(spec.cells, spec.joins, strict=True)):
        first, second = (vertex[parent] for parent in cell.parents)
        if cell.merge != "sum":
            # A vertex between tells the second parent from the first.
            labels.append((cell.level, "second", False))
            parents.append([second])
            joins.append([])
            second = len(labels) - 1
        vertex.append(len(labels))
        labels.append((cell.level, cell.merge, number >= len(spec.cells) - len(INPUTS)))
        parents.append([first, second])
        joins.append([vertex[feature] for feature in joined])
    rows = canonical_rows(len(INPUTS), labels, parents, joins)
    return blake2b(repr((spec.layers, spec.stacks, rows)).encode(), digest_size=16).hexdigest()


NAS_FPN = MergingCellsSpec(
    (
        MergingCell(4, "attention", (1, 3)),
        MergingCell(4, "sum", (1, 5)),
        MergingCell(3, "sum", (0, 6)),
        MergingCell(4, "sum", (6, 7)),
        MergingCell(5, "attention", (7, 8)),
        MergingCell(7, "attention", (6, 9)),
        MergingCell(6, "attention", (9, 10)),
    )
)
"""The published cell on ResNet-50 (Ghiasi et al. 2019; released code)."""
