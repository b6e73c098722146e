"""`nas search`, `nas resume`: from a configuration to a running search."""

from __future__ import annotations

import argparse
import contextlib
import gc
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.cli.arguments import Commands, ConfiguredHelp, add_configured_command
from nas.cli.hydra_app import run_configured
from nas.cli.run_folders import LATEST, RUNS, TRAININGS, pick_run
from nas.cli.train import holds_training, resume_training
from nas.plugins.own_code import look_where_it_began
from nas.utils.run_files import config_file, winner_file, winners_folder
from nas.utils.run_folder import resume_command, run_folder, short_path
from nas.utils.signals import INTERRUPTED, end_children_quietly
from nas.utils.terminal import announce_loading, complain, show_reward

if TYPE_CHECKING:
    from nas.search.result import SearchResult


HELP = ConfiguredHelp(
    about="search an architecture",
    text="A controller proposes architectures from a space, a task trains each one for a short time and "
    "gives it a score, and the best one is kept as the winner. All results are in one folder below runs/. "
    "nas resume continues a search that was interrupted.",
    keys={
        "task.data.root": "Folder of your images; default: generated shapes.",
        "trials": "Number of architectures to try; default: 14.",
        "workers": "Number of trainings that run at the same time.",
        "fidelity": "Length of each training, relative to the task's own; default: 0.25.",
        "space": "Set of architectures: spinenet-49, r0-sp53, nas-fpn, choices, ...",
        "task": "How a score is found: cpu, paper, classification, script, table, or your own class.",
        "controller": "How architectures are proposed: predictor, evolution, random, local, ppo, optuna, ...",
        "executor": "Where trials run: ray (this machine or a cluster) or in_process (one at a time).",
        "seed": "Seed of all random choices; with the same settings and workers it gives the same search.",
        "run_dir": "Folder of the search; default: runs/ with the date and time.",
    },
    examples=(
        "nas search task.data.root=DIR trials=64",
        "nas search controller=ppo space=r0-sp53 seed=3",
        "nas search mine.yaml trials=20",
    ),
)


PARTS = ("space", "task", "controller", "executor", "objective", "trials", "workers", "seed")
"""Keys that the configuration of a run folder must have."""

KEPT = (
    *("space", "task._target_", "controller", "scheduler", "pruner", "prior", "objective"),
    *(
        "seed",
        "fidelity",
        "zero_cost",
        "cost_limits",
        "task.data.selection",
        "task.data.part",
        "run_dir",
        "layout",
    ),
)
"""Keys that a resume may not change: proposals would be others, and rewards could not be compared."""


def add_search_commands(commands: Commands) -> None:
    """Adds the commands to the parser's."""
    add_configured_command(commands, "search", HELP, _search)

    resume = commands.add_parser(
        "resume", help="continue an interrupted search or training, or a search with more trials"
    )
    resume.add_argument("run_dir", nargs="?", metavar="RUN_DIR", help=f"folder of the run; {LATEST}")
    resume.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="such as trials=100")
    resume.add_argument(
        "--trust",
        action="store_true",
        help="resume a run from elsewhere, and run the code that its settings name",
    )
    resume.set_defaults(run=_resume, flags_alone=True)


def _search(options: argparse.Namespace) -> int:
    from nas.search.settings import SearchSettings

    return run_configured("search", options.overrides, HELP, SearchSettings, _start, _begin)


def _begin(root: Mapping[str, Any]) -> None:
    """Refuses a folder that is taken, and says why nothing happens for a while."""
    if root["run_dir"] is not None:
        _refuse_taken(Path(root["run_dir"]))
    announce_loading()


def _refuse_taken(folder: Path) -> None:
    from nas.journal.errors import JournalError
    from nas.journal.folders import holds_search, refuse_other_work
    from nas.utils.files import is_in_use

    if holds_search(folder) and is_in_use(folder):
        raise JournalError(f"{folder} already holds a search, which is running: nas status {folder}")
    if holds_search(folder):
        raise JournalError(f"{folder} already holds a search; to continue: {resume_command(folder)}")
    refuse_other_work(folder)


def _start(config: Any) -> int:
    from omegaconf import OmegaConf

    # The controller keeps the number of trials that it begins with: its schedule depends on it.
    config.controller = OmegaConf.to_container(config.controller, resolve=True)
    given = None if config.run_dir is None else str(config.run_dir)
    with contextlib.ExitStack() as stack:

        def make_folder() -> Path:
            return stack.enter_context(run_folder(given, "runs"))

        return _run(config, make_folder)


def _resume(options: argparse.Namespace) -> int:
    from nas.cli.trust import check_trust
    from nas.config import check_resume, check_root, merge_overrides, read_config
    from nas.config.sources import changed_sources
    from nas.journal.errors import JournalError
    from nas.journal.reading import read_provenance
    from nas.search.settings import SearchSettings
    from nas.utils.files import refuse_if_in_use
    from nas.utils.origin import read_origin

    named, overrides = options.run_dir, options.overrides
    if named is not None and "=" in named and not Path(named).exists():  # No folder, but a first KEY=VALUE.
        named, overrides = None, [named, *overrides]
    folder = pick_run(named, (RUNS, TRAININGS)).absolute()
    if holds_training(folder):
        check_trust(folder, read_origin(folder), options.trust)
        return resume_training(folder, overrides)
    # Says what is wrong with the folder before anything else could.
    provenance = read_provenance(folder)
    refuse_if_in_use(folder)
    if not config_file(folder).exists() and not provenance.has_trials:
        raise JournalError(f"{folder}: its start was cut off before the first trial; start it again")
    check_trust(folder, provenance.origin, options.trust)
    look_where_it_began(provenance.began_in)
    before = read_config(config_file(folder), PARTS)
    notes = check_resume(before, overrides, KEPT)

    def begin(root: Mapping[str, Any]) -> None:
        check_root(root, SearchSettings)
        announce_loading()

    config = merge_overrides(before, overrides, begin)
    config.run_dir = str(folder)
    for note in [*notes, *changed_sources(folder, config)]:
        print(note, flush=True)
    with _working_in(provenance.began_in):
        return _run(config, None, shown=named or str(short_path(folder)))


@contextlib.contextmanager
def _working_in(folder: str | None) -> Iterator[None]:
    """Goes on where a search began, if that is there: settings of a user's own may be paths from it."""
    if folder is None or not Path(folder).is_dir():
        yield
        return
    with contextlib.chdir(folder):
        yield


def _run(config: Any, make_folder: Callable[[], Path] | None, shown: str = "") -> int:
    """Runs a search.

    Args:
        config: the whole configuration.
        make_folder: gives the folder of a new search, once everything has been checked; None to resume one.
        shown: the folder of a search that is resumed, as the user named it.
    """
    status = _run_search(config, make_folder, shown)
    # What a user's task has left open, such as a pool, must be closed before Python begins to end.
    gc.collect()
    return status


def _run_search(config: Any, make_folder: Callable[[], Path] | None, shown: str) -> int:
    from omegaconf import OmegaConf

    from nas.cli.observers import ConfigFile, Retries, SourceDigests, TimeEstimate
    from nas.cli.progress import SearchProgress
    from nas.config import config_text
    from nas.integrations.tensorboard import TensorBoardScalars
    from nas.integrations.trackers import Tracker
    from nas.journal.observer import Observer
    from nas.search.build import build_setup
    from nas.search.checking import check_data
    from nas.search.loop import run_search
    from nas.search.result import SearchError
    from nas.utils.logging import print_notices

    resume = make_folder is None
    setup = build_setup(config)
    if not resume and config.run_dir is not None:
        _refuse_taken(Path(str(config.run_dir)).expanduser())
    check_data(setup.task)  # Before a folder is made.
    if make_folder is not None:
        config.run_dir = str(make_folder())
    folder = Path(config.run_dir)
    shown = shown or str(short_path(folder))
    end_children_quietly()
    for note in setup.notes:
        print(note, flush=True)
    observers: list[Observer] = [
        ConfigFile(folder, config_text(config)),
        SourceDigests(folder, config),
        SearchProgress(setup.trials, folder, resume),
        Retries(),
        TensorBoardScalars(folder),
        *setup.observers,
    ]
    if not resume:
        observers.append(TimeEstimate(folder, setup.config, setup.trials, setup.executor.workers))
    if config.tracker:
        observers.append(Tracker(config.tracker, folder, _flat(OmegaConf.to_container(config, resolve=True))))
    try:
        with print_notices():
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
        more = f"; to continue: {resume_command(shown)}" if config_file(folder).exists() else ""
        print(f"\nnas: interrupted{more}", file=sys.stderr)
        return INTERRUPTED
    except OSError as error:
        if not _has_trials(folder):
            raise
        where = f"{error.filename}: " if error.filename else ""
        complain(f"{where}{error.strerror or error}; to continue: {resume_command(shown)}")
        return 1
    except SearchError as error:
        complain(str(error))
        return 1
    return _conclude(result, folder, Path(shown))


def _has_trials(folder: Path) -> bool:
    """Whether a trial was begun; on a full disk it may be impossible to tell, and then one was."""
    from nas.journal.folders import holds_search

    try:
        return holds_search(folder)
    except OSError:
        return True


def _flat(node: Any, prefix: str = "") -> dict[str, Any]:
    """A tree of settings as one level, with dotted names."""
    if not isinstance(node, dict):
        return {prefix: node}
    return {
        name: value
        for key, inner in node.items()
        for name, value in _flat(inner, f"{prefix}.{key}" if prefix else str(key)).items()
    }


def _conclude(result: SearchResult, folder: Path, shown: Path) -> int:
    """Says how a search ended.

    Args:
        result: of the search.
        folder: its folder, absolute.
        shown: the folder as the user sees it.
    """
    from statistics import fmean

    from nas.journal.trials import END_REASONS, finalist_rewards
    from nas.reporting.html_report import write_report
    from nas.reporting.winners import holds_winner

    counts = result.trials.counts
    ended = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    asked, over = len(result.trials.proposed), result.trials.proposals_over
    promoted = result.trials.promotions
    more = f" and {promoted} promotions" if promoted else ""
    if result.reason == "budget":
        print(f"Finished: {over} of {asked} trials{more} ({ended}).")
    else:
        why = END_REASONS.get(str(result.reason), result.reason)
        print(f"Finished: {why} after {over} trials{more} ({ended}).")
    if result.reason == "budget" and result.trials.to_run_again():
        print(f"to run the failed trials again, correct the cause, then type: {resume_command(shown)}")
    if result.best is None:
        why = "no trial has a score"
        if counts["completed"]:
            why = "no trial is within the limits"
        elif any(trial.score for trial in result.trials.search):
            why = "no trial has finished"
        complain(f"{why}; nas report {shlex.quote(str(shown))} shows all trials")
        return 1
    try:
        write_report(folder)
    except OSError as error:  # The search itself is safe.
        complain(f"the report cannot be written: {error.strerror or error}")
    best = result.best
    reward = ", ".join(map(show_reward, best.rewards or ()))
    if again := finalist_rewards(result.trials).get(best.number):
        reward += f", as a finalist {show_reward(fmean(again))} (mean of {len(again)})"
    if (expected := result.trials.expected.get(best.number)) is not None:
        reward += f", expected of another training {show_reward(expected)}"
    file = winner_file(shown)
    if not holds_winner(winners_folder(folder), best.number):
        print(f"winner: trial {best.number}, reward {reward}")
        then = f"correct the cause, then type: {resume_command(shown)}"
        complain(f"the winner is not in {file}, which could not be written; {then}")
        return 1
    print(f"winner: trial {best.number}, reward {reward}: {file}")
    show = f"nas spec show {shlex.quote(str(file))}; or " if _is_spec(folder) else ""
    print(f"look at it: {show}open {shlex.quote(str(shown / 'report.html'))}")
    return 0


def _is_spec(folder: Path) -> bool:
    """Whether the winner is a spec that `nas spec` knows, and not one of a user's own space."""
    from search_space import SpecError, load_spec

    try:
        load_spec(winner_file(folder))
    except SpecError:
        return False
    return True
