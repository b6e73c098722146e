"""Times our backbone for `backbone.py`: one JSON request a line in, one answer a line out."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn

from search_space import Scale, published_spec
from search_space.spinenet.backbone import SpineNet, fuse_conv_bn


@cache
def prepared(
    width: float, alpha: float, endpoints: int, size: int, batch: int, mode: str, precision: str, variant: str
) -> Callable[[], object]:
    """A function that does one step."""
    torch.manual_seed(0)
    net: nn.Module = SpineNet(
        published_spec("spinenet-49"), Scale(width=width, alpha=alpha, endpoints=endpoints)
    )
    net = (fuse_conv_bn(net) if variant == "folded" else net).to(memory_format=torch.channels_last)
    images = torch.randn(batch, 3, size, size).to(memory_format=torch.channels_last)
    net.train(mode == "train")
    mixed = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")
    if variant == "folded" and precision == "bf16":
        net, images = net.to(torch.bfloat16), images.to(torch.bfloat16)
    if variant == "convolutions":
        return convolutions(net, images, training=mode == "train")
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)

    def forward() -> None:
        with torch.inference_mode(), mixed:
            net(images)

    def train() -> None:
        optimizer.zero_grad()
        with mixed:
            loss = torch.stack([x.float().mean() for x in net(images).values()]).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return train if mode == "train" else forward


def convolutions(net: nn.Module, images: Tensor, training: bool) -> Callable[[], object]:
    """The network's convolutions and nothing else: the limit of what eager torch can reach."""
    calls: list[tuple[nn.Conv2d, Tensor]] = []

    def record(module: nn.Module, inputs: tuple[Tensor], _: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        calls.append((module, inputs[0].detach().clone()))

    hooks = [m.register_forward_hook(record) for m in net.modules() if isinstance(m, nn.Conv2d)]
    with torch.no_grad():
        net(images)
    for hook in hooks:
        hook.remove()

    def forward() -> None:
        with torch.inference_mode():
            for module, x in calls:
                module(x)

    def train() -> None:
        for i, (module, x) in enumerate(calls):
            out = module(x.requires_grad_(i > 0))
            wanted = (module.weight, x) if i > 0 else (module.weight,)
            torch.autograd.grad(out, wanted, torch.ones_like(out))

    return train if training else forward


def main() -> None:
    """Answers requests until the input ends."""
    torch.set_num_threads(int(sys.argv[1]))
    for line in sys.stdin:
        request = json.loads(line)
        if request["mode"] == "memory":
            answer = {"mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
        else:
            keys = ("width", "alpha", "endpoints", "size", "batch", "mode", "precision", "variant")
            step = prepared(*(request[key] for key in keys))
            step()
            started = time.perf_counter()
            for _ in range(request["steps"]):
                step()
            answer = {"ms": (time.perf_counter() - started) / request["steps"] * 1e3}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
