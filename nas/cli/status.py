"""`nas status`: how far a search or a training is, what runs, and how long it has taken."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Lock
from time import monotonic, sleep, time
from typing import TYPE_CHECKING, Any

from nas.cli.live_board import Running, read_note, running_line, running_table, seconds_left, trials_left
from nas.cli.run_folders import RUNS, TRAININGS, pick_run
from nas.cli.train import holds_training
from nas.utils.run_files import best_model, config_file, model_card
from nas.utils.run_folder import resume_command
from nas.utils.terminal import describe_pace, duration, say, show_reward
from proxy_tasks.engine.progress import read_progress
from search_space.utils.strict_json import to_json
from search_space.utils.validation import is_number

if TYPE_CHECKING:
    from nas.journal.activity import Activity
    from nas.journal.store import Event
    from nas.journal.trials import Trials

WATCH_SECONDS = 2.0
"""How often `--watch` looks again."""


@dataclass(frozen=True, kw_only=True)
class Status:
    """How a run stands.

    Args:
        data: what --json prints; "alive" says whether a process works on it.
        lines: the same in words.
        running: what runs right now.
        hint: the next command; "" for none.
    """

    data: dict[str, Any]
    lines: tuple[str, ...]
    running: tuple[Running, ...] = field(default=())
    hint: str = ""


def show_status(options: argparse.Namespace) -> int:
    """`nas status`: how far a search or a training is."""
    folder = pick_run(options.run_dir, (RUNS, TRAININGS))
    read = partial(read_training, folder) if holds_training(folder) else SearchReader(folder).read
    if options.metrics is not None:
        if holds_training(folder):
            raise ValueError(f"{folder} is a training; --metrics serves the state of a search")
        return _serve(folder, options.metrics)
    status = read()
    if options.watch and status.data["alive"]:
        return _watch(read, options.json)
    _print(status, options.json)
    return 0


class SearchReader:
    """Tells how a search stands, as often as it is asked; each event is read once.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._state: _SearchState | None = None

    def read(self) -> Status:
        """How the search stands.

        Raises:
            JournalError: if the folder holds no search, or a damaged one.
        """
        from nas.utils.files import is_in_use

        alive, state = is_in_use(self._folder), self._state
        self._state = None  # A fault on the way leaves nothing that was read by half.
        self._state = _read_on(self._folder, state)
        return _describe_search(self._folder, self._state, alive)


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
    from nas.journal.store import read_events
    from nas.journal.trials import Trials

    events = [] if state is None else read_events(folder, max(0, state.seen - 1))
    if state is None or events[:1] != [state.last]:
        state, events = _SearchState(trials=Trials(), activity=Activity()), read_events(folder)
    else:
        events = events[1:]
    for event in events:
        state.apply(event)
    return state


def read_search(folder: Path) -> Status:
    """How a search stands, see `SearchReader`.

    Raises:
        JournalError: if the folder holds no search, or a damaged one.
    """
    return SearchReader(folder).read()


def _describe_search(folder: Path, state: _SearchState, alive: bool) -> Status:
    """The same in data and words.

    Args:
        folder: of the run.
        state: what its events come to.
        alive: whether a process works on it.
    """
    from nas.journal.budget import read_budget
    from nas.journal.trials import END_REASONS

    trials, activity, taken = state.trials, state.activity, state.taken
    seconds = trials.seconds + (_since(state.last.time) if alive and state.last is not None else 0.0)
    running = tuple(_running_trials(folder, trials, state.submitted)) if alive else ()
    best, budget = _best(trials), read_budget(folder)
    left = None
    if alive and not trials.finished and not trials.finalists and budget is not None and taken:
        begun = [row.seconds or 0.0 for row in running]
        left = seconds_left(trials_left(trials, budget), taken, begun, activity.ready)
    # No scheduler pauses unless it was asked for, and then the paused ones are counted too.
    counts = {status: n for status, n in trials.counts.items() if n or status != "paused"}
    data = {
        "kind": "search",
        "folder": str(folder),
        "trials": counts,
        "best": best,
        "asked": len(trials.proposed),
        "promoted": trials.promotions,
        "budget": budget,
        "finalists": [
            {"trial": trial.finalist_of, "status": trial.status, "rewards": trial.rewards}
            for trial in trials.finalists
        ],
        "running": [_as_data(row) for row in running],
        "finished": trials.finished is not None,
        "reason": trials.finished,
        "alive": alive,
        "seconds": round(seconds, 3),
        "seconds_left": None if left is None else round(left),
        "trials_an_hour": round(activity.trials_an_hour(seconds), 1),
        "utilization": round(activity.utilization(seconds), 3),
        "workers": {
            "wanted": activity.wanted,
            "ready": activity.ready,
            **({} if activity.fleet is None else activity.fleet.to_dict()),
        },
    }
    stands = "finished" if trials.finished else "running" if alive else "stopped"
    why = f": {END_REASONS.get(trials.finished, trials.finished)}" if trials.finished else ""
    if left is not None:
        why = f", about {duration(left)} left"
    # What ran when a search was cut off runs no more, though no event could say so.
    names = {} if alive else {"running": "interrupted"}
    told = {names.get(status, status): n for status, n in counts.items() if n or status not in names}
    ended = ", ".join(f"{count} {name}" for name, count in told.items())
    begun_trials = f"{len(trials.proposed)}{'' if budget is None else f' of {budget}'} trials"
    if trials.promotions:
        begun_trials += f" and {trials.promotions} promotions"
    lines = [f"{folder}: {stands} after {duration(seconds)}{why}", f"{begun_trials}: {ended}"]
    if trials.finalists:
        over = sum(trial.status != "running" for trial in trials.finalists)
        lines.append(f"finalists: {over} of {len(trials.finalists)} evaluations have ended")
    if alive:
        lines += _worker_lines(activity, seconds)
    if best is not None:
        lines.append(f"best: trial {best['trial']}, {_describe_rewards(best['rewards'])}, key {best['key']}")
    hint = ""
    if not config_file(folder).is_file():  # Python code started it, and no command continues it.
        pass
    elif stands == "stopped":
        hint = f"to continue: {resume_command(folder)}"
    elif trials.finished == "budget" and trials.to_run_again():
        hint = f"to run the failed trials again, correct the cause, then type: {resume_command(folder)}"
    return Status(data=data, lines=tuple(lines), running=running, hint=hint)


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
            seconds=_since(submitted[trial.number]),
            progress=read_note(folder / "trials" / str(trial.number)),
            report=list(trial.curve.items())[-1] if trial.curve else None,
        )
        for trial in trials.all
        if trial.status == "running" and trial.number in submitted
    ]


def _describe_rewards(rewards: Sequence[float]) -> str:
    return f"reward{'s' * (len(rewards) > 1)} {', '.join(map(show_reward, rewards))}"


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


def read_training(folder: Path) -> Status:
    """How a training stands.

    Raises:
        ValueError: if its metrics are damaged.
    """
    from nas.training.evaluations import read_evaluations
    from nas.utils.files import is_in_use

    evaluations, progress, alive = read_evaluations(folder), read_progress(folder), is_in_use(folder)
    seconds = max(evaluations.seconds, 0.0 if progress is None else progress.seconds)
    if alive:
        seconds = max(seconds, _session_seconds(folder, progress is not None, seconds))
    state = "finished" if evaluations.finished else "running" if alive else "stopped"
    step = progress.step if progress is not None else max(evaluations.by_step, default=0)
    best: dict[str, Any] | None = None
    if evaluations.best is not None:
        metrics = evaluations.by_step[evaluations.best]
        best = {"step": evaluations.best, "reward": metrics["reward"], "metrics": metrics}
    running = (Running(name="training", progress=progress),) if alive and progress is not None else ()
    data = {
        "kind": "training",
        "folder": str(folder),
        "step": step,
        "steps": None if progress is None else progress.steps,
        "running": [_as_data(row) for row in running],
        "best": best,
        "evaluations": len(evaluations.by_step),
        "finished": evaluations.finished,
        "alive": alive,
        "seconds": round(seconds, 3),
    }
    whole = "" if progress is None else f" of {progress.steps}"
    lines = [f"{folder}: training, {state} after {duration(seconds)}, step {step}{whole}"]
    if best is not None:
        shown = ", ".join(
            f"{name} {value:.4g}"
            for name, value in best["metrics"].items()
            if name in SHOWN_METRICS and is_number(value)
        )
        lines.append(
            f"best: step {best['step']}, reward {show_reward(best['reward'])}{shown and f' ({shown})'}"
        )
    hint = f"to continue: {resume_command(folder)}" if state == "stopped" else ""
    if evaluations.finished:
        hint = f"look at it: {model_card(folder)}; the model: {best_model(folder)}"
    return Status(data=data, lines=tuple(lines), running=running, hint=hint)


SHOWN_METRICS = ("AP50", "APs", "mask_AP", "top5", "loss")
"""Metrics that `nas status` shows beside the reward of a training."""


def _session_seconds(folder: Path, noted: bool, before: float) -> float:
    """Time of a training that runs: what it has noted, and what has passed since.

    Args:
        folder: of the training.
        noted: whether it has written a note in this or an earlier session.
        before: what is noted.
    """
    from nas.utils.files import LOCK_FILE
    from proxy_tasks.engine.progress import PROGRESS_FILE

    began = _modified(folder / LOCK_FILE)
    note = _modified(folder / PROGRESS_FILE) if noted else None
    if note is not None and began is not None and note > began:
        return before + _since(note)
    return before + (0.0 if began is None else _since(began))


def _modified(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def _since(moment: float) -> float:
    """Seconds since a moment; 0 if the clock was set back since."""
    return max(0.0, time() - moment)


def _as_data(row: Running) -> dict[str, Any]:
    found = row.progress
    data: dict[str, Any] = {"name": row.name}
    if row.seconds is not None:
        data["seconds"] = round(row.seconds, 3)
    if found is not None:
        data |= {
            "step": found.step,
            "steps": found.steps,
            "loss": found.loss,
            "learning_rate": found.learning_rate,
            "images_per_second": found.images_per_second,
            "seconds_left": found.seconds_left,
        }
    if row.report is not None:
        data["report"] = {"step": row.report[0], "reward": row.report[1]}
    return data


def _print(status: Status, as_json: bool) -> None:
    if as_json:
        print(to_json(status.data), flush=True)
        return
    for line in status.lines:
        say(line)
    if status.running and sys.stdout.isatty():
        from rich.console import Console

        Console().print(running_table(status.running))
    else:
        for row in status.running:
            say(running_line(row))
    if status.hint:
        say(status.hint)
    sys.stdout.flush()


STATE_SECONDS = 5.0
"""Prometheus may ask more often than so; the journal is then read no more often."""


def _serve(folder: Path, address: str) -> int:
    """Serves the state of a search to Prometheus, until Ctrl-C.

    Raises:
        ValueError: if the address is none.
        OSError: if it cannot be used.
    """
    from nas.integrations.prometheus import serve_metrics

    host, _, port = address.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"--metrics must be PORT or HOST:PORT, such as 9464, not {address!r}")
    reader, lock = SearchReader(folder), Lock()
    known, read_at = reader.read().data, monotonic()

    def read() -> dict[str, Any]:
        nonlocal known, read_at
        with lock:  # Each request has a thread.
            if monotonic() - read_at > STATE_SECONDS:
                known, read_at = reader.read().data, monotonic()
            return known

    host = host or "127.0.0.1"
    try:
        served, end = serve_metrics(read, host, int(port))
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), f"--metrics {address}") from None
    say(f"{folder}: metrics at http://{host}:{served}/metrics until you press Ctrl-C")
    try:
        while True:
            sleep(3600)
    except KeyboardInterrupt:  # As one ends a server.
        return 0
    finally:
        end()


def _watch(read: Callable[[], Status], as_json: bool) -> int:
    """Shows how a run stands until no process works on it any more, or until Ctrl-C."""
    plainly = as_json or not sys.stdout.isatty()
    try:
        last = _watch_plainly(read, as_json) if plainly else _watch_live(read)
    except KeyboardInterrupt:  # As one leaves a watch.
        return 0
    _print(last, as_json)
    return 0


OF_THE_MOMENT = ("seconds", "utilization", "trials_an_hour")
"""What changes though nothing happens."""


def _watch_plainly(read: Callable[[], Status], as_json: bool) -> Status:
    """Prints the status whenever more than the time has changed; returns the one in which nothing runs."""
    shown: object = None
    while (status := read()).data["alive"]:
        running = [{**row, "seconds": 0} for row in status.data["running"]]
        state = {**status.data, **dict.fromkeys(OF_THE_MOMENT), "running": running}
        if state != shown:
            _print(status, as_json)
        shown = state
        sleep(WATCH_SECONDS)
    return status


def _watch_live(read: Callable[[], Status]) -> Status:
    """Draws the status in place."""
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    with Live(auto_refresh=False, transient=True) as live:
        while (status := read()).data["alive"]:
            live.update(Group(*map(Text, status.lines), running_table(status.running)), refresh=True)
            sleep(WATCH_SECONDS)
        return status
