"""FCOS against slow references that share no code with it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from nas.config import load_task
from proxy_tasks.converters.export import export_model
from proxy_tasks.data.detection import DetectionData
from proxy_tasks.data.shapes import ShapesConfig, make_shapes
from proxy_tasks.data.targets import pad_targets
from proxy_tasks.engine.config import TrainConfig
from proxy_tasks.models.fcos import (
    FCOS,
    Places,
    assign,
    centerness_of,
    decode,
    encode,
    fcos_losses,
    make_places,
)
from proxy_tasks.models.model import model_cost
from proxy_tasks.models.model_file import load_model, save_model
from proxy_tasks.training_task import TrainingTask
from search_space import SCALES, FCOSHead, NormConfig, R50FPNSpec, published_spec, spec_cost
from tests.proxy_tasks.learning import train_until
from tests.proxy_tasks.small_networks import SMALL, TINY, small_model, small_network
from tests.search_space.counting import counted_macs, counted_params

CPU = torch.device("cpu")
SIZES = {3: (10, 12), 4: (5, 6), 5: (3, 3)}
HEAD = FCOSHead(reach=2.0)


def places_of(head: FCOSHead = HEAD) -> Places:
    return make_places(head, SIZES, CPU)


def random_targets(rng: np.random.Generator, counts: list[int], classes: int) -> list[dict[str, Tensor]]:
    targets = []
    for count in counts:
        corners = rng.uniform(0, 60, (count, 2))
        boxes = np.hstack([corners, corners + rng.uniform(3, 40, (count, 2))])
        targets.append(
            {
                "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
                "labels": torch.tensor(rng.integers(0, classes, count), dtype=torch.int64),
            }
        )
    return targets


def slow_assignment(boxes: list[list[float]], head: FCOSHead) -> list[int]:
    """The number of the box that each place learns, or -1, place after place."""
    assigned = []
    for level, (height, width) in SIZES.items():
        stride = 2**level
        low = 0 if level == 3 else head.reach * 2 ** (level - 1)
        high = math.inf if level == 5 else head.reach * stride
        for row in range(height):
            for column in range(width):
                x, y = stride * (column + 0.5), stride * (row + 0.5)
                best, best_area = -1, math.inf
                for number, (x0, y0, x1, y1) in enumerate(boxes):
                    sides = (x - x0, y - y0, x1 - x, y1 - y)
                    central = max(abs(x - (x0 + x1) / 2), abs(y - (y0 + y1) / 2)) <= head.radius * stride
                    area = (x1 - x0) * (y1 - y0)
                    if min(sides) > 0 and central and low <= max(sides) <= high and area < best_area:
                        best, best_area = number, area
                assigned.append(best)
    return assigned


def test_places_learn_what_a_slow_reference_says() -> None:
    rng = np.random.default_rng(0)
    used: set[int] = set()
    for _ in range(25):
        (target,) = random_targets(rng, [int(rng.integers(0, 6))], 3)
        expected = slow_assignment(target["boxes"].tolist(), HEAD)
        assert assign(places_of(), pad_targets([target]), HEAD.radius)[0].tolist() == expected
        used |= {int(places_of().strides[i]) for i, number in enumerate(expected) if number >= 0}
    assert used == {8, 16, 32}, "every level was reached"


def test_ranges_of_neighboring_levels_meet() -> None:
    places = places_of(FCOSHead(reach=8.0))
    ranges = {int(s): (float(a), float(b)) for s, a, b in zip(*_columns(places), strict=True)}
    assert ranges == {8: (0, 64), 16: (64, 128), 32: (128, math.inf)}


def _columns(places: Places) -> tuple[list[float], list[float], list[float]]:
    return places.strides.tolist(), places.lowest.tolist(), places.highest.tolist()


def test_distances_and_boxes_are_inverse_and_centerness_is_one_in_the_middle() -> None:
    boxes = torch.tensor([[2.0, 4, 10, 8], [0, 0, 5, 9]])
    centers = torch.tensor([[6.0, 6], [1, 1]])
    distances = encode(boxes, centers)
    torch.testing.assert_close(distances[0], torch.tensor([4.0, 2, 4, 2]))
    torch.testing.assert_close(decode(distances, centers), boxes)
    expected = [1.0, math.sqrt((1 / 4) * (1 / 8))]
    assert centerness_of(distances).tolist() == pytest.approx(expected)


def slow_losses(
    logits: Tensor, distances: Tensor, centerness: Tensor, targets: list[dict[str, Tensor]], head: FCOSHead
) -> dict[str, float]:
    places = [
        (2**level * (column + 0.5), 2**level * (row + 0.5))
        for level, (height, width) in SIZES.items()
        for row in range(height)
        for column in range(width)
    ]
    class_sum = box_sum = center_sum = weights = 0.0
    positives = 0
    for n, target in enumerate(targets):
        boxes = target["boxes"].tolist()
        for p, number in enumerate(slow_assignment(boxes, head)):
            for c in range(logits.shape[2]):
                chance = 1 / (1 + math.exp(-float(logits[n, p, c])))
                if number >= 0 and int(target["labels"][number]) == c:
                    class_sum -= head.alpha * (1 - chance) ** head.gamma * math.log(chance)
                else:
                    class_sum -= (1 - head.alpha) * chance**head.gamma * math.log(1 - chance)
            if number < 0:
                continue
            positives += 1
            (x, y), (x0, y0, x1, y1) = places[p], boxes[number]
            left, up, right, down = x - x0, y - y0, x1 - x, y1 - y
            horizontal = min(left, right) / max(left, right)
            central = math.sqrt(horizontal * min(up, down) / max(up, down))
            weights += central
            a, b, c_, d = distances[n, p].tolist()
            ours = (x - a, y - b, x + c_, y + d)
            width = max(0.0, min(ours[2], x1) - max(ours[0], x0))
            height = max(0.0, min(ours[3], y1) - max(ours[1], y0))
            union = (ours[2] - ours[0]) * (ours[3] - ours[1]) + (x1 - x0) * (y1 - y0) - width * height
            hull = (max(ours[2], x1) - min(ours[0], x0)) * (max(ours[3], y1) - min(ours[1], y0))
            box_sum += central * (1 - (width * height / union - (hull - union) / hull))
            chance = 1 / (1 + math.exp(-float(centerness[n, p])))
            center_sum -= central * math.log(chance) + (1 - central) * math.log(1 - chance)
    return {
        "classes": class_sum / max(1, positives),
        "boxes": head.box_weight * box_sum / max(1.0, weights),
        "centerness": center_sum / max(1, positives),
    }


def test_losses_are_those_of_a_slow_reference() -> None:
    rng = np.random.default_rng(2)
    torch.manual_seed(2)
    head = FCOSHead(reach=2.0, radius=2.0, box_weight=1.5)
    targets = random_targets(rng, [3, 0, 4], 4)
    count = sum(h * w for h, w in SIZES.values())
    logits, centerness = torch.randn(3, count, 4), torch.randn(3, count)
    distances = torch.rand(3, count, 4) * 30 + 0.1
    losses = fcos_losses(logits, distances, centerness, places_of(head), targets, head)
    expected = slow_losses(logits, distances, centerness, targets, head)
    assert {name: float(loss) for name, loss in losses.items()} == pytest.approx(expected, rel=1e-4)


def test_every_parameter_gets_a_finite_gradient() -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(3)
    net = small_network(FCOSHead(reach=1.0, radius=3.0)).train()
    assert isinstance(net, FCOS)
    nn.init.normal_(net.class_tower.predict.weight, std=0.01)  # type: ignore[arg-type]
    targets = random_targets(rng, [6, 6], 3)
    whole = torch.tensor([[0.0, 0, 255, 255], [1, 1, 128, 128], [1, 1, 70, 60]])
    for target in targets:
        target["boxes"] = torch.cat([target["boxes"], whole])
        target["labels"] = torch.cat([target["labels"], torch.tensor([0, 1, 2])])
    losses = net(torch.randn(2, 3, 256, 256), targets)
    torch.stack(list(losses.values())).sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name
    moved = net.level_scales.grad
    assert moved is not None
    assert float(moved.abs().max()) > 0


def test_a_batch_without_objects_has_a_finite_loss_and_gradient() -> None:
    net = small_network("fcos").train()
    empty = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    losses = net(torch.randn(2, 3, 128, 128), [empty, empty])
    torch.stack(list(losses.values())).sum().backward()
    assert float(losses["boxes"].detach()) == float(losses["centerness"].detach()) == 0
    assert all(p.grad is None or bool(torch.isfinite(p.grad).all()) for p in net.parameters())


def test_distances_are_finite_however_large_a_level_makes_them() -> None:
    torch.manual_seed(0)
    net = small_network("fcos").eval()
    assert isinstance(net, FCOS)
    nn.init.constant_(net.level_scales, 1e6)
    with torch.no_grad():
        distances = net.outputs(torch.randn(1, 3, 128, 128))["distances"]
    assert bool(torch.isfinite(distances).all())


def test_certain_predictions_are_the_objects() -> None:
    """Outputs that are right at the places of two objects, and nothing elsewhere."""

    class Certain(FCOS):
        def outputs(self, images: Tensor) -> dict[str, Tensor]:
            places = make_places(self.head, {3: (16, 16), 4: (8, 8)}, CPU)
            boxes, labels = torch.tensor([[10.0, 12, 40, 50], [60, 60, 100, 90]]), torch.tensor([2, 0])
            objects = pad_targets([{"boxes": boxes, "labels": labels}])
            (matched,) = assign(places, objects, self.head.radius)
            at = matched >= 0
            logits = torch.full((1, len(matched), 3), -9.0)
            logits[0, at.nonzero()[:, 0], labels[matched[at]]] = 5.0
            distances = torch.ones(1, len(matched), 4)
            distances[0, at] = encode(boxes[matched[at]], places.centers[at])
            centerness = torch.full((1, len(matched)), 3.0)
            return {
                "logits": logits,
                "distances": distances,
                "centerness": centerness,
                "centers": places.centers,
            }

    norm = NormConfig()
    backbone: Any = SMALL.build(TINY, norm=norm)
    net = Certain(backbone=backbone, classes=3, head=FCOSHead(), scale=TINY, norm=norm)
    (prediction,) = net.eval()(torch.zeros(1, 3, 128, 128))
    order = prediction["labels"].argsort()
    assert prediction["labels"][order].tolist() == [0, 2]
    torch.testing.assert_close(
        prediction["boxes"][order], torch.tensor([[60.0, 60, 100, 90], [10, 12, 40, 50]])
    )
    score = math.sqrt(1 / (1 + math.exp(-5)) / (1 + math.exp(-3)))
    assert prediction["scores"].tolist() == pytest.approx([score] * 2)


@pytest.mark.parametrize(
    ("spec", "scale", "size", "classes"),
    [
        (SMALL, TINY, 128, 3),
        (R50FPNSpec(0.25), TINY, 96, 5),
        (published_spec("mobile-spinenet-49"), SCALES["mobile-49XS"], 128, 7),
    ],
    ids=["small", "r50-fpn", "mobile"],
)
def test_the_cost_is_what_torch_counts(spec: object, scale: object, size: int, classes: int) -> None:
    model = small_model("fcos", classes, size, spec=spec, scale=scale)
    net = small_network("fcos", classes, size=size, spec=spec, scale=scale).eval()
    assert isinstance(net, FCOS)
    cost = spec_cost(model.spec, model.scale, size, FCOSHead(), classes)
    without = spec_cost(model.spec, model.scale, size, "none", classes)
    assert counted_params(net) == cost.params == model_cost(model)[0]
    pyramid = net.backbone(torch.zeros(1, 3, size, size))

    def run_head() -> None:
        net.class_tower(pyramid)
        net.box_tower(pyramid)

    with torch.no_grad():
        assert counted_macs(net, run_head) == cost.macs - without.macs


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_onnx_agrees_with_the_network(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = small_network("fcos").eval()
    assert isinstance(net, FCOS)
    with torch.no_grad():
        net.train().outputs(torch.randn(4, 3, 128, 128))
        nn.init.normal_(net.class_tower.predict.weight, std=0.3)  # type: ignore[arg-type]
        nn.init.constant_(net.class_tower.predict.bias, -1.0)  # type: ignore[arg-type]
        nn.init.normal_(net.box_tower.predict.weight, std=0.05)  # type: ignore[arg-type]
        net.level_scales.uniform_(0.5, 1.5)
    net.eval()
    images = torch.randn(3, 3, 128, 128)
    export_model(net, 128, tmp_path / "raw.onnx", "onnx", postprocess=False)
    session = onnxruntime.InferenceSession(str(tmp_path / "raw.onnx"))
    with torch.no_grad():
        outputs, detections = net.outputs(images), net(images)
    arrays = session.run(None, {"images": images.numpy()})
    assert [output.name for output in session.get_outputs()] == list(outputs)
    for ours, array in zip(outputs.values(), arrays, strict=True):
        torch.testing.assert_close(ours, torch.from_numpy(array), rtol=1e-4, atol=1e-4)
    export_model(net, 128, tmp_path / "whole.onnx", "onnx", postprocess=True)
    session = onnxruntime.InferenceSession(str(tmp_path / "whole.onnx"))
    image, boxes, scores, labels = session.run(None, {"images": images.numpy()})
    assert len(image) > 10
    for number, ours in enumerate(detections):
        rows = np.column_stack([scores, labels, boxes])[image == number]
        wanted = np.column_stack([ours["scores"], ours["labels"], ours["boxes"]])
        assert len(rows) == len(wanted)
        apart = abs(rows[:, None] - wanted[None]).max(2)
        assert apart.min(0).max() < 1e-2
        assert apart.min(1).max() < 1e-2


def test_a_model_file_gives_back_the_very_network(tmp_path: Path) -> None:
    model = small_model(FCOSHead(reach=4.0, radius=2.0))
    net = small_network(model.head)
    save_model(tmp_path / "m.safetensors", model, net, {})
    described, loaded, _ = load_model(tmp_path / "m.safetensors")
    assert described == model
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        ours, theirs = net.eval().outputs(images), loaded.outputs(images)  # type: ignore[operator]
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_configuration_chooses_it() -> None:
    task = load_task("cpu", "head=fcos", "head.reach=4")
    assert task.head == FCOSHead(reach=4)
    assert (task.metric, task.evaluator.needs_masks) == ("AP", False)


@pytest.mark.slow
def test_a_few_images_are_learned_by_heart(tmp_path: Path) -> None:
    root = make_shapes(tmp_path / "few", ShapesConfig(train=8, val=8, size=64))
    annotations = root / "annotations"
    (annotations / "instances_val.json").write_bytes((annotations / "instances_train.json").read_bytes())
    for path in (root / "images" / "train").iterdir():
        (root / "images" / "val" / path.name).write_bytes(path.read_bytes())
    task = TrainingTask(
        head=FCOSHead(reach=2.5),
        scale=TINY,
        train=TrainConfig(
            steps=200, batch=8, image_size=64, learning_rate=0.02, optimizer="adamw", weight_decay=0.01
        ),
        data=DetectionData(str(root), str(tmp_path / "cache")),
        evaluations=5,
        device="cpu",
    )
    rewards = [score.reward for score in train_until(lambda score: score.reward > 0.3, task, SMALL)]
    assert rewards[-1] > 0.3 > rewards[0]
