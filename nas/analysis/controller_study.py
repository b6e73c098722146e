"""A study of controllers: each searches the same task from many seeds, on a virtual clock, and is ranked.

The searches are those of `nas.run_search`. Every finished search is a line of `searches.jsonl`, so that a
second call continues where a first was cut off.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from nas.analysis.controller_plan import ControllerStudy, SearchId
from nas.analysis.controller_report import write_report
from nas.analysis.controller_summary import StudySummary, summarize
from nas.analysis.result_log import OWN_FILES, append_result, read_results
from nas.analysis.search_curve import SearchCurve, trace_search
from nas.config import build, build_controller, build_executor, build_space, build_task
from nas.config.sources import own_digests
from nas.search.checking import check_metrics, check_space
from nas.search.config import SearchConfig, TrialSettings
from nas.search.objective import Objective, ObjectiveError, check_objective_count
from nas.utils.files import locked_folder
from nas.utils.signals import ignore_interrupts
from nas.utils.terminal import counted
from proxy_tasks.adapted_task import AdaptedTask
from search_space import Space
from search_space.utils.strict_json import to_json

Searches = dict[SearchId, SearchCurve]
"""Finished searches."""


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """What all searches of a study share, built once a process."""

    config: dict[str, Any]
    space: Space
    task: AdaptedTask
    objective: Objective
    search: TrialSettings

    def search_config(self, seed: int) -> SearchConfig:
        """How one of the searches is run; too many failures end none, as its regret tells them."""
        return SearchConfig(
            seed=seed,
            fidelity=self.config["fidelity"],
            objective=self.objective,
            max_failures=1.0,
            pick="reward",  # Nobody looks at the winner, and what is expected takes seconds to compute.
            **asdict(self.search),
        )


def run_controller_study(
    study: ControllerStudy,
    folder: Path,
    *,
    processes: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    command: str = "",
) -> str:
    """Runs the missing searches and writes `comparison.md`, `.json`, `.csv` and `.png`; returns the page.

    Args:
        study: what is compared.
        folder: where the results are, which must be of the same study if there are any.
        processes: searches at a time; None for one on each core.
        progress: is called with the numbers of finished searches and of all.
        command: the command line that asked for the study, which is recorded with the results.

    Raises:
        ConfigError: if something cannot be built.
        ValueError: if the folder holds another comparison, or a controller found no score at all.
        FolderInUseError: if another process works in the folder.
        OSError: if the folder cannot be written.
    """
    _build_parts.cache_clear()  # A table may have changed since.
    parts = _build_parts(to_json(study.common))
    # Wrong settings are reported before anything is written.
    check_metrics(parts.objective, parts.task, check_space(parts.space, parts.task))
    parts.search_config(study.first_seed)
    build_executor(parts.config["executor"])
    for name, node in study.controllers.items():
        controller = build_controller(_seeded(node, study.first_seed), parts.space, f"controller {name}")
        check_objective_count(controller, parts.objective)
    folder.mkdir(parents=True, exist_ok=True)
    with locked_folder(folder):
        done = _run_missing(study, parts, folder / "searches.jsonl", processes, progress)
        return write_report(study, _summarize(study, parts, done), folder, command)


def _run_missing(
    study: ControllerStudy,
    parts: _Parts,
    path: Path,
    processes: int | None,
    progress: Callable[[int, int], None] | None,
) -> Searches:
    """Runs the searches that are missing, and keeps each as soon as it has ended; gives all."""
    done = _read(path, study, parts.task.digest)
    if done and progress is not None:
        verb = "is" if len(done) == 1 else "are"
        print(f"{counted(len(done), 'search', 'searches')} {verb} already in {path.parent}", file=sys.stderr)
    missing = [search for search in study.searches() if search not in done]
    common = to_json(study.common)
    jobs = [
        _Job(common=common, controller=study.controllers[search.controller], search=search)
        for search in missing
    ]
    total = len(done) + len(missing)
    for search, found in _map(jobs, processes):
        done[search] = found
        append_result(path, {**asdict(search), "found": asdict(found)})
        if progress is not None:
            progress(len(done), total)
    return done


@dataclass(frozen=True, kw_only=True)
class _Job:
    """A search for a process.

    Args:
        common: common configuration of the study, as JSON.
        controller: configuration of the controller.
        search: which search it is.
    """

    common: str
    controller: Mapping[str, Any]
    search: SearchId


def _map(jobs: list[_Job], processes: int | None) -> Iterator[tuple[SearchId, SearchCurve]]:
    """Runs the searches in other processes, or in this one if there is one process."""
    if processes == 1 or len(jobs) < 2:
        yield from map(_search, jobs)
        return
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor, as_completed

    with ProcessPoolExecutor(
        processes, multiprocessing.get_context("spawn"), initializer=_begin_worker, initargs=(sys.path,)
    ) as pool:
        try:
            for future in as_completed([pool.submit(_search, job) for job in jobs]):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _begin_worker(path: list[str]) -> None:
    """Finds a user's own task where the parent does, keeps to one core, and leaves Ctrl-C to the parent."""
    import torch

    ignore_interrupts()
    sys.path[:] = path
    torch.set_num_threads(1)


def _search(job: _Job) -> tuple[SearchId, SearchCurve]:
    name, seed = job.search.controller, job.search.seed
    parts = _build_parts(job.common)
    made = build_controller(_seeded(job.controller, seed), parts.space, f"controller {name}")
    executor = build_executor(parts.config["executor"])
    found = trace_search(
        parts.space, made, parts.task, executor, parts.config["trials"], parts.search_config(seed)
    )
    return job.search, found


@lru_cache(maxsize=1)
def _build_parts(common: str) -> _Parts:
    config = json.loads(common)
    return _Parts(
        config=config,
        space=build_space(config["space"]),
        task=build_task(config["task"]),
        objective=build(config["objective"], "objective"),
        search=build(config["search"], "search"),
    )


def best_known(task: AdaptedTask, objective: Objective) -> float | None:
    """Returns the best first reward of all, if the task knows all its scores in advance, as a table does."""
    if task.scores is None:
        return None
    found = []
    for score in task.scores():
        with contextlib.suppress(ObjectiveError):
            rewards = objective.rewards(score)
            if rewards is not None:
                found.append(rewards[0])
    return max(found, default=None)


def _seeded(node: Mapping[str, Any], seed: int) -> dict[str, Any]:
    return {**node, "seed": seed} if "seed" in node else dict(node)


def _read(path: Path, study: ControllerStudy, digest: str | None) -> Searches:
    """Reads the finished searches that found a score."""
    head = {
        **study.common,
        "controllers": study.controllers,
        OWN_FILES: own_digests([study.common, study.controllers]),
        "table": digest,
    }
    wanted, done = set(study.searches()), {}
    for entry in read_results(path, head, "comparison", lambda entry: bool(entry["found"]["steps"])):
        search, found = SearchId(controller=entry["controller"], seed=entry["seed"]), entry["found"]
        if search in wanted:
            done[search] = SearchCurve(**{**found, "steps": tuple(map(tuple, found["steps"]))})
    return done


def _summarize(study: ControllerStudy, parts: _Parts, done: Searches) -> StudySummary:
    searches = {
        name: {seed: done[SearchId(controller=name, seed=seed)] for seed in study.all_seeds}
        for name in study.controllers
    }
    return summarize(searches, study.trials, best_known(parts.task, parts.objective))
