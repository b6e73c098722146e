"""`nas search`, `nas resume`: from a configuration to a running search."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.cli.arguments import Commands, add_configured_command
from nas.cli.hydra_app import run_configured
from nas.cli.runs import export_trials, list_kind, make_report, show_status
from nas.cli.train import free_folder, holds_training, resume_training
from nas.plugins import look_where_it_began
from nas.utils.terminal import raise_on_signals

if TYPE_CHECKING:
    from nas.search.result import SearchResult


PARTS = ("space", "task", "controller", "executor", "objective", "trials", "workers", "seed")
"""Keys that the configuration of a run folder must have."""


def add_search_commands(commands: Commands) -> None:
    """Adds the commands to the parser's."""
    add_configured_command(commands, "search", "search an architecture", _search)

    resume = commands.add_parser(
        "resume", help="go on with a search or a training that was cut off, or with more trials"
    )
    resume.add_argument("run_dir", metavar="RUN_DIR", help="folder of the search")
    resume.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="such as trials=100")
    resume.set_defaults(run=_resume)

    status = commands.add_parser("status", help="how far a search is, and its best")
    status.add_argument("run_dir", metavar="RUN_DIR", help="folder of the search")
    status.add_argument("--json", action="store_true", help="print a JSON object")
    status.set_defaults(run=show_status)

    report = commands.add_parser(
        "report", help="write a search's report.html: curves, winner, costs, failures"
    )
    report.add_argument("run_dir", metavar="RUN_DIR", help="folder of the search")
    report.set_defaults(run=make_report)

    trials = commands.add_parser(
        "trials", help="a search's trials as CSV, JSON, Parquet, or as an Optuna study for its dashboard"
    )
    trials.add_argument("run_dir", metavar="RUN_DIR", help="folder of the search")
    trials.add_argument(
        "output", metavar="FILE", help="its ending says the format: .csv .json .parquet .db .log (Optuna)"
    )
    trials.set_defaults(run=export_trials)

    for kind in ("tasks", "controllers"):
        listing = commands.add_parser(kind, help=f"list the {kind} that are installed")
        listing.add_argument("--json", action="store_true", help="print a JSON object")
        listing.set_defaults(run=list_kind, kind=kind)


def _search(options: argparse.Namespace) -> int:
    return run_configured("search", options.overrides, _start)


def _start(config: Any) -> int:
    from omegaconf import OmegaConf

    # The controller keeps the number of trials that it begins with: its schedule depends on it.
    config.controller = OmegaConf.to_container(config.controller, resolve=True)
    if config.run_dir is None:
        config.run_dir = free_folder(Path("runs"))
    return _run(config, resume=False)


def _resume(options: argparse.Namespace) -> int:
    from nas.config import merge_overrides, read_config
    from nas.journal.store import began_in, read_events

    folder = Path(options.run_dir)
    if holds_training(folder):
        return resume_training(folder, options.overrides)
    # Says what is wrong with the folder before anything else could.
    look_where_it_began(began_in(read_events(folder)))
    config = merge_overrides(read_config(folder / "config.yaml", PARTS), options.overrides)
    config.run_dir = str(folder)
    return _run(config, resume=True)


def _run(config: Any, resume: bool) -> int:
    from omegaconf import OmegaConf

    from nas.cli.observers import ConfigFile, CostEstimate
    from nas.cli.progress import SearchProgress
    from nas.integrations.tensorboard import TensorBoardScalars
    from nas.integrations.trackers import Tracker
    from nas.journal.observer import Observer
    from nas.search.build import build_setup
    from nas.search.loop import run_search
    from nas.search.result import SearchError

    folder = Path(str(config.run_dir))
    setup = build_setup(config)
    if not resume:
        from nas.journal.store import JournalError, holds_search

        if holds_search(folder):
            raise JournalError(f"{folder} already holds a search; go on with: nas resume {folder}")
    if setup.task.check is not None:
        setup.task.check()  # Says what is wrong with the data before a folder is made.
    raise_on_signals()
    observers: list[Observer] = [
        ConfigFile(folder, setup.text),
        SearchProgress(setup.trials, folder, resume),
        TensorBoardScalars(folder),
        *setup.observers,
    ]
    if not resume and setup.task.estimate_seconds is not None:
        estimate = setup.task.estimate_seconds
        observers.append(
            CostEstimate(estimate, setup.space, setup.config, setup.trials, setup.executor.workers)
        )
    if config.tracker:
        observers.append(Tracker(config.tracker, folder, _flat(OmegaConf.to_container(config, resolve=True))))
    try:
        result = run_search(
            setup.space,
            setup.controller,
            setup.task,
            setup.executor,
            setup.trials,
            folder,
            config=setup.config,
            observers=observers,
            resume=resume,
        )
    except KeyboardInterrupt:
        print(f"\nnas: interrupted; go on with: nas resume {folder}", file=sys.stderr)
        return 130
    except SearchError as error:
        print(f"nas: {error}", file=sys.stderr)
        return 1
    return _conclude(result, folder)


def _flat(node: Any, prefix: str = "") -> dict[str, Any]:
    """A tree of settings as one level, with dotted names."""
    if not isinstance(node, dict):
        return {prefix: node}
    return {
        name: value
        for key, inner in node.items()
        for name, value in _flat(inner, f"{prefix}.{key}" if prefix else str(key)).items()
    }


def _conclude(result: SearchResult, folder: Path) -> int:
    from statistics import fmean

    from nas.journal.trials import finalist_rewards
    from nas.reporting.html_report import write_report

    counts = result.trials.counts
    ended = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    print(f"stopped by {result.reason}: {ended}")
    if result.best is None:
        why = "no trial keeps the limits" if counts["completed"] else "no trial has a score"
        print(f"nas: {why}; nas report {folder} shows them all", file=sys.stderr)
        return 1
    try:
        write_report(folder)
    except OSError as error:  # The search itself is safe.
        print(f"nas: no report: {error.strerror or error}", file=sys.stderr)
    rewards = result.trials.all[result.best].rewards or ()
    shown = ", ".join(f"{reward:.4f}" for reward in rewards)
    if again := finalist_rewards(result.trials).get(result.best):
        shown += f", as a finalist {fmean(again):.4f} (mean of {len(again)})"
    print(f"winner: trial {result.best}, reward {shown}: {folder / 'winners' / 'best.json'}")
    show = f"nas spec show {folder / 'winners' / 'best.json'}; or " if _is_spec(folder) else ""
    print(f"look at it: {show}open {folder / 'report.html'}")
    return 0


def _is_spec(folder: Path) -> bool:
    """Whether the winner is a spec that `nas spec` knows, and not one of a user's own space."""
    from search_space import SpecError, load_spec

    try:
        load_spec(folder / "winners" / "best.json")
    except SpecError:
        return False
    return True
