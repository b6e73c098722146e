"""The surrogate: scores that specs would have, learned from the trainings of the table.

A Gaussian process for each component of the learning curves gives what is expected of a spec from its graph;
a calibration by excess takes back of that what is not measured. What a training scores differs from that by
two deviations, which are drawn from those seen: the spec's own, which follows from its key, and that of the
seed. Each is drawn for all lengths and parts at once, from trainings whose expected AP is near.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from proxy_tasks.spinenet_bench.calibration import (
    CLASSES,
    LEAST_SLOPE,
    MOST_SLOPE,
    Calibration,
    Folds,
    Line,
    cross_calibrate,
    find_calibration,
)
from proxy_tasks.spinenet_bench.components import COMPONENTS, find_components
from proxy_tasks.spinenet_bench.families import assign_folds
from proxy_tasks.spinenet_bench.inputs import Inputs, excess_of
from proxy_tasks.spinenet_bench.trainings import (
    DATA_FOLDER,
    LENGTHS,
    MOST_BYTES,
    NEEDED,
    PARTS,
    BenchError,
    RecordedTraining,
)
from search_space import Genotype
from search_space.encoding import Matrix
from search_space.utils.atomic_file import atomic_write
from search_space.utils.gaussian_process import (
    Kernel,
    condition,
    find_kernel,
    fit_gaussian_process,
    means_of,
)
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

SEED_FREEDOM = 24
"""Degrees of freedom of `SEED_SPREAD`: what the table's repeated specs tell is weighed against it."""

FEWEST_REPEATED = 20
"""Specs with several trainings from which the deviations of seeds are drawn; fewer tell too few of them."""

LEAST, MOST = 1e-9, 1e9
"""Bounds of a kernel's settings in a file."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is found once, when the table is published.

    Args:
        digest: of the trainings that these were found for.
        kernels: of each component.
        seconds: of the relative time of a training.
        calibrations: of what they expect, of each output.
        uncalibrated: what cross-validation expects of each training, [N, outputs], by place in the file.
        expected: the same, each value calibrated by what was found on the other folds.
        own: share of the unexplained variance that is the spec's own, of each output; the rest is the seed's.
    """

    digest: str
    kernels: tuple[Kernel, ...]
    seconds: Kernel
    calibrations: tuple[Calibration, ...]
    uncalibrated: tuple[tuple[float, ...], ...]
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
        """Gives one of those that were seen nearest to an expected AP, without their mean, [outputs].

        Each has a rank that depends on the text, and the first of those near wins: where the expected AP
        changes a little, the choice seldom does.

        Args:
            expected: the AP.
            text: which one.
        """
        near = self._near(expected)
        first = min(near, key=lambda place: chance(f"{text} {place}"))
        return np.asarray(self.values[first] - self.values[near].mean(0))

    def around(self, expected: float) -> Matrix:
        """Gives those that were seen nearest to an expected AP, without their mean, [`NEAR`, outputs].

        So what is drawn is on average what is expected, also where searches have trained the nearest ones.
        """
        values = self.values[self._near(expected)]
        return np.asarray(values - values.mean(0))

    def _near(self, expected: float) -> list[int]:
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
        genotypes = [training.genotype for training in trainings]
        self._encoding = Inputs(genotypes)
        inputs = self._encoding.encode(genotypes)
        targets = outputs(trainings)
        self._components = find_components(targets)
        seconds = np.log([training.seconds for training in trainings])
        columns = (*self._components.reduce(targets).T, seconds)
        kernels = zip((*settings.kernels, settings.seconds), columns, strict=True)
        processes = [condition(kernel, inputs, column) for kernel, column in kernels]
        # All know the same points, and only their means are asked for.
        none, known = np.empty((0, 0)), processes[0].inputs
        self._processes = [replace(process, factor=none, inputs=known) for process in processes]
        self._calibrations = settings.calibrations
        self._own, self._of_seeds = deviations(trainings, targets, settings)
        self._trained_once = trained_once(trainings, targets, settings)

    def expect(self, genotype: Genotype) -> tuple[Matrix, float]:
        """Gives the expected AP of each output, the spec's own deviation left out, and the relative time."""
        expected, seconds = self._expect([genotype])
        return expected[0], math.exp(seconds[0])

    def full(self, genotypes: Sequence[Genotype]) -> Matrix:
        """Gives the expected AP of genotypes after the full length, on the images of a search, [N]."""
        return self._expect(genotypes)[0][:, FULL]

    def _expect(self, genotypes: Sequence[Genotype]) -> tuple[Matrix, Matrix]:
        """The expected AP [N, outputs] of genotypes, and the logarithm of the relative time [N]."""
        *values, seconds = means_of(self._processes, self._encoding.encode(genotypes))
        expected = self._components.restore(np.stack(values, axis=1))
        return calibrate(self._calibrations, expected, excess_of(genotypes)), seconds

    def trained_once(self, key: str) -> tuple[Matrix, Matrix]:
        """Gives what is expected of a spec that was trained once, and its mean score, [outputs] each.

        Raises:
            KeyError: if the table does not have the spec, or has several trainings of it.
        """
        return self._trained_once[key]

    def own_deviation(self, expected: Matrix, key: str) -> Matrix:
        """Draws how far a spec's mean score lies from what is expected."""
        return self._own.draw(float(expected[FULL]), f"own {key}")

    def seed_deviation(self, expected: Matrix, key: str, seed: int) -> Matrix:
        """Draws how far a training lies from its spec's mean."""
        return self._of_seeds.draw(float(expected[FULL]), f"seed {key} {seed}")

    def possible(self, expected: Matrix) -> Matrix:
        """Gives all scores that trainings of a spec that is not in the table may get, [P, outputs].

        One is as likely as another: each sum of what is expected, a spec's deviation and a seed's.
        """
        own, of_seeds = (each.around(float(expected[FULL])) for each in (self._own, self._of_seeds))
        return np.asarray((expected + own[:, None] + of_seeds[None]).reshape(-1, len(OUTPUTS)))


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


def calibrate(calibrations: Sequence[Calibration], expected: Matrix, excess: Matrix) -> Matrix:
    """Gives calibrated expectations, [N, outputs].

    Args:
        calibrations: of each output.
        expected: [N, outputs].
        excess: of the same specs, [N].
    """
    pairs = zip(calibrations, expected.T, strict=True)
    return np.stack([calibration(column, excess) for calibration, column in pairs], axis=1)


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
    repeated = [places for places in spec_groups(trainings) if len(places) > 1]
    if len(repeated) >= FEWEST_REPEATED:
        of_seeds = [
            (
                float(at[place]),
                (targets[place] - targets[places].mean(0)) * np.sqrt(len(places) / (len(places) - 1)),
            )
            for places in repeated
            for place in places
        ]
    else:
        of_seeds = [(float(a), value * np.sqrt(1 - own**2)) for a, value in zip(at, apart, strict=True)]
    of_specs = [(float(a), value * own) for a, value in zip(at, apart, strict=True)]
    return _sorted(of_specs), _sorted(of_seeds)


def trained_once(
    trainings: Sequence[RecordedTraining], targets: Matrix, settings: Settings
) -> dict[str, tuple[Matrix, Matrix]]:
    """Gives, by key, what was expected of specs with one training, and their mean scores, [outputs] each.

    What the training deviates from what was expected is the spec's own in part, and the seed's in part. The
    mean score has the first part alone.

    Args:
        trainings, targets, settings: see `deviations`.
    """
    expected, own = np.array(settings.expected), np.array(settings.own)
    return {
        trainings[place].key: (expected[place], expected[place] + own * (targets[place] - expected[place]))
        for place, *others in spec_groups(trainings)
        if not others
    }


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
    genotypes = [training.genotype for training in trainings]
    inputs, targets = Inputs(genotypes).encode(genotypes), outputs(trainings)
    fold_of = assign_folds(trainings, folds)
    uncalibrated = cross_validate(genotypes, targets, fold_of)
    excess = excess_of(genotypes)
    pairs = list(zip(uncalibrated.T, targets.T, strict=True))
    expected = np.stack([cross_calibrate(*pair, excess, fold_of) for pair in pairs], axis=1)
    return Settings(
        digest=table_digest(trainings),
        kernels=tuple(find_kernel(inputs, values) for values in find_components(targets).reduce(targets).T),
        seconds=find_kernel(inputs, np.log([training.seconds for training in trainings])),
        calibrations=tuple(find_calibration(*pair, excess) for pair in pairs),
        uncalibrated=_rows(uncalibrated),
        expected=_rows(expected),
        own=own_shares(trainings, targets - expected, targets),
    )


def _rows(values: Matrix) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in values.tolist())


def cross_validate(genotypes: Sequence[Genotype], targets: Matrix, fold_of: Folds) -> Matrix:
    """Gives what models that do not know a training's fold expect of it, [N, outputs].

    Args:
        genotypes: of N trainings.
        targets: their scores, [N, outputs].
        fold_of: number of each one's fold, [N]; see `assign_folds`.
    """
    found = np.empty_like(targets)
    for fold in np.unique(fold_of).tolist():
        held, known = np.flatnonzero(fold_of == fold), np.flatnonzero(fold_of != fold)
        of_known = [genotypes[place] for place in known.tolist()]
        asked = [genotypes[place] for place in held.tolist()]
        found[held] = expect_uncalibrated(of_known, targets[known], asked)
    return found


def expect_uncalibrated(known: Sequence[Genotype], targets: Matrix, asked: Sequence[Genotype]) -> Matrix:
    """Gives what models of known trainings expect of M genotypes, [M, outputs], before any calibration.

    Args:
        known: genotypes of N trainings.
        targets: their scores, [N, outputs].
        asked: M genotypes.
    """
    encoding, components = Inputs(known), find_components(targets)
    inputs = encoding.encode(known)
    processes = [fit_gaussian_process(inputs, values) for values in components.reduce(targets).T]
    return components.restore(np.stack(means_of(processes, encoding.encode(asked)), axis=1))


def own_shares(trainings: Sequence[RecordedTraining], apart: Matrix, targets: Matrix) -> tuple[float, ...]:
    """Gives the share of the unexplained variance that is the specs' own, of each output.

    Unexplained variance and that of seeds are compared on trainings of excess 0, or on all if there are none
    of these. The variance of seeds is that of `SEED_SPREAD`, with the weight of `SEED_FREEDOM`, and that of
    repeated specs, with the weight of one less than the trainings of each.

    Args:
        trainings: N of them.
        apart: how far they lie from what was expected, [N, outputs].
        targets: their scores, [N, outputs].
    """
    alike = [place for place, training in enumerate(trainings) if training.scores.get("excess") == 0]
    alike = alike or list(range(len(trainings)))
    squares = SEED_FREEDOM * np.square([SEED_SPREAD[length] for _, length in OUTPUTS])
    freedom = SEED_FREEDOM
    for places in spec_groups([trainings[place] for place in alike]):
        values = targets[[alike[place] for place in places]]
        squares = squares + np.square(values - values.mean(0)).sum(0)
        freedom += len(places) - 1
    shares = zip((squares / freedom).tolist(), np.square(apart[alike]).mean(0).tolist(), strict=True)
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
            calibrations=tuple(_calibration(each) for each in data["calibrations"]),
            uncalibrated=tuple(_numbers(row, len(OUTPUTS), -10, 10) for row in data["uncalibrated"]),
            expected=tuple(_numbers(row, len(OUTPUTS), -10, 10) for row in data["expected"]),
            own=_numbers(data["own"], len(OUTPUTS), 0, 1),
        )
        wanted = {"kernels": (found.kernels, COMPONENTS), "calibrations": (found.calibrations, len(OUTPUTS))}
        for name, (values, count) in wanted.items():
            if len(values) != count:
                raise ValueError(f"there must be {count} {name}, not {len(values)}")
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


def _calibration(data: Mapping[str, Any]) -> Calibration:
    lines = tuple(
        Line(
            middle=_numbers([line["middle"]], 1, -10, 10)[0],
            offset=_numbers([line["offset"]], 1, -10, 10)[0],
            slope=_numbers([line["slope"]], 1, LEAST_SLOPE, MOST_SLOPE)[0],
        )
        for line in data["lines"]
    )
    if len(lines) != CLASSES:
        raise ValueError(f"a calibration has {CLASSES} lines, not {len(lines)}")
    return Calibration(lines=lines)


def _numbers(values: Sequence[Any], count: int, least: float, most: float) -> tuple[float, ...]:
    """Gives `count` numbers within bounds; raises ValueError for anything else."""
    if len(values) != count or not all(is_number(value) and least <= value <= most for value in values):
        raise ValueError(f"{count} numbers in {least:g}..{most:g} are wanted, not {shown(values)}")
    return tuple(map(float, values))
