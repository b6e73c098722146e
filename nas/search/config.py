"""The settings of a search."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from controllers.evidence import Prior
from nas.journal.checks import MAX_WHOLE
from nas.search.objective import Objective
from nas.search.scheduler import Scheduler
from proxy_tasks.task import Fidelity
from search_space.utils.validation import Above, AtLeast, AtMost, validate


@dataclass(frozen=True, kw_only=True)
class TrialSettings:
    """What a proposal sees of the trials before it, and which trials are evaluated again.

    Args:
        deterministic: whether proposal k sees exactly the scores of the trials up to k - max_staleness, so
            that a seed gives one search, whatever the timing of the workers. If max_staleness is given, their
            number does not matter either.
        max_staleness: see `deterministic`, in trials; at least the number of workers if that is true. None
            for `default_staleness`, which depends on the number of workers.
        cache: whether a spec that was evaluated before, at the same fidelity, gets the score it had then.
        retries: further attempts at a trial after faults of the infrastructure. An attempt that has reported
            something new, or written a later checkpoint, is none of them: its successor goes on from there.

    Raises:
        ValueError: if a value is of the wrong type or out of its range.
    """

    deterministic: bool = True
    max_staleness: Annotated[int, AtLeast(1)] | None = None
    cache: bool = True
    retries: Annotated[int, AtLeast(0)] = 2

    def __post_init__(self) -> None:
        validate(self)


@dataclass(frozen=True, kw_only=True)
class LoopSettings(TrialSettings):
    """How a search loops: `TrialSettings`, when it gives up, and how it picks the winner.

    Args:
        max_failures: share of failed trials beyond which a search stops, above 0 and up to 1.
        pick: what decides who is the winner, and before that who is a finalist: "expected" for the reward
            that is expected of another training of a network, from all that was measured; "reward" for the
            best reward. A search with several objectives goes by rewards.
        finalists: how many of the best networks are evaluated again at the end, to pick the winner from.
        finalist_fidelity: of these evaluations.
        finalist_seeds: how often each finalist is evaluated.

    Raises:
        ValueError: if a value is of the wrong type or out of its range.
    """

    max_failures: Annotated[float, Above(0), AtMost(1)] = 0.5
    pick: Literal["expected", "reward"] = "expected"
    finalists: Annotated[int, AtLeast(0)] = 0
    finalist_fidelity: Fidelity = 1.0
    finalist_seeds: Annotated[int, AtLeast(1)] = 2


@dataclass(frozen=True, kw_only=True)
class SearchConfig(LoopSettings):
    """All settings of a search: those of `LoopSettings` and `TrialSettings`, and what it is about.

    Args:
        seed: of the evaluations; each trial has a seed of its own that follows from it.
        fidelity: length of an evaluation relative to the task's own, where neither the controller nor the
            scheduler says another.
        wall_time: seconds after which it stops, over all its sessions. Finalists that have begun are
            evaluated to their end.
        target: first reward at which it stops.
        objective: what is maximized.
        scheduler: decides how long each trial is trained; None for all to their end. A search works on a
            copy, so that one configuration serves several searches.
        prior: what is known of specs before the search. It helps to choose what is proposed by a controller
            that learns from evidence, who is promoted, who is a finalist and who is the winner; from the
            rewards of the search follows how much it counts. None for nothing.

    Raises:
        ValueError: if a value is of the wrong type or out of its range.
        ObjectiveError: see `Objective`.
    """

    seed: Annotated[int, AtLeast(0), AtMost(MAX_WHOLE)] = 0
    fidelity: Fidelity = 1.0
    wall_time: Annotated[float, Above(0)] | None = None
    target: float | None = None
    objective: Objective = field(default_factory=Objective)
    scheduler: Scheduler | None = None
    prior: Prior | None = None


def default_staleness(workers: int, trials: int, differ: bool) -> int:
    """By how many trials a proposal may be ahead of the scores, so that slow workers hold up no others.

    On a cluster where a fifth of the workers are three times slower, or three quarters of the trials end
    early, twice the workers leave a quarter of their time unused, and four times the workers 5 % (see
    `benchmarks/utilization.py`). But a controller learns later: with 300 trials on eight workers, 32 instead
    of 16 cost evolution as much as a sixth of the trials (`benchmarks/regret.py --lag`).

    Args:
        workers: evaluations at a time.
        trials: the budget.
        differ: whether the workers may be on several machines.

    Returns:
        twice the workers, and at least 8; where they differ, four times the workers, but no more than a
        fifth of the trials.
    """
    least = max(8, 2 * workers)
    return max(least, min(4 * workers, trials // 5)) if differ else least
