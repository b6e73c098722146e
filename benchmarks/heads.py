"""RetinaNet's head beside FCOS's on the cpu proxy: SpineNet-49's spec, one thread, several seeds.

    uv run python -m benchmarks.heads OUT              # writes OUT/heads.json and prints a table
    uv run python -m benchmarks.heads OUT --seeds 1 --fidelity 0.25

Both heads are trained on the same images in the same way; only the head differs.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import machine_name
from nas.config import load_task
from nas.utils.files import replace_file
from proxy_tasks import TrainingTask
from proxy_tasks.engine.memory import keep_freed_memory
from search_space import published_spec

HEADS = ("retinanet-small", "fcos-small")
SHOWN = ("AP", "AP50", "APs", "APm", "APl", "AR100", "training_seconds")


def make_tasks(heads: list[str], overrides: list[str]) -> dict[str, TrainingTask]:
    """Makes the same task with each head."""
    return {name: load_task("cpu", f"head={name}", *overrides) for name in heads}


def train_all(tasks: dict[str, TrainingTask], seeds: int, fidelity: float) -> list[dict[str, Any]]:
    """Trains each task once for every seed, and prints a row for each."""
    spec = published_spec("spinenet-49")
    rows = []
    print("| head | seed | " + " | ".join(SHOWN) + " |")
    print("| --- " * (2 + len(SHOWN)) + "|")
    for name, task in tasks.items():
        for seed in range(seeds):
            score = task.evaluate(spec, fidelity, seed, lambda *_: None, None)
            rows.append({"head": name, "seed": seed, "metrics": dict(score.metrics)})
            cells = " | ".join(f"{score.metrics[m]:.3f}" if m in score.metrics else "" for m in SHOWN)
            print(f"| {name} | {seed} | {cells} |", flush=True)
    return rows


def summarize(rows: list[dict[str, Any]]) -> list[str]:
    """Gives one line for each head: mean and standard deviation of AP, and its cost."""
    lines = []
    for name in dict.fromkeys(row["head"] for row in rows):
        metrics = [row["metrics"] for row in rows if row["head"] == name]
        rewards = [m["AP"] for m in metrics]
        spread = statistics.stdev(rewards) if len(rewards) > 1 else 0.0
        size = (
            f"{metrics[0]['params'] / 1e6:.3f} M parameters, {metrics[0]['macs'] / 1e9:.3f} G multiply-adds"
        )
        lines.append(f"{name}: AP {statistics.mean(rewards):.3f} +- {spread:.3f}, {size}")
    return lines


def main() -> None:
    """Runs the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("out", metavar="OUT", type=Path, help="folder for the results")
    parser.add_argument("--heads", nargs="+", default=list(HEADS), help="of configs/task/head")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--fidelity", type=float, default=1.0)
    parser.add_argument("overrides", nargs="*", default=[], help="of the task, such as train.steps=100")
    options = parser.parse_intermixed_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    started = time.perf_counter()
    tasks = make_tasks(options.heads, options.overrides)
    print(f"{machine_name()}, one thread")
    rows = train_all(tasks, options.seeds, options.fidelity)
    print("\n" + "\n".join(summarize(rows)))
    result = {
        "command": ["python", "-m", "benchmarks.heads", *sys.argv[1:]],
        "machine": machine_name(),
        "versions": {name: version(name) for name in ("spinenas", "torch", "torchvision", "numpy")},
        "python": platform.python_version(),
        "seconds": round(time.perf_counter() - started, 1),
        "fidelity": options.fidelity,
        "train": asdict(next(iter(tasks.values())).train),
        "heads": {name: asdict(task.head) for name, task in tasks.items()},  # type: ignore[call-overload]
        "rows": rows,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    replace_file(options.out / "heads.json", json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
