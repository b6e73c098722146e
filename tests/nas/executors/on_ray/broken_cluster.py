"""A search on a cluster of this machine in which something is always broken.

    python -m tests.nas.executors.on_ray.broken_cluster FOLDER --trials 300
    python -m tests.nas.executors.on_ray.broken_cluster FOLDER --trials 300 --kill-at 100 200

Of eight nodes with one worker each, one raises a CUDA error whatever it is given, one hangs, one dies every
20 seconds and comes back, one is three times slower; one more node joins late.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from controllers import RegularizedEvolution
from nas.executors import LocalExecutor, RayExecutor
from nas.journal.errors import JournalError
from nas.journal.history import read_history
from nas.journal.reading import read_events
from nas.search.config import SearchConfig
from nas.search.loop import run_search
from proxy_tasks.task import Report, Score
from search_space import published_space
from tests.nas.executors.on_ray.ray_marks import LEAN

ROLES = ("broken", "hangs", "dies", "slow", "well", "well", "well", "well")


class Light:
    """Scores a spec by its key; its length and what happens to it are those of the node.

    Args:
        folder: holds a file for each node that has a role.
        seconds: of a trial on a healthy node.
    """

    def __init__(self, folder: Path, seconds: float) -> None:
        self.folder, self.seconds = str(folder), seconds

    def evaluate(self, spec: Any, fidelity: float, seed: int, report: Report, *more: object) -> Score:
        import ray

        report(1, Score(0.0))
        role = "well"
        if ray.is_initialized():
            file = Path(self.folder) / ray.get_runtime_context().get_node_id()
            role = file.read_text() if file.exists() else "well"
        if role == "broken":
            raise RuntimeError("CUDA error: uncorrectable ECC error encountered")
        if role == "hangs":
            time.sleep(100_000)
        time.sleep(self.seconds * (3 if role == "slow" else 1))
        return Score(int(spec.key()[:6], 16) / 16**6)


@contextmanager
def broken_cluster(
    folder: Path, roles: Sequence[str], dies_every: float = 20.0, joins_after: float = 60.0
) -> Iterator[str]:
    """Starts the cluster and has things happen to it, for a block.

    Args:
        folder: where the roles of the nodes are noted.
        roles: of the nodes.
        dies_every: seconds between two deaths of a node.
        joins_after: seconds until another node joins.
    """
    from ray._private import utils
    from ray.cluster_utils import Cluster

    utils.set_sigterm_handler = lambda _handler: None  # A thread, which adds nodes here, may not set one.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    folder.mkdir(parents=True, exist_ok=True)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **LEAN})
    over = threading.Event()

    def add(role: str) -> Any:
        node = cluster.add_node(num_cpus=1, include_log_monitor=False)
        (folder / node.node_id).write_text(role)
        return node

    def happen(dying: Any) -> None:
        began, joined = time.monotonic(), False
        while not over.wait(dies_every):
            cluster.remove_node(dying, allow_graceful=False)
            dying = add("dies")
            if not joined and time.monotonic() - began > joins_after:
                joined = True
                add("well")

    try:
        nodes = {role: add(role) for role in roles}
        cluster.wait_for_nodes()
        happening = threading.Thread(target=happen, args=(nodes.get("dies"),), daemon=True)
        if "dies" in nodes:
            happening.start()
        yield cluster.address
        over.set()
        if "dies" in nodes:
            happening.join()
    finally:
        over.set()
        cluster.shutdown()


def search(executor: Any, folder: Path, task: Light, trials: int, resume: bool = False) -> list[str]:
    """Runs the search; the keys of its trials."""
    space = published_space("r35-sp18")
    config = SearchConfig(max_staleness=36, cache=False)
    controller = RegularizedEvolution(space, 0, population=10)
    found = run_search(space, controller, task, executor, trials, folder, config=config, resume=resume)
    return [trial.key for trial in found.trials.all]


def undisturbed(folder: Path, trials: int) -> list[str]:
    """The keys of the same search in this process, where nothing happens."""
    return search(LocalExecutor(workers=1), folder, Light(folder, 0.0), trials)


def completions(run: Path) -> dict[int, int]:
    """How often each trial was completed."""
    found: dict[int, int] = {}
    for event in read_events(run):
        if event.kind == "ended" and not event.data["retry"] and event.data["status"] == "completed":
            found[event.trial or 0] = found.get(event.trial or 0, 0) + 1
    return found


def utilization(run: Path, healthy: int) -> float:
    """Share of the time that healthy workers spent in trials which they completed.

    Args:
        run: the run folder.
        healthy: workers that were there all the time and did not break.
    """
    history = read_history(run)
    done = [attempt for attempt in history.attempts if attempt.status == "completed"]
    by_worker: dict[str, float] = {}
    for attempt in done:
        by_worker[attempt.worker] = by_worker.get(attempt.worker, 0.0) + attempt.ended - attempt.began
    best = sorted(by_worker.values(), reverse=True)[:healthy]
    span = max(attempt.ended for attempt in done) - min(attempt.began for attempt in done)
    return sum(best) / (healthy * span)


def search_there(folder: Path, address: str, trials: int, seconds: float) -> list[str]:
    """Begins the search on a cluster, or goes on with it; the keys of its trials."""
    executor = RayExecutor(workers=9, address=address, time_limit=5 * seconds)
    resume = (folder / "run" / "journal.db").exists()
    return search(executor, folder / "run", Light(folder / "roles", seconds), trials, resume)


def search_with_kills(
    folder: Path, address: str, trials: int, seconds: float, kill_at: Sequence[int]
) -> list[str]:
    """Runs the search in processes of its own, which get SIGKILL when so many trials are completed."""
    words = [
        sys.executable,
        "-m",
        "tests.nas.executors.on_ray.broken_cluster",
        str(folder),
        "--address",
        address,
    ]
    words += ["--trials", str(trials), "--seconds", str(seconds)]
    for count in (*kill_at, None):
        with subprocess.Popen(words, cwd=Path(__file__).parents[4]) as driver:
            while count is not None and driver.poll() is None and _completed(folder / "run") < count:
                time.sleep(0.5)
            if count is not None:
                driver.kill()
    return [row.key for row in read_history(folder / "run").rows]


def _completed(run: Path) -> int:
    """Trials that are completed so far; 0 before the search has begun."""
    try:
        return len(completions(run))
    except JournalError:
        return 0


def main() -> None:
    """Runs the disturbed search beside the undisturbed one and prints what came of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=5.0, help="of a trial on a healthy node")
    parser.add_argument(
        "--kill-at", type=int, nargs="*", default=[], help="kill the driver at so many trials"
    )
    parser.add_argument(
        "--address", default=None, help="of a cluster that is there: only run the search on it"
    )
    options = parser.parse_args()
    folder: Path = options.folder
    if options.address is not None:
        search_there(folder, options.address, options.trials, options.seconds)
        return
    started = time.monotonic()
    with broken_cluster(folder / "roles", ROLES) as address:
        about = folder, address, options.trials, options.seconds
        keys = search_with_kills(*about, options.kill_at) if options.kill_at else search_there(*about)
    counts = completions(folder / "run")
    retried = [e for e in read_events(folder / "run") if e.kind == "ended" and e.data["retry"]]
    told: dict[str, float] = {
        "seconds": round(time.monotonic() - started),
        "trials": len(keys),
        "completed once": sum(count == 1 for count in counts.values()),
        "completed more than once": sum(count > 1 for count in counts.values()),
        "attempts lost": len(retried),
        "drivers": read_history(folder / "run").events["session"],
        "same proposals": keys == undisturbed(folder / "undisturbed", options.trials),
    }
    if not options.kill_at:  # A new driver has new workers.
        told["utilization of the four healthy workers"] = round(utilization(folder / "run", 4), 3)
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
