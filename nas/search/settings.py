"""The keys of `nas search`: types, ranges and defaults of what configs/search.yaml does not say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from nas.search.config import LoopSettings
from nas.search.objective import Objective
from proxy_tasks.task import Fidelity
from search_space.utils.validation import Above, AtLeast, AtMost, validate


@dataclass(frozen=True, kw_only=True)
class ZeroCostSettings:
    """How the scores of untrained networks are used.

    Args:
        measure: one of `proxy_tasks.zero_cost`, such as params, naswot or excess; None to use none.
        start: number of first proposals: the best of the `candidates` measured specs.
        candidates: random specs that are measured before the search, at least `start`.
        keep: only this best share of the proposals is trained.
        sign: -1 if smaller is better.

    Raises:
        ValueError: if a value is of the wrong type or out of its range.
    """

    measure: str | None = None
    start: Annotated[int, AtLeast(0)] = 0
    candidates: Annotated[int, AtLeast(0)] = 100
    keep: Annotated[float, Above(0), AtMost(1)] = 1.0
    sign: float = 1.0

    def __post_init__(self) -> None:
        validate(self)
        if self.measure is None and (self.start or self.keep < 1):
            raise ValueError("start and keep need a measure, such as measure=naswot")
        if self.start > self.candidates:
            raise ValueError(f"start must be at most candidates ({self.candidates}), not {self.start}")


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """The keys of a search.

    Args:
        space, task, controller, executor: nodes of what is searched, scored, proposed and run.
        pruner: node of `optuna.pruners`, for early stopping on reported scores; None for none.
        scheduler: node of what decides how long each trial is trained; a pruner needs the default one.
        prior: node of what is known of specs before the search; None for nothing.
        trials: number of proposals, whatever becomes of them; promotions come on top.
        workers: evaluations at a time; "auto" for as many as cores, memory and GPUs allow.
        seed, fidelity, wall_time, target, objective: see `nas.SearchConfig`.
        cost_limits: largest costs by name, such as {macs: 1e8}; a proposal above one is replaced before any
            training.
        zero_cost: how the scores of untrained networks are used.
        tracker: "mlflow" or "wandb", each an extra package; TensorBoard's files are always written.
        observers: nodes by name of what sees the events of the search.
        run_dir: folder of the search; None for runs/<date and time>.
        search: how it loops, see `nas.search.config.LoopSettings`.
        layout: version of the files in a run folder.

    Raises:
        ValueError: if a value is of the wrong type or out of its range.
    """

    space: Any
    task: Any
    controller: Any
    executor: Any
    pruner: Any = None
    scheduler: Any = None
    prior: Any = None
    trials: Annotated[int, AtLeast(1)] = 14
    workers: Annotated[int, AtLeast(1)] | Literal["auto"] = "auto"
    seed: Annotated[int, AtLeast(0)] = 0
    fidelity: Fidelity = 0.25
    wall_time: Annotated[float, Above(0)] | None = None
    target: float | None = None
    objective: Objective = field(default_factory=Objective)
    cost_limits: Mapping[str, float] = field(default_factory=dict)
    zero_cost: ZeroCostSettings = field(default_factory=ZeroCostSettings)
    tracker: Literal["mlflow", "wandb"] | None = None
    observers: Mapping[str, Any] = field(default_factory=dict)
    run_dir: str | None = None
    search: LoopSettings = field(default_factory=LoopSettings)
    layout: Literal[2] = 2

    def __post_init__(self) -> None:
        validate(self)
