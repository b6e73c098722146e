"""`nas search`, `nas resume`: from a configuration to a running search."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from nas.config import ConfigError, build, compose, config_text, merged, read_config
from nas.spec_commands import Commands

if TYPE_CHECKING:
    from nas.search import Ending, SearchResult
    from nas.trials import Trials

HYDRA_FLAGS: tuple[str, ...] = (
    "--help",
    "-h",
    "--hydra-help",
    "--cfg",
    "-c",
    "--info",
    "-i",
    "--multirun",
    "-m",
    "--resolve",
)
HYDRA_FLAGS += ("--package", "-p", "--shell-completion", "-sc", "--config-dir", "-cd", "--config-name", "-cn")


def add_search_commands(commands: Commands) -> None:
    """Adds the commands to the parser's."""
    search = commands.add_parser(
        "search", help="search an architecture; options are KEY=VALUE", add_help=False, prefix_chars="\0"
    )
    search.add_argument("overrides", nargs="*")
    search.set_defaults(run=_search)

    resume = commands.add_parser("resume", help="go on with a search that was cut off, or with more trials")
    resume.add_argument("run_dir", metavar="RUN_DIR", help="folder of the search")
    resume.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="such as trials=100")
    resume.set_defaults(run=_resume)

    status = commands.add_parser("status", help="how far a search is, and its best")
    status.add_argument("run_dir", metavar="RUN_DIR", help="folder of the search")
    status.add_argument("--json", action="store_true", help="print a JSON object")
    status.set_defaults(run=_status)

    for kind in ("tasks", "controllers"):
        listing = commands.add_parser(kind, help=f"list the {kind} that are installed")
        listing.add_argument("--json", action="store_true", help="print a JSON object")
        listing.set_defaults(run=_list, kind=kind)


def _search(options: argparse.Namespace) -> int:
    sys.path.insert(0, str(Path.cwd()))  # A task or space of the user's own lies there.
    if any(word.split("=")[0] in HYDRA_FLAGS for word in options.overrides):
        return _through_hydra(options.overrides)
    wrong = next((word for word in options.overrides if word.startswith("-")), None)
    if wrong is not None:
        raise ConfigError(f"unknown option {wrong}; a search takes KEY=VALUE, see nas search --help")
    return _start(compose("search", options.overrides))


def _through_hydra(overrides: Sequence[str]) -> int:
    """Hydra's own flags: help, --cfg job, --multirun, completion."""
    import hydra

    from nas import config_folder

    statuses: list[int] = []

    def job(config: Any) -> None:
        statuses.append(_start(config))

    sys.argv = ["nas search", *overrides]
    decorated = hydra.main(str(config_folder().resolve()), "search", version_base="1.3")(job)
    try:
        decorated()
    except SystemExit as error:
        return 2 if error.code else 0
    return max(statuses, default=0)


def _start(config: Any) -> int:
    from omegaconf import OmegaConf

    # The controller's schedule stays as it begins: more trials later must not change what it has proposed.
    config.controller = OmegaConf.to_container(config.controller, resolve=True)
    if config.run_dir is None:
        name = time.strftime("%Y-%m-%d-%H%M%S")
        names = [name, *(f"{name}-{i}" for i in range(2, 1000))]
        config.run_dir = next(str(path) for n in names if not (path := Path("runs") / n).exists())
    return _run(config, resume=False)


def _resume(options: argparse.Namespace) -> int:
    from nas.journal import read_events

    sys.path.insert(0, str(Path.cwd()))
    folder = Path(options.run_dir)
    read_events(folder)  # Says what is wrong with the folder before anything else could.
    config = merged(read_config(folder / "config.yaml"), options.overrides)
    config.run_dir = str(folder)
    return _run(config, resume=True)


def _run(config: Any, resume: bool) -> int:
    from nas.search import SearchError, run_search
    from nas.winners import replace_file

    folder = Path(config.run_dir)
    trials = config.trials
    if type(trials) is not int or trials < 1:
        raise ConfigError(f"trials must be a whole number of at least 1, not {trials!r}")
    space = build(config.space, "space")
    task = build(config.task, "task")
    controller = build(config.controller, "controller")(space)
    executor = build(config.executor, "executor")
    rules, objective = build(config.rules, "rules"), build(config.objective, "objective")
    pruner = build(config.pruner, "pruner") if config.pruner else None
    if not resume:
        from nas.journal import FILE, JournalError

        if (folder / FILE).exists():
            raise JournalError(f"{folder} already holds a search; go on with: nas resume {folder}")
    text = config_text(config)
    _tell_cost(task, space, rules.fidelity, trials, executor.workers, quiet=resume)
    lines = Lines(trials, folder, resume)
    signal.signal(signal.SIGTERM, _interrupt)

    def begun() -> None:
        replace_file(folder / "config.yaml", text)

    try:
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
            watch=lines.ended,
            begun=begun,
        )
    except KeyboardInterrupt:
        print(f"\nnas: interrupted; go on with: nas resume {folder}", file=sys.stderr)
        return 130
    except SearchError as error:
        print(f"nas: {error}", file=sys.stderr)
        return 1
    return _conclude(result, folder)


def _conclude(result: SearchResult, folder: Path) -> int:
    counts = result.trials.counts
    told = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    print(f"stopped by {result.reason}: {told}")
    if result.best is None:
        print("nas: no trial has a score", file=sys.stderr)
        return 1
    rewards = result.trials.all[result.best].rewards or ()
    shown = ", ".join(f"{reward:.4f}" for reward in rewards)
    print(f"winner: trial {result.best}, reward {shown}: {folder / 'winners' / 'best.json'}")
    print(f"look at it: nas spec show {folder / 'winners' / 'best.json'}")
    return 0


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _tell_cost(task: Any, space: Any, fidelity: float, trials: int, workers: int, quiet: bool) -> None:
    """What the search will cost, as far as the task can tell."""
    if quiet or not hasattr(task, "estimate_seconds"):
        return
    import numpy as np

    spec = space.decode(space.sample(np.random.default_rng(0)))
    seconds = task.estimate_seconds(spec, fidelity)
    total = seconds * trials / workers
    print(
        f"{trials} trials on {workers} workers, about {seconds:.0f} s each as a dry run tells: "
        f"about {_duration(total)} in all",
        flush=True,
    )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"


class Lines:
    """One line a trial on standard output, and a line that is always new on a terminal."""

    def __init__(self, budget: int, folder: Path, resumed: bool) -> None:
        self.budget, self.started, self.first = budget, time.monotonic(), -1
        self.live = sys.stderr.isatty()
        print(f"{'resuming' if resumed else 'searching'} in {folder}", flush=True)

    def ended(self, ending: Ending, trials: Trials) -> None:
        """Tells of a trial's end."""
        trial = ending.trial
        over = sum(trials.counts.values()) - trials.counts["running"]
        if self.first < 0:
            self.first = over - 1
        reward = "" if trial.rewards is None else " ".join(f"{r:.4f}" for r in trial.rewards)
        what = reward or ending.message
        best = trials.best
        top = ""
        if best is not None:
            rewards = trials.all[best].rewards or (0.0,)
            top = f"best {rewards[0]:.4f} (trial {best})"
        if self.live:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
        seconds = f"{ending.seconds:.0f} s" if ending.seconds else ""
        print(f"trial {trial.number:<5} {trial.status:<9} {what:<12} {seconds:>7}  {top}", flush=True)
        if self.live and over < self.budget:
            rate = (over - self.first) / max(time.monotonic() - self.started, 1e-9)
            left = _duration((self.budget - over) / rate)
            print(
                f"{over}/{self.budget} done, {trials.counts['running']} running, {rate * 3600:.0f} trials/h, "
                f"{left} left",
                end="",
                file=sys.stderr,
                flush=True,
            )


def _status(options: argparse.Namespace) -> int:
    from nas.journal import is_running, read_events
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
        "alive": is_running(options.run_dir),
        "seconds": round(trials.seconds, 3),
    }
    if options.json:
        print(json.dumps(found))
        return 0
    told = ", ".join(f"{count} {status}" for status, count in trials.counts.items())
    state = (
        f"finished by {trials.finished}" if trials.finished else "running" if found["alive"] else "stopped"
    )
    print(f"{options.run_dir}: {state} after {_duration(trials.seconds)}")
    print(f"{len(trials.all)} asked: {told}")
    if best is not None:
        print(f"best: trial {best['trial']}, reward {best['reward']:.4f}, key {best['key']}")
    if state == "stopped":
        print(f"go on with: nas resume {options.run_dir}")
    return 0


def _list(options: argparse.Namespace) -> int:
    from nas import config_folder

    folder = config_folder() / options.kind.removesuffix("s")
    found: dict[str, str] = {}
    for path in sorted(folder.glob("*.yaml")):
        lines = path.read_text().splitlines()
        found[path.stem] = lines[0].lstrip("# ") if lines and lines[0].startswith("#") else ""
    if options.kind == "tasks":
        from proxy_tasks.registry import BUILT_IN, known_tasks

        found |= {name: path for name, path in known_tasks().items() if name not in BUILT_IN}
    if options.json:
        print(json.dumps(found))
    else:
        width = max(map(len, found))
        for name, told in found.items():
            print(f"{name:<{width}}  {told}")
    return 0
