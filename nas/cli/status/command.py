"""`nas status`: how far a search or a training is, what runs, and how long it has taken."""

from __future__ import annotations

import argparse
from functools import partial

from nas.cli.run_folders import RUNS, TRAININGS, pick_run
from nas.cli.status.metrics import serve_search
from nas.cli.status.printing import print_status
from nas.cli.status.search import SearchReader
from nas.cli.status.training import read_training
from nas.cli.status.watch import watch
from nas.cli.train import holds_training


def show_status(options: argparse.Namespace) -> int:
    """`nas status`: how far a search or a training is."""
    folder = pick_run(options.run_dir, (RUNS, TRAININGS))
    read = partial(read_training, folder) if holds_training(folder) else SearchReader(folder).read
    if options.metrics is not None:
        if holds_training(folder):
            raise ValueError(f"{folder} is a training; --metrics serves the state of a search")
        return serve_search(folder, options.metrics)
    status = read()
    if options.watch and status.data["alive"]:
        return watch(read, options.json)
    print_status(status, options.json)
    return 0
