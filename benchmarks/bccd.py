"""How well the proxy learns real images in two minutes on one core.

    uv run python benchmarks/bccd.py DIR

DIR is the BCCD set in COCO format (3 classes, 292 training images). SpineNet-49's spec at 128 px, one
thread, three seeds; prints each seed's figures, the mean and the coefficient of variation.
"""

from __future__ import annotations

import argparse
import platform
import resource
import statistics
import tempfile

import torch

from proxy_tasks.detection import DetectionTask
from proxy_tasks.presets import cpu_preset
from proxy_tasks.task import Score
from search_space import published_spec


def main() -> None:
    """Trains once for every seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("root", help="the data set")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=0, help="default: the preset's")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{platform.machine()}, one thread, torch {torch.__version__}, Python {platform.python_version()}")
    print("| seed | training s | " + " | ".join(("AP", "AP50", "AP75", "APs", "APm", "APl")) + " |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    scores: list[Score] = []
    with tempfile.TemporaryDirectory() as cache:
        task: DetectionTask = cpu_preset(options.root, cache, options.steps or None)
        task.packs()
        for seed in range(options.seeds):
            score = task.evaluate(published_spec("spinenet-49"), 1.0, seed, lambda *_: None, None)
            scores.append(score)
            cells = [f"{score.metrics[name]:.3f}" for name in ("AP", "AP50", "AP75", "APs", "APm", "APl")]
            print(
                f"| {seed} | {score.metrics['training_seconds']:.0f} | " + " | ".join(cells) + " |",
                flush=True,
            )
    rewards = [score.reward for score in scores]
    if len(rewards) > 1:
        mean, spread = statistics.mean(rewards), statistics.stdev(rewards)
        ap50 = statistics.mean(score.metrics["AP50"] for score in scores)
        print(f"mean AP {mean:.3f}, mean AP50 {ap50:.3f}, coefficient of variation {spread / mean:.3f}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
