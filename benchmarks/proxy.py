"""What the proxy's training costs beside its bare arithmetic, and what packing costs.

    uv run python benchmarks/proxy.py step                 # data path and loop beside a bare loop
    uv run python benchmarks/proxy.py pack DIR             # packing a COCO root
    uv run python benchmarks/proxy.py pack --shapes 20000  # making and packing a generated set

One thread for `step`; everything side by side in one run.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from nas.config import load_task
from proxy_tasks.data.batches import Batches
from proxy_tasks.data.pixel_cache import open_cache
from proxy_tasks.data.readers import read_split
from proxy_tasks.data.shapes import ShapesConfig, make_shapes
from proxy_tasks.engine.batch_stream import BatchStream
from proxy_tasks.engine.memory import keep_freed_memory
from proxy_tasks.engine.optimizer import make_optimizer
from proxy_tasks.engine.train import Training, train
from search_space import published_spec

CPU = torch.device("cpu")


def peak() -> float:
    """Peak memory of this process in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def resident() -> float:
    """Resident memory now in MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def step(rounds: int, steps: int) -> None:
    """Rounds of: the data path alone, the bare loop on constant tensors, the whole loop."""
    torch.set_num_threads(1)
    keep_freed_memory()
    task = load_task("cpu", f"train.steps={steps}")
    pack, _ = task.data.caches(task.train.image_size)
    spec, config = published_spec("spinenet-49"), task.train
    batches = Batches(pack, config.image_size, CPU)
    constant = batches.training(np.arange(config.batch), config.augmentation, np.zeros((config.batch, 4)))
    # As many updates and their learning rates as the whole loop has, on one batch that never changes.
    shares, ratios, memory = [], [], []
    training = Training(batches=batches, config=config, steps=steps, seed=0)
    train(task.network(spec, 0, 6), replace(training, steps=min(steps, 100)))  # The first epoch.
    for number in range(rounds):
        started = time.perf_counter()
        for _ in BatchStream(batches, config, number).steps(0, steps):
            pass
        data = time.perf_counter() - started

        net = task.network(spec, number, 6).train()
        optimizer = make_optimizer(net, config)
        started = time.perf_counter()
        for _ in range(steps):
            loss = torch.stack(list(net(constant.images, constant.targets).values())).sum()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(net.parameters(), config.clip)
            optimizer.step()
        bare = time.perf_counter() - started

        net = task.network(spec, number, 6)
        started = time.perf_counter()
        train(net, replace(training, seed=number))
        whole = time.perf_counter() - started
        shares.append(data / whole)
        ratios.append(bare / whole)
        memory.append(resident())
        print(
            f"round {number}: data {1000 * data / steps:.1f} ms, bare {1000 * bare / steps:.1f} ms, "
            f"whole {1000 * whole / steps:.1f} ms a step; resident {memory[-1]:.0f} MiB",
            flush=True,
        )
    print(f"data path: {100 * statistics.median(shares):.1f} % of a step")
    print(f"whole loop: {statistics.median(ratios):.3f} of the bare loop's speed")
    print(f"memory: {memory[0]:.0f} MiB after the first round, {memory[-1]:.0f} after the last")


def pack(root: str | None, shapes: int, size: int) -> None:
    """Packing speed and memory."""
    with tempfile.TemporaryDirectory() as folder:
        where = Path(root) if root else Path(folder) / "shapes"
        if root is None:
            started = time.perf_counter()
            make_shapes(where, ShapesConfig(train=shapes, val=1, size=128))
            seconds = time.perf_counter() - started
            print(f"made {shapes} images in {seconds:.1f} s: {shapes / seconds:.0f} a second")
        split = read_split(where, "train")
        before, highest = resident(), [0.0]
        stop = threading.Event()

        def watch() -> None:
            while not stop.wait(0.02):
                highest[0] = max(highest[0], resident())

        watcher = threading.Thread(target=watch)
        watcher.start()
        started = time.perf_counter()
        made = open_cache(split, size, Path(folder) / "cache")
        seconds = time.perf_counter() - started
        stop.set()
        watcher.join()
        started = time.perf_counter()
        open_cache(split, size, Path(folder) / "cache")
        again = time.perf_counter() - started
        mib = made.pixels.nbytes / 2**20
        print(f"packed {len(made)} images at {size} px ({mib:.0f} MiB) in {seconds:.1f} s:", end=" ")
        print(f"{len(made) / seconds:.0f} a second; memory rose by {highest[0] - before:.0f} MiB")
        print(f"opened again in {1000 * again:.0f} ms")


def main() -> None:
    """Runs one of the two."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("what", choices=("step", "pack"))
    parser.add_argument("root", nargs="?")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--shapes", type=int, default=20_000)
    parser.add_argument("--size", type=int, default=128)
    options = parser.parse_args()
    if options.what == "step":
        step(options.rounds, options.steps)
    else:
        pack(options.root, options.shapes, options.size)


if __name__ == "__main__":
    main()
