"""How a search stands, by the events of its journal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.cli.live_board import Running, read_note, seconds_left, trials_left
from nas.cli.status.status import Status, seconds_since
from nas.utils.run_files import config_file, journal_file
from nas.utils.run_folder import resume_command
from nas.utils.terminal import describe_pace, duration, show_reward

if TYPE_CHECKING:
    from nas.journal.activity import Activity
    from nas.journal.event import Event
    from nas.journal.trials import Trials


class SearchReader:
    """Tells how a search stands, as often as it is asked; each event is read once.

    While the journal does not change, it is not read: on a network disk, each look would copy it.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._state: _SearchState | None = None
        self._seen: object = None

    def read(self) -> Status:
        """How the search stands.

        Raises:
            JournalError: if the folder holds no search, or a damaged one.
        """
        from nas.journal.reading import journal_state
        from nas.utils.files import is_in_use

        alive = is_in_use(self._folder)
        seen, state = (alive, journal_state(journal_file(self._folder))), self._state
        if state is None or seen != self._seen:
            self._state = None  # A fault on the way leaves nothing that was read by half.
            self._state = state = _read_on(self._folder, state)
            self._seen = seen
        return _describe_search(self._folder, state, alive)


@dataclass(kw_only=True)
class _SearchState:
    """What the events of a search come to.

    Args:
        trials, activity: see there.
        submitted: when each trial was submitted last in this session, in seconds since 1970.
        taken: seconds of the attempts that have ended.
        seen: number of the events.
        last: the last of them.
    """

    trials: Trials
    activity: Activity
    submitted: dict[int | None, float] = field(default_factory=dict)
    taken: list[float] = field(default_factory=list)
    seen: int = 0
    last: Event | None = None

    def apply(self, event: Event) -> None:
        self.trials.apply(event)
        self.activity.apply(event, self.trials.seconds)
        self.seen, self.last = self.seen + 1, event
        if event.kind == "session":
            self.submitted.clear()
        elif event.kind == "submitted":
            self.submitted[event.trial] = event.time
        elif event.kind == "ended" and event.trial in self.submitted and event.data.get("seconds"):
            self.taken.append(float(event.data["seconds"]))


def _read_on(folder: Path, state: _SearchState | None) -> _SearchState:
    """Adds what the journal has got since; begins anew if it is another journal."""
    from nas.journal.activity import Activity
    from nas.journal.reading import read_events
    from nas.journal.trials import Trials

    events = [] if state is None else read_events(folder, max(0, state.seen - 1))
    if state is None or events[:1] != [state.last]:
        state, events = _SearchState(trials=Trials(), activity=Activity()), read_events(folder)
    else:
        events = events[1:]
    for event in events:
        state.apply(event)
    return state


def _describe_search(folder: Path, state: _SearchState, alive: bool) -> Status:
    """The same in data and words.

    Args:
        folder: of the run.
        state: what its events come to.
        alive: whether a process works on it.
    """
    from nas.journal.budget import read_budget

    trials, activity, budget = state.trials, state.activity, read_budget(folder)
    seconds = trials.seconds + (seconds_since(state.last.time) if alive and state.last is not None else 0.0)
    running = tuple(_running_trials(folder, trials, state.submitted)) if alive else ()
    data: dict[str, Any] = {
        "kind": "search",
        "folder": str(folder),
        # No scheduler pauses unless it was asked for, and then the paused ones are counted too.
        "trials": {status: n for status, n in trials.counts.items() if n or status != "paused"},
        "best": _best(trials),
        "asked": len(trials.proposed),
        "promoted": trials.promotions,
        "budget": budget,
        "finalists": [
            {"trial": trial.finalist_of, "status": trial.status, "rewards": trial.rewards}
            for trial in trials.finalists
        ],
        "running": [row.to_dict() for row in running],
        "finished": trials.finished is not None,
        "reason": trials.finished,
        "alive": alive,
        "seconds": round(seconds, 3),
        "seconds_left": _seconds_left(state, budget, running) if alive else None,
        "trials_an_hour": round(activity.trials_an_hour(seconds), 1),
        "utilization": round(activity.utilization(seconds), 3),
        "workers": {
            "wanted": activity.wanted,
            "ready": activity.ready,
            **({} if activity.fleet is None else activity.fleet.to_dict()),
        },
    }
    lines = [_state_line(data), _trials_line(data)]
    if trials.finalists:
        over = sum(trial.status != "running" for trial in trials.finalists)
        lines.append(f"finalists: {over} of {len(trials.finalists)} evaluations have ended")
    if alive:
        lines += _worker_lines(activity, seconds)
    if data["best"] is not None:
        lines.append(_best_line(data["best"]))
    return Status(data=data, lines=tuple(lines), running=running, hint=_hint(folder, trials, alive))


def _seconds_left(state: _SearchState, budget: int | None, running: Sequence[Running]) -> int | None:
    """How long a search that runs will take yet; None if nothing tells."""
    trials = state.trials
    if trials.finished or trials.finalists or budget is None or not state.taken:
        return None
    begun = [row.seconds or 0.0 for row in running]
    return round(seconds_left(trials_left(trials, budget), state.taken, begun, state.activity.ready))


def _state_line(data: dict[str, Any]) -> str:
    """Whether the search runs, for how long, and why it ended or when it will."""
    from nas.journal.trials import END_REASONS

    state = "finished" if data["finished"] else "running" if data["alive"] else "stopped"
    why = f": {END_REASONS.get(data['reason'], data['reason'])}" if data["finished"] else ""
    if data["seconds_left"] is not None:
        why = f", about {duration(data['seconds_left'])} left"
    return f"{data['folder']}: {state} after {duration(data['seconds'])}{why}"


def _trials_line(data: dict[str, Any]) -> str:
    """How many trials have begun, and how they ended."""
    # What ran when a search was cut off runs no more, though no event could say so.
    names = {} if data["alive"] else {"running": "interrupted"}
    counts = {
        names.get(status, status): n for status, n in data["trials"].items() if n or status not in names
    }
    budget = "" if data["budget"] is None else f" of {data['budget']}"
    begun = f"{data['asked']}{budget} trials"
    if data["promoted"]:
        begun += f" and {data['promoted']} promotions"
    return f"{begun}: {', '.join(f'{count} {name}' for name, count in counts.items())}"


def _hint(folder: Path, trials: Trials, alive: bool) -> str:
    """The command that continues the search; "" for none."""
    if not config_file(folder).is_file():  # Python code started it, and no command continues it.
        return ""
    if not trials.finished and not alive:
        return f"to continue: {resume_command(folder)}"
    if trials.finished == "budget" and trials.to_run_again():
        return f"to run the failed trials again, correct the cause, then type: {resume_command(folder)}"
    return ""


SHOWN_ASIDE = 5
"""Machines that are set aside which are named; of more, their number is told."""


def _worker_lines(activity: Activity, now: float) -> list[str]:
    """Which workers there are, how busy, and what is set aside."""
    fleet = activity.fleet
    kinds = f" ({fleet.describe()})" if fleet is not None and fleet.workers else ""
    lines = [
        f"workers: {activity.ready} of {activity.wanted}{kinds}, {activity.utilization(now):.0%} of their "
        f"time in trials, {describe_pace(activity.trials_an_hour(now))}"
    ]
    aside = [] if fleet is None else fleet.aside
    lines += [
        f"set aside for {duration(one.seconds)}: {one.describe()}: {one.why}" for one in aside[:SHOWN_ASIDE]
    ]
    if len(aside) > SHOWN_ASIDE:
        lines.append(f"{len(aside) - SHOWN_ASIDE} more are set aside")
    return lines


def _running_trials(folder: Path, trials: Trials, submitted: dict[int | None, float]) -> list[Running]:
    """The trials that a worker has, or that wait for one."""
    return [
        Running(
            name=f"trial {trial.number}",
            seconds=seconds_since(submitted[trial.number]),
            progress=read_note(folder / "trials" / str(trial.number)),
            report=list(trial.curve.items())[-1] if trial.curve else None,
        )
        for trial in trials.all
        if trial.status == "running" and trial.number in submitted
    ]


def _best(trials: Trials) -> dict[str, Any] | None:
    if trials.best is None:
        return None
    trial = trials.all[trials.best]
    return {
        "reward": (trial.rewards or (None,))[0],
        "rewards": trial.rewards,
        "key": trial.key,
        "trial": trial.number,
        "metrics": {} if trial.score is None else dict(trial.score.metrics),
    }


def _best_line(best: dict[str, Any]) -> str:
    rewards = ", ".join(map(show_reward, best["rewards"]))
    return (
        f"best: trial {best['trial']}, reward{'s' * (len(best['rewards']) > 1)} {rewards}, key {best['key']}"
    )
