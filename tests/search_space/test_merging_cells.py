from __future__ import annotations

import itertools
import json
from dataclasses import replace
from math import comb

import numpy as np
import pytest

from search_space import NotInSpaceError, SpecError
from search_space.decisions import enumerate_genotypes
from search_space.merging_cells import (
    NAS_FPN,
    MergingCell,
    MergingCellSpace,
    MergingCellsSpec,
    merging_key,
)
from search_space.testing import check_space


def test_the_space_keeps_the_contract() -> None:
    check_space(MergingCellSpace(), samples=60)
    check_space(MergingCellSpace(0), samples=30)


@pytest.mark.parametrize("intermediates", [0, 1, 2])
def test_its_size_is_the_product_of_its_choices(intermediates: int) -> None:
    size = 120 * 2**5
    for number in range(5 + intermediates):
        size *= comb(5 + number, 2)
    assert MergingCellSpace(intermediates).size == size * (4 * 2) ** intermediates


def test_its_genotypes_can_be_counted_one_by_one() -> None:
    """The decisions of the first three cells, walked: as many as the formula says, all different specs."""
    decisions = MergingCellSpace(1).decisions[:5]
    found = list(enumerate_genotypes(decisions))
    assert len(found) == len(set(found)) == (4 * 2 * comb(5, 2)) * (5 * 2)


def test_the_published_cell_is_in_it() -> None:
    space = MergingCellSpace()
    assert space.decode(space.encode(NAS_FPN)) == NAS_FPN
    with pytest.raises(NotInSpaceError, match="1 intermediate cells"):
        MergingCellSpace(1).encode(NAS_FPN)


def test_unused_features_join_the_output_of_their_level() -> None:
    """Of the published cell, P5 to the output at level 5, and what only the paper's rule adds to level 4."""
    assert NAS_FPN.joins == ((), (), (), (), (2,), (4,), ())


def with_cells(*cells: MergingCell) -> MergingCellsSpec:
    return replace(NAS_FPN, cells=cells)


def test_keys_ignore_the_order_of_independent_cells_and_of_a_sums_parents() -> None:
    first, second, *outputs = NAS_FPN.cells
    swapped = [
        MergingCell(4, "sum", (1, 0)),
        MergingCell(4, "attention", (1, 3)),
        *(replace(c, parents=tuple({5: 6, 6: 5}.get(p, p) for p in c.parents)) for c in outputs),  # type: ignore[arg-type]
    ]
    straight = with_cells(first, replace(second, parents=(0, 1)), *outputs)
    assert merging_key(straight) == merging_key(with_cells(*swapped))
    turned = replace(first, parents=(3, 1))
    assert merging_key(NAS_FPN) != merging_key(with_cells(turned, second, *outputs))
    for other in (replace(NAS_FPN, stacks=6), replace(NAS_FPN, layers=(1, 1, 1, 1))):
        assert merging_key(other) != merging_key(NAS_FPN)


def test_a_spec_is_a_readable_file() -> None:
    space, rng = MergingCellSpace(layers=(1, 1, 1, 1), stacks=2), np.random.default_rng(0)
    for _ in range(20):
        spec = space.decode(space.sample(rng))
        assert MergingCellsSpec.from_data(json.loads(spec.to_json())) == spec


@pytest.mark.parametrize(
    ("number", "change", "told"),
    [
        (0, {"level": 2}, r"cells\[0\]: level must be in 3..7, not 2"),
        (1, {"merge": "max"}, r"cells\[1\]: merge must be sum or attention"),
        (1, {"parents": (1, 6)}, r"cells\[1\]: parent 6 is not in 0..5"),
        (2, {"parents": (3, 3)}, r"cells\[2\]: needs two different parents"),
        (6, {"level": 7}, "cells: the last five are the outputs"),
    ],
)
def test_a_wrong_cell_is_named(number: int, change: dict[str, object], told: str) -> None:
    cells = list(NAS_FPN.cells)
    cells[number] = replace(cells[number], **change)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match=told):
        with_cells(*cells)


def test_equal_keys_are_rare_among_random_specs() -> None:
    space, rng = MergingCellSpace(), np.random.default_rng(1)
    keys = [space.key(space.decode(space.sample(rng))) for _ in range(300)]
    assert len(set(keys)) == 300
    assert len({a == b for a, b in itertools.pairwise(keys)}) == 1
