"""`nas report`, `nas trials`: what one asks of a run folder."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from nas.cli.run_folders import pick_run
from nas.plugins.kinds import list_plugins
from search_space.utils.strict_json import to_json


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


def list_kind(options: argparse.Namespace) -> int:
    """`nas tasks`, `nas controllers`: lists what is installed of a kind."""
    found = list_plugins(options.kind.removesuffix("s"))
    if options.json:
        print(to_json(found))
    else:
        width = max(map(len, found))
        for name, about in found.items():
            print(f"{name:<{width}}  {about}")
    return 0
