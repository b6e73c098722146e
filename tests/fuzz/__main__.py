"""`python -m tests.fuzz`: runs cases by hand and prints a table; the status is 1 if there are faults."""

from __future__ import annotations

import argparse
import os
import sys

from tests.fuzz.harness import Outcome, fuzz
from tests.fuzz.kinds import NAMES, find_kind


def main() -> int:
    """Runs the kinds that are asked for."""
    parser = argparse.ArgumentParser("python -m tests.fuzz", description=__doc__)
    parser.add_argument(
        "--kind", action="append", choices=NAMES, help="may be given more than once; default: all"
    )
    parser.add_argument("--count", type=int, default=1000, help="cases of each kind; default: 1000")
    parser.add_argument("--first", type=int, default=0, help="seed of the first case; default: 0")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes at a time")
    parser.add_argument(
        "--faults", type=int, default=20, help="how many faults of a kind are printed; default: 20"
    )
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.count)
    outcomes = []
    for name in options.kind or NAMES:
        outcome = fuzz(find_kind(name), seeds, options.workers, _show)
        outcomes.append(outcome)
        for seed, fault, text in outcome.faults[: options.faults]:
            print(f"\r\033[K{name} {seed}: {fault}: {text}", flush=True)
    print(f"\r\033[K{'kind':<12}{'cases':>8}{'read':>8}{'refused':>9}{'faults':>8}{'slowest':>10}")
    for found in outcomes:
        numbers = f"{found.cases:>8}{found.read:>8}{found.refused:>9}{len(found.faults):>8}"
        print(f"{found.name:<12}{numbers}{found.seconds:>8.2f} s")
    return 1 if any(found.faults for found in outcomes) else 0


def _show(outcome: Outcome) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{outcome.name}: {outcome.cases}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
