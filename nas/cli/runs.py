"""`nas status`, `nas logs`, `nas report`, `nas trials`: what one asks of a run folder."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from nas.cli.arguments import Commands
from nas.cli.run_folders import LATEST, pick_run


def add_run_commands(commands: Commands) -> None:
    """Adds the commands to the parser's."""
    status = commands.add_parser("status", help="show how far a search or a training is, and its best result")
    status.add_argument("run_dir", nargs="?", metavar="RUN_DIR", help=f"folder of the run; {LATEST}")
    status.add_argument("--watch", action="store_true", help="update until the run ends or you press Ctrl-C")
    status.add_argument("--json", action="store_true", help="print a JSON object")
    status.add_argument(
        "--metrics",
        metavar="[HOST:]PORT",
        help="serve the state of a search to Prometheus until you press Ctrl-C; HOST is 127.0.0.1 by default",
    )
    status.set_defaults(run=_status)

    logs = commands.add_parser("logs", help="show what happened to a trial and what it has printed")
    logs.add_argument(
        "words",
        nargs="*",
        metavar="RUN_DIR TRIAL",
        help=f"folder of the search, and number of the trial; {LATEST}, and its failed trials",
    )
    logs.set_defaults(run=_logs)

    report = commands.add_parser(
        "report", help="write a search's report as HTML, or compare several searches on one page"
    )
    report.add_argument(
        "run_dirs", metavar="RUN_DIR", nargs="*", help=f"folders of one or several searches; {LATEST}"
    )
    report.add_argument(
        "--out", metavar="FILE", help="default: RUN_DIR/report.html, or comparison.html of several searches"
    )
    report.set_defaults(run=make_report)

    trials = commands.add_parser(
        "trials", help="write a search's trials as CSV, JSON, Parquet, or as an Optuna study"
    )
    trials.add_argument("run_dir", nargs="?", metavar="RUN_DIR", help=f"folder of the search; {LATEST}")
    trials.add_argument(
        "output", metavar="FILE", help="its ending sets the format: .csv .json .parquet .db .log (Optuna)"
    )
    trials.set_defaults(run=export_trials)


def _status(options: argparse.Namespace) -> int:
    from nas.cli.status.command import show_status  # What it and the next import, `nas --help` does not need.

    return show_status(options)


def _logs(options: argparse.Namespace) -> int:
    from nas.cli.logs import show_logs

    return show_logs(options)


def make_report(options: argparse.Namespace) -> int:
    """`nas report`: writes the report of a run folder, or a page that compares several."""
    folders = [Path(folder) for folder in options.run_dirs]
    if options.out and Path(options.out).is_file() and Path(options.out).suffix not in (".html", ".htm"):
        raise ValueError(f"--out {options.out} is a file and no page of HTML; give a name that ends in .html")
    if len(folders) > 1:
        from nas.analysis.run_comparison import write_comparison

        print(write_comparison(folders, Path(options.out or "comparison.html")))
    else:
        from nas.reporting.html_report import write_report

        folder = folders[0] if folders else pick_run(None)
        print(write_report(folder, Path(options.out) if options.out else None))
    return 0


def export_trials(options: argparse.Namespace) -> int:
    """`nas trials`: writes the trials in the format that the file's ending names."""
    from nas.reporting.trial_table import STUDY_ENDINGS, TableError, write_trials

    output = Path(options.output)
    if options.run_dir is None and output.is_dir():
        raise TableError(f"{output} is a folder; name the FILE too, such as: nas trials {output} trials.csv")
    output = write_trials(pick_run(options.run_dir), output)
    print(output)
    if output.suffix.lower() in STUDY_ENDINGS:
        storage = f"sqlite:///{output}" if output.suffix.lower() == ".db" else str(output)
        print(f"look at it: pip install optuna-dashboard; optuna-dashboard {shlex.quote(storage)}")
    return 0
