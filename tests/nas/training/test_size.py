"""`nas train` says how large a network is, and when it is far from SpineNet-49 at the same scale."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nas.training.size import ALIKE, describe_size
from nas.utils.terminal import amount
from proxy_tasks.models.model import Model, model_cost
from search_space import R50FPNSpec, RetinaNetHead, Scale, published_space, published_spec

SCALE = Scale(width=0.125, endpoints=64, head_filters=64, head_convs=2)
MODEL = Model(
    spec=published_spec("spinenet-49"),
    scale=SCALE,
    head=RetinaNetHead(),
    categories=((1, "cat"), (2, "dog")),
    image_size=128,
)


def test_a_network_of_usual_size_gets_one_line() -> None:
    (line,) = describe_size(MODEL, "SpineNet")
    params, macs = model_cost(MODEL)
    assert line == (
        f"network: {params / 1e6:.3g} M parameters, {amount(macs)} multiply-adds for an image of 128 px"
    )
    space = published_space("spinenet-49")
    other = space.decode(space.sample(np.random.default_rng(0)))
    assert len(describe_size(replace(MODEL, spec=other), "SpineNet")) == 1


def test_r50_fpn_as_published_is_said_to_be_many_times_as_large() -> None:
    _, note = describe_size(replace(MODEL, spec=R50FPNSpec()), "R50-FPN")
    _, reference = model_cost(MODEL)
    _, macs = model_cost(replace(MODEL, spec=R50FPNSpec()))
    assert macs > 5 * reference
    assert f"these are {macs / reference:.3g} times the multiply-adds of spinenet-49" in note
    assert "the width of the scale does not apply to R50-FPN, whose own width is 1." in note
    width = float(note.split("At width ")[1].split()[0])
    _, fitted = model_cost(replace(MODEL, spec=R50FPNSpec(width)))
    assert fitted == pytest.approx(reference, rel=0.02)
    assert len(describe_size(replace(MODEL, spec=R50FPNSpec(width)), "R50-FPN")) == 1


def test_a_network_far_smaller_is_said_to_be_so() -> None:
    large = replace(MODEL, scale=replace(SCALE, width=1.0))
    _, note = describe_size(replace(large, spec=R50FPNSpec(1 / 64)), "R50-FPN")
    _, reference = model_cost(large)
    _, macs = model_cost(replace(large, spec=R50FPNSpec(1 / 64)))
    assert macs * ALIKE < reference
    assert f"these are 1/{reference / macs:.3g} of the multiply-adds of spinenet-49" in note


def test_units() -> None:
    assert [amount(macs) for macs in (1.5e6, 9.99e8, 1.56e9)] == ["1.5 M", "999 M", "1.56 G"]
