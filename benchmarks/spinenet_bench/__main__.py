"""The command that makes the table grow; see the package."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

from benchmarks.spinenet_bench import __doc__ as about
from benchmarks.spinenet_bench.recipe import digest, training_task
from benchmarks.spinenet_bench.table import ROWS, read_table
from benchmarks.spinenet_bench.work import Bench, count_rows, forecast, work
from nas.executors.resources import count_cpus
from search_space.utils.user_folders import user_cache_folder

LOWEST = 19
"""Priority of the processes: whatever else the machine has to do comes first."""


def main() -> None:
    """Goes on where the rows end."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.spinenet_bench", description=about, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--workers", type=int, default=count_cpus(), help="processes; default: one for each core"
    )
    parser.add_argument("--rows", type=Path, default=ROWS, help="folder of the part files")
    parser.add_argument(
        "--work",
        type=Path,
        default=user_cache_folder() / "spinenet-bench",
        help="folder of what is under way; default: %(default)s",
    )
    parser.add_argument("--status", action="store_true", help="say what is there and what is left")
    # Processes end with the one that began.
    parser.add_argument("--parent", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    bench = Bench(rows=options.rows, work=options.work, digest=digest(), task=training_task)
    rows = read_table(bench.digest, bench.rows)
    told = forecast(rows, *bench.missing(rows))
    print(f"recipe {bench.digest}: {count_rows(rows)}; {told}", flush=True)
    if options.status:
        return
    os.nice(LOWEST - os.nice(0))
    if options.workers == 1:
        with contextlib.suppress(KeyboardInterrupt):
            work(bench, partial(print, flush=True), stop=lambda: options.parent not in (None, os.getppid()))
        return
    training_task().setup(options.work)  # The images, once for all processes.
    words = [sys.executable, "-m", "benchmarks.spinenet_bench", "--workers", "1"]
    words += ["--rows", str(options.rows), "--work", str(options.work), "--parent", str(os.getpid())]
    processes = [subprocess.Popen(words) for _ in range(options.workers)]

    def end(*_: object) -> None:
        for process in processes:
            process.terminate()

    signal.signal(signal.SIGTERM, end)
    with contextlib.suppress(KeyboardInterrupt):
        for process in processes:
            process.wait()
    for process in processes:  # They get a Ctrl-C too.
        process.wait()


if __name__ == "__main__":
    main()
