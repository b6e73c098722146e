"""`nas status`, `nas report`, `nas trials`: what one asks of a run folder."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from nas.plugins import list_plugins
from nas.utils.terminal import duration


def show_status(options: argparse.Namespace) -> int:
    """`nas status`: how far a search is, and its best."""
    from nas.journal.store import read_events
    from nas.journal.trials import Trials
    from nas.utils.files import is_in_use

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
    # No scheduler pauses unless it was asked for, and then the paused ones are counted too.
    counts = {status: n for status, n in trials.counts.items() if n or status != "paused"}
    found = {
        "trials": counts,
        "best": best,
        "asked": len(trials.search),
        "finalists": [
            {"trial": trial.finalist_of, "status": trial.status, "rewards": trial.rewards}
            for trial in trials.finalists
        ],
        "finished": trials.finished is not None,
        "reason": trials.finished,
        "alive": is_in_use(options.run_dir),
        "seconds": round(trials.seconds, 3),
    }
    if options.json:
        print(json.dumps(found))
        return 0
    ended = ", ".join(f"{count} {status}" for status, count in counts.items())
    state = (
        f"finished by {trials.finished}" if trials.finished else "running" if found["alive"] else "stopped"
    )
    print(f"{options.run_dir}: {state} after {duration(trials.seconds)}")
    print(f"{len(trials.search)} asked: {ended}")
    if trials.finalists:
        over = sum(trial.status != "running" for trial in trials.finalists)
        print(f"finalists: {over} of {len(trials.finalists)} evaluations are over")
    if best is not None:
        print(f"best: trial {best['trial']}, reward {best['reward']:.4f}, key {best['key']}")
    if state == "stopped":
        print(f"go on with: nas resume {options.run_dir}")
    return 0


def make_report(options: argparse.Namespace) -> int:
    """`nas report`: writes the report of a run folder."""
    from nas.reporting.html_report import write_report

    print(write_report(Path(options.run_dir)))
    return 0


def export_trials(options: argparse.Namespace) -> int:
    """`nas trials`: writes the trials in the format that the file's ending names."""
    from nas.reporting.trial_table import write_trials

    output = write_trials(Path(options.run_dir), Path(options.output))
    print(output)
    if output.suffix in (".db", ".log"):
        print(f"look at it: pip install optuna-dashboard; optuna-dashboard {output}")
    return 0


def list_kind(options: argparse.Namespace) -> int:
    """`nas tasks`, `nas controllers`: lists what is installed of a kind."""
    found = list_plugins(options.kind.removesuffix("s"))
    if options.json:
        print(json.dumps(found))
    else:
        width = max(map(len, found))
        for name, about in found.items():
            print(f"{name:<{width}}  {about}")
    return 0
