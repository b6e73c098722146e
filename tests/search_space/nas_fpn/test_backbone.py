from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from search_space import Scale
from search_space.nas_fpn.backbone import NASFPN, MergingCells, resample
from search_space.nas_fpn.space import MergingCellSpace
from search_space.nas_fpn.spec import NAS_FPN


@pytest.mark.parametrize("size", [(64, 64), (100, 75), (33, 129)])
def test_it_gives_a_pyramid_at_any_size(size: tuple[int, int]) -> None:
    spec = MergingCellSpace(layers=(1, 1, 1, 1), stacks=2).decode(
        MergingCellSpace().sample(np.random.default_rng(3))
    )
    net = NASFPN(spec, Scale(width=0.125, endpoints=8)).eval()
    out = net(torch.zeros(2, 3, *size))
    assert list(out) == ["P3", "P4", "P5", "P6", "P7"]
    for level, x in enumerate(out.values(), start=3):
        assert x.shape == (2, 8, *(-(-side // 2**level) for side in size))


def test_a_stack_is_what_its_cells_say() -> None:
    """The published cell written out by hand."""
    torch.manual_seed(0)
    stack = MergingCells(NAS_FPN, 4).eval()
    p3, p4, p5, p6, p7 = (torch.randn(1, 4, 2 ** (7 - i), 2 ** (7 - i)) for i in range(3, 8))
    down = F.max_pool2d

    def up(x: torch.Tensor, times: int) -> torch.Tensor:
        return x.repeat_interleave(times, 2).repeat_interleave(times, 3)

    def attend(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return a + b * torch.sigmoid(a.amax((2, 3), keepdim=True))

    conv = [lambda x, layer=layer: layer(F.relu(x)) for layer in stack.convs]
    f5 = conv[0](attend(p4, up(p6, 4)))
    f6 = conv[1](p4 + f5)
    f7 = conv[2](p3 + up(f6, 2))
    f8 = conv[3](f6 + down(f7, 2))
    f9 = conv[4](attend(down(f7, 4), down(f8, 2)) + p5)
    f10 = conv[5](attend(down(f6, 8), down(f9, 4)) + p7)
    f11 = conv[6](attend(down(f9, 2), up(f10, 2)))
    for ours, hand in zip(stack([p3, p4, p5, p6, p7]), (f7, f8, f9, f11, f10), strict=True):
        torch.testing.assert_close(ours, hand)


def test_resampling_keeps_maxima_and_repeats() -> None:
    x = torch.arange(25.0).reshape(1, 1, 5, 5)
    assert resample(x, (3, 3)).flatten().tolist() == [6, 8, 9, 16, 18, 19, 21, 23, 24]
    assert resample(x[..., :1, :1], (2, 2)).flatten().tolist() == [0, 0, 0, 0]
