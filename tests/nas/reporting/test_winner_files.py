"""The files of the winners, as a search writes them."""

from __future__ import annotations

import json
from pathlib import Path

from controllers import RandomSearch
from nas.executors.local_executor import LocalExecutor
from nas.journal.event import Event
from nas.journal.trials import Trials
from nas.reporting.winners import WinnerFiles
from nas.search.loop import run_search
from proxy_tasks.synthetic import SyntheticTask
from search_space import ChoiceSpace, load_spec, published_space

SPACE = published_space("r35-sp18")


def test_what_a_killed_search_has_left_half_written_is_removed(tmp_path: Path) -> None:
    for name in (
        ".71-0123456789abcdef.json",
        ".71-0123456789abcdef.svg",
        "best.json",
        "notes.json",
        ".own.svg",
    ):
        (tmp_path / name).write_text("{}")
    WinnerFiles(tmp_path, ChoiceSpace({"a": ["x", "y"]}))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".own.svg", "best.json", "notes.json"]


def test_the_winner_is_written_as_soon_as_there_is_one(tmp_path: Path) -> None:
    class Watcher:
        def on_event(self, event: Event, trials: Trials) -> None:
            if event.kind == "ended" and trials.best is not None:
                winners = tmp_path / "winners"
                assert json.loads((winners / "summary.json").read_text())["trial"] == trials.best
                spec = load_spec(winners / "best.json")
                assert spec == SPACE.decode(trials.all[trials.best].genotype)
                seen.add(trials.best)

        def close(self) -> None:
            pass

    seen: set[int] = set()
    run_search(
        SPACE, RandomSearch(SPACE, 0), SyntheticTask(), LocalExecutor(), 30, tmp_path, observers=[Watcher()]
    )
    assert len(seen) > 1, "several trials were the best in turn, within seconds"
