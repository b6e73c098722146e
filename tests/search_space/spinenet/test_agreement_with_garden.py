"""Agreement with the official implementation: outputs recorded from the TensorFlow Model Garden.

`tests/golden/make_garden.py` made the files, with weights that both sides derive from names.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from search_space import Block, Scale, SpineNetSpec, StemBlock, load_spinenet_spec
from search_space.spinenet.backbone import SameMaxPool2d, SpineNet, fuse_conv_bn
from tests.golden import weights

GOLDEN = dict(np.load(Path(__file__).parents[2] / "golden" / "garden.npz"))
EVAL_CASES = sorted({key.rsplit("/", 1)[0] for key in GOLDEN if "/eval/" in key})

MIXED = SpineNetSpec(
    stem=(StemBlock(2), StemBlock(2)),
    blocks=(
        Block(4, "bottleneck", (0, 1)),
        Block(3, "residual", (0, 2)),
        Block(4, "bottleneck", (0, 2)),
        Block(4, "bottleneck", (2, 3)),
        Block(5, "residual", (2, 3)),
        Block(5, "residual", (2, 4)),
        Block(3, "residual", (3, 2), output=True),
        Block(4, "bottleneck", (2, 6), output=True),
        Block(5, "bottleneck", (4, 9), output=True),
        Block(7, "residual", (5, 10), output=True),
        Block(6, "bottleneck", (10, 11), output=True),
    ),
)


def garden_backbone(name: str, activation: str) -> SpineNet:
    spec = MIXED if name == "mixed" else load_spinenet_spec(name)
    width = 1.0 if name.startswith("mobile") else 0.25
    scale = Scale(width=width, alpha=0.5, endpoints=8, activation=activation)  # type: ignore[arg-type]
    net = SpineNet(spec, scale, convention="garden")
    with torch.no_grad():
        for path, module in net.named_modules():
            at = re.sub(r"\.(conv|norm)$", "", path)
            if isinstance(module, nn.Conv2d):
                module.weight.copy_(torch.from_numpy(weights.conv(at, *module.weight.shape)))
                if module.bias is not None:
                    module.bias.copy_(
                        torch.from_numpy(0.1 * weights.normal(f"{at}.bias", *module.bias.shape))
                    )
            elif isinstance(module, nn.BatchNorm2d):
                values = {k: torch.from_numpy(v) for k, v in weights.norm(at, module.num_features).items()}
                assert module.running_mean is not None
                assert module.running_var is not None
                module.weight.copy_(values["gamma"])
                module.bias.copy_(values["beta"])
                module.running_mean.copy_(values["mean"])
                module.running_var.copy_(values["variance"])
    return net


def relative_error(ours: torch.Tensor, theirs: NDArray[np.float32]) -> float:
    assert tuple(ours.shape) == theirs.shape
    return float((ours - torch.from_numpy(theirs)).abs().max()) / float(np.abs(theirs).max())


@pytest.mark.parametrize("case", EVAL_CASES)
def test_outputs_are_those_of_the_official_code(case: str) -> None:
    name, size, activation, _ = case.split("/")
    net = garden_backbone(name, activation).eval()
    images = torch.from_numpy(weights.images(1, int(size)))
    with torch.no_grad():
        for variant in (net, fuse_conv_bn(net), net.to(memory_format=torch.channels_last)):
            pyramid = variant(images)
            assert list(pyramid) == ["P3", "P4", "P5", "P6", "P7"]
            for level, out in pyramid.items():
                assert relative_error(out, GOLDEN[f"{case}/{level}"]) < 1e-4, (case, level)


def test_golden_files_cover_three_sizes_both_activations_and_joined_blocks() -> None:
    assert len(EVAL_CASES) == 7


def test_training_mode_outputs_and_running_variances_are_those_of_the_official_code() -> None:
    case = "spinenet-49/256/relu/train"
    net = garden_backbone("spinenet-49", "relu").train()
    with torch.no_grad():
        pyramid = net(torch.from_numpy(weights.images(8, 256)))
    for level, out in pyramid.items():
        # Batch statistics magnify rounding: in float64 ours is up to 0.005 from the recorded float32.
        assert relative_error(out, GOLDEN[f"{case}/{level}"]) < 0.01, level
    compared = 0
    for path, module in net.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            golden = GOLDEN[f"{case}/{path.removesuffix('.norm')}/variance"]
            assert module.running_var is not None
            assert relative_error(module.running_var, golden) < 1e-4, path
            compared += 1
    assert compared == sum(key.endswith("/variance") for key in GOLDEN)


def test_without_the_official_padding_the_outputs_differ() -> None:
    net = garden_backbone("spinenet-49", "relu").eval()
    symmetric = SpineNet(net.spec, net.scale, convention="torch").eval()
    symmetric.load_state_dict(net.state_dict())
    with torch.no_grad():
        out = symmetric(torch.from_numpy(weights.images(1, 128)))["P3"]
    assert relative_error(out, GOLDEN["spinenet-49/128/relu/eval/P3"]) > 0.01


@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (5, 4), (5, 8)])
def test_single_pools_of_the_tpu_convention_pad_as_tensorflow_does(kernel: int, stride: int) -> None:
    pooled = SameMaxPool2d(kernel, stride)(torch.from_numpy(weights.normal("pool", 2, 4, 37, 40)))
    assert relative_error(pooled, GOLDEN[f"pool/{kernel}/{stride}"]) == 0
