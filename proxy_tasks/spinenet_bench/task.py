"""The task that looks scores up in the table of trained detectors, or asks its surrogate."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Literal

import numpy as np

from proxy_tasks.spinenet_bench.deviations import chance
from proxy_tasks.spinenet_bench.settings import SETTINGS, read_settings, table_digest
from proxy_tasks.spinenet_bench.surrogate import Surrogate, read_surrogate
from proxy_tasks.spinenet_bench.trainings import (
    DATA_FOLDER,
    LENGTHS,
    OUTPUTS,
    SPACE,
    TRAININGS,
    BenchError,
    RecordedTraining,
    outputs,
    read_trainings,
)
from proxy_tasks.table import EXPECTED
from proxy_tasks.task import Report, Score, TaskFailureError
from search_space import Genotype, NotInSpaceError, SpineNetSpec, published_space
from search_space.encoding import Matrix
from search_space.utils.paths import make_paths_absolute
from search_space.utils.validation import AtLeast, validate

SECONDS = 70.0
"""What the virtual clock takes a usual training of the full length to last."""


@dataclass(frozen=True, kw_only=True)
class SpineNetBenchTask:
    """Gives the scores of trained RetinaNets on specs of SpineNet-49's space, in a moment.

    A spec of the table with several trainings gets the scores of one of them, which follows from the seed.
    One with a single training gets a mean between its scores and what the others let expect, since a part of
    the difference is its seed's, and a deviation for the seed. Another spec gets what the surrogate expects
    of it, with deviations for the spec and the seed like those of the table. Between the lengths at which
    networks were measured, scores are interpolated.

    Args:
        exact: whether only specs of the table have scores, which are those of their trainings, unchanged.
        noise: "draw" for scores of single trainings, "mean" for what a spec scores on average.
        evaluations: how often a score is reported; the last one is the result.
        folder: of the table and its surrogate; None for those that are shipped.

    Raises:
        ValueError: if a field is out of range.
    """

    exact: bool = False
    noise: Literal["draw", "mean"] = "draw"
    evaluations: Annotated[int, AtLeast(1)] = 4
    folder: Path | None = None

    def __post_init__(self) -> None:
        make_paths_absolute(self)
        validate(self)

    def check(self) -> None:
        """Raises BenchError if a file of the table cannot be used."""
        trainings, settings = _trainings(self._files, self.digest), self._files / SETTINGS
        if not self.exact and read_settings(settings).digest != table_digest(trainings):
            raise BenchError(f"{settings}: was found for another table; publish it anew")

    def open(self) -> None:
        """Makes the surrogate, in seconds."""
        if not self.exact:
            _surrogate(self._files, self.digest)

    @property
    def _files(self) -> Path:
        return DATA_FOLDER if self.folder is None else self.folder

    @cached_property
    def digest(self) -> str:
        """Identifies the table."""
        names = (TRAININGS, SETTINGS)
        data = b"".join(path.read_bytes() for name in names if (path := self._files / name).is_file())
        return hashlib.blake2b(data, digest_size=16).hexdigest()

    def check_spec(self, spec: SpineNetSpec) -> None:
        """Checks that a spec is of the table's space.

        Raises:
            NotInSpaceError: if it is not.
        """
        _genotype(spec)

    def evaluate(self, spec: SpineNetSpec, fidelity: float, seed: int, report: Report) -> Score:
        """Gives the score of a training to a share of the full length, which is at most 1.

        Raises:
            TaskFailureError: if the table has no such length or, with `exact`, no such spec; or if the spec
                is none of the space.
        """
        if fidelity > 1:
            raise TaskFailureError("invalid", f"the table has trainings up to fidelity 1, not {fidelity:g}")
        try:
            mean, drawn, seconds = self._look_up(spec, seed)
        except NotInSpaceError as error:
            raise TaskFailureError("invalid", str(error)) from None
        steps = fidelity * LENGTHS[-1]
        last = 0
        for i in range(1, self.evaluations + 1):
            at = steps * i / self.evaluations
            score = self._score(mean, drawn, seconds, at)
            if round(at) > last:  # A very short training has fewer steps than evaluations.
                last = round(at)
                report(last, score)
        return score

    def _score(self, mean: Matrix, drawn: Matrix, seconds: float, steps: float) -> Score:
        val, test = _at(drawn, "val", steps), _at(drawn, "test", steps)
        metrics = {"AP": val, "test_AP": test, "seconds": seconds * steps / LENGTHS[-1]}
        if self.noise == "draw":
            metrics[EXPECTED] = _at(mean, "val", steps)
        return Score(val, metrics)

    def _look_up(self, spec: SpineNetSpec, seed: int) -> tuple[Matrix, Matrix, float]:
        """The scores of a spec on average, those of one training, and the seconds of the full length."""
        _check_family(spec)
        key = spec.key()
        table = _by_key(self._files, self.digest)
        known = table.get(key)
        if known is None and self.exact:
            raise TaskFailureError(
                "invalid",
                f"the table of {len(table)} specs does not have {key}; give a spec of the table, "
                "or task.exact=false, with which the surrogate scores all specs",
            )
        if known is not None and (self.exact or len(known) > 1):
            scores = outputs(known)
            mean, drawn = scores.mean(0), scores[int(chance(f"training {key} {seed}") * len(known))]
            seconds = float(np.mean([training.seconds for training in known]))
        else:
            surrogate = _surrogate(self._files, self.digest)
            if known is not None:
                expected, mean = surrogate.trained_once(key)
                seconds = known[0].seconds
            else:
                expected, seconds = surrogate.expect(_genotype(spec))
                mean = expected + surrogate.own_deviation(expected, key)
            drawn = mean + surrogate.seed_deviation(expected, key, seed)
        return mean.clip(0, 1), (mean if self.noise == "mean" else drawn).clip(0, 1), SECONDS * seconds


@lru_cache(maxsize=4)
def _trainings(folder: Path, digest: str) -> list[RecordedTraining]:
    """The table; one of another digest is read anew."""
    return read_trainings(folder / TRAININGS)


@lru_cache(maxsize=4)
def _by_key(folder: Path, digest: str) -> dict[str, list[RecordedTraining]]:
    """The trainings of each key."""
    found: dict[str, list[RecordedTraining]] = {}
    for training in _trainings(folder, digest):
        found.setdefault(training.key, []).append(training)
    return found


@lru_cache(maxsize=4)
def _surrogate(folder: Path, digest: str) -> Surrogate:
    """The surrogate, which a process makes once, in seconds."""
    return read_surrogate(_trainings(folder, digest), folder)


def _check_family(spec: object) -> None:
    if not isinstance(spec, SpineNetSpec):
        raise NotInSpaceError(f"the table is of the space {SPACE}, not of {type(spec).__name__}")


def _genotype(spec: SpineNetSpec) -> Genotype:
    """The genotype of a spec of the table's space.

    Raises:
        NotInSpaceError: if it is none.
    """
    _check_family(spec)
    try:
        return published_space(SPACE).encode(spec)
    except NotInSpaceError as error:
        raise NotInSpaceError(f"the table is of the space {SPACE}: {error}") from None


def _at(scores: Matrix, part: str, steps: float) -> float:
    """Gives the AP on a part after `steps`; between two lengths it is linear in the logarithm of steps."""
    known = scores[[OUTPUTS.index((part, length)) for length in LENGTHS]]
    if steps < LENGTHS[0]:
        return float(known[0] * steps / LENGTHS[0])
    return float(np.interp(np.log(steps), np.log(LENGTHS), known))
