"""Losses and matching of whole batches against plain ones of single images, and what they ask of a device."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

from proxy_tasks.data.targets import Target, pad_targets
from proxy_tasks.models import matching
from proxy_tasks.models.anchors import Anchors, make_anchors
from proxy_tasks.models.fcos import assign, fcos_losses, make_places
from proxy_tasks.models.focal_loss import focal_loss
from proxy_tasks.models.matching import match
from proxy_tasks.models.retinanet import retinanet_losses
from search_space import FCOSHead, RetinaNetLossConfig
from search_space.heads import AnchorConfig
from tests.proxy_tasks.reference import (
    assign_image,
    fcos_losses_of_images,
    match_image,
    retinanet_losses_of_images,
)
from tests.proxy_tasks.small_networks import small_network
from tests.proxy_tasks.watching import Watch

CPU = torch.device("cpu")
SIZES = {3: (8, 8), 4: (4, 4), 5: (2, 2)}
SIDE = 64
CLASSES = 3

counts = st.lists(st.sampled_from([0, 0, 1, 2, 7, 8, 9, 300]), min_size=1, max_size=4)
grids = st.sampled_from([0, 4, 16])
seeds = st.integers(0, 2**32 - 1)


def made_targets(seed: int, counts: list[int], grid: int) -> list[Target]:
    """Boxes down to a pixel; on a grid, many are equal or overlap anchors equally."""
    rng = np.random.default_rng(seed)
    targets = []
    for count in counts:
        corners = rng.random((count, 2, 2)) * (SIDE - 1)
        if grid:
            corners = np.round(corners / grid) * grid
        corners.sort(1)
        corners[:, 1] = np.maximum(corners[:, 1], corners[:, 0] + 1)
        targets.append(
            {
                "boxes": torch.tensor(corners.reshape(-1, 4), dtype=torch.float32),
                "labels": torch.tensor(rng.integers(0, CLASSES, count)),
            }
        )
    return targets


def made_anchors() -> Anchors:
    return make_anchors(AnchorConfig(base=2.0), SIZES, CPU)


@settings(max_examples=150, deadline=None)
@given(seeds, counts, grids)
def test_matching_of_a_batch_is_that_of_its_images(seed: int, counts: list[int], grid: int) -> None:
    targets, anchors = made_targets(seed, counts, grid), made_anchors()
    found = match(anchors, pad_targets(targets))
    for ours, target in zip(found, targets, strict=True):
        assert torch.equal(ours, match_image(anchors.boxes, target["boxes"]))


def test_matching_in_parts_is_that_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    targets, anchors = pad_targets(made_targets(1, [3, 9, 0, 40], 4)), made_anchors()
    whole = match(anchors, targets)
    monkeypatch.setitem(matching.PAIRS, "cpu", 1)
    assert torch.equal(match(anchors, targets), whole)


@settings(max_examples=100, deadline=None)
@given(seeds, counts, grids)
def test_assignment_of_a_batch_is_that_of_its_images(seed: int, counts: list[int], grid: int) -> None:
    targets, places = made_targets(seed, counts, grid), make_places(FCOSHead(reach=2.0), SIZES, CPU)
    found = assign(places, pad_targets(targets), 1.5)
    for ours, target in zip(found, targets, strict=True):
        assert torch.equal(ours, assign_image(places, target["boxes"], 1.5))


@settings(max_examples=60, deadline=None)
@given(seeds, st.sampled_from([0.0, 0.5, 1.5, 2.0]), st.floats(0.05, 0.95), st.floats(0.1, 30))
def test_focal_loss_and_its_gradient_are_torchvisions(
    seed: int, gamma: float, alpha: float, spread: float
) -> None:
    rng = np.random.default_rng(seed)
    logits = torch.tensor(rng.normal(-2, spread, (3, 40, CLASSES)), requires_grad=True)
    labels = torch.tensor(rng.integers(-3, CLASSES, (3, 40)).clip(-1))
    targets = torch.nn.functional.one_hot(labels + 1, CLASSES + 1)[..., 1:].double()
    expected = sigmoid_focal_loss(logits, targets, alpha, gamma, reduction="sum")
    found = focal_loss(logits, labels, alpha, gamma)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    (slope,) = torch.autograd.grad(expected, logits)
    (ours,) = torch.autograd.grad(3 * found, logits)
    finite = slope.isfinite()  # Where p is 0 and gamma below 1, torchvision's is not.
    torch.testing.assert_close(ours[finite], 3 * slope[finite], rtol=1e-6, atol=1e-8)
    assert bool(ours.isfinite().all())


def test_the_gradient_of_easy_background_survives_float16_where_the_loss_is_scaled() -> None:
    logits = torch.tensor([[-7.0], [-8.0], [-9.0]], dtype=torch.float16, requires_grad=True)
    wide = logits.detach().float().requires_grad_()
    labels, scale = torch.full((3,), -1), 2.0**16
    (focal_loss(logits, labels, 0.25, 2.0) * scale).backward()
    (focal_loss(wide, labels, 0.25, 2.0) * scale).backward()
    assert logits.grad is not None
    assert wide.grad is not None
    assert logits.grad.dtype == torch.float16
    torch.testing.assert_close(logits.grad, wide.grad.half())


def test_focal_loss_of_bfloat16_is_summed_in_float32() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(4, 3000, CLASSES) - 4, torch.randint(-40, CLASSES, (4, 3000)).clamp(min=-1)
    coarse = logits.bfloat16().requires_grad_()
    found = focal_loss(coarse, labels, 0.25, 1.5)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, focal_loss(logits, labels, 0.25, 1.5), rtol=3e-3, atol=0)
    (slope,) = torch.autograd.grad(found, coarse)
    assert slope.dtype == torch.bfloat16


@settings(max_examples=60, deadline=None)
@given(seeds, counts, grids, st.booleans())
def test_retinanet_losses_and_gradients_are_those_of_plain_ones(
    seed: int, counts: list[int], grid: int, smooth: bool
) -> None:
    targets, anchors = made_targets(seed, counts, grid), made_anchors()
    config = RetinaNetLossConfig(smooth_l1=smooth)
    generator = torch.Generator().manual_seed(seed % 2**31)
    shape = (len(counts), len(anchors.boxes))
    logits = torch.randn(*shape, CLASSES, generator=generator).sub_(2).requires_grad_()
    offsets = torch.randn(*shape, 4, generator=generator).requires_grad_()
    found = retinanet_losses(logits, offsets, anchors, targets, config)
    expected = retinanet_losses_of_images(logits, offsets, anchors.boxes, targets, config)
    for name, wanted in zip(("classes", "boxes"), expected, strict=True):
        torch.testing.assert_close(found[name], wanted, rtol=1e-5, atol=1e-6)
    _compare_gradients(list(found.values()), expected, (logits, offsets))


@settings(max_examples=60, deadline=None)
@given(seeds, counts, grids)
def test_fcos_losses_and_gradients_are_those_of_plain_ones(seed: int, counts: list[int], grid: int) -> None:
    head = FCOSHead(reach=2.0)
    targets, places = made_targets(seed, counts, grid), make_places(head, SIZES, CPU)
    generator = torch.Generator().manual_seed(seed % 2**31)
    shape = (len(counts), len(places.centers))
    logits = torch.randn(*shape, CLASSES, generator=generator).sub_(2).requires_grad_()
    distances = torch.rand(*shape, 4, generator=generator).mul_(20).add_(0.1).requires_grad_()
    centerness = torch.randn(*shape, generator=generator).requires_grad_()
    found = fcos_losses(logits, distances, centerness, places, targets, head)
    expected = fcos_losses_of_images(logits, distances, centerness, places, targets, head)
    for name, wanted in zip(("classes", "boxes", "centerness"), expected, strict=True):
        torch.testing.assert_close(found[name], wanted, rtol=1e-5, atol=1e-6)
    _compare_gradients(list(found.values()), expected, (logits, distances, centerness))


def _compare_gradients(found: Any, expected: Any, inputs: tuple[Tensor, ...]) -> None:
    ours = torch.autograd.grad(sum(found), inputs)
    theirs = torch.autograd.grad(sum(expected), inputs)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("head", ["retinanet", "fcos", "classifier"])
def test_no_shape_of_a_step_depends_on_objects_and_the_host_reads_nothing(head: str) -> None:
    net = small_network(head).train()
    images = torch.randn(4, 3, SIDE, SIDE)

    def step(counts: list[int]) -> Watch:
        """A step whose batch has so many objects, in tensors that have room for eight."""
        padded = pad_targets([*made_targets(1, counts, 0), *made_targets(2, [8], 0)])
        watch = Watch()
        with watch:
            losses = net(images, padded)
            torch.stack(list(losses.values())).sum().backward()
        return watch

    step([1, 1, 1])  # Anchors are made in the first one.
    first = step([0, 0, 0])
    assert first.reads == []
    assert len(first.shapes) > 100
    for counts in ([8, 0, 1], [1, 2, 3], [8, 8, 8]):
        again = step(counts)
        assert again.shapes == first.shapes
        assert again.reads == []
