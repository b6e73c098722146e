"""The keys of `nas compare`, `nas judge` and `nas versus`: types, ranges and defaults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal

from nas.search.config import TrialSettings
from nas.search.objective import Objective
from proxy_tasks.task import Fidelity
from search_space.utils.validation import AtLeast, validate

RANDOM = "random"
"""The baseline of random specs."""


@dataclass(frozen=True, kw_only=True)
class CompareSettings:
    """The keys of a comparison of controllers.

    Args:
        space, task, executor: nodes of what is searched, scored and run.
        controllers: names with changes, such as "evolution population=50", or import paths of classes.
        seeds: searches that each controller makes.
        seed: of the first of them; the others follow.
        trials: proposals of each search.
        workers: evaluations at a time, on the virtual clock.
        fidelity, objective: see `nas.SearchConfig`.
        search: further settings of each search, see `nas.TrialSettings`.
        processes: searches at a time; None for one on each core.
        out: folder of the results; a second call with the same settings continues.

    Raises:
        ValueError: if a value is of the wrong type or out of its range.
    """

    space: Any
    task: Any
    executor: Any
    controllers: Sequence[str] = ("random", "local", "evolution", "reinforce", "ppo", "predictor", "optuna")
    seeds: Annotated[int, AtLeast(2)] = 20
    seed: Annotated[int, AtLeast(0)] = 0
    trials: Annotated[int, AtLeast(1)] = 150
    workers: Annotated[int, AtLeast(1)] = 1
    fidelity: Fidelity = 1.0
    objective: Objective = field(default_factory=Objective)
    search: TrialSettings = field(default_factory=TrialSettings)
    processes: Annotated[int, AtLeast(1)] | None = None
    out: str = "comparison"

    def __post_init__(self) -> None:
        validate(self)
        if not any(name.strip() for name in self.controllers):
            raise ValueError("controllers: give at least one, such as controllers=[random,local]")


@dataclass(frozen=True, kw_only=True)
class ProxyStudyConfig:
    """The trainings of a study.

    Args:
        specs: how many random specs are trained.
        seeds: trainings of each spec at the proxy's fidelity.
        fidelity: the proxy's fidelity.
        reference: the higher fidelity.
        reference_seeds: trainings of each spec at the higher fidelity.
        neighbors: specs of which one neighbor is trained too, to see how smooth the scores are.
        seed: of the random specs.

    Raises:
        ValueError: if a value is out of its range.
    """

    specs: Annotated[int, AtLeast(3)] = 24
    seeds: Annotated[int, AtLeast(1)] = 2
    fidelity: Fidelity = 1.0
    reference: Fidelity = 3.0
    reference_seeds: Annotated[int, AtLeast(1)] = 1
    neighbors: Annotated[int, AtLeast(0)] = 6
    seed: Annotated[int, AtLeast(0)] = 0

    def __post_init__(self) -> None:
        validate(self)
        if self.fidelity >= self.reference:
            raise ValueError(f"fidelity must be below reference, {self.reference}, not {self.fidelity}")
        if self.neighbors > self.specs:
            raise ValueError(
                f"neighbors must be at most the number of specs, {self.specs}, not {self.neighbors}"
            )


@dataclass(frozen=True, kw_only=True)
class JudgeSettings(ProxyStudyConfig):
    """The keys of a study of a proxy: those of `ProxyStudyConfig`, and where it is run.

    Args:
        space, task, executor: nodes of what the specs are drawn from, what trains them, and what runs it.
        workers: trainings at a time; "auto" for as many as cores, memory and GPUs allow.
        strata: what is known of specs before training, such as excess or macs; specs of like values are
            compared among each other too. None for excess, or else macs, where these are known.
        out: folder of the results; a second call with the same settings continues.

    Raises:
        ValueError: if a value is of the wrong type or out of its range.
    """

    space: Any
    task: Any
    executor: Any
    workers: Annotated[int, AtLeast(1)] | Literal["auto"] = "auto"
    strata: str | None = None
    out: str = "judgement"

    def __post_init__(self) -> None:
        validate(self)
        self.plan()

    def plan(self) -> ProxyStudyConfig:
        """The trainings; a spec has at most one neighbor."""
        values = {found.name: getattr(self, found.name) for found in fields(ProxyStudyConfig)}
        return ProxyStudyConfig(**{**values, "neighbors": min(self.neighbors, self.specs)})


@dataclass(frozen=True, kw_only=True)
class VersusConfig:
    """What is compared, and how.

    Args:
        against: published names, spec files, or "random" for random specs of the winner's space.
        seeds: trainings of each.
        seed: of the first; the others follow.
        fidelity: length of the trainings relative to the task's own.

    Raises:
        ValueError: if a value is of the wrong type or out of its range.
    """

    against: tuple[str, ...] = ("spinenet-49", "r50-fpn", RANDOM)
    seeds: Annotated[int, AtLeast(1)] = 3
    seed: Annotated[int, AtLeast(0)] = 0
    fidelity: Fidelity = 1.0

    def __post_init__(self) -> None:
        validate(self)


@dataclass(frozen=True, kw_only=True)
class VersusSettings(VersusConfig):
    """The keys of a winner's comparison with its baselines: those of `VersusConfig`, and where it is run.

    Args:
        space, task, executor: nodes of what random specs are drawn from, what trains, and what runs it.
        spec: the winner: a run folder, a spec file or a published name; None for that of the latest search.
        workers: trainings at a time; "auto" for as many as cores, memory and GPUs allow.
        out: folder of the results; None for `versus` in the run folder, or here.

    Raises:
        ValueError: if a value is of the wrong type or out of its range.
    """

    space: Any
    task: Any
    executor: Any
    spec: str | None = None
    workers: Annotated[int, AtLeast(1)] | Literal["auto"] = "auto"
    out: str | None = None

    def __post_init__(self) -> None:
        validate(self)

    def plan(self) -> VersusConfig:
        """What is compared, without where it is run."""
        return VersusConfig(**{found.name: getattr(self, found.name) for found in fields(VersusConfig)})
