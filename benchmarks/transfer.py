"""Whether what the table of trained detectors expects of specs holds on other images.

    uv run python -m benchmarks.transfer DIR OUT --specs 24 --fidelity 0.25

Random specs of excess 0 that the table does not have are put in the order of what its surrogate expects of
them, and some at equal distances are trained on the images in DIR by the `cpu` proxy, one seed each. What is
done is in OUT and is not done again.
"""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import kendalltau

from benchmarks.machine import machine_name
from proxy_tasks.spinenet_bench import read_trainings
from proxy_tasks.spinenet_bench.surrogate import FULL, Surrogate, read_settings
from search_space import Genotype, SpineNetSpec, published_space
from search_space.spinenet.excess import output_excess

POOL = 400
"""Random specs from which those that are trained are chosen."""


def chosen(count: int) -> list[tuple[Genotype, float]]:
    """Genotypes of excess 0 and what is expected of them, at equal distances in the order of that."""
    space, trainings, rng = published_space("spinenet-49"), read_trainings(), np.random.default_rng(191)
    surrogate = Surrogate(trainings, read_settings())
    known = {training.key for training in trainings}
    found: list[tuple[Genotype, float]] = []
    while len(found) < POOL:
        genotype = space.sample(rng)
        spec = space.decode(genotype)
        assert isinstance(spec, SpineNetSpec)
        if spec.key() not in known and not any(output_excess(spec).values()):
            found.append((genotype, float(surrogate.expect(genotype)[0][FULL])))
    found.sort(key=lambda pair: pair[1])
    return [found[place] for place in np.linspace(0, POOL - 1, count).round().astype(int).tolist()]


def train(job: tuple[int, Genotype, float], data: Path, fidelity: float) -> dict[str, Any]:
    """Trains a spec; gives its row."""
    import torch

    from nas.config import load_task

    torch.set_num_threads(1)
    number, genotype, expected = job
    task = load_task("cpu", f"data.root={data}")
    task.open()
    spec = published_space("spinenet-49").decode(genotype)
    score = task.evaluate(spec, fidelity, number, lambda *_: None, None)
    metrics = {name: score.metrics[name] for name in ("AP50", "loss_25")}
    return {
        "number": number,
        "genotype": list(genotype),
        "expected": expected,
        "AP": score.reward,
        **metrics,
        **spec.graph_features(summary=True),
    }


def describe(rows: list[dict[str, Any]]) -> str:
    """Gives rank correlations with the AP on the other images as a table in Markdown."""
    ap = [row["AP"] for row in rows]
    lines = [
        f"{len(rows)} specs of excess 0; AP from {min(ap):.3f} to {max(ap):.3f}.\n",
        "| signal | Kendall with AP | p |",
        "| --- | --- | --- |",
    ]
    for name in ("expected", "shortest_path", "longest_path", "log2_paths", "loss_25"):
        test = kendalltau([row[name] for row in rows], ap)
        lines.append(f"| {name} | {test.statistic:.2f} | {test.pvalue:.2g} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Trains what is missing, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--specs", type=int, default=24)
    parser.add_argument("--fidelity", type=float, default=0.25)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "rows.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    there = {tuple(row["genotype"]) for row in rows}
    jobs = [(n, g, e) for n, (g, e) in enumerate(chosen(options.specs)) if g not in there]
    run = partial(train, data=options.data.resolve(), fidelity=options.fidelity)
    with get_context("spawn").Pool(options.workers) as pool, path.open("a") as file:
        for row in pool.imap_unordered(run, jobs):
            rows.append(row)
            file.write(json.dumps(row) + "\n")
            file.flush()
            print(f"{len(rows)} of {options.specs}", file=sys.stderr, flush=True)
    command = "python -m benchmarks.transfer " + " ".join(sys.argv[1:])
    text = describe(rows)
    (options.out / "table.md").write_text(f"`{command}`\n\n{machine_name()}\n\n{text}")
    print(text)


if __name__ == "__main__":
    main()
