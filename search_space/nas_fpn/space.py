"""NAS-FPN's space: pyramid networks of merging cells on a fixed backbone.

Ghiasi et al., "NAS-FPN: Learning Scalable Feature Pyramid Architecture for Object Detection", CVPR 2019.
The backbone gives features P3 to P7. A cell merges two earlier features at a level by a sum or by attention.
The last five cells are the outputs, one for each level, in any order. All cells repeat in several stacks.
A feature that no cell uses is added to the output of its level; SpineNet has taken this rule over.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, get_args

from search_space.decisions import Decision, Genotype
from search_space.nas_fpn.spec import (
    INPUTS,
    MOST_CELLS,
    STACKS,
    Layers,
    Merge,
    MergingCell,
    MergingCellsSpec,
    PyramidLevel,
    Repeats,
)
from search_space.resnet_fpn.spec import R50
from search_space.space import NotInSpaceError, Space
from search_space.utils.validation import AtLeast, AtMost, validate


@dataclass(frozen=True)
class MergingCellSpace(Space):
    """All networks with a given number of cells.

    Args:
        intermediates: number of cells before the outputs; 2 in the published search.
        levels: the levels that these may have.
        layers, stacks: the same for all specs, see `MergingCellsSpec`.

    Raises:
        ValueError: if a field is out of range.
    """

    intermediates: Annotated[int, AtLeast(0), AtMost(MOST_CELLS - len(INPUTS))] = 2
    levels: tuple[PyramidLevel, ...] = (4, 5, 6, 7)
    layers: Layers = R50
    stacks: Repeats = STACKS
    _decisions: tuple[Decision, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        validate(self)
        if not self.levels or len(set(self.levels)) < len(self.levels):
            raise ValueError(f"levels must be a list of different levels, not {list(self.levels)}")
        decisions = []
        merges = get_args(Merge)
        for number in range(self.intermediates + len(INPUTS)):
            intermediate = number < self.intermediates
            name = f"cell {number}" if intermediate else f"output {number - self.intermediates}"
            labels = tuple(map(str, self.levels if intermediate else INPUTS))
            decisions.append(Decision(f"{name} level", labels, "" if intermediate else "outputs"))
            decisions.append(Decision(f"{name} merge", merges))
            pairs = itertools.combinations(range(len(INPUTS) + number), 2)
            decisions.append(Decision(f"{name} parents", tuple(f"{a},{b}" for a, b in pairs)))
        object.__setattr__(self, "_decisions", tuple(decisions))

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """Level, merge and parents of every cell; the outputs' levels are a permutation."""
        return self._decisions

    @property
    def num_specs(self) -> int:
        """The exact number of distinct specs: no two genotypes give the same one."""
        return self.size

    def describe(self) -> Mapping[str, str]:
        """Describes cells and stacks for a table of spaces."""
        return {
            "intermediates": str(self.intermediates),
            "levels": ",".join(map(str, self.levels)),
            "layers": ",".join(map(str, self.layers)),
            "stacks": str(self.stacks),
        }

    def decode(self, genotype: Genotype) -> MergingCellsSpec:
        """Makes the spec of a genotype.

        Raises:
            GenotypeError: if the genotype does not answer the decisions.
        """
        self.check(genotype)
        labels: list[Any] = [d.labels[answer] for d, answer in zip(self._decisions, genotype, strict=True)]
        cells = []
        for level, merge, parents in zip(labels[::3], labels[1::3], labels[2::3], strict=True):
            first, second = parents.split(",")
            cells.append(MergingCell(int(level), merge, (int(first), int(second))))
        return MergingCellsSpec(tuple(cells), self.layers, self.stacks)

    def encode(self, spec: MergingCellsSpec) -> Genotype:
        """Returns the genotype of a spec; a sum's parents may be in any order.

        Raises:
            NotInSpaceError: if the space does not hold the spec.
        """
        if getattr(spec, "format", None) != MergingCellsSpec.format:
            raise NotInSpaceError(f"the space holds NAS-FPNs, and {type(spec).__name__} is none")
        ours = self.intermediates, self.layers, self.stacks
        theirs = len(spec.cells) - len(INPUTS), spec.layers, spec.stacks
        if theirs != ours:
            shown = "{} intermediate cells on layers {}, {} stacks".format
            raise NotInSpaceError(f"the space has {shown(*ours)}; the spec has {shown(*theirs)}")
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
        """Returns the spec's key."""
        return spec.key()
