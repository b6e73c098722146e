"""Does the work of the plan: several processes, each of which takes the first piece that nobody has.

A piece is a search with a journal of its own, of one trial or of several, so that it goes on after a kill at
its last checkpoint. Its folder is of no use any more once its rows are in the table.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.spinenet_bench.plan import Item, plan, space
from benchmarks.spinenet_bench.recipe import FULL
from benchmarks.spinenet_bench.table import Part, Row, known_scores, read_table
from benchmarks.spinenet_bench.task import MeasuredTraining, as_measured
from nas.executors import LocalExecutor
from nas.journal.store import Event, JournalError, holds_search
from nas.journal.trials import Trials
from nas.search.config import SearchConfig
from nas.search.loop import run_search
from nas.utils.files import FolderInUseError, is_in_use
from proxy_tasks.engine.memory import keep_freed_memory, release_memory
from proxy_tasks.training_task import TrainingTask

FIRST_GUESS = 250.0
"""Seconds of a training of fidelity 1, where no row tells it."""

LATEST = 50
"""Rows from which the pace is told."""

WAIT_SECONDS = 5.0
"""So often a process looks for work where others have all that there is."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where the table is, and how its trainings are made.

    Args:
        rows: folder of the part files.
        work: folder of what is under way.
        digest: of the recipe.
        task: makes the training; see `benchmarks.spinenet_bench.recipe`.
        plan: gives the items for the rows so far.
    """

    rows: Path
    work: Path
    digest: str
    task: Callable[[], TrainingTask]
    plan: Callable[[Sequence[Row], Path], Iterable[Item]] = plan


class RowWriter:
    """The observer that writes a row for every trial that has ended.

    Args:
        item: what is done.
        digest: of the recipe.
        part: where rows are written.
        known: places that have a row.
        say: tells of a row.
    """

    def __init__(
        self, item: Item, digest: str, part: Part, known: set[tuple[str, int]], say: Callable[[Row], None]
    ) -> None:
        self.item, self.digest, self.part, self.known, self.say = item, digest, part, known, say

    def on_event(self, event: Event, trials: Trials) -> None:
        """Writes the row; what the machine failed is done again by the next session."""
        if event.kind != "ended" or event.data["retry"] or event.trial is None:
            return
        trial, failure = trials.all[event.trial], event.data["failure"]
        place = self.item.group, self.item.first + trial.number
        if place in self.known or failure == "infrastructure":
            return
        measured = {} if failure else as_measured(event.data["metrics"])
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
            machine=f"{_processor()}, {os.cpu_count()} cores, torch {torch.__version__}",
        )
        self.part.write(row)
        self.known.add(place)
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
        places = {row.place for row in rows}
        missing = [item for item in bench.plan(rows, bench.rows) if not set(item.places) <= places]
        left = [item for item in missing if item.name not in refused]
        if not left:
            return done
        item = next((item for item in left if not is_in_use(bench.work / item.name)), None)
        if item is None:
            time.sleep(WAIT_SECONDS)  # What comes next depends on what others do just now.
            continue

        def tell(row: Row, rows: list[Row] = rows, missing: list[Item] = missing) -> None:
            rows.append(row)
            say(f"{describe(row)}; {forecast(rows, missing)}")

        try:
            _do(item, bench, rows, RowWriter(item, bench.digest, part, places, tell))
        except FolderInUseError:  # Another process was quicker.
            continue
        except JournalError as error:
            refused.add(item.name)
            say(f"{item.name}: {error}")
            continue
        done += 1
        shutil.rmtree(bench.work / item.name, ignore_errors=True)
        release_memory()
    return done


def _do(item: Item, bench: Bench, rows: Sequence[Row], writer: RowWriter) -> None:
    folder = bench.work / item.name
    task = MeasuredTraining(training=bench.task(), lengths=item.lengths, known=known_scores(rows))
    # A spec that a search proposes twice is trained twice.
    config = SearchConfig(seed=item.seed, cache=False, max_failures=1.0)
    run_search(
        space(),
        item.make(),
        task,
        LocalExecutor(),
        item.count,
        folder,
        config=config,
        observers=[writer],
        resume=holds_search(folder),
    )


def describe(row: Row) -> str:
    """Gives a row in a line."""
    if row.failure:
        return f"{row.group} {row.number}: {row.failure}"
    last = max(map(int, row.scores))
    scores = f"AP {row.ap(last):.3f}, test {row.ap(last, 'test'):.3f}"
    return f"{row.group} {row.number}: {scores}, {row.seconds:.0f} s"


def forecast(rows: Sequence[Row], missing: Sequence[Item]) -> str:
    """Says how many trainings are left and how long they take at the pace of the latest rows.

    Args:
        rows: all that are known.
        missing: items of which not all rows are known.
    """
    known = {row.place for row in rows}
    paces = [row.seconds * FULL / max(map(int, row.scores)) for row in rows[-LATEST:] if row.scores]
    pace = statistics.median(paces) if paces else FIRST_GUESS
    left = {item.name: sum(place not in known for place in item.places) for item in missing}
    hours = sum(item.cost / item.count * left[item.name] for item in missing) * pace / 3600
    return f"{sum(left.values())} trainings are left, about {hours:.0f} core-hours"


def _processor() -> str:
    """Name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def count_rows(rows: Sequence[Row]) -> str:
    """Gives the number of rows of each group, as JSON."""
    groups = sorted({row.group for row in rows})
    return json.dumps({group: sum(row.group == group for row in rows) for group in groups})
