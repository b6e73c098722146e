"""How well zero-cost measures foretell a training: against the scores of a finished `nas judge`.

    uv run python -m benchmarks.zero_cost benchmarks/results/judge-cpu --seeds 3

The specs are drawn again from the judging's seed; nothing is trained.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from scipy import stats

from benchmarks.machine import machine_name
from nas.analysis.rank_correlation import expected_best_of_top
from nas.config import load_task
from proxy_tasks.zero_cost import Measure
from search_space import published_space

MEASURES = get_args(Measure)

LESS_IS_BETTER = ("excess", "shortest_path")
"""Measures that are counted negative."""


def main() -> None:
    """Prints a table and writes zero_cost.json beside the judgement."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3, help="of each measure; their mean counts")
    options = parser.parse_args()
    torch.set_num_threads(1)
    judged = json.loads((options.folder / "judgement.json").read_text())
    space, rng = published_space("spinenet-49"), np.random.default_rng(judged["plan"]["seed"])
    specs = [space.decode(space.sample(rng)) for _ in range(judged["plan"]["specs"])]
    specs = [specs[i] for i in judged["specs"]]
    reference = np.array(judged["reference"])
    rows = {"trained proxy": (np.array(judged["proxy"]).mean(1), judged["seconds"]["proxy"])}
    for measure in MEASURES:
        sign = -1 if measure in LESS_IS_BETTER else 1
        task = load_task("zero-cost", f"measure={measure}", f"sign={sign}")
        task.evaluate(specs[0], 0)  # Data is packed.
        began = time.perf_counter()
        values = [
            np.mean([task.evaluate(spec, seed).reward for seed in range(options.seeds)]) for spec in specs
        ]
        rows[measure] = np.array(values), (time.perf_counter() - began) / len(specs) / options.seeds
    print(f"{len(specs)} specs, {options.seeds} seeds, against fidelity {judged['plan']['reference']:g}\n")
    print("| measure | Kendall | p | best reference score among its top 5, lost | seconds a spec |")
    print("| --- | --- | --- | --- | --- |")
    found = {}
    for name, (values, seconds) in rows.items():
        test = stats.kendalltau(values, reference)
        lost = float(reference.max()) - expected_best_of_top(values, reference, 5)
        found[name] = {"kendall": test.statistic, "p": test.pvalue, "lost": lost, "seconds": seconds}
        print(f"| {name} | {test.statistic:.2f} | {test.pvalue:.2g} | {lost:.4f} | {seconds:.2f} |")
    (options.folder / "zero_cost.json").write_text(
        json.dumps({"machine": machine_name(), "seeds": options.seeds, "measures": found}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
