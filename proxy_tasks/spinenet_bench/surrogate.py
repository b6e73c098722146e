"""The surrogate: scores that specs would have, learned from the trainings of the table.

A Gaussian process for each length and part gives what is expected of a spec from its decisions and its graph.
What a training scores differs from that by two deviations, which are drawn from those seen: the spec's own,
which follows from its key, and that of the seed. Each is drawn for all lengths and parts at once, from
trainings whose expected AP is near.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from proxy_tasks.spinenet_bench.trainings import (
    DATA_FOLDER,
    LENGTHS,
    MOST_BYTES,
    NEEDED,
    PARTS,
    SPACE,
    BenchError,
    RecordedTraining,
)
from search_space import Genotype, published_space
from search_space.encoding import Encoding, Matrix
from search_space.utils.atomic_file import atomic_write
from search_space.utils.gaussian_process import Kernel, condition, find_kernel, fit_gaussian_process, means_of
from search_space.utils.json_text import parse_json
from search_space.utils.parsing import read_bounded, reading, shown
from search_space.utils.strict_json import to_json
from search_space.utils.validation import is_number

SETTINGS = "surrogate.json"

OUTPUTS = tuple((part, length) for part in PARTS for length in LENGTHS)
"""What is learned: the AP on each part after each length."""

FULL = OUTPUTS.index(("val", LENGTHS[-1]))

NEAR = 40
"""A deviation is drawn from this number of seen ones: those whose expected AP is nearest."""

SEED_SPREAD = {70: 0.0141, 140: 0.0316, 280: 0.0367, 560: 0.0193}
"""By length, the standard deviation of the AP over seeds: 24 random specs of excess 0 with two seeds each
(benchmarks/results/anytime)."""

LEAST, MOST = 1e-9, 1e9
"""Bounds of a kernel's settings in a file."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is found once, when the table is published.

    Args:
        digest: of the trainings that these were found for.
        kernels: of each output.
        seconds: of the relative time of a training.
        expected: what cross-validation expects of each training, [N, outputs], by place in the file.
        own: share of the unexplained variance that is the spec's own, of each output; the rest is the seed's.
    """

    digest: str
    kernels: tuple[Kernel, ...]
    seconds: Kernel
    expected: tuple[tuple[float, ...], ...]
    own: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Deviations:
    """Deviations that were seen.

    Args:
        at: expected AP of the full length at which each was seen, ascending, [D].
        values: of each output, [D, outputs].
    """

    at: Matrix
    values: Matrix

    def draw(self, expected: float, text: str) -> Matrix:
        """Gives one of those that were seen nearest to an expected AP, [outputs].

        Each has a rank that depends on the text, and the first of those near wins: where the expected AP
        changes a little, the choice seldom does.

        Args:
            expected: the AP.
            text: which one.
        """
        return np.asarray(self.values[min(self.near(expected), key=lambda place: chance(f"{text} {place}"))])

    def near(self, expected: float) -> list[int]:
        """Gives the places of those that were seen nearest to an expected AP."""
        found: list[int] = np.argsort(np.abs(self.at - expected), kind="stable")[:NEAR].tolist()
        return found


class Surrogate:
    """Gives scores of any spec of the space.

    Args:
        trainings: that it learns from.
        settings: found by `find_settings` for these.

    Raises:
        BenchError: if the settings are those of other trainings.
    """

    def __init__(self, trainings: Sequence[RecordedTraining], settings: Settings) -> None:
        if settings.digest != table_digest(trainings):
            raise BenchError("the surrogate's settings were found for another table; publish them anew")
        self._encoding = Encoding(published_space(SPACE))
        inputs = self._encoding.encode([training.genotype for training in trainings])
        targets = outputs(trainings)
        seconds = np.log([training.seconds for training in trainings])
        kernels = zip((*settings.kernels, settings.seconds), (*targets.T, seconds), strict=True)
        processes = [condition(kernel, inputs, column) for kernel, column in kernels]
        # All know the same points, and only their means are asked for.
        none, known = np.empty((0, 0)), processes[0].inputs
        self._processes = [replace(process, factor=none, inputs=known) for process in processes]
        self._own, self._of_seeds = deviations(trainings, targets, settings)

    def expect(self, genotype: Genotype) -> tuple[Matrix, float]:
        """Gives the expected AP of each output, the spec's own deviation left out, and the relative time."""
        means = means_of(self._processes, self._encoding.encode([genotype]))
        *expected, seconds = [float(mean[0]) for mean in means]
        return np.array(expected), math.exp(seconds)

    def full(self, genotypes: Sequence[Genotype]) -> Matrix:
        """Gives the expected AP of genotypes after the full length, on the images of a search, [N]."""
        return self._processes[FULL].mean(self._encoding.encode(genotypes))

    def own_deviation(self, expected: Matrix, key: str) -> Matrix:
        """Draws how far a spec's mean score lies from what is expected."""
        return self._own.draw(float(expected[FULL]), f"own {key}")

    def seed_deviation(self, expected: Matrix, key: str, seed: int) -> Matrix:
        """Draws how far a training lies from its spec's mean."""
        return self._of_seeds.draw(float(expected[FULL]), f"seed {key} {seed}")


def chance(text: str) -> float:
    """Gives a number in [0, 1) that depends on the text alone, on every machine."""
    digest = blake2b(text.encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53


def table_digest(trainings: Sequence[RecordedTraining]) -> str:
    """Identifies trainings and their order."""
    rows = [
        (t.group, t.number, t.key, t.seed, *(float(np.float32(t.scores[name])).hex() for name in NEEDED))
        for t in trainings
    ]
    return blake2b(repr(rows).encode(), digest_size=16).hexdigest()


def outputs(trainings: Sequence[RecordedTraining]) -> Matrix:
    """Gives the APs of trainings, [N, outputs]."""
    return np.array([[training.scores[name] for name in NEEDED] for training in trainings])


def deviations(
    trainings: Sequence[RecordedTraining], targets: Matrix, settings: Settings
) -> tuple[Deviations, Deviations]:
    """Gives the specs' own deviations and those of seeds.

    Args:
        trainings: N of them.
        targets: their scores, [N, outputs].
        settings: found for these.
    """
    expected = np.array(settings.expected)
    apart, at = targets - expected, expected[:, FULL]
    own = np.sqrt(settings.own)
    groups = spec_groups(trainings)
    of_seeds = [
        (
            float(at[place]),
            (targets[place] - targets[places].mean(0)) * np.sqrt(len(places) / (len(places) - 1)),
        )
        for places in groups
        if len(places) > 1
        for place in places
    ] or [(float(at[place]), apart[place] * np.sqrt(1 - own**2)) for place in range(len(trainings))]
    of_specs = [(float(a), value * own) for a, value in zip(at, apart, strict=True)]
    return _sorted(of_specs), _sorted(of_seeds)


def _sorted(found: Sequence[tuple[float, Matrix]]) -> Deviations:
    ordered = sorted(found, key=lambda pair: pair[0])
    return Deviations(at=np.array([a for a, _ in ordered]), values=np.array([value for _, value in ordered]))


def spec_groups(trainings: Sequence[RecordedTraining]) -> list[list[int]]:
    """Gives the places of each spec's trainings."""
    groups: dict[str, list[int]] = {}
    for place, training in enumerate(trainings):
        groups.setdefault(training.key, []).append(place)
    return list(groups.values())


def find_settings(trainings: Sequence[RecordedTraining], folds: int = 5) -> Settings:
    """Finds the settings for trainings of at least as many specs as folds; takes minutes for a thousand.

    Args:
        trainings: that the surrogate will learn from.
        folds: of the cross-validation that tells what a model expects of specs that it does not know.
    """
    inputs = Encoding(published_space(SPACE)).encode([training.genotype for training in trainings])
    targets = outputs(trainings)
    expected = cross_validate(trainings, inputs, targets, folds)
    return Settings(
        digest=table_digest(trainings),
        kernels=tuple(find_kernel(inputs, column) for column in targets.T),
        seconds=find_kernel(inputs, np.log([training.seconds for training in trainings])),
        expected=tuple(tuple(row) for row in expected.tolist()),
        own=own_shares(trainings, targets - expected, targets),
    )


def cross_validate(
    trainings: Sequence[RecordedTraining], inputs: Sequence[Matrix], targets: Matrix, folds: int
) -> Matrix:
    """Gives what models that do not know a training's spec expect of it, [N, outputs].

    All trainings of a spec are in one fold.

    Args:
        trainings: N of them.
        inputs: their encoding.
        targets: their scores, [N, outputs].
        folds: how many models are fitted for each output.
    """
    groups = spec_groups(trainings)
    fold_of = np.empty(len(trainings), np.int64)
    for i, number in enumerate(np.random.default_rng(0).permutation(len(groups)).tolist()):
        fold_of[groups[number]] = i % folds
    found = np.empty_like(targets)
    for fold in sorted(set(fold_of.tolist())):
        held, known = fold_of == fold, fold_of != fold
        there, asked = [group[known] for group in inputs], [group[held] for group in inputs]
        for column in range(targets.shape[1]):
            process = fit_gaussian_process(there, targets[known, column])
            found[held, column] = process.mean(asked)
    return found


def own_shares(trainings: Sequence[RecordedTraining], apart: Matrix, targets: Matrix) -> tuple[float, ...]:
    """Gives the share of the unexplained variance that is the specs' own, of each output.

    Where no spec was trained twice, what seeds do is taken from `SEED_SPREAD`, for specs of excess 0.

    Args:
        trainings: N of them.
        apart: how far they lie from what was expected, [N, outputs].
        targets: their scores, [N, outputs].
    """
    repeated = [targets[places] for places in spec_groups(trainings) if len(places) > 1]
    if repeated:
        of_seeds, compared = np.mean([values.var(0, ddof=1) for values in repeated], axis=0), apart
    else:
        of_seeds = np.square([SEED_SPREAD[length] for _, length in OUTPUTS])
        alike = [training.scores.get("excess") == 0 for training in trainings]
        compared = apart[alike] if any(alike) else apart
    shares = zip(map(float, of_seeds), map(float, np.square(compared).mean(0)), strict=True)
    return tuple(min(1.0, max(0.0, 1 - seeds / both)) if both else 0.5 for seeds, both in shares)


def write_settings(settings: Settings, path: Path) -> None:
    """Writes settings as `read_settings` reads them."""
    with atomic_write(path) as partial:
        partial.write_text(to_json(asdict(settings)) + "\n", encoding="utf-8")


def read_settings(path: Path = DATA_FOLDER / SETTINGS) -> Settings:
    """Reads what `write_settings` has written.

    Raises:
        BenchError: if the file cannot be used.
    """
    with reading(BenchError, f"{path}: "):
        data: Any = parse_json(read_bounded(path, MOST_BYTES))
        found = Settings(
            digest=str(data["digest"]),
            kernels=tuple(_kernel(kernel) for kernel in data["kernels"]),
            seconds=_kernel(data["seconds"]),
            expected=tuple(_numbers(row, len(OUTPUTS), -10, 10) for row in data["expected"]),
            own=_numbers(data["own"], len(OUTPUTS), 0, 1),
        )
        if len(found.kernels) != len(OUTPUTS):
            raise ValueError(f"there must be {len(OUTPUTS)} kernels, not {len(found.kernels)}")
        return found


def read_surrogate(trainings: Sequence[RecordedTraining], folder: Path = DATA_FOLDER) -> Surrogate:
    """Makes the surrogate of a table with the settings in its folder, in seconds.

    Args:
        trainings: of the table.
        folder: where it is.

    Raises:
        BenchError: if the settings cannot be used.
    """
    with reading(BenchError, f"{folder / SETTINGS}: "):
        return Surrogate(trainings, read_settings(folder / SETTINGS))


def _kernel(data: Mapping[str, Any]) -> Kernel:
    return Kernel(
        lengths=_numbers(data["lengths"], 2, LEAST, MOST),
        amplitudes=_numbers(data["amplitudes"], 2, LEAST, MOST),
        noise=_numbers([data["noise"]], 1, LEAST, MOST)[0],
    )


def _numbers(values: Sequence[Any], count: int, least: float, most: float) -> tuple[float, ...]:
    """Gives `count` numbers within bounds; raises ValueError for anything else."""
    if len(values) != count or not all(is_number(value) and least <= value <= most for value in values):
        raise ValueError(f"{count} numbers in {least:g}..{most:g} are wanted, not {shown(values)}")
    return tuple(map(float, values))
