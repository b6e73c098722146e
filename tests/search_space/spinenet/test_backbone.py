from __future__ import annotations

import copy
import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign

from search_space import (
    SCALES,
    NormConfig,
    Scale,
    ScaleError,
    SpineNetSpec,
    canonical_form,
    published_space,
    published_spec,
    spec_key,
)
from search_space.spinenet.backbone import Layers, Resample, SpineNet, _pool_by_width, fuse_conv_bn
from tests.search_space.random_specs import random_spec, respelled, with_dead_block
from tests.search_space.reference_backbone import pooled_by_width, reference_forward, resampled

SPINENET_49 = published_spec("spinenet-49")
TINY = Scale(width=0.125, alpha=0.5, endpoints=16)
FAMILIES = ["r35-sp18", "r23-sp30", "r14-sp39", "r0-sp53", "spinenet-49", "google-spinenet-mbconv"]


def randomised(net: SpineNet, seed: int = 0) -> SpineNet:
    """Weights, norms and running statistics away from their initial values."""
    generator = torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            for tensor, middle in ((module.weight, 1.0), (module.bias, 0.0), (module.running_mean, 0.0)):
                tensor.data.copy_(middle + 0.2 * torch.randn(tensor.shape, generator=generator))
            module.running_var.copy_(0.5 + torch.rand(module.running_var.shape, generator=generator))
        elif isinstance(module, nn.Conv2d):
            std = module.weight[0].numel() ** -0.5
            module.weight.data.copy_(std * torch.randn(module.weight.shape, generator=generator))
    return net


def assert_close(a: dict[str, Tensor], b: dict[str, Tensor], tolerance: float) -> None:
    assert list(a) == list(b)
    for level in a:
        assert a[level].shape == b[level].shape
        error = (a[level] - b[level]).detach().abs().max()
        assert float(error) <= tolerance * float(b[level].detach().abs().max()), level


@pytest.mark.parametrize("size", [(128, 128), (224, 224), (100, 333), (33, 65), (1, 1)])
def test_outputs_have_the_sizes_of_their_levels(size: tuple[int, int]) -> None:
    net = SpineNet(SPINENET_49, TINY).eval()
    with torch.no_grad():
        pyramid = net(torch.randn(2, 3, *size))
    for level in range(3, 8):
        height, width = -(-size[0] // 2**level), -(-size[1] // 2**level)
        assert tuple(pyramid[f"P{level}"].shape) == (2, 16, height, width)
    assert net.out_channels == 16
    assert net.levels == (3, 4, 5, 6, 7)


@pytest.mark.parametrize("convention", ["torch", "garden", "tpu"])
@pytest.mark.parametrize("size", [(128, 256), (224, 161)])
def test_the_quick_way_is_the_papers_way_in_evaluation(convention: str, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    specs = [SPINENET_49, *(random_spec(rng, max_blocks=10) for _ in range(8))]
    for number, spec in enumerate(specs):
        # Every other spec has the other activation, and at the other size each spec has the other one.
        scale = replace(TINY, activation=("relu", "swish")[(number + size[0] // 32) % 2])
        net = randomised(SpineNet(spec, scale, convention=convention)).double().eval()  # type: ignore[arg-type]
        images = torch.randn(1, 3, *size, dtype=torch.float64)
        with torch.no_grad():
            assert_close(net(images), reference_forward(net, images), 1e-10)


@pytest.mark.parametrize("size", [(160, 160), (224, 224), (288, 288), (320, 224)])
def test_the_tpu_convention_pools_as_the_widths_ask_for_it(size: tuple[int, int]) -> None:
    """224 px is the size of the released classifiers."""
    net = randomised(SpineNet(SPINENET_49, TINY, convention="tpu")).double().eval()
    images = torch.randn(1, 3, *size, dtype=torch.float64)
    with torch.no_grad():
        assert_close(net(images), reference_forward(net, images), 1e-10)


def test_the_pool_of_the_tpu_convention_by_hand() -> None:
    """14 pixels become 7 by the convolution, 3 by windows over 0..2, 1..5, 4..6, then the first two."""
    row = torch.tensor([5.0, 0, 1, 9, 2, 3, 4])
    for pool in (_pool_by_width, pooled_by_width):
        assert pool(row.expand(1, 1, 7, 7), 14, (2, 2))[0, 0].tolist() == [[5, 9], [5, 9]]


def training_effects(net: SpineNet, forward: str, images: Tensor) -> dict[str, Tensor]:
    net.train()
    pyramid = net(images) if forward == "quick" else reference_forward(net, images)
    loss = torch.stack(
        [(x * torch.linspace(-1, 2, x.numel(), dtype=x.dtype).view_as(x)).sum() for x in pyramid.values()]
    )
    loss.sum().backward()
    effects = {f"out {k}": v.detach() for k, v in pyramid.items()}
    effects |= {f"grad {k}": p.grad for k, p in net.named_parameters() if p.grad is not None}
    effects |= {f"buffer {k}": b.double() for k, b in net.named_buffers()}
    return effects


@pytest.mark.parametrize(("size", "momentum"), [((256, 256), 0.01), ((224, 320), 1.0)])
def test_the_quick_way_is_the_papers_way_in_training(size: tuple[int, int], momentum: float) -> None:
    """Outputs, gradients, and running statistics, in which the number of values shows."""
    for spec in (SPINENET_49, published_spec("r0-sp53")):
        net = randomised(SpineNet(spec, TINY, norm=NormConfig(momentum=momentum))).double()
        images = torch.randn(3, 3, *size, dtype=torch.float64)
        plain = training_effects(copy.deepcopy(net), "plain", images)
        quick = training_effects(net, "quick", images)
        assert quick.keys() == plain.keys()
        for name, value in plain.items():
            error = float((quick[name] - value).abs().max())
            assert error <= 1e-8 * max(1.0, float(value.abs().max())), name


def test_running_variance_would_show_a_missing_correction() -> None:
    resample = Resample(SPINENET_49.features[9], SPINENET_49.blocks[8], TINY, Layers())
    resample = resample.double().train()
    images = torch.randn(2, 32, 2, 2, dtype=torch.float64)
    plain = copy.deepcopy(resample)
    resampled(plain, images, (8, 8))
    uncorrected = copy.deepcopy(resample)
    uncorrected.expand(uncorrected.down(images))
    resample(images, (8, 8))
    right, ours, wrong = (m.expand.norm.get_buffer("running_var") for m in (plain, resample, uncorrected))
    torch.testing.assert_close(ours, right, rtol=1e-12, atol=0)
    assert float((wrong - right).abs().max()) > 1e-4


def test_pooling_before_relu_changes_nothing_in_the_gradient() -> None:
    x = torch.randint(-3, 4, (4, 8, 16, 16)).double()
    grads = []
    for order in (
        nn.Sequential(nn.ReLU(), nn.MaxPool2d(3, 2, 1)),
        nn.Sequential(nn.MaxPool2d(3, 2, 1), nn.ReLU()),
    ):
        leaf = x.clone().requires_grad_()
        out = order(leaf)
        (out * torch.arange(out.numel()).view_as(out)).sum().backward()
        assert leaf.grad is not None
        grads.append((out.detach(), leaf.grad))
    assert torch.equal(grads[0][0], grads[1][0])
    assert torch.equal(grads[0][1], grads[1][1])


def transplant(source: SpineNet, target: SpineNet) -> None:
    """Gives each block of the target the weights of the same block of the source, by canonical form."""
    a, b = canonical_form(source.spec), canonical_form(target.spec)
    assert a == b
    mapping = dict(zip(b.order, a.order, strict=True))
    first = len(source.spec.stem)
    weights = source.state_dict()
    moved = {}
    for name in target.state_dict():
        parts = name.split(".")
        if parts[0] == "blocks":
            index = int(parts[1])
            image = mapping[index]
            if parts[2] == "resample":
                parent = mapping[target.spec.blocks[index - first].parents[int(parts[3])]]
                parts[3] = str(source.spec.blocks[image - first].parents.index(parent))
            parts[1] = str(image)
        moved[name] = weights[".".join(parts)]
    target.load_state_dict(moved)


def test_equal_keys_mean_equal_outputs_with_equal_weights() -> None:
    rng = np.random.default_rng(1)
    compared = 0
    while compared < 40:
        spec = random_spec(rng, max_blocks=9)
        other = with_dead_block(respelled(spec, rng), rng)
        if other == spec or spec_key(spec) != spec_key(other):
            continue
        net = randomised(SpineNet(spec, TINY), seed=compared).eval()
        twin = SpineNet(other, TINY).eval()
        transplant(net, twin)
        images = torch.randn(1, 3, 128, 128)
        with torch.no_grad():
            assert_close(net(images), twin(images), 1e-4)
        compared += 1


def test_other_keys_mean_other_outputs_even_with_equal_weights() -> None:
    """One parent exchanged for another of the same shape: all weights fit, the function is another."""
    rng, space = np.random.default_rng(2), published_space("spinenet-49")
    compared = 0
    while compared < 25:
        spec = space.decode(space.sample(rng))
        other = with_an_exchanged_parent(spec, rng)
        if other is None or spec_key(other) == spec_key(spec):
            continue
        net, changed = SpineNet(spec, TINY).eval(), SpineNet(other, TINY).eval()
        if net.state_dict().keys() != changed.state_dict().keys():
            continue
        changed.load_state_dict(randomised(net).state_dict())
        images = torch.randn(1, 3, 64, 64)
        with torch.no_grad():
            a, b = net(images), changed(images)
        assert any(not torch.allclose(a[level], b[level], rtol=1e-3) for level in a)
        compared += 1


def with_an_exchanged_parent(spec: SpineNetSpec, rng: np.random.Generator) -> SpineNetSpec | None:
    first = len(spec.stem)
    i = int(rng.integers(len(spec.blocks)))
    block = spec.blocks[i]
    a, b = block.parents
    shape = (spec.features[a].level, spec.features[a].kind)
    options = [
        j
        for j in range(first + i)
        if j not in (a, b) and (spec.features[j].level, spec.features[j].kind) == shape
    ]
    if not options:
        return None
    blocks = list(spec.blocks)
    blocks[i] = replace(block, parents=(int(rng.choice(options)), b))
    return SpineNetSpec(spec.stem, tuple(blocks))


@pytest.mark.parametrize("name", FAMILIES)
def test_all_families_train_with_finite_gradients_everywhere(name: str) -> None:
    space, rng = published_space(name), np.random.default_rng(3)
    for _ in range(4):
        spec = space.decode(space.sample(rng))
        scale = replace(TINY, width=0.5 if "mbconv" in name else 0.125, stochastic_depth=0.2)
        net = SpineNet(spec, scale).train()
        sum(x.square().mean() for x in net(torch.randn(4, 3, 128, 128)).values()).backward()
        for path, parameter in net.named_parameters():
            assert parameter.grad is not None, path
            assert torch.isfinite(parameter.grad).all(), path


def test_dead_blocks_are_not_built() -> None:
    spec = with_dead_block(SPINENET_49, np.random.default_rng(0))
    assert SpineNet(spec, TINY).state_dict().keys() == SpineNet(SPINENET_49, TINY).state_dict().keys()


def test_initial_weights_are_those_of_the_released_code() -> None:
    torch.manual_seed(0)
    net = SpineNet(SPINENET_49, SCALES["49"])
    for module in net.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 5000:
            fan_in = module.weight[0].numel()
            assert float(module.weight.detach().std()) == pytest.approx(fan_in**-0.5, rel=0.06)
            assert float(module.weight.detach().abs().max()) <= 2 * fan_in**-0.5 / 0.8796 + 1e-6
        elif isinstance(module, nn.BatchNorm2d):
            assert torch.all(module.weight == 1)
            assert torch.all(module.bias == 0)


def test_folded_norms_give_the_same_outputs() -> None:
    for activation in ("relu", "swish"):
        net = randomised(SpineNet(SPINENET_49, replace(TINY, activation=activation))).eval()
        fast = fuse_conv_bn(net)
        images = torch.randn(1, 3, 224, 160)
        with torch.no_grad():
            assert_close(fast(images), net(images), 1e-4)
        assert not any(isinstance(m, nn.BatchNorm2d) for m in fast.modules())
        assert any(isinstance(m, nn.BatchNorm2d) for m in net.modules())


def test_stochastic_depth_rises_to_its_rate_and_rests_in_evaluation() -> None:
    net = SpineNet(SPINENET_49, replace(TINY, stochastic_depth=0.3))
    rates = [net.blocks[str(i)].body[0].drop.p for i in range(2, 17)]  # type: ignore[union-attr,index]
    assert rates == pytest.approx([0.3 * (i + 1) / 15 for i in range(15)])
    images = torch.randn(2, 3, 128, 128)
    net.eval()
    assert_close(net(images), net(images), 0)
    net.train()
    a, b = net(images), net(images)
    assert any(not torch.equal(a[level], b[level]) for level in a)


def test_channels_last_runs_through_and_agrees() -> None:
    net = randomised(SpineNet(SPINENET_49, TINY)).eval()
    images = torch.randn(2, 3, 128, 128)
    with torch.no_grad():
        expected = net(images)
        net.to(memory_format=torch.channels_last)
        found = net(images.to(memory_format=torch.channels_last))
    assert_close(found, expected, 1e-4)
    assert all(x.is_contiguous(memory_format=torch.channels_last) for k, x in found.items() if k != "P7")


def test_autocast_runs_in_training_and_evaluation() -> None:
    net, images = SpineNet(SPINENET_49, TINY), torch.randn(4, 3, 256, 256)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pyramid = net.train()(images)
        assert pyramid["P3"].dtype == torch.bfloat16
        sum(x.float().mean() for x in pyramid.values()).backward()
        with torch.no_grad():
            assert net.eval()(images)["P7"].dtype == torch.bfloat16
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


@pytest.mark.parametrize(("convention", "size", "any_batch"), [("torch", 224, False), ("garden", 256, True)])
def test_exported_programs_agree(convention: str, size: int, any_batch: bool) -> None:
    net = randomised(SpineNet(SPINENET_49, TINY, convention=convention)).eval()  # type: ignore[arg-type]
    batch = torch.export.Dim("batch", min=1, max=64) if any_batch else torch.export.Dim.STATIC
    example = torch.randn(2, 3, size, size)
    module = torch.export.export(net, (example,), dynamic_shapes=({0: batch},)).module()
    for images in (example, torch.randn(5, 3, size, size)) if any_batch else (example,):
        with torch.no_grad():
            assert_close(dict(module(images)), dict(net(images)), 1e-4)


def test_norms_can_be_synchronized() -> None:
    net = nn.SyncBatchNorm.convert_sync_batchnorm(SpineNet(SPINENET_49, TINY))
    assert not any(isinstance(m, nn.BatchNorm2d) for m in net.modules())
    net.train()
    images = torch.randn(2, 3, 256, 256)
    plain = SpineNet(SPINENET_49, TINY).train()
    plain.load_state_dict(net.state_dict())
    assert_close(net(images), plain(images), 1e-5)
    for (name, a), (_, b) in zip(net.named_buffers(), plain.named_buffers(), strict=True):
        torch.testing.assert_close(a, b, msg=name)


def test_frozen_norms_in_a_training_network_keep_their_statistics() -> None:
    net = randomised(SpineNet(SPINENET_49, TINY)).train()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    before = {k: b.clone() for k, b in net.named_buffers()}
    net(torch.randn(1, 3, 224, 224))
    assert all(torch.equal(b, before[k]) for k, b in net.named_buffers())


def test_inference_lets_go_of_features_that_nothing_needs_any_more() -> None:
    net = SpineNet(SPINENET_49, TINY).eval()
    alive: list[weakref.ref[Tensor]] = []
    peak = 0

    def watch(_module: nn.Module, _inputs: object, out: Tensor) -> None:
        nonlocal peak
        alive.append(weakref.ref(out))
        gc.collect()
        peak = max(peak, sum(r() is not None for r in alive))

    for block in net.blocks.values():
        block.register_forward_hook(watch)
    with torch.inference_mode():
        net(torch.randn(1, 3, 128, 128))
    assert peak <= 7


def test_torchvision_detectors_take_it() -> None:
    backbone = SpineNet(SPINENET_49, TINY)
    sizes = tuple((2 ** (level + 2),) for level in range(3, 8))
    anchors = AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * 5)
    images = [torch.rand(3, 100, 120)]
    retinanet = RetinaNet(backbone, num_classes=3, anchor_generator=anchors, min_size=128, max_size=160)
    targets = [{"boxes": torch.tensor([[10.0, 10.0, 60.0, 70.0]]), "labels": torch.tensor([1])}]
    losses = retinanet.train()(images * 2, targets * 2)
    assert torch.isfinite(torch.stack(list(losses.values()))).all()
    pool = MultiScaleRoIAlign(["P3", "P4", "P5", "P6", "P7"], 7, 2)
    faster = FasterRCNN(
        SpineNet(SPINENET_49, TINY),
        num_classes=3,
        rpn_anchor_generator=anchors,
        box_roi_pool=pool,
        min_size=128,
        max_size=160,
    )
    assert set(faster.eval()(images)[0]) == {"boxes", "labels", "scores"}


def test_other_output_levels_are_delivered_in_order() -> None:
    blocks = (*SPINENET_49.blocks, replace(SPINENET_49.blocks[0], parents=(2, 13), output=True))
    net = SpineNet(SpineNetSpec(SPINENET_49.stem, blocks), TINY).eval()
    with torch.no_grad():
        assert list(net(torch.randn(1, 3, 128, 128))) == ["P2", "P3", "P4", "P5", "P6", "P7"]


def test_a_single_value_per_channel_is_refused_in_training_by_torch() -> None:
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        SpineNet(SPINENET_49, TINY).train()(torch.randn(1, 3, 128, 128))


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="convention must be"):
        SpineNet(SPINENET_49, TINY, convention="caffe")  # type: ignore[arg-type]
    with pytest.raises(ScaleError, match="without filters"):
        SpineNet(SPINENET_49, Scale(width=0.01))
