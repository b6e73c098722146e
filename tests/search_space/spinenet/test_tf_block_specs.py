"""Specs for TensorFlow's code."""

from __future__ import annotations

import pytest

from search_space import SpecError, published_space, published_spec
from search_space.spinenet.tf_block_specs import write_tuples


def test_spinenet_49_is_the_released_list() -> None:
    found: dict[str, list[tuple[int, str, tuple[int, int], bool]]] = {}
    exec(write_tuples(published_spec("spinenet-49")), found)
    specs = found["SPINENET_BLOCK_SPECS"]
    assert specs[:3] == [
        (2, "bottleneck", (0, 1), False),
        (4, "residual", (0, 1), False),
        (3, "bottleneck", (2, 3), False),
    ]
    assert specs[-1] == (6, "bottleneck", (12, 14), True)
    assert len(specs) == 15


def test_another_stem_is_refused() -> None:
    space = published_space("r23-sp30")
    import numpy as np

    with pytest.raises(SpecError, match="fixed stem of two L2 bottlenecks"):
        write_tuples(space.decode(space.sample(np.random.default_rng(0))))
