"""Key of a NAS-FPN spec: one name for all specs of one function."""

from __future__ import annotations

from hashlib import blake2b

from search_space.canonical import canonical_rows
from search_space.nas_fpn.spec import INPUTS, MergingCellsSpec


def nas_fpn_key(spec: MergingCellsSpec) -> str:
    """Returns 32 hexadecimal digits, the same for all specs of one function.

    Neither the order of the cells matters, as long as parents stay before their children, nor the order of
    a sum's parents.
    """
    labels: list[tuple[int, str, bool]] = [(level, "input", False) for level in INPUTS]
    parents: list[list[int]] = [[] for _ in INPUTS]
    joins: list[list[int]] = [[] for _ in INPUTS]
    vertex = list(range(len(INPUTS)))
    for number, (cell, joined) in enumerate(zip(spec.cells, spec.joins, strict=True)):
        first, second = (vertex[parent] for parent in cell.parents)
        if cell.merge != "sum":
            # A vertex in between makes the second parent differ from the first.
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
