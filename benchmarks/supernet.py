"""Whether weights that all specs share rank specs as trainings of their own rank them.

    uv run python -m benchmarks.supernet OUT --steps 1400

A supernet holds one set of weights for every part that a spec can have: bodies by level, kind and ordinal
among such blocks; the way out of a body, and the way into one, by direction; and the head. Each step trains
four random specs of excess 0, those with little-used bodies first. Then random specs of excess 0 of the
table, which it has not trained, get the averaged shared weights, statistics of their own, and an AP. What
counts is the rank correlation of this AP with that of the table, where each spec was trained by itself. At
least 0.30 is wanted, and a lower bound of 95 % of at least 0.12. Images and settings are those of
`benchmarks.spinenet_bench`. The state of the supernet and each score are in OUT, and are not made again.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.inheritance import Bench
from benchmarks.machine import write_report
from benchmarks.rows import add_row, read_rows
from benchmarks.spinenet_bench.facts import is_random_within
from benchmarks.spinenet_bench.plan import draw_excess_0, space
from benchmarks.spinenet_bench.recipe import FULL
from nas.analysis.rank_correlation import Interval, correlate
from nas.executors.job import evaluation_seed
from proxy_tasks.data.batches import Batch
from proxy_tasks.engine.average import BATCHES, measure_statistics
from proxy_tasks.engine.batch_stream import BatchStream
from proxy_tasks.engine.optimizer import learning_rate, make_optimizer
from proxy_tasks.engine.train import batch_loss
from proxy_tasks.spinenet_bench import read_trainings
from proxy_tasks.spinenet_bench.trainings import RecordedTraining
from search_space import Genotype, SpineNetSpec

PATHS = 4
"""Specs that are trained in one step, each on a batch of its own."""

CHOICE = 4
"""Random specs of which the one with the least used bodies is trained."""

GATE, LOWER = 0.30, 0.12
"""Kendall's tau that is wanted, and the lower bound of its interval of 95 %."""

SAVED_EVERY = 50
"""Steps."""

PART = re.compile(r"backbone\.blocks\.(\d+)\.(body|resample\.([01])\.(down|expand))\.(.*)")

Body = tuple[Hashable, ...]


def bodies(spec: SpineNetSpec) -> list[Body]:
    """Names the bodies of a spec's stem and blocks: by level, kind, and ordinal among such blocks."""
    seen: Counter[tuple[int, str]] = Counter()
    found: list[Body] = [("stem", number) for number in range(len(spec.stem))]
    for block in spec.blocks:
        alike = (block.level, block.kind)
        found.append((*alike, seen[alike]))
        seen[alike] += 1
    return found


def shared_name(spec: SpineNetSpec, body: Sequence[Body], name: str, shape: Sequence[int]) -> Hashable:
    """Gives the name that a parameter of a spec's network has in the supernet.

    Convolutions of the way between two blocks belong to a body and a direction, their norms to the levels of
    both blocks as well.

    Args:
        spec: of the network.
        body: see `bodies`.
        name: of the parameter in the network.
        shape: of the parameter; ways from blocks of other widths have other weights.
    """
    found = PART.fullmatch(name)
    if found is None:
        return (name, tuple(shape))
    index, part, parent, way, rest = found.groups()
    if part == "body":
        return ("body", body[int(index)], rest)
    block = spec.features[int(index)]
    place = spec.blocks[int(index) - len(spec.stem)].parents[int(parent)]
    source = spec.features[place]
    steps = block.level - source.level
    own = body[place] if way == "down" else (body[int(index)], (steps > 0) - (steps < 0))
    levels = (source.level, block.level) if ".norm." in f".{rest}" else ()
    return (way, own, levels, rest, tuple(shape))


@dataclass(kw_only=True)
class Shared:
    """Weights of the supernet.

    Args:
        current: by shared name; they are trained.
        average: the same, averaged over the last tenth of each one's updates.
        updates: of each.
        uses: of each body.
    """

    current: dict[Hashable, nn.Parameter] = field(default_factory=dict)
    average: dict[Hashable, Tensor] = field(default_factory=dict)
    updates: Counter[Hashable] = field(default_factory=Counter)
    uses: Counter[Body] = field(default_factory=Counter)

    def lend(self, net: nn.Module, spec: SpineNetSpec) -> list[Hashable]:
        """Puts the trained weights into a network; new ones are taken from it. Returns all their names."""
        names = []
        for module, leaf, key, parameter in _parameters(net, spec):
            module._parameters[leaf] = self.current.setdefault(key, parameter)
            names.append(key)
        return list(dict.fromkeys(names))

    @torch.no_grad()
    def copy_average(self, net: nn.Module, spec: SpineNetSpec) -> float:
        """Copies averaged weights into a network; returns the share of its numbers that are there."""
        known = count = 0
        for _, _, key, parameter in _parameters(net, spec):
            count += parameter.numel()
            average = self.average.get(key)
            if average is not None:
                parameter.copy_(average)
                known += parameter.numel()
        return known / count

    @torch.no_grad()
    def update_average(self, names: Sequence[Hashable], share: float) -> None:
        """Takes in the weights that were just trained; see `proxy_tasks.engine.average`."""
        for name in names:
            self.updates[name] += 1
            weight = 1 - (1 - 1 / self.updates[name]) ** (1 / share)
            if name not in self.average:
                self.average[name] = self.current[name].detach().clone()
            else:
                self.average[name].lerp_(self.current[name], weight)


def _parameters(
    net: nn.Module, spec: SpineNetSpec
) -> Iterator[tuple[nn.Module, str, Hashable, nn.Parameter]]:
    """Each parameter of a spec's network with its module, its name there, and its shared name."""
    body = bodies(spec)
    for prefix, module in net.named_modules():
        for leaf, parameter in module._parameters.items():
            if parameter is not None:
                name = shared_name(spec, body, f"{prefix}.{leaf}", parameter.shape)
                yield module, leaf, name, parameter


class SupernetBench(Bench):
    """Trains a supernet and measures specs with its weights, as the table does."""

    def train_supernet(self, shared: Shared, steps: int, file: Path) -> None:
        """Trains the supernet from where it is in a file, and saves it there now and then."""
        config, seed = self.task.train, evaluation_seed(191)
        optimizer = make_optimizer(self.network(_specs(0, 1)[0], 0), config)
        for group in optimizer.param_groups:
            group["params"] = []
        done = 0
        if file.exists():
            state = torch.load(file, weights_only=False)
            shared.current, shared.average = state["current"], state["average"]
            shared.updates, shared.uses, done = state["updates"], state["uses"], state["done"]
            self._admit(optimizer, list(shared.current.values()))
            optimizer.load_state_dict(state["optimizer"])
        batches = BatchStream(self.images, config, seed).steps(PATHS * done, PATHS * steps)
        for step in range(done, steps):
            started = time.perf_counter()
            rate = learning_rate(config, step)
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.zero_grad()
            names, losses = [], []
            for spec in self._chosen(shared, step):
                net = self.network(spec, evaluation_seed(192, step))
                known = len(shared.current)
                names += shared.lend(net, spec)
                self._admit(optimizer, list(shared.current.values())[known:])
                loss = batch_loss(net.train(), "fp32", next(batches)) / PATHS
                loss.backward()  # type: ignore[no-untyped-call]
                losses.append(float(loss.detach()))
                shared.uses.update(bodies(spec)[len(spec.stem) :])
            trained = [name for name in dict.fromkeys(names) if shared.current[name].grad is not None]
            nn.utils.clip_grad_norm_([shared.current[name] for name in trained], config.clip)
            optimizer.step()
            shared.update_average(trained, config.average)
            if (step + 1) % SAVED_EVERY == 0 or step + 1 == steps:
                _save(file, shared, optimizer, step + 1)
                seconds = time.perf_counter() - started
                print(
                    f"step {step + 1}: loss {sum(losses):.3f}, {seconds:.2f} s", file=sys.stderr, flush=True
                )

    def _chosen(self, shared: Shared, step: int) -> Iterator[SpineNetSpec]:
        """Specs to train in a step: of some random ones each, that whose bodies were least used."""
        for path in range(PATHS):
            drawn = _specs(PATHS * step + path + 1, CHOICE)
            yield min(drawn, key=lambda spec: np.mean([shared.uses[body] for body in bodies(spec)]))

    @staticmethod
    def _admit(optimizer: torch.optim.Optimizer, parameters: Sequence[nn.Parameter]) -> None:
        """Lets an optimizer train further weights; the first group is of kernels, which decay."""
        for parameter in parameters:
            optimizer.param_groups[parameter.ndim <= 1]["params"].append(parameter)

    def score(self, shared: Shared, genotype: Genotype) -> dict[str, float]:
        """AP of a spec with the averaged weights, on both sets of images, and its mean loss."""
        spec: Any = space().decode(genotype)
        net = self.network(spec, 0)
        taken = shared.copy_average(net, spec)
        losses: list[float] = []

        def forward(batch: Batch) -> None:
            losses.append(float(batch_loss(net, "fp32", batch)))

        own = BatchStream(self.images, self.task.train, evaluation_seed(193)).steps(0, BATCHES)
        measure_statistics(net, forward, own)
        return {**self.measure(net), "loss": float(np.mean(losses)), "taken": taken}


def _specs(number: int, count: int) -> list[SpineNetSpec]:
    """Random specs of excess 0; other ones for each number."""
    genotypes = islice(draw_excess_0(np.random.default_rng((194, number))), count)
    return [spec for spec in map(space().decode, genotypes) if isinstance(spec, SpineNetSpec)]


def _save(file: Path, shared: Shared, optimizer: torch.optim.Optimizer, done: int) -> None:
    partial_file = file.with_suffix(".tmp")
    torch.save({**vars(shared), "optimizer": optimizer.state_dict(), "done": done}, partial_file)
    partial_file.rename(file)


def asked() -> list[RecordedTraining]:
    """The table's random specs of excess 0."""
    return [training for training in read_trainings() if is_random_within(training)]


def agreement(first: Sequence[float], second: Sequence[float]) -> Interval:
    """Gives Kendall's tau of N scores with N others, and its interval of 95 % by a bootstrap over specs."""
    return correlate(np.array(first, float)[:, None], np.array(second, float)).kendall


def describe(rows: Sequence[Mapping[str, Any]], steps: int) -> str:
    """Gives the rank correlations as a table in Markdown."""
    known = {training.key: training for training in asked()}
    rows = [row for row in rows if row["key"] in known and row["steps"] == steps]

    def worth(row: Mapping[str, Any]) -> float:
        scores = known[row["key"]].scores
        return (scores[f"val_AP_{FULL}"] + scores[f"test_AP_{FULL}"]) / 2

    full = [worth(row) for row in rows]
    signals: dict[str, Callable[[Mapping[str, Any]], float]] = {
        "AP with shared weights, 600 images": lambda row: row["val"],
        "AP with shared weights, both sets": lambda row: (row["val"] + row["test"]) / 2,
        "minus the loss with shared weights": lambda row: -row["loss"],
        f"AP of the same training after {FULL // 4} steps": lambda row: known[row["key"]].scores[
            f"val_AP_{FULL // 4}"
        ],
        "share of the weights that are shared": lambda row: row["taken"],
    }
    cost = steps * PATHS / FULL
    lines = [
        f"{len(rows)} random specs of excess 0; {steps} steps of {PATHS} specs, as many as {cost:.1f} "
        "trainings.\n"
        f"AP of their own trainings: mean {np.mean(full):.3f}.\n",
        "| signal | mean | Kendall's tau with the AP of their own trainings (95 %) |",
        "| --- | --- | --- |",
    ]
    for name, signal in signals.items():
        values = [signal(row) for row in rows]
        tau = agreement(values, full)
        lines.append(
            f"| {name} | {np.mean(values):.4f} | {tau.value:.2f} ({tau.low:.2f} to {tau.high:.2f}) |"
        )
    lines.append(f"\nWanted: a tau of at least {GATE}, with a lower bound of at least {LOWER}.")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Trains the supernet, asks it about the table's specs, and prints the rank correlations."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=1400)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    bench, shared = SupernetBench(), Shared()
    bench.train_supernet(shared, options.steps, options.out / "supernet.pt")
    file = options.out / "scores.jsonl"
    there = {(row["key"], row["steps"]) for row in read_rows(file)}
    for training in asked():
        if (training.key, options.steps) not in there:
            score = bench.score(shared, training.genotype)
            add_row(file, {"key": training.key, "steps": options.steps, **score})
    write_report(options.out / "table.md", "supernet", describe(read_rows(file), options.steps))


if __name__ == "__main__":
    main()
