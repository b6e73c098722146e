"""SpineNet once more, in the order in which the paper tells it: the slow reference for the tests.

Takes the modules of a backbone and runs them plainly: resample fully, upsampling before the last 1x1
convolution; activation before pooling; every block of the spec in build order, one after the other. The
pools of the "tpu" convention are taken pixel by pixel.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from search_space.spinenet.backbone import ConvNorm, PermutedBlock, Resample, SpineNet


def reference_forward(net: SpineNet, images: Tensor) -> OrderedDict[str, Tensor]:
    spec = net.spec
    features: dict[int, Tensor | None] = {}
    x = conv_norm(net.stem.conv, images)
    for i in range(len(spec.stem)):
        features[i] = x = net.stem.blocks[i](x) if i < len(net.stem.blocks) else None  # type: ignore[assignment]
    out_degree = [0] * len(spec.features)
    pyramid = {}
    for index, block in enumerate(spec.blocks, start=len(spec.stem)):
        for parent in block.parents:
            out_degree[parent] += 1
        joined = []
        if block.output:
            for j in range(index):
                same_shape = (spec.features[j].level, spec.features[j].kind) == (block.level, block.kind)
                if out_degree[j] == 0 and same_shape:
                    out_degree[j] += 1
                    joined.append(j)
        if str(index) not in net.blocks:
            features[index] = None
            continue
        module = net.blocks[str(index)]
        assert isinstance(module, PermutedBlock)
        size = (-(-images.shape[-2] // 2**block.level), -(-images.shape[-1] // 2**block.level))
        total: Tensor | int = 0
        for resample, parent in zip(module.resample, block.parents, strict=True):
            assert isinstance(resample, Resample)
            feature = features[parent]
            assert feature is not None
            total = total + resampled(resample, feature, size)
        for j in joined:
            joined_feature = features[j]
            assert joined_feature is not None
            total = total + joined_feature
        assert isinstance(total, Tensor)
        features[index] = x = module.body(F.relu(total) if is_relu(net) else F.silu(total))
        if block.output:
            pyramid[f"P{block.level}"] = net.endpoints[f"P{block.level}"](x)
    return OrderedDict(sorted(pyramid.items()))


def resampled(module: Resample, x: Tensor, size: tuple[int, int]) -> Tensor:
    width = x.shape[-1]
    for step in module.down:
        assert isinstance(step, ConvNorm)
        x = conv_norm(step, x)
    if module.pools_by_width:
        x = pooled_by_width(x, width, size)
    if module.upsamples:
        x = F.interpolate(x, size=size, mode="nearest")
    return conv_norm(module.expand, x)


def pooled_by_width(x: Tensor, width: int, size: tuple[int, int]) -> Tensor:
    """The rule of tensorflow/tpu, given the parent's width, pixel by pixel."""
    target = size[1]
    if width // target >= 3:
        whole = width / target == width // target
        x = max_pooled(x, kernel=3 if width / target <= 4 else 5, stride=width // target // 2 if whole else 2)
    rows, columns = (
        [place * have // want for place in range(want)] for have, want in zip(x.shape[-2:], size, strict=True)
    )
    return x[..., rows, :][..., columns]


def max_pooled(x: Tensor, kernel: int, stride: int) -> Tensor:
    """Maxima of windows inside the feature. The windows stick out evenly, by one pixel more at the end."""
    rows, columns = (windows(side, kernel, stride) for side in x.shape[-2:])
    return torch.stack(
        [torch.stack([x[..., row, column].amax((-2, -1)) for column in columns], -1) for row in rows], -2
    )


def windows(side: int, kernel: int, stride: int) -> list[slice]:
    count = -(-side // stride)
    before = max((count - 1) * stride + kernel - side, 0) // 2
    starts = [place * stride - before for place in range(count)]
    return [slice(max(start, 0), start + kernel) for start in starts]


def conv_norm(module: ConvNorm, x: Tensor) -> Tensor:
    x = module.norm(module.conv(x))
    if not isinstance(module.activation, nn.Sequential):
        return module.activation(x)  # type: ignore[no-any-return]
    activations = [m for m in module.activation if isinstance(m, (nn.ReLU, nn.SiLU))]
    pools = [m for m in module.activation if not isinstance(m, (nn.ReLU, nn.SiLU))]
    for step in activations + pools:
        x = step(x)
    return x


def is_relu(net: SpineNet) -> bool:
    return net.scale.activation == "relu"
