"""Scores at any length: one training passed at 70 to 560 steps, beside trainings planned for these lengths.

    uv run python -m benchmarks.anytime OUT                # goes on where the rows of OUT end
    uv run python -m benchmarks.anytime OUT --table        # what the rows say

The specs are random ones of SpineNet-49's space whose excess is 0 at every output, where specs are of like
quality. Each is trained by the `cpu` proxy at a constant rate with averaged weights, seeds 0 and 1, and by
cosines planned for each of the lengths; the longest of them, which is the proxy as it was, with both seeds.
Every network is measured on the proxy's validation images, and on the first 200 of them, which were all it
had. One thread each; rows are written as they are made, so that the program can be ended at any time.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import nn

from benchmarks.spinenet_bench.plan import draw_excess_0, space
from nas.config import load_task
from proxy_tasks.data.batches import Batches
from proxy_tasks.engine.memory import keep_freed_memory
from proxy_tasks.task import Score
from proxy_tasks.training_task import TrainingTask
from search_space import SpineNetSpec

LENGTHS = (70, 140, 280, 560)
SAMPLE_SEED = 7
FEW = 200
COSINE = {"schedule": "cosine", "average": 0.0, "learning_rate": 0.015, "warm_up": 0.15}
"""The recipe of the `cpu` proxy before it could be cut at any step."""

Job = tuple[int, str, int]
"""Number of the spec, "anytime" or the length of a plan, and seed."""


def good_specs(count: int) -> list[SpineNetSpec]:
    """The first random specs whose excess is 0 at every output."""
    drawn = islice(draw_excess_0(np.random.default_rng(SAMPLE_SEED)), count)
    return [space().decode(genotype) for genotype in drawn]


def jobs_of(specs: int) -> list[Job]:
    """All trainings; those that tell most for their time come first."""
    found: list[Job] = []
    for number in range(specs):
        found += [(number, "anytime", 0), *((number, str(length), 0) for length in LENGTHS)]
        found += [(number, "anytime", 1), (number, str(LENGTHS[-1]), 1)]
    return found


def train(job: Job, specs: int, overrides: list[str]) -> list[dict[str, Any]]:
    """Rows of one training, one for each length."""
    torch.set_num_threads(1)
    keep_freed_memory()
    number, kind, seed = job
    spec, task = good_specs(specs)[number], load_task("cpu", *overrides)
    if kind != "anytime":
        task = replace(task, train=replace(task.train, **COSINE))
    few = task.data.caches(task.train.image_size)[1].first(FEW)
    images = Batches(few, task.train.image_size, torch.device("cpu"))
    of_few: dict[str, float] = {}

    def look(net: nn.Module, step: int, score: Score) -> None:
        of_few.update(task.evaluator.measure(net, images, batch=2 * task.train.batch))

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for length in LENGTHS if kind == "anytime" else (int(kind),):
            started = time.perf_counter()
            fidelity = length / task.train.steps
            # The state stays in the folder, so that the next length goes on from it.
            score = task.fit(spec, fidelity, seed, lambda *_: None, Path(folder), on_evaluation=look)
            wanted = ("AP", "AP50", "loss", "loss_25", "loss_50")
            found = {name: score.metrics[name] for name in wanted}
            seconds = time.perf_counter() - started
            row = {"spec": number, "key": spec.key(), "kind": kind, "seed": seed, "length": length}
            rows.append({**row, **found, "AP_of_few": of_few["AP"], "seconds": round(seconds, 1)})
    return rows


def read_rows(out: Path) -> list[dict[str, Any]]:
    """All rows that are there."""
    path = out / "rows.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def run(out: Path, specs: int, workers: int, overrides: list[str]) -> None:
    """Trains what is missing."""
    out.mkdir(parents=True, exist_ok=True)
    done = {
        (row["spec"], row["kind"] if row["kind"] == "anytime" else str(row["length"]), row["seed"])
        for row in read_rows(out)
        if row["kind"] != "anytime" or row["length"] == LENGTHS[-1]
    }
    missing = [job for job in jobs_of(specs) if job not in done]
    task: TrainingTask = load_task("cpu", *overrides)
    task.data.caches(task.train.image_size)
    print(f"{len(done)} trainings are there, {len(missing)} are missing", flush=True)
    with ProcessPoolExecutor(workers) as pool:
        for rows in pool.map(partial(train, specs=specs, overrides=overrides), missing):
            with (out / "rows.jsonl").open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(row) + "\n" for row in rows)
            print(
                ", ".join(f"{rows[-1][name]}" for name in ("spec", "kind", "seed", "length", "AP")),
                flush=True,
            )


def table(rows: list[dict[str, Any]]) -> str:
    """What the rows say, as Markdown: one table against planned trainings, one of seeds and specs."""

    def scores(kind: str, seed: int, length: int, metric: str = "AP") -> dict[int, float]:
        return {
            row["spec"]: row[metric]
            for row in rows
            if (row["kind"] if row["kind"] == "anytime" else "planned", row["seed"], row["length"])
            == (kind, seed, length)
        }

    lines = [
        "| steps | specs | anytime AP | planned AP | difference (95 %) | Kendall, planned | seeds |",
        "| --- " * 7 + "|",
    ]
    for length in LENGTHS:
        a, b = in_common(scores("anytime", 0, length), scores("planned", 0, length))
        if len(a) < 3:
            continue
        margin = stats.t.ppf(0.975, len(a) - 1) * (a - b).std(ddof=1) / len(a) ** 0.5
        cells = [f"{length}", f"{len(a)}", f"{a.mean():.3f}", f"{b.mean():.3f}"]
        cells += [f"{(a - b).mean():+.3f} ± {margin:.3f}", f"{stats.kendalltau(a, b).statistic:.2f}"]
        seeds = in_common(scores("anytime", 0, length), scores("anytime", 1, length))
        cells += [f"{stats.kendalltau(*seeds).statistic:.2f}"]
        lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "",
        "| training | steps | images | specs | mean AP | seeds deviate | specs | share of specs |",
        "| --- " * 8 + "|",
    ]
    cases = [("planned", LENGTHS[-1]), *(("anytime", length) for length in LENGTHS)]
    for kind, length in cases:
        for metric, images in (("AP_of_few", f"{FEW}"), ("AP", "all")):
            pair = in_common(*(scores(kind, seed, length, metric) for seed in (0, 1)))
            if len(pair[0]) < 3:
                continue
            within, between = variances(pair)
            cells = [kind, f"{length}", images, f"{len(pair[0])}", f"{pair.mean():.3f}"]
            cells += [f"{within**0.5:.4f}", f"{between**0.5:.4f}", f"{between / (between + within):.2f}"]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def in_common(first: dict[int, float], second: dict[int, float]) -> NDArray[np.float64]:
    """Scores [2, N] of the specs that have both."""
    both = sorted(first.keys() & second.keys())
    return np.array([[scores[i] for i in both] for scores in (first, second)])


def variances(scores: NDArray[np.float64]) -> tuple[float, float]:
    """Variance over seeds and over specs, of scores [seeds, specs]."""
    within = float(scores.var(axis=0, ddof=1).mean())
    return within, max(0.0, float(scores.mean(axis=0).var(ddof=1)) - within / len(scores))


def main() -> None:
    """Trains what is missing, or prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("out", type=Path)
    parser.add_argument("--specs", type=int, default=24)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--table", action="store_true", help="print what the rows say")
    parser.add_argument("overrides", nargs="*", default=[], help="such as data.cache=DIR")
    options = parser.parse_args()
    if not options.table:
        print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, one thread each")
        run(options.out, options.specs, options.workers, options.overrides)
    print(table(read_rows(options.out)))


if __name__ == "__main__":
    main()
