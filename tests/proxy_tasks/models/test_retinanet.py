"""Anchors, targets, losses and detections against slow references that share no code with them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from proxy_tasks.data.targets import Targets, pad_targets
from proxy_tasks.models.anchors import decode, encode, make_anchors
from proxy_tasks.models.matching import match
from proxy_tasks.models.postprocess import LEAST_SCORE, suppress
from proxy_tasks.models.retinanet import RetinaNet, best_boxes, retinanet_losses
from search_space import SCALES, published_spec, spec_cost
from search_space.heads import AnchorConfig, RetinaNetLossConfig
from tests.proxy_tasks.reference import match_image
from tests.proxy_tasks.small_networks import small_model, small_network

CPU = torch.device("cpu")
SIZES = {3: (4, 5), 4: (2, 3)}


def test_anchors_are_three_octaves_times_three_ratios_at_every_place() -> None:
    anchors = make_anchors(AnchorConfig(base=3.0), SIZES, CPU).boxes
    assert anchors.shape == (9 * (20 + 6), 4)
    sizes = anchors[:, 2:] - anchors[:, :2]
    areas = sizes.prod(1).sqrt()
    expected = [24 * 2 ** (i / 3) for i in range(3)]
    torch.testing.assert_close(areas[:9:3], torch.tensor(expected))
    torch.testing.assert_close((sizes[:, 1] / sizes[:, 0])[:3], torch.tensor([1.0, 2.0, 0.5]))
    centers = (anchors[:, :2] + anchors[:, 2:]) / 2
    assert centers[0].tolist() == [4, 4]
    assert centers[9].tolist() == [12, 4]
    assert centers[9 * 5].tolist() == [4, 12]
    assert centers[9 * 20].tolist() == [8, 8]
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


def objects(boxes: list[Tensor]) -> Targets:
    return pad_targets([{"boxes": b, "labels": torch.zeros(len(b), dtype=torch.int64)} for b in boxes])


def test_matching_is_that_of_a_slow_reference() -> None:
    rng = np.random.default_rng(0)
    made = make_anchors(AnchorConfig(base=1.5), SIZES, CPU)
    anchors = made.boxes
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
        assert match(made, objects([boxes]))[0].tolist() == expected


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
    config: RetinaNetLossConfig,
) -> tuple[float, float]:
    class_sum = box_sum = 0.0
    positives = 0
    for n in range(len(logits)):
        matched = match_image(anchors, boxes[n]).tolist()
        for a, m in enumerate(matched):
            for c in range(logits.shape[2]):
                p = 1 / (1 + math.exp(-float(logits[n, a, c])))
                if m >= 0 and int(labels[n][m]) == c:
                    class_sum += -config.alpha * (1 - p) ** config.gamma * math.log(p)
                else:
                    class_sum += -(1 - config.alpha) * p**config.gamma * math.log(1 - p)
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
                huber = 0.5 * error**2 if error <= config.delta else config.delta * (error - config.delta / 2)
                box_sum += huber / config.delta if config.smooth_l1 else huber
    return class_sum / (positives + 1), config.box_weight * box_sum / (4 * (positives + 1))


@pytest.mark.parametrize(
    "config",
    [RetinaNetLossConfig(), RetinaNetLossConfig(gamma=2.0, delta=0.11, box_weight=1.0, smooth_l1=True)],
)
def test_losses_are_those_of_a_slow_reference(config: RetinaNetLossConfig) -> None:
    rng = np.random.default_rng(2)
    anchors = make_anchors(AnchorConfig(base=1.5), SIZES, CPU)
    boxes = [random_boxes(rng, 3, 40), random_boxes(rng, 0, 40), random_boxes(rng, 1, 40)]
    labels = [torch.tensor([0, 2, 1]), torch.zeros(0, dtype=torch.int64), torch.tensor([2])]
    logits, offsets = torch.randn(3, len(anchors.boxes), 4), torch.randn(3, len(anchors.boxes), 4)
    targets = [{"boxes": b, "labels": k} for b, k in zip(boxes, labels, strict=True)]
    losses = retinanet_losses(logits, offsets, anchors, targets, config)
    expected = slow_loss(logits, offsets, anchors.boxes, boxes, labels, config)
    assert [float(losses["classes"]), float(losses["boxes"])] == pytest.approx(expected, rel=1e-4)


def test_a_batch_without_objects_has_a_finite_loss_and_gradient() -> None:
    net = small_network("retinanet")
    empty = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    losses = net(torch.randn(2, 3, 128, 128), [empty, empty])
    assert losses.keys() == {"classes", "boxes"}
    (losses["classes"] + losses["boxes"]).backward()
    assert float(losses["boxes"].detach()) == 0
    assert all(p.grad is None or bool(torch.isfinite(p.grad).all()) for p in net.parameters())


def test_an_untrained_network_predicts_the_prior_everywhere() -> None:
    net = small_network("retinanet", classes=5).eval()
    assert isinstance(net, RetinaNet)
    with torch.no_grad():
        logits, offsets, anchors = net.outputs(torch.randn(1, 3, 128, 96)).values()
    assert logits.shape == (1, len(anchors), 5)
    assert offsets.shape == (1, len(anchors), 4)
    torch.testing.assert_close(logits.sigmoid(), torch.full_like(logits, 0.01), atol=1e-4, rtol=0)


def test_every_parameter_gets_a_finite_gradient() -> None:
    rng = np.random.default_rng(3)
    net = small_network("retinanet").train()
    assert isinstance(net, RetinaNet)
    nn.init.normal_(net.class_tower.predict.weight, std=0.01)  # type: ignore[arg-type]
    targets = [
        {
            "boxes": torch.cat([random_boxes(rng, 3, 250), torch.tensor([[0.0, 0, 250, 250]])]),
            "labels": torch.tensor([0, 1, 2, 0]),
        }
        for _ in range(4)
    ]
    losses = net(torch.randn(4, 3, 256, 256), targets)
    torch.stack(list(losses.values())).sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name


@pytest.mark.parametrize(("scale", "classes"), [("49S", 80), ("49", 91), ("proxy", 3), ("190", 80)])
def test_parameters_are_those_of_the_cost_model(scale: str, classes: int) -> None:
    spec = published_spec("spinenet-49")
    with torch.device("meta"):
        net = small_network("retinanet", classes, spec=spec, scale=SCALES[scale])
    expected = spec_cost(spec, SCALES[scale], 640, "retinanet", classes).params
    assert sum(p.numel() for p in net.parameters()) == expected


def test_detections_of_certain_predictions_are_the_objects() -> None:
    rng = np.random.default_rng(4)
    made = make_anchors(AnchorConfig(base=1.5), {3: (16, 16), 4: (8, 8)}, CPU)
    anchors = made.boxes
    boxes = torch.tensor([[10.0, 12, 40, 50], [60, 60, 100, 90], [12, 14, 41, 52]])
    labels = torch.tensor([1, 0, 2])
    logits = torch.full((1, len(anchors), 3), -9.0)
    offsets = torch.tensor(rng.normal(size=(1, len(anchors), 4)), dtype=torch.float32)
    (matched,) = match(made, objects([boxes]))
    found = (matched >= 0).nonzero()[:, 0]
    logits[0, found, labels[matched[found]]] = 5.0
    offsets[0, found] = encode(boxes[matched[found]], anchors[found])
    (result,) = suppress(best_boxes(logits, offsets, anchors, (128, 128)))
    order = result["labels"].argsort()
    assert result["labels"][order].tolist() == [0, 1, 2]
    torch.testing.assert_close(result["boxes"][order], boxes[[1, 0, 2]], rtol=1e-3, atol=1e-2)


def test_detections_are_clipped_limited_and_sorted() -> None:
    """Offsets push boxes over all four sides of an image of 100 by 128 pixels."""
    anchors = make_anchors(AnchorConfig(base=1.0), {3: (13, 16)}, CPU).boxes
    logits, offsets = torch.randn(2, len(anchors), 2), 3 * torch.randn(2, len(anchors), 4)
    touched = torch.zeros(4, dtype=torch.bool)
    for result in suppress(best_boxes(logits, offsets, anchors, (100, 128)), detections=20):
        assert 0 < len(result["scores"]) <= 20
        assert bool((result["scores"] > 0.05).all())
        assert result["scores"].tolist() == sorted(result["scores"].tolist(), reverse=True)
        assert bool((result["boxes"] >= 0).all())
        limit = torch.tensor([128.0, 100, 128, 100])
        assert bool((result["boxes"] <= limit).all())
        edge = torch.tensor([0.0, 0, 128, 100])
        touched |= (result["boxes"] == edge).any(0)
    assert touched.tolist() == [True] * 4


def test_a_weaker_box_of_the_same_class_is_suppressed_and_one_of_another_class_is_not() -> None:
    boxes = torch.tensor([[[0.0, 0, 10, 10], [0, 1, 10, 11], [0, 1, 10, 11], [0, 6, 10, 16]]])
    scores, labels = torch.tensor([[0.9, 0.8, 0.7, 0.04]]), torch.tensor([[1, 1, 0, 1]])
    (result,) = suppress((boxes, scores, labels))
    assert result["labels"].tolist() == [1, 0]
    assert result["scores"].tolist() == pytest.approx([0.9, 0.7])
    (result,) = suppress((boxes, scores, labels), least_score=0.0)
    assert result["scores"].tolist() == pytest.approx([0.9, 0.7, 0.04])


def test_a_score_at_the_threshold_is_no_detection() -> None:
    boxes, labels = torch.tensor([[[0.0, 0, 9, 9]]]), torch.tensor([[0]])
    (result,) = suppress((boxes, torch.tensor([[LEAST_SCORE]]), labels))
    assert len(result["scores"]) == 0


def test_boxes_of_many_classes_are_suppressed_as_those_of_one() -> None:
    """Small boxes of a large image: moved apart by thousands of sides, float32 would not tell them apart."""
    torch.manual_seed(0)
    corners = 1250 + torch.rand(1, 300, 2) * 20
    boxes = torch.cat([corners, corners + 3 + torch.rand(1, 300, 2) * 5], -1)
    scores = torch.rand(1, 300)
    (expected,) = suppress((boxes, scores, torch.full((1, 300), 0)), detections=300)
    for label in (1202, 8141):
        (found,) = suppress((boxes, scores, torch.full((1, 300), label)), detections=300)
        assert torch.equal(found["boxes"], expected["boxes"])
        assert torch.equal(found["scores"], expected["scores"])
    assert len(expected["scores"]) < 250


def test_candidates_in_any_order_give_the_same_detections() -> None:
    """A head may weigh the scores of its candidates anew."""
    torch.manual_seed(0)
    corners = torch.rand(2, 50, 2) * 60
    boxes = torch.cat([corners, corners + 5 + torch.rand(2, 50, 2) * 30], -1)
    scores, labels = torch.rand(2, 50), torch.randint(0, 3, (2, 50))
    mixed = torch.randperm(50)
    expected = suppress((boxes, scores, labels), least_score=0.4)
    found = suppress((boxes[:, mixed], scores[:, mixed], labels[:, mixed]), least_score=0.4)
    for ours, theirs in zip(found, expected, strict=True):
        assert 0 < len(ours["scores"]) < 35
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_predictions_are_those_of_the_candidates() -> None:
    net = small_network("retinanet").eval()
    assert isinstance(net, RetinaNet)
    nn.init.normal_(net.class_tower.predict.weight, std=0.3)  # type: ignore[arg-type]
    nn.init.constant_(net.class_tower.predict.bias, -1.0)  # type: ignore[arg-type]
    images = torch.randn(2, 3, 128, 128)
    with torch.no_grad():
        predictions = net(images)
        expected = suppress(net.candidates(images))
    assert len(predictions) == 2
    for ours, theirs in zip(predictions, expected, strict=True):
        assert len(ours["boxes"]) > 0
        for name in ("boxes", "scores", "labels"):
            assert torch.equal(ours[name], theirs[name])


@pytest.mark.parametrize("head", ["retinanet", "classifier"])
def test_training_without_targets_is_refused(head: str) -> None:
    with pytest.raises(ValueError, match="needs targets in training"):
        small_network(head).train()(torch.randn(2, 3, 64, 64))


def test_a_model_says_what_it_is() -> None:
    assert small_model("retinanet").name == "retinanet on SpineNet, 3 classes, 128 px"
    assert small_model("none").name == "SpineNet alone, 128 px"


def test_a_backbone_alone_gives_its_levels_and_learns_nothing() -> None:
    net = small_network("none").eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        first, _ = net(images)
        levels = net.outputs(images)  # type: ignore[operator]
    assert list(first) == ["P3", "P4", "P5", "P6", "P7"]
    assert torch.equal(first["P4"], levels["P4"][0])
    with pytest.raises(ValueError, match="learns nothing; put a head on it"):
        net.train()(images, [])
