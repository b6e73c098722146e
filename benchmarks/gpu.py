"""What a CUDA card makes of the paper's proxy: pace, memory, the limit, evaluation. About ten minutes.

    uv run python -m benchmarks.gpu OUT.json
    uv run python -m benchmarks.gpu OUT.json --device cpu --batch 2 --size 128 --steps 3 --images 16

The second line tries the program where there is no card. The tests of what a card computes are
`uv run pytest -m gpu -n 0 tests/gpu`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import statistics
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from nas.config import load_task
from proxy_tasks.data.batches import Batch, Batches
from proxy_tasks.data.dataset import DetectionDataset
from proxy_tasks.data.pixel_cache import PixelCache
from proxy_tasks.engine.memory import keep_freed_memory
from proxy_tasks.engine.optimizer import make_optimizer
from proxy_tasks.engine.precision import resolve_precision
from proxy_tasks.engine.train import Training, batch_loss, train
from proxy_tasks.evaluation.coco_eval import coco_metrics
from proxy_tasks.training_task import TrainingTask
from search_space import published_spec

SPEC = published_spec("spinenet-49")
CLASSES = 80
ROUNDS = 3


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A row of the table.

    Args:
        name: what was measured.
        value: the median.
        unit: of the value.
        wanted: what is accepted, such as "at least 0.70".
        all: the values of all rounds.
    """

    name: str
    value: float
    unit: str
    wanted: str
    all: tuple[float, ...]


def made_images(count: int, size: int, seed: int = 0) -> PixelCache:
    """Images of random pixels with 7 boxes each on average, as many as COCO's have, up to 93."""
    rng = np.random.default_rng(seed)
    counts = np.minimum(rng.geometric(1 / 8, count) - 1, 93)
    counts[0] = 93
    index = np.repeat(np.arange(count), counts)
    corners = rng.random((len(index), 2, 2)) * (640, 480)
    corners.sort(1)
    corners[:, 1] = np.maximum(corners[:, 1], corners[:, 0] + 4)
    height = round(size * 0.75)
    split = DetectionDataset(
        image_folder=Path(),
        image_ids=np.arange(count),
        file_names=tuple(map(str, range(count))),
        sizes=np.tile([480, 640], (count, 1)),
        boxes=corners.reshape(-1, 4).astype(np.float32),
        labels=rng.integers(0, CLASSES, len(index)),
        crowd=np.zeros(len(index), np.bool_),
        areas=(corners[:, 1] - corners[:, 0]).prod(1),
        image_index=index,
        category_ids=np.arange(CLASSES),
        category_names=tuple(map(str, range(CLASSES))),
        annotation_digest="",
    )
    # All images share the same pixels: what is copied in a step is the same, and memory stays small.
    pixels = rng.integers(0, 256, height * size * 3, dtype=np.uint8)
    return PixelCache(
        split=split,
        pixels=pixels,
        offsets=np.zeros(count, np.int64),
        sizes=np.tile([height, size], (count, 1)),
        skipped=(),
    )


def paper_task(options: argparse.Namespace) -> TrainingTask:
    """The paper's proxy at the size and batch that are asked for."""
    found: TrainingTask = load_task(
        "paper",
        "data.root=null",  # Images are made here.
        f"train.batch={options.batch}",
        f"train.image_size={options.size}",
        f"train.precision={options.precision}",
        f"train.steps={options.steps}",
        f"device={options.device}",
    )
    return found


def wait(device: torch.device) -> None:
    """Waits until a device has done everything."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def bare_seconds(net: nn.Module, batch: Batch, task: TrainingTask, device: torch.device, steps: int) -> float:
    """Seconds a step of one batch that never changes: on a GPU as a graph, which is the limit."""
    config = replace(task.train, learning_rate=1e-4)
    precision = resolve_precision(config.precision, device)
    optimizer = make_optimizer(net.train(), config)

    def step() -> None:
        optimizer.zero_grad(set_to_none=False)
        batch_loss(net, precision, batch).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), config.clip)
        optimizer.step()

    run = step
    if device.type == "cuda":
        side: torch.cuda.Stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                step()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()
        run = graph.replay
    run()
    wait(device)
    started = time.perf_counter()
    for _ in range(steps):
        run()
    wait(device)
    return (time.perf_counter() - started) / steps


def loop_seconds(task: TrainingTask, batches: Batches, steps: int, seed: int) -> float:
    """Seconds a step of the whole loop, without its first steps."""
    device, config = batches.device, replace(task.train, checkpoint_every=10**9)
    net = task.network(SPEC, seed, CLASSES).to(device)
    training = Training(batches=batches, config=config, steps=3, seed=seed)
    train(net, training)
    wait(device)
    started = time.perf_counter()
    train(net, replace(training, steps=steps))
    wait(device)
    return (time.perf_counter() - started) / steps


def measure_pace(options: argparse.Namespace) -> list[Figure]:
    """The whole loop beside its limit, side by side in every round; pace and memory."""
    device, task = torch.device(options.device), paper_task(options)
    batches = Batches(made_images(512, options.size), options.size, device, resident=False)
    images = np.arange(options.batch)
    batch = batches.training(images, task.train.augmentation, np.zeros((options.batch, 4)))
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    ratios, paces = [], []
    for number in range(ROUNDS):
        whole = loop_seconds(task, batches, options.steps, number)
        net = task.network(SPEC, number, CLASSES).to(device)
        ratios.append(bare_seconds(net, batch, task, device, options.steps) / whole)
        paces.append(options.batch / whole)
    found = [
        _figure("whole loop over a graph of one batch", ratios, "", "at least 0.70"),
        _figure("paper proxy", paces, "images/s", "H100 1,700; RTX 4090 600"),
    ]
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(device) / 2**30
        found.append(_figure("peak memory", [peak], "GiB", "at most 12 at batch 64"))
    return found


def _train_alone(options: argparse.Namespace, ready: Any, seed: int) -> None:
    device = torch.device(options.device)
    task = paper_task(options)
    batches = Batches(made_images(512, options.size), options.size, device, resident=False)
    loop_seconds(task, batches, 3, seed)
    ready.wait()
    loop_seconds(task, batches, options.steps, seed)


def measure_sharing(options: argparse.Namespace) -> list[Figure]:
    """How much more two trials at a time on one card do than one."""
    context = multiprocessing.get_context("spawn")

    def seconds(processes: int) -> float:
        ready = context.Barrier(processes + 1)
        running = [context.Process(target=_train_alone, args=(options, ready, i)) for i in range(processes)]
        for process in running:
            process.start()
        ready.wait()
        started = time.perf_counter()
        for process in running:
            process.join()
        return time.perf_counter() - started

    gains = [2 * seconds(1) / seconds(2) for _ in range(ROUNDS)]
    return [_figure("two trials on one card over one", gains, "", "at least 1.3")]


def measure_evaluation(options: argparse.Namespace) -> list[Figure]:
    """Inference and AP of as many images as the paper's search holds out, with 100 detections each."""
    device, task = torch.device(options.device), paper_task(options)
    batches = Batches(made_images(options.images, options.size, 1), options.size, device, resident=False)
    net = task.network(SPEC, 0, CLASSES).to(device)
    nn.init.constant_(net.class_tower.predict.bias, -1.0)  # type: ignore[union-attr,arg-type]
    precision = resolve_precision(task.train.precision, device)
    few = min(options.images, 4 * options.batch)
    warm = Batches(batches.cache.first(few), options.size, device, resident=False)
    task.evaluator.measure(net, warm, batch=2 * options.batch, precision=precision)
    started = time.perf_counter()
    task.evaluator.measure(net, batches, batch=2 * options.batch, precision=precision)
    whole = time.perf_counter() - started
    split = batches.cache.split
    rng = np.random.default_rng(0)
    rows = []
    for i in range(len(split)):
        corners = rng.random((100, 2, 2)) * (640, 480)
        corners.sort(1)
        rows.append((i, corners.reshape(-1, 4), rng.random(100), rng.integers(0, CLASSES, 100)))
    started = time.perf_counter()
    coco_metrics(split, rows)
    metrics = time.perf_counter() - started
    return [
        _figure(f"evaluation of {options.images} images", [whole], "s", "at most 30 for 7,392"),
        _figure("its AP alone, 100 detections an image", [metrics], "s", ""),
    ]


def _figure(name: str, values: list[float], unit: str, wanted: str) -> Figure:
    return Figure(
        name=name, value=statistics.median(values), unit=unit, wanted=wanted, all=tuple(map(float, values))
    )


def main() -> None:
    """Measures everything and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("out", type=Path, help="the JSON file to write")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--images", type=int, default=7392)
    options = parser.parse_args()
    keep_freed_memory()
    device = torch.device(options.device)
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or "CPU"
    print(f"{card}, torch {torch.__version__}, precision {resolve_precision(options.precision, device)}")
    print("| figure | measured | wanted |\n| --- | --- | --- |")
    about = {"card": card, "torch": torch.__version__, "python": platform.python_version()}
    settings = {name: str(value) for name, value in vars(options).items() if name != "out"}
    content: dict[str, Any] = {**about, "settings": settings, "figures": []}
    for measure in (measure_pace, measure_evaluation, measure_sharing):
        for figure in measure(options):
            print(f"| {figure.name} | {figure.value:.4g} {figure.unit} | {figure.wanted} |", flush=True)
            content["figures"].append(asdict(figure))
        options.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
