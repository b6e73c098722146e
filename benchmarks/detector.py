"""Training throughput of a RetinaNet on SpineNet-49 beside torchvision's RetinaNet on R50-FPN, at full width.

    OMP_NUM_THREADS=1 uv run python -m benchmarks.detector

Both train on the same images and boxes in float32 with SGD, in turn, in one process; the ratio is of images a
second times multiply-adds an image, which is what each makes of the same processor. torchvision's network
normalizes and resizes inside its forward pass; it is given images of the final size, and its batch norms are
trained as ours are.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torchvision.models import resnet50
from torchvision.models.detection import RetinaNet as TorchvisionRetinaNet
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from benchmarks.counting import count_cost
from benchmarks.machine import machine_name
from proxy_tasks.engine.memory import keep_freed_memory
from proxy_tasks.models.model import Model, build_model, model_cost, numbered_categories
from search_space import SCALES, RetinaNetHead, published_spec

CLASSES, BOXES = 91, 8
Step = Callable[[Tensor, list[Tensor], list[Tensor]], Tensor]


def ours(size: int) -> tuple[nn.Module, Step, int]:
    """Network, its loss, and multiply-adds of an image."""
    model = Model(
        spec=published_spec("spinenet-49"),
        scale=SCALES["49"],
        head=RetinaNetHead(),
        categories=numbered_categories(CLASSES),
        image_size=size,
    )
    net = build_model(model).train()

    def loss(images: Tensor, boxes: list[Tensor], labels: list[Tensor]) -> Tensor:
        targets = [{"boxes": b, "labels": k} for b, k in zip(boxes, labels, strict=True)]
        losses: dict[str, Tensor] = net(images, targets)
        return torch.stack(list(losses.values())).sum()

    return net, loss, model_cost(model)[1]


def torchvisions(size: int) -> tuple[nn.Module, Step, int]:
    """As `ours`, of torchvision's RetinaNet on R50-FPN."""
    net = _torchvision(size).train().to(memory_format=torch.channels_last)

    def loss(images: Tensor, boxes: list[Tensor], labels: list[Tensor]) -> Tensor:
        targets = [{"boxes": b, "labels": k} for b, k in zip(boxes, labels, strict=True)]
        losses: dict[str, Tensor] = net(list(images), targets)
        return torch.stack(list(losses.values())).sum()

    with torch.device("meta"):
        counted = Maps(_torchvision(size))
    return net, loss, count_cost(counted, size)[1]


class Maps(nn.Module):
    """torchvision's RetinaNet without what surrounds the network."""

    def __init__(self, net: TorchvisionRetinaNet) -> None:
        super().__init__()
        self.backbone, self.head = net.backbone, net.head

    def forward(self, images: Tensor) -> Tensor:
        """[N, 3, S, S] to logits."""
        logits: Tensor = self.head(list(self.backbone(images).values()))["cls_logits"]
        return logits


def _torchvision(size: int) -> TorchvisionRetinaNet:
    backbone = _resnet_fpn_extractor(
        resnet50(weights=None), 5, returned_layers=[2, 3, 4], extra_blocks=LastLevelP6P7(256, 256)
    )
    return TorchvisionRetinaNet(backbone, CLASSES, min_size=size, max_size=size)


def seconds(net: nn.Module, loss: Step, batch: int, size: int, steps: int) -> list[float]:
    """Of every training step, the first left out."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch, 3, size, size, generator=generator)
    images = images.to(memory_format=torch.channels_last)
    corners = torch.rand(batch, BOXES, 2, generator=generator) * size * 0.7
    sides = 20 + torch.rand(batch, BOXES, 2, generator=generator) * size * 0.25
    boxes = list(torch.cat([corners, corners + sides], 2))
    labels = list(torch.randint(1, CLASSES, (batch, BOXES), generator=generator))
    optimizer = torch.optim.SGD(net.parameters(), 1e-4, momentum=0.9)
    found = []
    for _ in range(steps + 1):
        started = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss(images, boxes, labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        found.append(time.perf_counter() - started)
    return found[1:]


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=640)
    parser.add_argument("--steps", type=int, default=5)
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    print(f"{machine_name()}, one thread, {options.size} px, median of {options.steps} steps")
    for batch in (1, 2):
        told = {}
        for name, make in (("ours", ours), ("torchvision", torchvisions)):
            torch.manual_seed(0)
            net, loss, macs = make(options.size)
            taken = statistics.median(seconds(net, loss, batch, options.size, options.steps))
            told[name] = batch / taken * macs
            print(
                f"batch {batch} {name:<12} {macs / 1e9:6.1f} G multiply-adds, {taken:6.2f} s a step, "
                f"{batch / taken:.3f} images/s, {told[name] / 1e9:.1f} G/s, peak "
                f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB so far",
                flush=True,
            )
        print(f"batch {batch} ratio {told['ours'] / told['torchvision']:.2f}", flush=True)


if __name__ == "__main__":
    main()
