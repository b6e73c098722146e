"""Does the work of the plan: several processes, each of which takes the first piece that nobody has.

A piece is a search with a journal of its own, of one trial or of several, so that it goes on after a kill at
its last checkpoint. Its folder is of no use any more once its rows are in the table.
"""

from __future__ import annotations

import json
import shutil
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from benchmarks.machine import machine_name
from benchmarks.spinenet_bench.plan import PLANNED, PLANNED_COST, Item, plan, space
from benchmarks.spinenet_bench.recipe import FULL
from benchmarks.spinenet_bench.table import Part, Row, known_scores, read_table
from benchmarks.spinenet_bench.task import MeasuredTraining, as_measured
from controllers.controller import AskTell, Proposal, Recalls, Reward
from controllers.evidence import Evidence, LearnsFromEvidence
from nas.executors import LocalExecutor
from nas.journal.errors import JournalError
from nas.journal.event import Event
from nas.journal.folders import holds_search
from nas.journal.trials import Trial, Trials
from nas.search.config import SearchConfig
from nas.search.loop import run_search
from nas.search.result import SearchError
from nas.utils.files import FolderInUseError, is_in_use
from proxy_tasks.engine.memory import keep_freed_memory, release_memory
from proxy_tasks.training_task import TrainingTask
from search_space import Genotype

FIRST_GUESS = 250.0
"""Seconds of a training of fidelity 1, where no row tells it."""

LATEST = 50
"""Rows from which the pace is told."""

WAIT_SECONDS = 5.0
"""So often a process looks for work where others have all that there is."""


@dataclass(frozen=True, kw_only=True)
class Later:
    """What the plan cannot name yet, because scores choose the specs.

    Args:
        count: of trainings.
        cost: their length in trainings of fidelity 1.
    """

    count: int
    cost: float


NOTHING = Later(count=0, cost=0.0)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where the table is, and how its trainings are made.

    Args:
        rows: folder of the part files.
        work: folder of what is under way.
        digest: of the recipe.
        task: makes the training; see `benchmarks.spinenet_bench.recipe`.
        plan: gives the items for the rows so far.
        planned: trainings of the whole plan, also of items that it cannot give yet.
        cost: their length in trainings of fidelity 1.
    """

    rows: Path
    work: Path
    digest: str
    task: Callable[[], TrainingTask]
    plan: Callable[[Sequence[Row], Path], Iterable[Item]] = plan
    planned: int = PLANNED
    cost: float = PLANNED_COST

    def folder(self, item: Item) -> Path:
        """The folder of an item that is under way; one of another recipe is not gone on with."""
        return self.work / self.digest / item.name

    def missing(self, rows: Sequence[Row]) -> tuple[list[Item], Later]:
        """The items of which not all rows are there, and what follows once scores have chosen it."""
        places, items = {row.place for row in rows}, list(self.plan(rows, self.rows))
        later = Later(
            count=self.planned - sum(item.count for item in items),
            cost=self.cost - sum(item.cost for item in items),
        )
        return [item for item in items if not set(item.places) <= places], later


OF_THE_SPEC = ("invalid", "diverged")
"""Failures that make a row: whatever else fails is the machine's fault, or the program's."""


class RowWriter:
    """The observer that writes a row for every trial that has ended.

    Args:
        item: what is done.
        digest: of the recipe.
        part: where rows are written.
        known: the rows that are there, by place.
        say: tells of a row.
    """

    def __init__(
        self,
        item: Item,
        digest: str,
        part: Part,
        known: dict[tuple[str, int], Row],
        say: Callable[[Row], None],
    ) -> None:
        self.item, self.digest, self.part, self.known, self.say = item, digest, part, known, say

    def on_event(self, event: Event, trials: Trials) -> None:
        """Writes the row of a trial that has ended.

        Raises:
            SearchError: if that fails, or if the row would be of another spec than the one that is there.
        """
        if event.kind == "ended" and not event.data["retry"] and event.trial is not None:
            self.write(trials.all[event.trial], event.data["failure"], event.data["metrics"])

    def write(self, trial: Trial, failure: str, metrics: Mapping[str, float]) -> None:
        """Writes a row, unless it is there already; see `on_event`."""
        place = self.item.group, self.item.first + trial.number
        if place in self.known:
            if self.known[place].key != trial.key:
                raise SearchError(f"{place[0]} {place[1]} is another spec than that of its row")
            return
        if failure and failure not in OF_THE_SPEC:
            return
        measured = {} if failure else as_measured(metrics)
        row = Row(
            digest=self.digest,
            group=place[0],
            number=place[1],
            key=trial.key,
            genotype=trial.genotype,
            seed=trial.seed,
            scores=measured,
            failure=failure,
            seconds=round(sum(scores["seconds"] for scores in measured.values()), 1),
            machine=machine_name(),
        )
        try:
            self.part.write(row)
        except OSError as error:
            raise SearchError(f"{self.part.path}: {error.strerror or error}") from None
        self.known[place] = row
        self.say(row)

    def close(self) -> None:
        """Has nothing to close."""


def work(
    bench: Bench,
    say: Callable[[str], None],
    most: int | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> int:
    """Does one piece after the other, until all is done; returns how many.

    Args:
        bench: where and how.
        say: tells of every row and what is left.
        most: pieces to do at most; None for all.
        stop: whether to end before the next piece.
    """
    torch.set_num_threads(1)
    keep_freed_memory()
    part, done, refused = Part(bench.rows), 0, set[str]()
    while not stop() and (most is None or done < most):
        rows = read_table(bench.digest, bench.rows)
        known = {row.place: row for row in rows}
        missing, later = bench.missing(rows)
        left = [item for item in missing if item.name not in refused]
        if not left:
            return done
        item = next((item for item in left if not is_in_use(bench.folder(item))), None)
        if item is None:
            time.sleep(WAIT_SECONDS)  # What comes next depends on what others do just now.
            continue
        if len(read_table(bench.digest, bench.rows)) > len(rows):
            continue  # Another process may have ended just this one.

        def tell(
            row: Row, rows: list[Row] = rows, missing: list[Item] = missing, later: Later = later
        ) -> None:
            rows.append(row)
            say(f"{describe(row)}; {forecast(rows, missing, later)}")

        try:
            why = _do(item, bench, rows, RowWriter(item, bench.digest, part, known, tell))
        except FolderInUseError:  # Another process was quicker.
            continue
        except (JournalError, SearchError) as error:
            why = str(error)
        release_memory()
        if known.keys() >= set(item.places):
            done += 1
            shutil.rmtree(bench.folder(item), ignore_errors=True)
        else:  # Its folder stays, so that the next session goes on with it.
            refused.add(item.name)
            say(f"{item.name}: {why}")
    return done


class AsRecorded:
    """A controller whose proposals are those of the rows that are there already.

    What the predictor proposes follows from long calculations, which another processor may end otherwise.

    Args:
        controller: whose proposals can be replaced, or are the same on every machine.
        genotypes: of the rows, by number of the proposal.
    """

    def __init__(self, controller: AskTell, genotypes: Mapping[int, Genotype]) -> None:
        self.controller, self.genotypes = controller, genotypes

    def ask(self) -> Proposal:
        """Proposes what was trained; after that, what the controller proposes."""
        made = self.controller.ask()
        proposal = replace(made, genotype=self.genotypes.get(made.number, made.genotype))
        if proposal != made:
            self.recall(proposal)
        return proposal

    def recall(self, proposal: Proposal) -> None:
        """Lets the controller recall a proposal, if it can."""
        if isinstance(self.controller, Recalls):
            self.controller.recall(proposal)

    def tell(self, proposal: Proposal, reward: Reward) -> None:
        """Passes a reward on."""
        self.controller.tell(proposal, reward)

    def learn_evidence(self, proposal: Proposal, evidence: Evidence) -> None:
        """Passes evidence on, if the controller learns from it."""
        if isinstance(self.controller, LearnsFromEvidence):
            self.controller.learn_evidence(proposal, evidence)


def _do(item: Item, bench: Bench, rows: Sequence[Row], writer: RowWriter) -> str:
    """Does a piece, and gives the last failure; "" without one."""
    folder = bench.folder(item)
    task = MeasuredTraining(training=bench.task(), lengths=item.lengths, known=known_scores(rows))
    recorded = {row.number - item.first: row.genotype for row in rows if row.place in set(item.places)}
    # Each trial is proposed with all scores before it; a spec that is proposed twice is trained twice.
    config = SearchConfig(seed=item.seed, cache=False, max_failures=1.0, max_staleness=1, pick="reward")
    found = run_search(
        space(),
        AsRecorded(item.make(), recorded),
        task,
        LocalExecutor(),
        item.count,
        folder,
        config=config,
        observers=[writer],
        resume=holds_search(folder),
    )
    # A kill may have come between the end of a trial and its row.
    history = found.history()
    for trial, row in zip(found.trials.all, history.rows, strict=True):
        if trial.status in ("completed", "failed"):
            writer.write(trial, row.failure or "", row.metrics)
    return next((row.message or "" for row in reversed(history.rows) if row.failure), "")


def describe(row: Row) -> str:
    """Gives a row in a line."""
    if row.failure:
        return f"{row.group} {row.number}: {row.failure}"
    last = max(map(int, row.scores))
    scores = f"AP {row.ap(last):.3f}, test {row.ap(last, 'test'):.3f}"
    return f"{row.group} {row.number}: {scores}, {row.seconds:.0f} s"


def forecast(rows: Sequence[Row], missing: Sequence[Item], later: Later = NOTHING) -> str:
    """Says how many trainings are left and how long they take at the pace of the latest rows.

    Args:
        rows: all that are known.
        missing: items of which not all rows are known.
        later: what follows once scores have chosen it.
    """
    known = {row.place for row in rows}
    paces = [row.seconds * FULL / max(map(int, row.scores)) for row in rows[-LATEST:] if row.scores]
    pace = statistics.median(paces) if paces else FIRST_GUESS
    left = {item.name: sum(place not in known for place in item.places) for item in missing}
    hours = sum(item.cost / item.count * left[item.name] for item in missing) * pace / 3600
    told = f"{sum(left.values())} trainings are left, about {hours:.0f} core-hours"
    if not later.count:
        return told
    hours = later.cost * pace / 3600
    return f"{told}; {later.count} more follow once scores have chosen specs, about {hours:.0f} core-hours"


def count_rows(rows: Sequence[Row]) -> str:
    """Gives the number of rows of each group, as JSON."""
    groups = sorted({row.group for row in rows})
    return json.dumps({group: sum(row.group == group for row in rows) for group in groups})
