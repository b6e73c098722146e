"""NAS-FPN's spec: merging cells on a ResNet (Ghiasi et al., CVPR 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from search_space.convention import Convention
from search_space.cost import Cost
from search_space.heads import Head
from search_space.norm import NormConfig
from search_space.resnet_fpn.spec import R50
from search_space.scale import Scale
from search_space.spec import Description
from search_space.spec_file import SpecError, check_header, check_keys, read_item, read_list
from search_space.utils.parsing import shown
from search_space.utils.strict_json import to_json
from search_space.utils.validation import AtLeast, AtMost, validate

if TYPE_CHECKING:
    from search_space.nas_fpn.backbone import NASFPN

INPUTS = (3, 4, 5, 6, 7)
"""Levels of the features that the backbone gives, which are those of the outputs too."""


PyramidLevel = Annotated[int, AtLeast(INPUTS[0]), AtMost(INPUTS[-1])]


Feature = Annotated[int, AtLeast(0)]


STACKS = 7
"""How often the published network repeats its cells."""


Merge = Literal["sum", "attention"]


FORMAT, VERSION = "merging-cells-spec", 1


MOST_CELLS = 64


Repeats = Annotated[int, AtLeast(1), AtMost(1000)]


Layers = tuple[Repeats, Repeats, Repeats, Repeats]
"""Blocks of a ResNet at levels 2 to 5."""


@dataclass(frozen=True)
class MergingCell:
    """A cell merges two features at a level and applies a 3x3 convolution.

    Args:
        level: of the result, 3 to 7.
        merge: "sum", or "attention": the second feature, weighted by the sigmoid of the first one's maxima
            over height and width, is added to the first.
        parents: numbers of two different features: 0 to 4 are P3 to P7, 5 is the first cell's.
    """

    level: PyramidLevel
    merge: Merge
    parents: tuple[Feature, Feature]


@dataclass(frozen=True)
class MergingCellsSpec:
    """A pyramid network on a ResNet.

    Args:
        cells: in the order in which they are built; the last five are the outputs.
        layers: blocks of the backbone at levels 2 to 5; ResNet-50's by default.
        stacks: how many times the cells are repeated; each stack works on the outputs of the one before.

    Raises:
        SpecError: if a field is wrong; the message names the cell.
    """

    cells: tuple[MergingCell, ...]
    layers: Layers = R50
    stacks: Repeats = STACKS

    format: ClassVar[str] = FORMAT
    title: ClassVar[str] = "NAS-FPN"
    separable_head: ClassVar[bool] = False

    def __post_init__(self) -> None:
        validate(self, SpecError)
        for number, cell in enumerate(self.cells):
            where = f"cells[{number}]"
            validate(cell, SpecError, f"{where}: ")
            built = len(INPUTS) + number
            for parent in cell.parents:
                if parent >= built:
                    raise SpecError(f"{where}: parent {shown(parent)} is not in 0..{built - 1}")
            if cell.parents[0] == cell.parents[1]:
                raise SpecError(f"{where}: the cell needs two different parents, not {list(cell.parents)}")
        outputs = [cell.level for cell in self.cells[-len(INPUTS) :]]
        if sorted(outputs) != list(INPUTS):
            raise SpecError(
                "cells: the last five are the outputs and must have one of the levels 3 to 7 each, "
                f"but their levels are {outputs}"
            )
        if len(self.cells) > MOST_CELLS:
            raise SpecError(f"cells: a spec has at most {MOST_CELLS} cells, not {len(self.cells)}")

    @property
    def joins(self) -> tuple[tuple[int, ...], ...]:
        """For every cell, the features that are added to it because no earlier cell uses them."""
        levels = [*INPUTS, *(cell.level for cell in self.cells)]
        first_output = len(self.cells) - len(INPUTS)
        used: set[int] = set()
        joins = []
        for number, cell in enumerate(self.cells):
            used |= set(cell.parents)
            joined: list[int] = []
            if number >= first_output:
                before = range(len(INPUTS) + number)
                joined = [f for f in before if f not in used and levels[f] == cell.level]
            used |= set(joined)
            joins.append(tuple(joined))
        return tuple(joins)

    def to_json(self) -> str:
        """Returns the spec file's text: one line for each cell, with a newline at the end."""
        cells = [{"level": c.level, "merge": c.merge, "parents": list(c.parents)} for c in self.cells]
        lines = ",\n    ".join(to_json(cell) for cell in cells)
        head = f'"format": "{FORMAT}",\n  "version": {VERSION},\n  "layers": {to_json(list(self.layers))},'
        head += f'\n  "stacks": {self.stacks}'
        return f'{{\n  {head},\n  "cells": [\n    {lines}\n  ]\n}}\n'

    @classmethod
    def from_dict(cls, data: object) -> MergingCellsSpec:
        """Makes a spec of the parsed content of a spec file.

        Raises:
            SpecError: if the content is no NAS-FPN; the message names the key.
        """
        data = check_header(data, FORMAT, VERSION)
        check_keys(data, ("format", "version", "layers", "stacks", "cells"), ("about",))
        cells = tuple(
            read_item(item, f"cells[{i}]", MergingCell, ("level", "merge", "parents"))
            for i, item in enumerate(read_list(data, "cells", MOST_CELLS, "cells"))
        )
        return cls(cells, data["layers"], data["stacks"])  # type: ignore[arg-type]

    def key(self) -> str:
        """Returns 32 hexadecimal digits, the same for all specs of one function."""
        from search_space.nas_fpn.key import nas_fpn_key

        return nas_fpn_key(self)

    def cost(
        self, scale: Scale, size: int | tuple[int, int] = 640, head: Head | str = "none", classes: int = 80
    ) -> Cost:
        """Computes the cost at a scale from arithmetic alone; see `search_space.spec_cost`."""
        from search_space.nas_fpn.cost import nas_fpn_cost

        return nas_fpn_cost(self, scale, size, head, classes)

    def build(self, scale: Scale, *, norm: NormConfig, convention: Convention = "torch") -> NASFPN:
        """Builds the network; there is one convention of padding only.

        Raises:
            ScaleError: if the scale leaves a block without filters.
        """
        from search_space.nas_fpn.backbone import NASFPN

        return NASFPN(self, scale, norm=norm)

    def describe(self) -> Description:
        """Describes the cells, one row for each feature."""
        rows = [("feature", "level", "merge", "parents", "added", "")]
        rows += [(str(i), f"P{level}", "", "", "", "of the backbone") for i, level in enumerate(INPUTS)]
        cells = zip(self.cells, self.joins, strict=True)
        for number, (cell, joins) in enumerate(cells):
            remark = "output" if number >= len(self.cells) - len(INPUTS) else ""
            parents, added = ", ".join(map(str, cell.parents)), ", ".join(map(str, joins))
            rows.append((str(number + len(INPUTS)), f"P{cell.level}", cell.merge, parents, added, remark))
        layers = ", ".join(map(str, self.layers))
        return Description(
            table=tuple(rows),
            notes=(f"{self.stacks} stacks on a ResNet of {layers} blocks",),
            summary=f"{len(self.cells)} merging cells (NAS-FPN)",
            facts={"cells": len(self.cells)},
        )


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
