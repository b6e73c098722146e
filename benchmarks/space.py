"""Samples, keys and costs a second on one core.

    uv run python benchmarks/space.py

The samples of a space are decoded and validated specs. Each figure is the median over rounds, with the
lowest and highest; the work of a round is new every time, so that nothing is remembered from before.
"""

from __future__ import annotations

import platform
import resource
import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np

from search_space import SCALES, SpineNetSpec, published_space, spec_cost, spec_key

ROUNDS, COUNT = 7, 2000
AIMS = {"sample": 5000, "key": 2000, "cost": 5000}


def main() -> None:
    """Prints one line for every operation."""
    space = published_space("spinenet-49")
    rng = np.random.default_rng(0)

    def fresh() -> Iterator[SpineNetSpec]:
        return iter([space.decode(space.sample(rng)) for _ in range(COUNT)])

    def timed(
        prepare: Callable[[], Iterator[SpineNetSpec]], work: Callable[[SpineNetSpec], object]
    ) -> list[float]:
        rates = []
        for _ in range(ROUNDS):
            specs = list(prepare())
            started = time.perf_counter()
            for spec in specs:
                work(spec)
            rates.append(COUNT / (time.perf_counter() - started))
        return rates

    def sampled() -> list[float]:
        rates = []
        for _ in range(ROUNDS):
            started = time.perf_counter()
            for _ in range(COUNT):
                space.decode(space.sample(rng))
            rates.append(COUNT / (time.perf_counter() - started))
        return rates

    results = {
        "sample": sampled(),
        "key": timed(fresh, spec_key),
        "cost": timed(fresh, lambda spec: spec_cost(spec, SCALES["proxy"], 512, "retinanet", 80)),
        "encode": timed(fresh, space.encode),
        "mutate": timed(fresh, lambda spec: space.mutate(space.encode(spec), rng)),
    }
    print(
        f"Python {platform.python_version()}, numpy {np.__version__}, {platform.machine()}, one core, seed 0"
    )
    print(f"{'a second':>10}  {'median':>8}  {'lowest':>8}  {'highest':>8}  {'aim':>6}")
    for name, rates in results.items():
        low, high = min(rates), max(rates)
        aim = AIMS.get(name, "")
        print(f"{name:>10}  {statistics.median(rates):8.0f}  {low:8.0f}  {high:8.0f}  {aim:>6}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
