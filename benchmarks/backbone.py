"""Forward and training step of the backbone against the TensorFlow Model Garden's, side by side.

    python -m venv garden && garden/bin/pip install tf-models-official tensorflow-cpu
    uv run python benchmarks/backbone.py --garden garden/bin/python

Both implementations run in a process of their own, with the same threads, batch and allocator settings,
and take turns round by round; a figure is the median over rounds, a ratio the median of the ratios pair
by pair (above 1: ours is quicker). Ours runs in channels-last layout; "folded" is `fuse_conv_bn(backbone)`;
"convolutions" are the network's convolutions alone, the limit for eager torch in this precision.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PROXY = {"width": 0.25, "alpha": 0.25, "endpoints": 64, "size": 128}
FULL = {"width": 1.0, "alpha": 0.5, "endpoints": 256, "size": 640}
CASES: list[dict[str, Any]] = [
    {**PROXY, "batch": 1, "mode": "forward", "steps": 20},
    {**PROXY, "batch": 16, "mode": "forward", "steps": 8},
    {**PROXY, "batch": 16, "mode": "train", "steps": 4},
    {**FULL, "batch": 1, "mode": "forward", "steps": 2},
    {**FULL, "batch": 1, "mode": "train", "steps": 2},
]
KEEPS_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": "33554432",
    "MALLOC_TRIM_THRESHOLD_": "2147483647",
    "MALLOC_TOP_PAD_": "67108864",
}
"""glibc keeps freed memory instead of giving it back page by page, as TensorFlow's allocator does."""


class Worker:
    """A process that times one implementation on request."""

    def __init__(self, python: str, script: str, threads: int, allocator: dict[str, str]) -> None:
        environment = {**os.environ, **allocator, "OMP_NUM_THREADS": str(threads)}
        self.process = subprocess.Popen(
            [python, str(HERE / script), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Sends a case and returns what the worker measured."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer


def main() -> None:
    """Runs all cases and prints a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--garden", required=True, help="Python with tf-models-official installed")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    machine = f"{platform.machine()}, {options.threads} threads, Python {platform.python_version()}"
    print(f"{machine}, {options.rounds} rounds, median (lowest to highest) of the ratios Garden / ours")
    print("| case | allocator | ours ms | folded ms | convolutions ms | Garden ms | ratio | ratio folded |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for allocator_name, allocator, precision in (
        ("default", {}, "fp32"),
        ("keeps memory", KEEPS_MEMORY, "fp32"),
        ("keeps memory", KEEPS_MEMORY, "bf16"),
    ):
        ours = Worker(sys.executable, "torch_worker.py", options.threads, allocator)
        garden = Worker(options.garden, "garden_worker.py", options.threads, allocator)
        for case in CASES:
            label = f"{case['mode']}, {case['size']} px, batch {case['batch']}, {precision}"
            cells = row({**case, "precision": precision}, ours, garden, options.rounds)
            print(f"| {label} | {allocator_name} | {cells} |", flush=True)
        peaks = [worker.ask({"mode": "memory"})["mib"] for worker in (ours, garden)]
        print(f"| peak MiB of the process | {allocator_name} | {peaks[0]:.0f} | | | {peaks[1]:.0f} | | |")
        for worker in (ours, garden):
            worker.process.kill()
            worker.process.wait()


def row(case: dict[str, Any], ours: Worker, garden: Worker, rounds: int) -> str:
    """The figures of one case as cells of a table."""
    variants = ["plain"] + ["folded"] * (case["mode"] == "forward")
    variants += ["convolutions"] * (case["precision"] == "fp32")
    times: dict[str, list[float]] = {name: [] for name in (*variants, "garden")}
    for _ in range(rounds + 1):
        for variant in variants:
            times[variant].append(ours.ask({**case, "variant": variant})["ms"])
        times["garden"].append(garden.ask(case)["ms"])
    counted = {name: values[1:] for name, values in times.items()}

    def ratio(name: str) -> str:
        if name not in counted:
            return ""
        pairs = [g / o for g, o in zip(counted["garden"], counted[name], strict=True)]
        return f"{statistics.median(pairs):.2f} ({min(pairs):.2f} to {max(pairs):.2f})"

    medians = [
        f"{statistics.median(counted[name]):.1f}" if name in counted else ""
        for name in ("plain", "folded", "convolutions", "garden")
    ]
    return " | ".join([*medians, ratio("plain"), ratio("folded")])


if __name__ == "__main__":
    main()
