"""The supernet's shared weights: which parts of two networks are one, and what is averaged."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from benchmarks.spinenet_bench.recipe import training_task
from benchmarks.supernet import Shared, agreement, bodies, shared_name
from proxy_tasks.data.shapes import CLASSES
from search_space import SpineNetSpec, published_spec


@pytest.fixture(scope="module")
def spec() -> SpineNetSpec:
    found = published_spec("spinenet-49")
    assert isinstance(found, SpineNetSpec)
    return found


def network(spec: SpineNetSpec, seed: int = 0) -> nn.Module:
    return training_task().network(spec, seed, len(CLASSES))


def test_bodies_are_told_apart_by_level_kind_and_ordinal(spec: SpineNetSpec) -> None:
    found = bodies(spec)
    assert len(set(found)) == len(found) == len(spec.stem) + len(spec.blocks)
    assert found[:2] == [("stem", 0), ("stem", 1)]
    levels = [(block.level, block.kind) for block in spec.blocks]
    assert found[2:] == [(*alike, levels[:i].count(alike)) for i, alike in enumerate(levels)]


def test_a_spec_with_other_parents_has_the_same_bodies_and_other_ways(spec: SpineNetSpec) -> None:
    """The way out of the former parent is left, that out of the new one is new."""
    last = len(spec.blocks) - 1
    block = spec.blocks[last]
    new = next(
        i for i, f in enumerate(spec.features[: last + 2]) if f.level != spec.features[block.parents[0]].level
    )
    other = replace(spec, blocks=(*spec.blocks[:last], replace(block, parents=(new, block.parents[1]))))
    shared = Shared()
    first, second = network(spec), network(other, 1)
    names = shared.lend(first, spec)
    assert len(shared.current) == len(names)
    own = shared.lend(second, other)
    parameters = dict(second.named_parameters())
    for name, parameter in first.named_parameters():
        same = f"blocks.{last + 2}.resample.0" not in name
        if same:
            assert parameters[name] is parameter, name
    added = [name for name in own if name not in names]
    assert 0 < len(added) < len(names) / 10
    assert {name[0] for name in added if isinstance(name, tuple)} <= {"down", "expand"}


def test_norms_of_a_way_belong_to_the_levels_at_both_ends(spec: SpineNetSpec) -> None:
    index, source = len(spec.stem), spec.features[spec.blocks[0].parents[0]]
    where = f"backbone.blocks.{index}.resample.0.down.0"
    kernel = shared_name(spec, bodies(spec), f"{where}.conv.weight", (4, 32, 1, 1))
    norm = shared_name(spec, bodies(spec), f"{where}.norm.weight", (4,))
    assert isinstance(kernel, tuple)
    assert isinstance(norm, tuple)
    assert (kernel[2], norm[2]) == ((), (source.level, spec.blocks[0].level))
    assert kernel[1] == bodies(spec)[spec.blocks[0].parents[0]]


def test_averaged_weights_are_copied_and_what_is_missing_is_told(spec: SpineNetSpec) -> None:
    shared, net = Shared(), network(spec)
    names = shared.lend(net, spec)
    assert shared.copy_average(network(spec, 1), spec) == 0
    shared.update_average(names, 0.1)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(1)
    shared.update_average(names, 0.1)
    asked = network(spec, 1)
    assert shared.copy_average(asked, spec) == 1
    weight = 1 - 0.5**10
    lent = dict(net.named_parameters(remove_duplicate=False))
    for name, found in asked.named_parameters():
        torch.testing.assert_close(found, lent[name] - (1 - weight))


def test_the_interval_of_equal_ranks_is_that_of_certainty() -> None:
    found = agreement(range(20), range(20))
    assert (found.low, found.high) == pytest.approx((1, 1))
