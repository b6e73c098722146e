from __future__ import annotations

import itertools
import json
from dataclasses import replace
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search_space import NotInSpaceError, SpecError, load_spec, spec_from_dict, spec_key
from search_space.decisions import enumerate_genotypes
from search_space.nas_fpn.space import MergingCellSpace
from search_space.nas_fpn.spec import NAS_FPN, MergingCell, MergingCellsSpec
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


def test_the_first_output_takes_what_no_cell_before_has_used_too() -> None:
    unused = MergingCell(4, "sum", (0, 2))
    outputs = [MergingCell(level, "sum", (0, 2)) for level in (4, 3, 5, 6, 7)]
    assert MergingCellsSpec((unused, *outputs)).joins[1] == (1, 5)


def test_attention_with_its_parents_the_other_way_round_is_not_in_the_space() -> None:
    """It weighs the second parent by the first."""
    first, *others = NAS_FPN.cells
    turned = MergingCell(first.level, "attention", first.parents[::-1])
    with pytest.raises(NotInSpaceError, match="cell 0 parents has no option 3,1"):
        MergingCellSpace().encode(with_cells(turned, *others))


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
    assert spec_key(straight) == spec_key(with_cells(*swapped))
    turned = replace(first, parents=(3, 1))
    assert spec_key(NAS_FPN) != spec_key(with_cells(turned, second, *outputs))
    for other in (replace(NAS_FPN, stacks=6), replace(NAS_FPN, layers=(1, 1, 1, 1))):
        assert spec_key(other) != spec_key(NAS_FPN)


def test_a_spec_is_a_readable_file() -> None:
    space, rng = MergingCellSpace(layers=(1, 1, 1, 1), stacks=2), np.random.default_rng(0)
    for _ in range(20):
        spec = space.decode(space.sample(rng))
        assert spec_from_dict(json.loads(spec.to_json())) == spec


@pytest.mark.parametrize(
    ("number", "change", "told"),
    [
        (0, {"level": 2}, r"cells\[0\]: level must be a whole number of at least 3 and at most 7, not 2"),
        (1, {"merge": "max"}, r"cells\[1\]: merge must be sum or attention"),
        (1, {"parents": (1, 6)}, r"cells\[1\]: parent 6 is not in 0..5"),
        (2, {"parents": (3, 3)}, r"cells\[2\]: the cell needs two different parents"),
        (6, {"level": 7}, "cells: the last five are the outputs"),
    ],
)
def test_a_wrong_cell_is_named(number: int, change: dict[str, object], told: str) -> None:
    cells = list(NAS_FPN.cells)
    cells[number] = replace(cells[number], **change)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match=told):
        with_cells(*cells)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"cells": [{}] * 135}, '"cells" has 135 entries; a spec has at most 64 cells'),
        ({"layers": [1] * 134}, "layers must be a list of 4 items"),
        ({"layers": 3}, "layers must be a list of 4 items.*, not 3"),
    ],
)
def test_too_long_a_list_in_a_file_is_named(change: dict[str, object], told: str) -> None:
    data = json.loads(NAS_FPN.to_json())
    with pytest.raises(SpecError, match=told) as raised:
        MergingCellsSpec.from_dict({**data, **change})
    assert "128" not in str(raised.value)


def test_too_many_parents_in_a_file_are_named() -> None:
    data = json.loads(NAS_FPN.to_json())
    data["cells"][1]["parents"] = [0] * 132
    with pytest.raises(SpecError, match=r"cells\[1\]: parents must be a list of 2 items"):
        MergingCellsSpec.from_dict(data)


def test_equal_keys_are_rare_among_random_specs() -> None:
    space, rng = MergingCellSpace(), np.random.default_rng(1)
    keys = [space.key(space.decode(space.sample(rng))) for _ in range(300)]
    assert len(set(keys)) == 300


def all_orders(spec: MergingCellsSpec) -> str:
    """The least description over all orders of the intermediate cells."""
    count, joins = len(spec.cells) - 5, spec.joins
    forms = []
    for order in itertools.permutations(range(count)):
        names = {f: f"P{f}" for f in range(5)} | {5 + cell: f"m{place}" for place, cell in enumerate(order)}
        names |= {5 + n: f"o{spec.cells[n].level}" for n in range(count, len(spec.cells))}
        told = []
        for number, cell in enumerate(spec.cells):
            parents = [names[parent] for parent in cell.parents]
            parents = sorted(parents) if cell.merge == "sum" else parents
            joined = sorted(names[feature] for feature in joins[number])
            told.append(f"{names[5 + number]}={cell.level} {cell.merge} {parents} {joined}")
        forms.append("\n".join(sorted(told)))
    return min(forms)


def test_keys_are_those_of_trying_all_orders() -> None:
    """Few levels and merges of near parents, so that equal networks are met often."""
    rng = np.random.default_rng(5)
    by_key: dict[str, str] = {}
    by_form: dict[str, str] = {}
    for _ in range(1500):
        cells = [
            MergingCell(4, rng.choice(["sum", "attention"]), tuple(rng.permutation(3)[:2].tolist()))
            for _ in range(3)
        ]
        cells += [MergingCell(level, "sum", (0, 1)) for level in (3, 4, 5, 6, 7)]
        if rng.random() < 0.5:
            parents = (5 + int(rng.integers(3)), int(rng.integers(3)))
            cells[4] = replace(cells[4], parents=parents, merge=rng.choice(["sum", "attention"]))
        spec = MergingCellsSpec(tuple(cells))
        key, form = spec_key(spec), all_orders(spec)
        assert by_key.setdefault(key, form) == form
        assert by_form.setdefault(form, key) == key
    assert 100 < len(by_key) < 1400


def test_keys_of_many_alike_cells_are_quick_to_tell() -> None:
    twins = [MergingCell(4, "attention", (0, 1))] * 30
    outputs = [MergingCell(level, "sum", (0, 1)) for level in (3, 4, 5, 6, 7)]
    assert len(spec_key(MergingCellsSpec((*twins, *outputs)))) == 32


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"layers": [3.5, 4, 6, 3]}, "layers must be a list of 4 items, every item a whole number"),
        ({"layers": [True, 4, 6, 3]}, "layers must be a list of 4 items, every item a whole number"),
        ({"stacks": 10**6}, "stacks must be a whole number of at least 1 and at most 1000"),
        ({"version": True}, '"version" must be a whole number from 1, not true'),
        ({"extra": 1}, 'unknown key "extra"'),
        (
            {"cells": [{"level": 4.0, "merge": "sum", "parents": [0, 1]}]},
            r"cells\[0\]: level must be a whole number .* not 4\.0",
        ),
        ({"cells": [{"level": 4, "merge": "sum", "parents": [0, 1], "x": 1}]}, 'unknown key "x"'),
        ({"cells": 3}, '"cells" must be a list'),
    ],
)
def test_wrong_files_are_told(tmp_path: Path, change: dict[str, object], told: str) -> None:
    path = tmp_path / "spec.json"
    path.write_text(json.dumps({**json.loads(NAS_FPN.to_json()), **change}))
    with pytest.raises(SpecError, match=told):
        load_spec(path)


def test_a_key_that_stands_twice_is_told_and_a_mark_before_the_file_is_not(tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    path.write_text(NAS_FPN.to_json().replace('"stacks": 7', '"stacks": 7, "stacks": 3'))
    with pytest.raises(SpecError, match='key "stacks" occurs twice'):
        load_spec(path)
    path.write_text(NAS_FPN.to_json(), encoding="utf-8-sig")
    assert load_spec(path) == NAS_FPN == load_spec("NAS-FPN")
    with pytest.raises(SpecError, match="did you mean nas-fpn"):
        load_spec("nas-fpm")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"intermediates": "two"}, "intermediates must be a whole number"),
        ({"levels": 4}, "levels must be a list, every item a whole number of at least 3 and at most 7"),
        ({"levels": (4, 4)}, "levels must be a list of different levels"),
        ({"layers": (1, 1)}, "layers must be a list of 4 items, every item a whole number"),
        ({"stacks": 0}, "stacks must be a whole number"),
    ],
)
def test_wrong_spaces_are_told(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        MergingCellSpace(**arguments)
