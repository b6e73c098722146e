"""Scores at any length: one training passed at 70 to 560 steps, beside trainings planned for these lengths.

    uv run python -m benchmarks.anytime OUT                # goes on where the rows of OUT end
    uv run python -m benchmarks.anytime OUT --table        # what the rows say

The specs are random ones of SpineNet-49's space whose excess is 0 at every output, where specs are of like
quality. Each is trained by the `cpu` proxy at a constant rate with averaged weights, seeds 0 and 1, and by
cosines planned for each of the lengths. One thread each; rows are written as they are made, so that the
program can be ended at any time.
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
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

from nas.config import load_task
from proxy_tasks.engine.memory import keep_freed_memory
from proxy_tasks.training_task import TrainingTask
from search_space import SpineNetSpec, published_space
from search_space.spinenet.excess import output_excess

LENGTHS = (70, 140, 280, 560)
SAMPLE_SEED = 7
COSINE = {"schedule": "cosine", "average": 0.0, "learning_rate": 0.015, "warm_up": 0.15}
"""The recipe of the `cpu` proxy before it could be cut at any step."""

Job = tuple[int, str, int]
"""Number of the spec, "anytime" or the length of a plan, and seed."""


def good_specs(count: int) -> list[SpineNetSpec]:
    """The first random specs whose excess is 0 at every output."""
    space, rng = published_space("spinenet-49"), np.random.default_rng(SAMPLE_SEED)
    found: list[SpineNetSpec] = []
    while len(found) < count:
        spec = space.decode(space.sample(rng))
        if isinstance(spec, SpineNetSpec) and not any(output_excess(spec).values()):
            found.append(spec)
    return found


def jobs_of(specs: int) -> list[Job]:
    """All trainings; those that tell most for their time come first."""
    found: list[Job] = []
    for number in range(specs):
        found += [(number, "anytime", 0), *((number, str(length), 0) for length in LENGTHS)]
        found += [(number, "anytime", 1)]
    return found


def train(job: Job, specs: int, overrides: list[str]) -> list[dict[str, Any]]:
    """Rows of one training, one for each length."""
    torch.set_num_threads(1)
    keep_freed_memory()
    number, kind, seed = job
    spec, task = good_specs(specs)[number], load_task("cpu", *overrides)
    if kind != "anytime":
        task = replace(task, train=replace(task.train, **COSINE))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for length in LENGTHS if kind == "anytime" else (int(kind),):
            started = time.perf_counter()
            fidelity = length / task.train.steps
            # The state stays in the folder, so that the next length goes on from it.
            score = task.fit(spec, fidelity, seed, lambda *_: None, Path(folder))
            wanted = ("AP", "AP50", "loss", "loss_25", "loss_50")
            found = {name: score.metrics[name] for name in wanted}
            seconds = time.perf_counter() - started
            row = {"spec": number, "key": spec.key(), "kind": kind, "seed": seed, "length": length}
            rows.append({**row, **found, "seconds": round(seconds, 1)})
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
    """What the rows say, as Markdown."""

    def scores(kind: str, seed: int, length: int) -> dict[int, float]:
        return {
            row["spec"]: row["AP"]
            for row in rows
            if (row["kind"] if row["kind"] == "anytime" else "planned", row["seed"], row["length"])
            == (kind, seed, length)
        }

    lines = [
        "| steps | specs | anytime AP | planned AP | difference (95 %) | Kendall with planned | "
        "between seeds | deviation over seeds | over specs | share of the spec |",
        "| --- " * 10 + "|",
    ]
    for length in LENGTHS:
        ours, planned, again = (
            scores("anytime", 0, length),
            scores("planned", 0, length),
            scores("anytime", 1, length),
        )
        both = sorted(ours.keys() & planned.keys())
        if len(both) < 3:
            continue
        a, b = np.array([ours[i] for i in both]), np.array([planned[i] for i in both])
        margin = stats.t.ppf(0.975, len(both) - 1) * (a - b).std(ddof=1) / len(both) ** 0.5
        cells = [f"{length}", f"{len(both)}", f"{a.mean():.3f}", f"{b.mean():.3f}"]
        cells += [f"{(a - b).mean():+.3f} ± {margin:.3f}", f"{stats.kendalltau(a, b).statistic:.2f}"]
        twice = sorted(ours.keys() & again.keys())
        if len(twice) >= 3:
            pair = np.array([[ours[i], again[i]] for i in twice])
            within = float(((pair[:, 0] - pair[:, 1]) ** 2).mean() / 2)
            of_specs = max(0.0, float(pair.mean(1).var(ddof=1)) - within / 2)
            cells += [
                f"{stats.kendalltau(*pair.T).statistic:.2f}",
                f"{within**0.5:.4f}",
                f"{of_specs**0.5:.4f}",
            ]
            cells += [f"{of_specs / (of_specs + within):.2f}"]
        else:
            cells += ["", "", "", ""]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


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
