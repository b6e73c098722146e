"""The events of a search, from which everything else follows.

| kind | data |
| --- | --- |
| session | controller, seed, workers, objective, decisions, recalled, versions, host, origin; each start |
| asked | proposal, genotype, spec, key, seed, fidelity, source, resume_from, promoted, at_random |
| submitted | attempt |
| reported | step, reward of the task, metrics; objective: the first reward by the objective |
| ended | attempt, status, rewards, reward, metrics, failure, message, worker, seconds, retry, pruner_attrs |
| observed | the controller and the scheduler know how the trial ended |
| retried | trials; a resumed search runs these failed ones again |
| workers | workers: those that are ready, by machine; aside: machines that are set aside |
| ranked | expected: of the trials that may become finalists, in their order |
| picked | trial: the winner; expected: of it and of the best ones |
| finished | reason |

The fields of `asked` are those of `nas.journal.trials.Trial`; a finalist's event has `finalist_of` and
`apart` in the place of the last four. A `cached` trial's `ended` event has the `source` of its score. An
`ended` event with `retry` has attempt, failure, message, worker, seconds, and whether the attempt made
progress: the trial is submitted again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple


class Event(NamedTuple):
    """One row of the journal.

    Args:
        time: seconds since 1970; 0 in a `MemoryJournal`. Within a session it never goes back: it is the time
            of day at which the journal was opened, and the seconds since then by a clock that nobody sets.
        kind: see the table of this module.
        trial: number of the trial that it is about, if it is about one.
        data: see the table of this module.
    """

    time: float
    kind: str
    trial: int | None
    data: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where a search comes from, and whether it got as far as a trial.

    Args:
        began_in: folder in which it was begun, where modules of the user's own may be; None if nothing tells.
        origin: where it was last begun or gone on with, see `nas.utils.origin`; None if nothing tells it.
        has_trials: whether a trial was asked for.
    """

    began_in: str | None = None
    origin: object = None
    has_trials: bool = False


def provenance_of(events: Iterable[Event]) -> Provenance:
    """Finds out where a search comes from; of its events, one at a time is looked at."""
    first: dict[str, Any] | None = None
    last: dict[str, Any] = {}
    has_trials = False
    for event in events:
        if event.kind == "session":
            first, last = event.data if first is None else first, event.data
        has_trials = has_trials or event.kind == "asked"
    return Provenance(
        began_in=None if first is None else first.get("cwd"), origin=last.get("origin"), has_trials=has_trials
    )
