"""A node of a real Ray cluster, or one of Ray's own processes, goes away under a search."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from pathlib import Path

import pytest

from controllers import Proposal, RandomSearch
from nas.executors.on_ray.executor import RayExecutor
from nas.journal.reading import read_events
from nas.search.loop import run_search
from proxy_tasks.task import Score
from tests.nas.executors.on_ray.ray_marks import LEAN, REAL_RAY
from tests.nas.search.killing import Forked, ended_so_far, run_nas
from tests.search_space.cell_space import CellSpace

pytestmark = REAL_RAY


class WaitsForAMark:
    """Says that it began; ends when the mark is made."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def evaluate(self, spec: object, fidelity: float, seed: int, *more: object) -> Score:
        Path(f"{self.mark}-{os.getpid()}").touch()
        while not Path(self.mark).exists():
            time.sleep(0.1)
        return Score(1.0)


def is_alive(process: int) -> bool:
    """Whether a process runs; one that is dead and not yet collected does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_node_that_goes_away_costs_attempts_and_no_trial(tmp_path: Path) -> None:
    """Ray's in-machine cluster: the head has room for one worker, the node that is removed for two."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **LEAN})
    space, mark = CellSpace(), tmp_path / "mark"
    try:
        node = cluster.add_node(num_cpus=2, include_log_monitor=False)
        cluster.wait_for_nodes()

        class Removing(RandomSearch):
            """Takes the node away when all three workers have begun."""

            def ask(self) -> Proposal:
                proposal = super().ask()
                if proposal.number == 2:
                    threading.Thread(target=remove, daemon=True).start()
                return proposal

        def remove() -> None:
            while len(list(tmp_path.glob("mark-*"))) < 3:
                time.sleep(0.1)
            running = [int(path.name.rpartition("-")[2]) for path in tmp_path.glob("mark-*")]
            cluster.remove_node(node, allow_graceful=False)
            # Its workers outlive it by a moment, and must not end their trials in it.
            while sum(is_alive(process) for process in running) > 1:
                time.sleep(0.1)
            mark.touch()

        result = run_search(
            space,
            Removing(space, 0),
            WaitsForAMark(str(mark)),
            RayExecutor(workers=3, address=cluster.address, patience=None),  # No other worker tries the same.
            12,
            tmp_path / "run",
        )
    finally:
        cluster.shutdown()
    assert result.trials.counts["completed"] + result.trials.counts["cached"] == 12
    tries = [t.attempts for t in result.trials.all]
    assert max(tries) == 2, tries
    told = [e.data["message"] for e in read_events(tmp_path / "run") if e.kind == "ended" and e.data["retry"]]
    assert told
    assert all(message.startswith(("node lost, ", "the worker died: ")) for message in told), told


OF_A_SEARCH = (
    *("loading the packages", "2 workers", "starting 2 workers", "searching in", "trial "),
    "a trial takes",
)
"""How the lines of a search begin that nothing has happened to."""


@pytest.mark.parametrize("name", ["raylet", "gcs_server"])
def test_when_a_process_of_ray_itself_is_killed_one_line_says_how_to_go_on(name: str, tmp_path: Path) -> None:
    words = ["task=synthetic", "task.sleep=0.5", "trials=200", "controller=random"]
    output, folder = tmp_path / "output.txt", tmp_path / "run"
    process = run_nas(output, "search", *words, f"run_dir={folder}")
    deadline = time.monotonic() + 300  # Only so that a hang ends.
    while ended_so_far(folder) < 1 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    kill_child(process.pid, name)
    assert process.wait(120) == 1, output.read_text()
    lines = output.read_text().splitlines()
    ours = f"nas: Ray's own process {name} has ended, perhaps it was killed; to continue: nas resume run"
    assert lines[-1] == ours
    of_progress = re.compile(r"\d+/200 done")
    assert not [x for x in lines[:-1] if not (x.startswith(OF_A_SEARCH) or of_progress.match(x))], lines
    words = ["resume", str(folder), "trials=5", "task.sleep=0", "executor.workers=1"]
    assert Forked(output, *words).wait(300) == 0, output.read_text()


def kill_child(parent: int, name: str) -> None:
    """Kills the child of a process that runs a program of that name."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    for threads in Path(f"/proc/{parent}/task").glob("*/children"):
        children += threads.read_text().split()
    for child in set(children):
        words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        if Path(words[0].decode()).name == name:
            os.kill(int(child), signal.SIGKILL)
            return
    raise AssertionError(f"no {name} among {children}")
