"""Whether a child that goes on from its parent's weights is ranked as a training of its own would rank it.

    uv run python -m benchmarks.inheritance OUT --parents 8 --children 8

For each parent, a random spec of excess 0, a network is trained to the full length. Each child differs by one
edit. It is trained anew to the full length, measured at a quarter of it too, and once more for a quarter of
the steps from the parent's weights: those whose name and shape are equal are copied, shrunk and perturbed
(Ash and Adams 2020, arXiv 1910.08475); the others are new. What counts is the rank correlation of short
scores with those of the full trainings among the children of one parent. At least 0.4 is wanted; an interval
that holds both 0 and 0.4 decides nothing. The trainings are those of `benchmarks.spinenet_bench`. What is
done is in OUT and is not done again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats
from scipy.stats import kendalltau
from torch import Tensor, nn

from benchmarks.machine import write_report
from benchmarks.rows import add_row, read_rows
from benchmarks.spinenet_bench.plan import draw_excess_0, space
from benchmarks.spinenet_bench.recipe import FULL, test_task, training_task
from nas.executors.job import evaluation_seed
from proxy_tasks.data.batches import Batches
from proxy_tasks.data.shapes import CLASSES
from proxy_tasks.engine.memory import keep_freed_memory
from proxy_tasks.engine.train import Training, train
from search_space import Genotype, Spec

QUARTER = FULL // 4

GATE = 0.4
"""The rank correlation among siblings from which on children may go on from their parents' weights."""

WAYS: dict[str, tuple[float, float]] = {"copied": (1.0, 0.0), "shrunk": (0.5, 0.1)}
"""By name, what weights are multiplied by, and how large a share of their deviation is added as noise."""


def inherit(net: nn.Module, parent: Mapping[str, Tensor], shrink: float, noise: float, seed: int) -> float:
    """Takes weights of a parent into a network; returns the share of the numbers that were taken.

    Args:
        net: freshly made.
        parent: weights by name.
        shrink: what they are multiplied by.
        noise: share of the deviation of the fresh weights that is added as noise.
        seed: of the noise.
    """
    generator = torch.Generator().manual_seed(seed)
    taken = count = 0
    with torch.no_grad():
        for name, weight in net.named_parameters():
            count += weight.numel()
            known = parent.get(name)
            if known is None or known.shape != weight.shape:
                continue
            taken += weight.numel()
            if weight.dim() > 1:  # Scales and biases are no directions that were learned.
                spread = float(weight.std()) * noise
                known = shrink * known + spread * torch.randn(weight.shape, generator=generator)
            weight.copy_(known)
    return taken / count


@dataclass(kw_only=True)
class Lengths:
    """The observer that measures a network at a quarter of the steps.

    Args:
        measure: gives its scores.
        found: the scores.
    """

    measure: Any
    found: dict[str, float] | None = None

    def on_losses(self, step: int, losses: Sequence[float]) -> None:
        """Has no use for them."""

    def wants(self, step: int) -> bool:
        """Wants a quarter."""
        return step == QUARTER

    def on_network(self, step: int, net: nn.Module, losses: Mapping[str, float]) -> None:
        """Measures the network."""
        self.found = self.measure(net)


class Bench:
    """Trains and measures as the table does."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        keep_freed_memory()
        self.task = training_task()
        size, device = self.task.train.image_size, torch.device("cpu")
        images, val = self.task.data.caches(size)
        test = test_task(self.task).data.caches(size)[1]
        self.images = Batches(images, size, device)
        self.parts = {"val": Batches(val, size, device), "test": Batches(test, size, device)}

    def network(self, spec: Spec, seed: int) -> nn.Module:
        """A fresh network."""
        return self.task.network(spec, seed, len(CLASSES))

    def measure(self, net: nn.Module) -> dict[str, float]:
        """AP on both sets of images."""
        batch = 2 * self.task.train.batch
        return {
            name: float(self.task.evaluator.measure(net, images, batch=batch)["AP"] or 0.0)
            for name, images in self.parts.items()
        }

    def train(self, net: nn.Module, steps: int, seed: int) -> tuple[nn.Module, dict[str, Any]]:
        """Trains a network; returns the averaged one, and its scores at a quarter and at the end."""
        quarter = Lengths(measure=self.measure)
        training = Training(batches=self.images, config=self.task.train, steps=steps, seed=seed)
        net, losses = train(net, training, quarter if steps > QUARTER else None)
        return net, {"quarter": quarter.found, "end": self.measure(net), "loss": losses["loss_25"]}


def parents(count: int) -> list[Genotype]:
    """Random genotypes of excess 0."""
    return list(islice(draw_excess_0(np.random.default_rng(181)), count))


def children(parent: Genotype, number: int, count: int) -> list[Genotype]:
    """Genotypes that differ from a parent by one edit, with keys of their own."""
    rng, keys = np.random.default_rng((182, number)), {space().decode(parent).key()}
    found: list[Genotype] = []
    while len(found) < count:
        genotype = space().mutate(parent, rng)
        key = space().decode(genotype).key()
        if key not in keys:
            keys.add(key)
            found.append(genotype)
    return found


def family(number: int, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Trains a parent and its children; gives a row for each, as soon as it is there."""
    bench = Bench()
    parent = parents(number + 1)[number]
    kept = options.out / f"parent-{number}.pt"
    if not kept.exists():
        seed = evaluation_seed(183, number)
        net, scores = bench.train(bench.network(space().decode(parent), seed), FULL, seed)
        torch.save(dict(net.state_dict()), kept)
        yield {"parent": number, "child": -1, "genotype": list(parent), **scores}
    weights, there = torch.load(kept, weights_only=True), done(options.out)
    for child, genotype in enumerate(children(parent, number, options.children)):
        if (number, child) in there:
            continue
        spec, seed = space().decode(genotype), evaluation_seed(184, number, child)
        row: dict[str, Any] = {"parent": number, "child": child, "genotype": list(genotype)}
        row["fresh"] = bench.train(bench.network(spec, seed), FULL, seed)[1]
        for name, (shrink, noise) in WAYS.items():
            again = evaluation_seed(185, number, child)
            net = bench.network(spec, again)
            row["taken"] = inherit(net, weights, shrink, noise, again)
            row[name] = bench.train(net, QUARTER, again)[1]
        yield row


def rows_of(out: Path) -> list[dict[str, Any]]:
    """All rows that are there."""
    return [row for path in sorted(out.glob("family-*.jsonl")) for row in read_rows(path)]


def done(out: Path) -> set[tuple[int, int]]:
    """Parents and children of which there is a row."""
    return {(row["parent"], row["child"]) for row in rows_of(out)}


def run_family(options: argparse.Namespace, number: int) -> None:
    """Does a family, and writes its rows."""
    for row in family(number, options):
        add_row(options.out / f"family-{number}.jsonl", row)
        print(f"parent {number}, child {row['child']}", file=sys.stderr, flush=True)


def describe(rows: Sequence[dict[str, Any]]) -> str:
    """Gives the rank correlations among siblings, and over all children, as a table in Markdown."""
    rows = [row for row in rows if row["child"] >= 0]
    full = np.array([np.mean(list(row["fresh"]["end"].values())) for row in rows])
    signals = {
        "a quarter, fresh": [np.mean(list(row["fresh"]["quarter"].values())) for row in rows],
        **{f"a quarter, {way}": [np.mean(list(row[way]["end"].values())) for row in rows] for way in WAYS},
        **{f"loss, {way}": [-row[way]["loss"] for row in rows] for way in WAYS},
        "share that was taken": [row["taken"] for row in rows],
    }
    families = [
        [place for place, row in enumerate(rows) if row["parent"] == number]
        for number in sorted({row["parent"] for row in rows})
    ]
    lines = [
        f"{len(rows)} children of {len(families)} parents; AP is the mean of both sets of images.\n",
        "| signal | mean | Kendall among siblings, 90 % interval over families | over all children |",
        "| --- | --- | --- | --- |",
    ]
    for name, found in signals.items():
        values = np.array(found)
        within = np.array([kendalltau(values[same], full[same]).statistic for same in families])
        known = within[~np.isnan(within)]
        low, high = stats.t.interval(0.9, len(known) - 1, known.mean(), stats.sem(known))
        lines.append(
            f"| {name} | {values.mean():.4f} | {np.nanmean(within):.2f} ({low:.2f} to {high:.2f}) "
            f"| {kendalltau(values, full).statistic:.2f} |"
        )
    lines.append(f"| the full length, fresh | {full.mean():.4f} | | |")
    pooled = np.sqrt(np.mean([full[same].var(ddof=1) for same in families if len(same) > 1]))
    lines.append(
        f"\nThe fresh trainings of siblings deviate by {pooled:.4f} from their mean at the full length. If\n"
        "two trainings of one network do so too, nothing can rank siblings that were trained once.\n\n"
        f"A rank correlation of at least {GATE} among siblings is wanted. An interval that holds both 0 and\n"
        f"{GATE} decides nothing."
    )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Does what is missing, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("out", type=Path)
    parser.add_argument("--parents", type=int, default=8)
    parser.add_argument("--children", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with get_context("spawn").Pool(options.workers, maxtasksperchild=1) as pool:
        list(pool.imap_unordered(partial(run_family, options), range(options.parents), chunksize=1))
    text = describe(rows_of(options.out))
    write_report(options.out / "table.md", "inheritance", text)


if __name__ == "__main__":
    main()
