"""What a trial costs besides its training: opening the images, building the network, measuring it.

    uv run python -m benchmarks.trial_overhead DIR                       # generated shapes
    uv run python -m benchmarks.trial_overhead DIR --images 110000       # annotations of COCO's size
    uv run python -m benchmarks.trial_overhead DIR --detections 7392     # AP alone, of random detections

Each run sets the task up, sends it to a new process as a search does, and evaluates a spec with two steps of
training in it, three times. The images of `--images` are one small picture under many names, seven boxes
each.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from nas.config import load_task
from proxy_tasks.data.readers import read_split
from proxy_tasks.evaluation.coco_eval import coco_metrics
from search_space import published_spec

VALIDATION = 200
BOXES = 7


def make_set(root: Path, images: int) -> Path:
    """Writes COCO files of many names for one picture, unless they are there."""
    if (root / "annotations" / "instances_val.json").exists():
        return root
    rng = np.random.default_rng(0)
    (root / "annotations").mkdir(parents=True)
    for split, count in (("train", images), ("val", VALIDATION)):
        folder = root / "images" / split
        folder.mkdir(parents=True)
        picture = root / f"{split}.png"
        Image.fromarray(rng.integers(0, 256, (48, 64, 3), np.uint8)).save(picture)
        for i in range(count):
            if i % 10_000 == 0:  # A file system has a limit of names for one file.
                first = folder / f"{i:06d}.png"
                first.write_bytes(picture.read_bytes())
            else:
                os.link(first, folder / f"{i:06d}.png")
        corners = rng.uniform(0, 30, (count * BOXES, 2)).round(2)
        sides = rng.uniform(4, 18, (count * BOXES, 2)).round(2)
        entries = [
            {"id": i, "file_name": f"{i:06d}.png", "width": 64, "height": 48, "license": 1, "date": "2026"}
            for i in range(count)
        ]
        objects = [
            {
                "id": i + 1,
                "image_id": i // BOXES,
                "category_id": i % 80 + 1,
                "bbox": [*corners[i].tolist(), *sides[i].tolist()],
                "area": float(sides[i].prod()),
                "iscrowd": 0,
            }
            for i in range(count * BOXES)
        ]
        names = [{"id": i + 1, "name": f"kind {i + 1}"} for i in range(80)]
        content = {"images": entries, "annotations": objects, "categories": names}
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content), encoding="utf-8")
    return root


def worker(task: Any, trials: int) -> None:
    """What a worker does: it opens the task and evaluates."""
    torch.set_num_threads(1)
    started = time.perf_counter()
    if hasattr(task, "open"):
        task.open()
    print(f"open {time.perf_counter() - started:.2f} s", flush=True)
    for number in range(trials):
        started = time.perf_counter()
        score = task.evaluate(
            published_spec("spinenet-49"), 2 / task.train.steps, number, lambda *_: None, None
        )
        whole = time.perf_counter() - started
        rest = whole - score.metrics["training_seconds"]
        print(f"trial {number}: {rest:.2f} s besides {whole - rest:.2f} s of training", flush=True)
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    print(f"peak memory of the worker {int(peak.split()[1]) // 1024} MiB")


def trials(out: Path, images: int, count: int) -> None:
    """Sets a task up and has a new process evaluate."""
    words = [f"data.cache={out / 'cache'}", f"data.shapes.val={VALIDATION}"]
    if images:
        words += [f"data.root={make_set(out / f'set-{images}', images)}", "train.image_size=64"]
    task = load_task("cpu", *words)
    for name in ("setup", "setup again"):
        started = time.perf_counter()
        task.setup(out)
        print(f"{name} {time.perf_counter() - started:.2f} s", flush=True)
    child = multiprocessing.get_context("spawn").Process(target=worker, args=(task, count))
    child.start()
    child.join()


def detections(out: Path, images: int, each: int) -> None:
    """Times AP of random detections near the true boxes."""
    split = read_split(make_set(out / f"set-{images}", images), "train")
    rng, rows = np.random.default_rng(1), []
    for i in range(len(split)):
        mine = split.boxes[split.image_index == i]
        boxes = mine[rng.integers(0, len(mine), each)] + rng.normal(0, 1.5, (each, 4))
        rows.append((i, boxes, rng.random(each), rng.integers(0, 80, each)))
    started = time.perf_counter()
    found = coco_metrics(split, rows)
    seconds = time.perf_counter() - started
    print(f"{images} images, {each} detections each: {seconds:.1f} s, AP {found['AP']:.12f}")


def main() -> None:
    """Measures one of the three."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("out", type=Path)
    parser.add_argument("--images", type=int, default=0)
    parser.add_argument("--detections", type=int, default=0, help="images whose detections are measured")
    parser.add_argument("--each", type=int, default=60, help="detections an image")
    parser.add_argument("--trials", type=int, default=3)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.detections:
        detections(options.out, options.detections, options.each)
    else:
        trials(options.out, options.images, options.trials)


if __name__ == "__main__":
    main()
