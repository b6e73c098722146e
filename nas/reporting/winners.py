"""Writes the winners as files that every other command reads, and keeps them up to date during a search."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nas.journal.event import Event
from nas.journal.trials import Trial, Trials, pick_winner, spec_text
from nas.plugins.faults import one_line, pass_interrupt, source_location
from nas.utils.files import replace_file
from nas.utils.run_files import WINNER_FILE, winner_file
from nas.utils.terminal import complain, show_reward
from search_space import Drawable, Space, Spec
from search_space.utils.atomic_file import remove_unfinished
from search_space.utils.signatures import accepts
from search_space.utils.strict_json import to_json

SECONDS_BETWEEN, TIMES_LONGER = 5.0, 50.0
"""While a search runs, the front is written and drawn again after `SECONDS_BETWEEN` at the earliest, and
after `TIMES_LONGER` times the seconds that it took last, because no worker gets a trial meanwhile. The winner
itself changes rarely and is written at once: trials may take hours, and after a kill the file must hold the
same winner as the journal."""


SUMMARY_FILE = "summary.json"


class WinnerFiles:
    """Writes `best.json` (a spec file), `best.svg`, `pareto.json` and `summary.json`.

    What a killed process has left half-written in the folder is removed.

    Args:
        folder: where the files are written; nobody else writes there.
        space: of the search.
    """

    def __init__(self, folder: Path, space: Space) -> None:
        remove_unfinished(folder, (".json", ".svg"))
        self.folder, self.space = folder, space
        self._trials: Trials | None = None
        self._winner: int | None = None
        self._written: object = None
        self._due = -math.inf
        self._told: set[str] = set()

    def on_event(self, event: Event, trials: Trials) -> None:
        """Writes a new winner, and the rest if the last writing is long enough ago or the search is over.

        What cannot be written is told, and tried again at the next event.
        """
        self._trials = trials
        with self._faults_told("the winner cannot be written", "it is tried again"):
            if event.kind in ("ended", "picked"):
                self._update_winner(trials)
            if event.kind in ("session", "finished") or (
                event.kind in ("ended", "submitted") and time.monotonic() >= self._due
            ):
                self._update(trials)

    def close(self) -> None:
        """Writes what has changed since the last writing."""
        if self._trials is not None:
            with self._faults_told("the winner cannot be written", "its genotype is in the journal"):
                self._update(self._trials)

    @contextmanager
    def _faults_told(self, what: str, then: str) -> Iterator[None]:
        """Prints an error of a block, the same one once."""
        try:
            yield
        except (Exception, SystemExit) as error:
            pass_interrupt(error)
            reason = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else one_line(error)
            line = f"{what}: {source_location(error)}{reason}; {then}"
            if line not in self._told:
                self._told.add(line)
                complain(line)

    def _update_winner(self, trials: Trials) -> Trial | None:
        """Writes the winner and its description if it is another one than before; returns it."""
        best = pick_winner(trials)
        if best is None:
            return None
        trial = trials.all[best]
        if best != self._winner:
            self.folder.mkdir(parents=True, exist_ok=True)
            spec = self.space.decode(trial.genotype)
            replace_file(self.folder / WINNER_FILE, spec_text(spec, trial.genotype).rstrip() + "\n")
            self._describe_winner(trials, trial)
            self._winner = best
        return trial

    def _describe_winner(self, trials: Trials, trial: Trial) -> None:
        finalists = [
            {**_describe(trials, again), "finalist_of": again.finalist_of, "status": again.status}
            for again in trials.finalists
        ]
        summary = {**_describe(trials, trial), "finalists": finalists}
        replace_file(self.folder / SUMMARY_FILE, to_json(summary, indent=1) + "\n")

    def _update(self, trials: Trials) -> None:
        trial = self._update_winner(trials)
        over = sum(trial.status != "running" for trial in trials.finalists)
        state = (self._winner, tuple(trials.front), over, trials.expected.get(self._winner or 0))
        if trial is None or state == self._written:
            return
        began = time.monotonic()
        front = [
            {**_describe(trials, trials.all[number]), "spec": self._spec(trials.all[number])}
            for number in trials.front
        ]
        replace_file(self.folder / "pareto.json", to_json(front, indent=1) + "\n")
        self._describe_winner(trials, trial)
        self._written = state
        spec = self.space.decode(trial.genotype)
        if isinstance(spec, Drawable) and accepts(spec.draw, self.folder / "best.svg", ""):
            reward = trials.first_reward(trial.number)
            with self._faults_told("the winner cannot be drawn", "its spec is written"):
                spec.draw(self.folder / "best.svg", f"trial {trial.number}, reward {show_reward(reward)}")
        now = time.monotonic()
        self._due = now + max(SECONDS_BETWEEN, TIMES_LONGER * (now - began))

    def _spec(self, trial: Trial) -> Any:
        return json.loads(spec_text(self.space.decode(trial.genotype), trial.genotype))


def holds_winner(folder: Path, number: int) -> bool:
    """Whether the files in a folder are those of a trial."""
    try:
        summary = json.loads((folder / SUMMARY_FILE).read_text(encoding="utf-8"))
        return (folder / WINNER_FILE).is_file() and summary["trial"] == number
    except (OSError, ValueError, KeyError, TypeError):
        return False


def read_winner(folder: Path) -> Spec | None:
    """Reads the winner of a run folder; None if there is none, or none that our commands can read."""
    from search_space import SpecError, load_spec

    best = winner_file(folder)
    try:
        return load_spec(best) if best.is_file() else None
    except (SpecError, OSError):
        return None


def _describe(trials: Trials, trial: Trial) -> dict[str, Any]:
    """Gives a trial as plain data, without its spec."""
    score, expected = trial.score, trials.expected.get(trial.number)
    return {
        "trial": trial.number,
        "key": trial.key,
        "rewards": trial.rewards,
        **({} if expected is None else {"expected_reward": expected}),
        "metrics": {} if score is None else dict(score.metrics),  # null where the task had no number.
    }
