"""Anchors, targets, losses and detections against slow references that share no code with them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from proxy_tasks.anchors import AnchorSpec, anchor_boxes, decode, encode, match
from proxy_tasks.retinanet import PORTS, LossSpec, RetinaNet, detect, retinanet_loss
from search_space import SCALES, Scale, published_spec, spec_cost
from search_space.backbone import SpineNet

CPU = torch.device("cpu")
SIZES = {3: (4, 5), 4: (2, 3)}
TINY = Scale(0.125, 0.5, 16, head_filters=16, head_convs=2)


def test_anchors_are_three_octaves_times_three_ratios_at_every_place() -> None:
    anchors = anchor_boxes(AnchorSpec(3.0), SIZES, CPU)
    assert anchors.shape == (9 * (20 + 6), 4)
    sizes = anchors[:, 2:] - anchors[:, :2]
    areas = sizes.prod(1).sqrt()
    expected = [24 * 2 ** (i / 3) for i in range(3)]
    torch.testing.assert_close(areas[:9:3], torch.tensor(expected))
    torch.testing.assert_close((sizes[:, 1] / sizes[:, 0])[:3], torch.tensor([1.0, 2.0, 0.5]))
    centres = (anchors[:, :2] + anchors[:, 2:]) / 2
    assert centres[0].tolist() == [4, 4]
    assert centres[9].tolist() == [12, 4]
    assert centres[9 * 5].tolist() == [4, 12]
    assert centres[9 * 20].tolist() == [8, 8]
    torch.testing.assert_close(areas[9 * 20], torch.tensor(48.0))


def slow_iou(a: list[float], b: list[float]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return width * height / (areas - width * height)


def random_boxes(rng: np.random.Generator, count: int, side: float) -> Tensor:
    corners = rng.uniform(0, side * 0.8, (count, 2))
    return torch.tensor(
        np.hstack([corners, corners + rng.uniform(2, side * 0.6, (count, 2))]), dtype=torch.float32
    )


def test_matching_is_that_of_a_slow_reference() -> None:
    rng = np.random.default_rng(0)
    anchors = anchor_boxes(AnchorSpec(1.5), SIZES, CPU)
    for _ in range(30):
        boxes = random_boxes(rng, int(rng.integers(0, 6)), 40)
        table = np.array([[slow_iou(a, b) for b in boxes.tolist()] for a in anchors.tolist()]).reshape(
            len(anchors), -1
        )
        expected = [-1] * len(anchors)
        for a in range(len(anchors)):
            if len(boxes) and table[a].max() >= 0.5:
                expected[a] = int(table[a].argmax())
        for b in range(len(boxes)):
            if table[:, b].max() > 0:
                expected[int(table[:, b].argmax())] = b
        assert match(anchors, boxes).tolist() == expected


def test_offsets_and_boxes_are_inverse() -> None:
    rng = np.random.default_rng(1)
    anchors, boxes = random_boxes(rng, 50, 100), random_boxes(rng, 50, 100)
    torch.testing.assert_close(decode(encode(boxes, anchors), anchors), boxes, rtol=1e-4, atol=1e-3)
    assert bool(torch.isfinite(decode(torch.full((50, 4), 1e4), anchors)).all())


def slow_loss(
    logits: Tensor,
    offsets: Tensor,
    anchors: Tensor,
    boxes: list[Tensor],
    labels: list[Tensor],
    spec: LossSpec,
) -> tuple[float, float]:
    class_sum = box_sum = 0.0
    positives = 0
    for n in range(len(logits)):
        matched = match(anchors, boxes[n]).tolist()
        for a, m in enumerate(matched):
            for c in range(logits.shape[2]):
                p = 1 / (1 + math.exp(-float(logits[n, a, c])))
                if m >= 0 and int(labels[n][m]) == c:
                    class_sum += -spec.alpha * (1 - p) ** spec.gamma * math.log(p)
                else:
                    class_sum += -(1 - spec.alpha) * p**spec.gamma * math.log(1 - p)
            if m < 0:
                continue
            positives += 1
            ax0, ay0, ax1, ay1 = anchors[a].tolist()
            bx0, by0, bx1, by1 = boxes[n][m].tolist()
            wanted = [
                ((bx0 + bx1) / 2 - (ax0 + ax1) / 2) / (ax1 - ax0),
                ((by0 + by1) / 2 - (ay0 + ay1) / 2) / (ay1 - ay0),
                math.log((bx1 - bx0) / (ax1 - ax0)),
                math.log((by1 - by0) / (ay1 - ay0)),
            ]
            for o, w in zip(offsets[n, a].tolist(), wanted, strict=True):
                error = abs(o - w)
                huber = 0.5 * error**2 if error <= spec.delta else spec.delta * (error - spec.delta / 2)
                box_sum += huber / spec.delta if spec.smooth_l1 else huber
    return class_sum / (positives + 1), spec.box_weight * box_sum / (4 * (positives + 1))


@pytest.mark.parametrize("spec", [LossSpec(), PORTS])
def test_losses_are_those_of_a_slow_reference(spec: LossSpec) -> None:
    rng = np.random.default_rng(2)
    anchors = anchor_boxes(AnchorSpec(1.5), SIZES, CPU)
    boxes = [random_boxes(rng, 3, 40), random_boxes(rng, 0, 40), random_boxes(rng, 1, 40)]
    labels = [torch.tensor([0, 2, 1]), torch.zeros(0, dtype=torch.int64), torch.tensor([2])]
    logits, offsets = torch.randn(3, len(anchors), 4), torch.randn(3, len(anchors), 4)
    found = retinanet_loss(logits, offsets, anchors, boxes, labels, spec)
    expected = slow_loss(logits, offsets, anchors, boxes, labels, spec)
    assert [float(x) for x in found] == pytest.approx(expected, rel=1e-4)


def test_a_batch_without_objects_has_a_finite_loss_and_gradient() -> None:
    net = RetinaNet(SpineNet(published_spec("spinenet-49"), TINY), 3, 16, 2)
    logits, offsets, anchors = net(torch.randn(2, 3, 128, 128))
    empty = [torch.zeros(0, 4)] * 2, [torch.zeros(0, dtype=torch.int64)] * 2
    class_loss, box_loss = retinanet_loss(logits, offsets, anchors, *empty)
    (class_loss + box_loss).backward()
    assert float(box_loss.detach()) == 0
    assert all(p.grad is None or bool(torch.isfinite(p.grad).all()) for p in net.parameters())


def test_an_untrained_network_predicts_the_prior_everywhere() -> None:
    net = RetinaNet(SpineNet(published_spec("spinenet-49"), TINY), 5, 16, 2).eval()
    with torch.no_grad():
        logits, offsets, anchors = net(torch.randn(1, 3, 128, 96))
    assert logits.shape == (1, len(anchors), 5)
    assert offsets.shape == (1, len(anchors), 4)
    torch.testing.assert_close(logits.sigmoid(), torch.full_like(logits, 0.01), atol=1e-4, rtol=0)


def test_every_parameter_gets_a_finite_gradient() -> None:
    rng = np.random.default_rng(3)
    net = RetinaNet(SpineNet(published_spec("spinenet-49"), TINY), 3, 16, 2).train()
    nn.init.normal_(net.class_tower.predict.weight, std=0.01)  # type: ignore[arg-type]
    logits, offsets, anchors = net(torch.randn(4, 3, 256, 256))
    boxes = [torch.cat([random_boxes(rng, 3, 250), torch.tensor([[0.0, 0, 250, 250]])]) for _ in range(4)]
    labels = [torch.tensor([0, 1, 2, 0])] * 4
    sum(retinanet_loss(logits, offsets, anchors, boxes, labels)).backward()  # type: ignore[union-attr]
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name


@pytest.mark.parametrize(("scale", "classes"), [("49S", 80), ("49", 91), ("proxy", 3), ("190", 80)])
def test_parameters_are_those_of_the_cost_model(scale: str, classes: int) -> None:
    numbers = SCALES[scale]
    with torch.device("meta"):
        backbone = SpineNet(published_spec("spinenet-49"), numbers)
        net = RetinaNet(backbone, classes, numbers.head_filters, numbers.head_convs)
    expected = spec_cost(published_spec("spinenet-49"), numbers, 640, "retinanet", classes).params
    assert sum(p.numel() for p in net.parameters()) == expected


def test_detections_of_certain_predictions_are_the_objects() -> None:
    rng = np.random.default_rng(4)
    anchors = anchor_boxes(AnchorSpec(1.5), {3: (16, 16), 4: (8, 8)}, CPU)
    boxes = torch.tensor([[10.0, 12, 40, 50], [60, 60, 100, 90], [12, 14, 41, 52]])
    labels = torch.tensor([1, 0, 2])
    logits = torch.full((1, len(anchors), 3), -9.0)
    offsets = torch.tensor(rng.normal(size=(1, len(anchors), 4)), dtype=torch.float32)
    matched = match(anchors, boxes)
    found = (matched >= 0).nonzero()[:, 0]
    logits[0, found, labels[matched[found]]] = 5.0
    offsets[0, found] = encode(boxes[matched[found]], anchors[found])
    (result,) = detect(logits, offsets, anchors, (128, 128))
    order = result.labels.argsort()
    assert result.labels[order].tolist() == [0, 1, 2]
    torch.testing.assert_close(result.boxes[order], boxes[[1, 0, 2]], rtol=1e-3, atol=1e-2)


def test_detections_are_clipped_limited_and_sorted() -> None:
    anchors = anchor_boxes(AnchorSpec(1.0), {3: (16, 16)}, CPU)
    logits, offsets = torch.randn(2, len(anchors), 2), torch.randn(2, len(anchors), 4)
    for result in detect(logits, offsets, anchors, (100, 128), detections=20):
        assert len(result.scores) <= 20
        assert bool((result.scores > 0.05).all())
        assert result.scores.tolist() == sorted(result.scores.tolist(), reverse=True)
        assert bool((result.boxes >= 0).all())
        assert float(result.boxes[:, 3].max()) <= 100
