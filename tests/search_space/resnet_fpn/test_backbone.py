from __future__ import annotations

import pytest
import torch

from search_space import NormConfig, R50FPNSpec, Scale
from search_space.resnet_fpn.backbone import R50FPN


@pytest.mark.parametrize("size", [(128, 128), (100, 161)])
def test_outputs_have_the_sizes_of_their_levels(size: tuple[int, int]) -> None:
    net = R50FPN(R50FPNSpec(0.125), Scale(endpoints=16)).eval()
    assert (net.out_channels, net.levels) == (16, (3, 4, 5, 6, 7))
    with torch.no_grad():
        pyramid = net(torch.randn(1, 3, *size))
    assert list(pyramid) == ["P3", "P4", "P5", "P6", "P7"]
    for level in range(3, 8):
        expected = (1, 16, -(-size[0] // 2**level), -(-size[1] // 2**level))
        assert tuple(pyramid[f"P{level}"].shape) == expected


def test_all_batch_norms_have_the_settings_that_were_given() -> None:
    with torch.device("meta"):
        net = R50FPNSpec(0.125).build(Scale(endpoints=16), norm=NormConfig(momentum=0.2, eps=0.01))
    norms = [layer for layer in net.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    assert len(norms) == 53 + 6
    assert {(layer.momentum, layer.eps) for layer in norms} == {(0.2, 0.01)}
