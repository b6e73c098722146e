"""How well the cpu proxy learns on one core: SpineNet-49's spec, one thread, several seeds.

    uv run python benchmarks/learning.py              # the generated set
    uv run python benchmarks/learning.py DIR --fidelity 1.3
    uv run python benchmarks/learning.py --shuffle    # another random order of its levels with each seed

DIR is a set in COCO format. Prints each seed's metrics, their mean and the coefficient of variation.
"""

from __future__ import annotations

import argparse
import platform
import resource
import statistics
import time
from dataclasses import replace

import numpy as np
import torch

from nas.config import load_task
from proxy_tasks.engine.memory import keep_freed_memory
from proxy_tasks.evaluation.coco_eval import METRICS
from proxy_tasks.task import Score
from search_space import SpineNetSpec, published_spec


def shuffled(spec: SpineNetSpec, seed: int) -> SpineNetSpec:
    """The spec with the levels of its intermediate blocks in a random order; all else stays."""
    inner = [i for i, block in enumerate(spec.blocks) if not block.output]
    order = np.random.default_rng(seed).permutation(inner)
    levels = {i: spec.blocks[j].level for i, j in zip(inner, order.tolist(), strict=True)}
    blocks = [replace(block, level=levels.get(i, block.level)) for i, block in enumerate(spec.blocks)]
    return replace(spec, blocks=tuple(blocks))


def main() -> None:
    """Trains once for every seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("root", nargs="?", default="null", help="a data set; default: generated shapes")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--fidelity", type=float, default=1.0)
    parser.add_argument("--spec", default="spinenet-49")
    parser.add_argument("--shuffle", action="store_true", help="exchange the levels of the intermediates")
    parser.add_argument("overrides", nargs="*", default=[], help="such as train.steps=100")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    print(f"{platform.machine()}, one thread, torch {torch.__version__}, Python {platform.python_version()}")
    print("| seed | training s | whole s | " + " | ".join(METRICS) + " |")
    print("| --- " * (3 + len(METRICS)) + "|")
    scores: list[Score] = []
    task = load_task("cpu", f"data.root={options.root}", *options.overrides)
    task.data.caches(task.train.image_size)
    spec = published_spec(options.spec)
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        started = time.perf_counter()
        if options.shuffle:
            spec = shuffled(published_spec(options.spec), seed)
        score = task.evaluate(spec, options.fidelity, seed, lambda *_: None, None)
        whole = time.perf_counter() - started
        scores.append(score)
        cells = [f"{score.metrics['training_seconds']:.0f}", f"{whole:.0f}"]
        cells += [f"{score.metrics[name]:.3f}" for name in METRICS]
        print(f"| {seed} | " + " | ".join(cells) + " |", flush=True)
    rewards = [score.reward for score in scores]
    if len(rewards) > 1:
        mean, spread = statistics.mean(rewards), statistics.stdev(rewards)
        ap50 = statistics.mean(score.metrics["AP50"] for score in scores)
        print(f"mean AP {mean:.3f}, mean AP50 {ap50:.3f}, coefficient of variation {spread / mean:.3f}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
