"""`nas search`, `nas resume`: from a configuration to a running search."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.config import (
    ConfigError,
    build,
    build_controller,
    build_executor,
    build_space,
    build_task,
    check_whole,
    config_text,
    merged,
    read_config,
)
from nas.configured import run_configured
from nas.interrupts import raise_on_signals
from nas.plugins import listed
from nas.progress import duration
from nas.spec_commands import Commands
from nas.train_command import free_folder, holds_training, resume_training

if TYPE_CHECKING:
    from nas.jobs import Ended
    from nas.search import Rules, SearchResult
    from nas.trials import Trial, Trials


GROUPS = ("space", "task", "controller", "executor", "rules", "objective", "cost_limits", "zero_cost")
PARTS = (*GROUPS, "trials", "workers", "seed", "pruner")
"""What a search's configuration must have."""


def add_search_commands(commands: Commands) -> None:
    """Adds the commands to the parser's."""
    search = commands.add_parser(
        "search", help="search an architecture; options are KEY=VALUE", add_help=False, prefix_chars="\0"
    )
    search.add_argument("overrides", nargs="*")
    search.set_defaults(run=_search)

    resume = commands.add_parser(
        "resume", help="go on with a search or a training that was cut off, or with more trials"
    )
    resume.add_argument("run_dir", metavar="RUN_DIR", help="folder of the search")
    resume.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="such as trials=100")
    resume.set_defaults(run=_resume)

    status = commands.add_parser("status", help="how far a search is, and its best")
    status.add_argument("run_dir", metavar="RUN_DIR", help="folder of the search")
    status.add_argument("--json", action="store_true", help="print a JSON object")
    status.set_defaults(run=_status)

    report = commands.add_parser(
        "report", help="write a search's report.html: curves, winner, costs, failures"
    )
    report.add_argument("run_dir", metavar="RUN_DIR", help="folder of the search")
    report.set_defaults(run=_report)

    trials = commands.add_parser(
        "trials", help="a search's trials as CSV, JSON, Parquet, or as an Optuna study for its dashboard"
    )
    trials.add_argument("run_dir", metavar="RUN_DIR", help="folder of the search")
    trials.add_argument(
        "output", metavar="FILE", help="its ending says the format: .csv .json .parquet .db .log (Optuna)"
    )
    trials.set_defaults(run=_trials)

    for kind in ("tasks", "controllers"):
        listing = commands.add_parser(kind, help=f"list the {kind} that are installed")
        listing.add_argument("--json", action="store_true", help="print a JSON object")
        listing.set_defaults(run=_list, kind=kind)


def _search(options: argparse.Namespace) -> int:
    return run_configured("search", options.overrides, _start)


def _start(config: Any) -> int:
    from omegaconf import OmegaConf

    # The controller's schedule stays as it begins: more trials later must not change what it has proposed.
    config.controller = OmegaConf.to_container(config.controller, resolve=True)
    if "folder" in config.task and config.task.folder is None:
        config.task.folder = str(Path.cwd())  # A search may be resumed from elsewhere.
    if config.run_dir is None:
        config.run_dir = free_folder(Path("runs"))
    return _run(config, resume=False)


def _resume(options: argparse.Namespace) -> int:
    from nas.journal import look_where_it_began, read_events

    folder = Path(options.run_dir)
    if holds_training(folder):
        return resume_training(folder, options.overrides)
    # Says what is wrong with the folder before anything else could.
    look_where_it_began(read_events(folder))
    config = merged(read_config(folder / "config.yaml", PARTS), options.overrides)
    config.run_dir = str(folder)
    return _run(config, resume=True)


def _run(config: Any, resume: bool) -> int:
    from omegaconf import OmegaConf

    from nas.files import replace_file
    from nas.progress import SearchProgress
    from nas.scalars import SearchScalars
    from nas.search import SearchError, run_search
    from nas.tracking import Tracking

    folder, trials = Path(str(config.run_dir)), config.trials
    check_whole(config, trials=1, workers=1, seed=0)
    for key in GROUPS:
        if not OmegaConf.is_dict(OmegaConf.select(config, key)):
            raise ConfigError(f"{key}: needs a preset or a mapping; see nas search --cfg job")
    space = build_space(config.space)
    task = build_task(config.task)
    controller = build_controller(config.controller, space)
    if config.zero_cost.measure:
        from nas.zero_cost import with_zero_cost

        controller = with_zero_cost(controller, space, task, config.zero_cost, config.seed)
    if config.cost_limits:
        controller = _filtered(controller, space, task, config.cost_limits)
    executor = build_executor(config.executor)
    rules, objective = build(config.rules, "rules"), build(config.objective, "objective")
    pruner = build(config.pruner, "pruner") if config.pruner else None
    if not resume:
        from nas.journal import JournalError, holds_search

        if holds_search(folder):
            raise JournalError(f"{folder} already holds a search; go on with: nas resume {folder}")
    text = config_text(config)
    if hasattr(task, "check"):
        task.check()  # Says what is wrong with the data before a folder is made.
    raise_on_signals()

    def begun() -> None:
        replace_file(folder / "config.yaml", text)
        progress.begun()

    def tell_cost() -> None:
        _tell_cost(task, space, rules, trials, executor.workers)

    tracking: Any = contextlib.nullcontext()
    if config.get("tracker"):
        tracking = Tracking(config.tracker, folder, _flat(OmegaConf.to_container(config, resolve=True)))

    def ended(trial: Trial, end: Ended, known: Trials) -> None:
        progress.ended(trial, end, known)
        metrics = {} if end.score is None else end.score.metrics
        scalars.ended(trial, end.seconds, metrics, known)
        if tracker is not None:
            tracker.ended(trial, end.seconds, metrics, known)

    try:
        with (
            SearchProgress(trials, folder, resume) as progress,
            SearchScalars(folder) as scalars,
            tracking as tracker,
        ):
            result = run_search(
                space,
                controller,
                task,
                executor,
                trials,
                folder,
                rules=rules,
                objective=objective,
                pruner=pruner,
                resume=resume,
                watch=ended,
                watch_again=progress.trained_again,
                begun=begun,
                opened=None if resume else tell_cost,
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


def _filtered(controller: Any, space: Any, task: Any, limits: Any) -> Any:
    """The controller behind a filter of costs that the task knows before training."""
    import numpy as np
    from omegaconf import OmegaConf

    from controllers import CostFilter

    if not hasattr(task, "costs"):
        raise ConfigError(f"cost_limits: {type(task).__name__} has no costs(spec) to be limited")
    known = task.costs(space.decode(space.sample(np.random.default_rng(0))))
    for name, limit in limits.items():
        if name not in known:
            raise ConfigError(
                f"cost_limits.{name}: no such cost; known before training are {', '.join(known)}"
            )
        if not isinstance(limit, (int, float)):
            raise ConfigError(f"cost_limits.{name} must be a number, not {limit!r}")
    return CostFilter(controller, space.decode, task.costs, OmegaConf.to_container(limits))  # type: ignore[arg-type]


def _conclude(result: SearchResult, folder: Path) -> int:
    from statistics import fmean

    from nas.report import write_report
    from nas.trials import trained_again

    counts = result.trials.counts
    told = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    print(f"stopped by {result.reason}: {told}")
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
    if again := trained_again(result.trials).get(result.best):
        shown += f", trained again {fmean(again):.4f} (mean of {len(again)})"
    print(f"winner: trial {result.best}, reward {shown}: {folder / 'winners' / 'best.json'}")
    show = f"nas spec show {folder / 'winners' / 'best.json'}; or " if _is_spec(folder) else ""
    print(f"look at it: {show}open {folder / 'report.html'}")
    return 0


def _is_spec(folder: Path) -> bool:
    """Whether the winner is a spec that `nas spec` knows, and not one of a user's own space."""
    from search_space import SpecError, load_any_spec

    try:
        load_any_spec(folder / "winners" / "best.json")
    except SpecError:
        return False
    return True


def _tell_cost(task: Any, space: Any, rules: Rules, trials: int, workers: int) -> None:
    """What the search will cost, as far as the task can tell."""
    if not hasattr(task, "estimate_seconds"):
        return
    import numpy as np

    spec = space.decode(space.sample(np.random.default_rng(0)))
    seconds = task.estimate_seconds(spec, rules.fidelity)
    total = seconds * trials / workers
    print(
        f"{trials} trials on {workers} workers, about {seconds:.0f} s each as a dry run tells: "
        f"about {duration(total)} in all",
        flush=True,
    )
    if rules.retrain_top:
        seconds = task.estimate_seconds(spec, rules.retrain_fidelity)
        runs = min(rules.retrain_top, trials) * rules.retrain_seeds
        print(
            f"then the best {rules.retrain_top} again, {runs} trainings of about {duration(seconds)}: "
            f"about {duration(seconds * runs / min(workers, runs))} more",
            flush=True,
        )


def _status(options: argparse.Namespace) -> int:
    from nas.files import is_in_use
    from nas.journal import read_events
    from nas.trials import Trials

    trials = Trials()
    for event in read_events(options.run_dir):
        trials.apply(event)
    best = None
    if trials.best is not None:
        trial = trials.all[trials.best]
        best = {
            "reward": (trial.rewards or (None,))[0],
            "rewards": trial.rewards,
            "key": trial.key,
            "trial": trial.number,
            "metrics": dict(trials.scores[trial.number].metrics),
        }
    found = {
        "trials": trials.counts,
        "best": best,
        "asked": len(trials.all),
        "finished": trials.finished is not None,
        "reason": trials.finished,
        "alive": is_in_use(options.run_dir),
        "seconds": round(trials.seconds, 3),
    }
    if options.json:
        print(json.dumps(found))
        return 0
    told = ", ".join(f"{count} {status}" for status, count in trials.counts.items())
    state = (
        f"finished by {trials.finished}" if trials.finished else "running" if found["alive"] else "stopped"
    )
    print(f"{options.run_dir}: {state} after {duration(trials.seconds)}")
    print(f"{len(trials.all)} asked: {told}")
    if best is not None:
        print(f"best: trial {best['trial']}, reward {best['reward']:.4f}, key {best['key']}")
    if state == "stopped":
        print(f"go on with: nas resume {options.run_dir}")
    return 0


def _report(options: argparse.Namespace) -> int:
    from nas.report import write_report

    print(write_report(Path(options.run_dir)))
    return 0


def _trials(options: argparse.Namespace) -> int:
    from nas.trial_table import write_trials

    output = write_trials(Path(options.run_dir), Path(options.output))
    print(output)
    if output.suffix in (".db", ".log"):
        print(f"look at it: pip install optuna-dashboard; optuna-dashboard {output}")
    return 0


def _list(options: argparse.Namespace) -> int:
    found = listed(options.kind.removesuffix("s"))
    if options.json:
        print(json.dumps(found))
    else:
        width = max(map(len, found))
        for name, told in found.items():
            print(f"{name:<{width}}  {told}")
    return 0
