"""A search's winner beside SpineNet-49's spec, R50-FPN at equal MACs and a random spec, trained alike.

    uv run python -m benchmarks.winner OUT RUN [RUN ...] --root DIR --fidelity 2 --seeds 3

Writes `table.md` and `table.json` to the folder OUT.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from benchmarks.machine import command_line, machine_name, write_report
from nas.config import load_task
from nas.executors.job import Decision, Job, JobResult
from nas.executors.ray_executor import RayExecutor
from nas.utils.files import replace_file
from search_space import load_spec, published_space, published_spec
from search_space.resnet_fpn.fitting import fit_r50_fpn

SHOWN = ("AP", "AP50", "AP75", "APs", "APm", "APl")


def main() -> None:
    """Trains all of them and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("out", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--root", default="null")
    parser.add_argument("--fidelity", type=float, default=2.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    task = load_task("cpu", f"data.root={options.root}")
    specs: dict[str, Any] = {
        f"winner of {run.name}": load_spec(run / "winners" / "best.json") for run in options.runs
    }
    first = next(iter(specs.values()))
    space = published_space("spinenet-49")
    specs["SpineNet-49"] = published_spec("spinenet-49")
    specs["random spec"] = space.decode(space.sample(np.random.default_rng(0)))
    specs["R50-FPN, equal MACs"] = fit_r50_fpn(lambda s: task.costs(s)["macs"], task.costs(first)["macs"])
    executor = RayExecutor(workers=options.workers)
    jobs = [(name, seed) for seed in range(100, 100 + options.seeds) for name in specs]
    executor.open(task, lambda *_: Decision.CONTINUE)
    found: dict[str, list[JobResult]] = {name: [] for name in specs}
    try:
        for number, (name, seed) in enumerate(jobs):
            executor.submit(Job(number, 0, specs[name], options.fidelity, seed))
        left = len(jobs)
        while left:
            for ended in executor.wait(10):
                left -= 1
                name, seed = jobs[ended.trial]
                found[name].append(ended)
                told = ended.message if ended.score is None else f"AP {ended.score.reward:.4f}"
                print(f"{name}, seed {seed}: {told}, {ended.seconds:.0f} s", flush=True)
    finally:
        executor.close()
    text = table(task, specs, found)
    options.out.mkdir(parents=True, exist_ok=True)
    data = {
        "command": command_line("winner"),
        "machine": machine_name(),
        "scores": {name: [asdict(ended) for ended in ends] for name, ends in found.items()},
    }
    replace_file(options.out / "table.json", json.dumps(data, indent=1) + "\n")
    write_report(options.out / "table.md", "winner", f"{text}\n")


def table(task: Any, specs: dict[str, Any], found: dict[str, list[JobResult]]) -> str:
    """Markdown; p of a one-sided t-test that the first spec is better."""
    rewards = {name: [e.score.reward for e in ends if e.score is not None] for name, ends in found.items()}
    best = next(iter(rewards.values()))
    lines = [
        "| spec | params M | MACs M | AP mean | AP deviation | " + " | ".join(SHOWN[1:]) + " | p |",
        "| --- " * (len(SHOWN) + 5) + "|",
    ]
    for name, ends in found.items():
        costs, scores = task.costs(specs[name]), [e.score.metrics for e in ends if e.score is not None]
        others = " | ".join(_mean([s[m] for s in scores if m in s]) for m in SHOWN[1:])
        p = stats.ttest_ind(best, rewards[name], equal_var=False, alternative="greater").pvalue
        lines.append(
            f"| {name} | {costs['params'] / 1e6:.3f} | {costs['macs'] / 1e6:.1f} | "
            f"{np.mean(rewards[name]):.4f} | {np.std(rewards[name], ddof=1):.4f} | {others} | "
            f"{'-' if rewards[name] is best else f'{p:.3f}'} |"
        )
    return "\n".join(lines)


def _mean(values: list[float]) -> str:
    """Empty where the validation images have no object of a kind."""
    return f"{np.mean(values):.3f}" if values else ""


if __name__ == "__main__":
    main()
