"""What the search engine itself costs: overhead, share in training, controllers, simulation, start-up.

uv run python -m benchmarks.engine overhead --trials 14000
uv run python -m benchmarks.engine share --trials 60
uv run python -m benchmarks.engine controllers
uv run python -m benchmarks.engine simulate
uv run python -m benchmarks.engine reports --trials 14000
uv run python -m benchmarks.engine startup
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import optuna

from benchmarks.regret import CONTROLLERS
from controllers import PolicyGradient, RandomSearch
from nas.executors.local_executor import LocalExecutor
from nas.executors.on_ray.executor import RayExecutor
from nas.executors.simulated_executor import SimulatedExecutor
from nas.journal.event import Event
from nas.journal.reading import read_events
from nas.journal.trials import Trials
from nas.search.config import SearchConfig
from nas.search.loop import run_search
from nas.search.pruning import PruningScheduler
from proxy_tasks.synthetic import SyntheticTask, synthetic_score
from proxy_tasks.task import Report, Score
from search_space import published_space

SPACE = published_space("spinenet-49")


@dataclass(frozen=True)
class Nothing:
    """A task that does nothing."""

    def evaluate(self, spec: Any, *_: object) -> Score:
        """Zero."""
        return Score(0.0)


class Watch:
    """Notes when trials end, and the driver's memory after 100 trials and at the end.

    Args:
        trials: the budget.
    """

    def __init__(self, trials: int) -> None:
        self.trials = trials
        self.times: list[float] = []
        self.memory: list[float] = []

    def on_event(self, event: Event, trials: Trials) -> None:
        """Notes the end of a trial."""
        if event.kind != "ended":
            return
        self.times.append(time.perf_counter())
        if len(self.times) in (100, self.trials):
            self.memory.append(resident_mib())

    def close(self) -> None:
        """Has nothing to close."""


def resident_mib() -> float:
    """Memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def overhead(trials: int) -> None:
    """Milliseconds a trial with a task that does nothing, early and late, and the driver's memory."""
    marks = [m for m in (100, 1000, 5000, trials // 2, trials) if m <= trials]
    print(f"{trials} trials that do nothing, SpineNet-49's space, random search\n")
    print("| executor | " + " | ".join(f"ms a trial to {m}" for m in marks) + " | MiB at 100 | MiB at end |")
    print("| --- " * (len(marks) + 3) + "|")
    for name, executor in (("in process", LocalExecutor()), ("Ray, 2 workers", RayExecutor(workers=2))):
        watch = Watch(trials)
        with TemporaryDirectory() as folder:
            controller = RandomSearch(SPACE, 0)
            run_search(SPACE, controller, Nothing(), executor, trials, folder, observers=[watch])
        times, memory = watch.times, watch.memory
        paces = []
        for mark in marks:
            window = times[max(0, mark - 1000) : mark]
            paces.append(1000 * (window[-1] - window[0]) / (len(window) - 1))
        told = " | ".join(f"{pace:.2f}" for pace in paces)
        print(f"| {name} | {told} | {memory[0]:.0f} | {memory[-1]:.0f} |", flush=True)
    print(f"| bare Ray loop, 2 actors | {_bare_ray(min(trials, 3000)):.2f} |")


def _bare_ray(calls: int) -> float:
    """Milliseconds a call of two Ray actors that are kept busy: what no engine over them can beat."""
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    import ray

    class Idle:
        def run(self, spec: Any) -> Score:
            return Score(0.0)

    ray.init(num_cpus=2, log_to_driver=False, include_dashboard=False)
    try:
        spec = SPACE.decode(SPACE.sample(np.random.default_rng(0)))
        actors: list[Any] = [ray.remote(Idle).remote() for _ in range(2)]
        ray.get([actor.run.remote(spec) for actor in actors])
        started = time.perf_counter()
        busy = {actor.run.remote(spec): actor for actor in actors}
        for _ in range(calls):
            (ready,), _ = ray.wait(list(busy))
            ray.get(ready)
            actor = busy.pop(ready)
            busy[actor.run.remote(spec)] = actor
        return 1000 * (time.perf_counter() - started) / calls
    finally:
        ray.shutdown()


def share(trials: int, seconds: float = 5.0) -> None:
    """Share of the workers' time that is spent in tasks of some seconds."""
    with TemporaryDirectory() as folder:
        task = SyntheticTask(sleep=seconds)
        run_search(SPACE, RandomSearch(SPACE, 0), task, RayExecutor(workers=2), trials, folder)
        events = read_events(folder)
    ended = [e for e in events if e.kind == "ended"]
    first = min(e.time for e in events if e.kind == "submitted")
    # The last trials of a search find the other worker idle; they are left out.
    until = ended[-2].time
    busy = sum(min(e.data["seconds"], max(0.0, until - e.time + e.data["seconds"])) for e in ended)
    began = min(e.time - e.data["seconds"] for e in ended)
    print(f"{trials} tasks of {seconds:g} s on 2 Ray workers")
    print(f"share in tasks from the first task on: {busy / (2 * (until - began)):.4f}")
    print(f"from the first submission on, start of the workers included: {busy / (2 * (until - first)):.4f}")


def controllers(marks: list[int], names: list[str]) -> None:
    """Milliseconds of one ask and one tell after so many trials."""
    import torch

    torch.set_num_threads(1)
    print("| controller | " + " | ".join(f"at {mark}" for mark in marks) + " |")
    print("| --- " * (len(marks) + 1) + "|")
    for name in names:
        controller = CONTROLLERS[name](SPACE, 0, marks[-1])
        cells = []
        done = 0
        for mark in marks:
            if name in SLOW and mark > SLOW[name]:
                cells.append("-")
                continue
            paces = []
            while done < mark + 50:
                started = time.perf_counter()
                proposal = controller.ask()
                asked = time.perf_counter() - started
                score = synthetic_score(SPACE.decode(proposal.genotype))
                started = time.perf_counter()
                controller.tell(proposal, score)
                if done >= mark - 50:
                    paces.append(1000 * (asked + time.perf_counter() - started))
                done += 1
            cells.append(f"{mean(paces):.2f} (most {max(paces):.1f})")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


SLOW = {"tpe": 1000}
"""Controllers whose asks become too slow to be measured beyond."""


def simulate(trials: int, workers: int) -> None:
    """The paper's search at its size on the virtual clock: seconds here, and how busy the workers are."""
    clock = SimulatedExecutor(workers)
    controller = PolicyGradient(
        SPACE,
        0,
        method="reinforce",
        trials=trials,
        batch=20,
        learning_rate=0.001,
        marginal_learning_rate=0.01,
        entropy_coef=0.01,
        imitation_coef=0.0,
        deduplicate=False,
    )
    task = SyntheticTask(seconds=3600.0)
    started = time.perf_counter()
    with TemporaryDirectory() as folder:
        config = SearchConfig(max_staleness=2 * workers)
        result = run_search(SPACE, controller, task, clock, trials, folder, config=config)
    seconds = time.perf_counter() - started
    rewards = [trial.rewards[0] for trial in result.trials.all if trial.rewards]
    tenth = trials // 10
    print(f"{trials} trials of about an hour on {workers} virtual workers, controller `paper`, deterministic")
    print(f"took {seconds:.0f} s here for {clock.now() / 3600:.1f} h there")
    print(f"utilization {clock.utilization:.3f}; driver {resident_mib():.0f} MiB")
    print(f"mean score: first tenth {mean(rewards[:tenth]):.4f}, last tenth {mean(rewards[-tenth:]):.4f}")
    print(f"best {max(rewards):.4f}; cached {result.trials.counts['cached']}")


class Reports:
    """A task of five reports, of curves that rise to a random height."""

    def evaluate(self, spec: Any, fidelity: float, seed: int, report: Report, checkpoint: object) -> Score:
        """Draws the curve by the seed."""
        rng = np.random.default_rng(seed)
        height = float(rng.random())
        for step in range(1, 6):
            reward = height * step / 5 + float(rng.normal(0, 0.05))
            metrics = {"AP": reward, "AP50": reward, "APs": 0.1, "APm": 0.2, "APl": 0.3, "loss": 1.0}
            report(step, Score(reward, {**metrics, "seconds": 60.0 * step}))
        return Score(height, {"AP": height, "seconds": 300.0})


def reports(trials: int, workers: int) -> None:
    """What reports cost with and without a pruner: journal, memory, milliseconds a trial."""
    print("| pruner | trials | journal MiB | driver MiB before, after | ms a trial, first and last 500 | s |")
    print("| --- " * 6 + "|")
    for name, pruner in (("none", None), ("median", optuna.pruners.MedianPruner())):
        watch, before = Watch(trials), resident_mib()
        scheduler = None if pruner is None else PruningScheduler(pruner)
        with TemporaryDirectory() as folder:
            run_search(
                SPACE,
                RandomSearch(SPACE, 0),
                Reports(),
                SimulatedExecutor(workers),
                trials,
                folder,
                config=SearchConfig(scheduler=scheduler),
                observers=[watch],
            )
            size = sum(path.stat().st_size for path in Path(folder).glob("journal*")) / 2**20
        times, few = watch.times, min(500, trials // 2)
        first, last = (times[few] - times[0]) / few, (times[-1] - times[-1 - few]) / few
        cells = [name, f"{trials}", f"{size:.1f}", f"{before:.0f}, {resident_mib():.0f}"]
        cells += [f"{1000 * first:.2f}, {1000 * last:.2f}", f"{times[-1] - times[0]:.0f}"]
        print("| " + " | ".join(cells) + " |", flush=True)


def startup(rounds: int) -> None:
    """From the command to the first training of `nas search` with its defaults, generated set included."""
    found: dict[str, list[float]] = {"set to be made": [], "set at hand": []}
    for _ in range(rounds):
        with TemporaryDirectory() as folder:
            for case, times in found.items():
                run = Path(folder) / case.replace(" ", "-")
                words = ["search", "trials=2", "fidelity=0.02", f"run_dir={run}"]
                environment = {**os.environ, "XDG_CACHE_HOME": folder}
                began = time.time()
                subprocess.run(
                    [sys.executable, "-m", "nas", *words], check=True, env=environment, capture_output=True
                )
                ended = [e for e in read_events(run) if e.kind == "ended"]
                times.append(min(e.time - e.data["seconds"] for e in ended) - began)
    for case, times in found.items():
        print(f"{case}: {median(times):.1f} s to the first trial ({min(times):.1f} to {max(times):.1f})")


def main() -> None:
    """Runs one of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument(
        "what", choices=["overhead", "share", "controllers", "simulate", "reports", "startup"]
    )
    parser.add_argument("--trials", type=int, default=14000)
    parser.add_argument("--workers", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--marks", type=int, nargs="+", default=[100, 1000, 14000])
    parser.add_argument("--names", nargs="+", default=list(CONTROLLERS))
    options = parser.parse_args()
    runs: dict[str, Callable[[], None]] = {
        "overhead": lambda: overhead(options.trials),
        "share": lambda: share(min(options.trials, 60)),
        "controllers": lambda: controllers(options.marks, options.names),
        "simulate": lambda: simulate(options.trials, options.workers),
        "reports": lambda: reports(options.trials, options.workers),
        "startup": lambda: startup(options.rounds),
    }
    runs[options.what]()


if __name__ == "__main__":
    main()
