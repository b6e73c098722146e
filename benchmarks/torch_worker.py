"""Times our backbone for `backbone.py`: one JSON request a line in, one answer a line out."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from functools import cache

import torch
from torch import nn

from search_space import Scale, published_spec
from search_space.backbone import SpineNet, folded


@cache
def prepared(
    width: float, alpha: float, endpoints: int, size: int, batch: int, mode: str, fold: bool
) -> Callable[[], object]:
    """A function that does one step."""
    torch.manual_seed(0)
    net: nn.Module = SpineNet(published_spec("spinenet-49"), Scale(width, alpha, endpoints))
    net = (folded(net) if fold else net).to(memory_format=torch.channels_last)
    images = torch.randn(batch, 3, size, size).to(memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)

    def forward() -> None:
        with torch.inference_mode():
            net(images)

    def train() -> None:
        optimiser.zero_grad()
        torch.stack([x.mean() for x in net(images).values()]).sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    net.train(mode == "train")
    return train if mode == "train" else forward


def main() -> None:
    """Answers requests until the input ends."""
    torch.set_num_threads(int(sys.argv[1]))
    for line in sys.stdin:
        request = json.loads(line)
        if request["mode"] == "memory":
            answer = {"mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
        else:
            keys = ("width", "alpha", "endpoints", "size", "batch", "mode")
            step = prepared(*(request[key] for key in keys), request["folded"])
            step()
            started = time.perf_counter()
            for _ in range(request["steps"]):
                step()
            answer = {"ms": (time.perf_counter() - started) / request["steps"] * 1e3}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
