"""Whether what the table of trained detectors expects of specs holds on other images.

    uv run python -m benchmarks.transfer DIR OUT --specs 24 --fidelity 0.25

Random specs of excess 0 that the table does not have are put in the order of what its surrogate expects of
them, and some at equal distances are trained on the images in DIR by the `cpu` proxy, one seed each. What is
done is in OUT and is not done again. OUT holds rows of one table alone: another one expects something else.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import kendalltau

from benchmarks.machine import write_report
from benchmarks.rows import add_row, keep_to, keep_to_table, read_rows
from benchmarks.spinenet_bench.plan import draw_excess_0, space
from proxy_tasks.spinenet_bench import SpineNetBenchTask, read_trainings
from proxy_tasks.spinenet_bench.surrogate import read_surrogate
from search_space import Genotype, graph_features

POOL = 400
"""Random specs from which those that are trained are chosen."""


def chosen(count: int) -> list[tuple[Genotype, float]]:
    """Genotypes of excess 0 and what is expected of them, at equal distances in the order of that."""
    trainings = read_trainings()
    known = {training.key for training in trainings}
    drawn = draw_excess_0(np.random.default_rng(191))
    pool = list(islice((genotype for genotype in drawn if space().decode(genotype).key() not in known), POOL))
    expected = read_surrogate(trainings).full(pool).tolist()
    found = sorted(zip(pool, expected, strict=True), key=lambda pair: pair[1])
    return [found[place] for place in np.linspace(0, POOL - 1, count).round().astype(int).tolist()]


def train(job: tuple[int, Genotype, float], data: Path, fidelity: float) -> dict[str, Any]:
    """Trains a spec; gives its row."""
    import torch

    from nas.config import load_task

    torch.set_num_threads(1)
    number, genotype, expected = job
    task = load_task("cpu", f"data.root={data}")
    task.open()
    spec = space().decode(genotype)
    score = task.evaluate(spec, fidelity, number, lambda *_: None, None)
    metrics = {name: score.metrics[name] for name in ("AP50", "loss_25")}
    return {
        "number": number,
        "key": spec.key(),
        "genotype": list(genotype),
        "expected": expected,
        "AP": score.reward,
        **metrics,
        **graph_features(spec, summary=True),
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
    keep_to(options.out, options.data.resolve())
    path, digest = options.out / "rows.jsonl", SpineNetBenchTask().digest
    keep_to_table(path, digest)
    rows = read_rows(path)
    there = {row["key"] for row in rows}
    jobs = [
        (n, g, e) for n, (g, e) in enumerate(chosen(options.specs)) if space().decode(g).key() not in there
    ]
    run = partial(train, data=options.data.resolve(), fidelity=options.fidelity)
    with get_context("spawn").Pool(options.workers) as pool:
        for found in pool.imap_unordered(run, jobs):
            row = {"table": digest, **found}
            rows.append(row)
            add_row(path, row)
            print(f"{len(rows)} of {options.specs}", file=sys.stderr, flush=True)
    write_report(options.out / "table.md", "transfer", describe(rows))


if __name__ == "__main__":
    main()
