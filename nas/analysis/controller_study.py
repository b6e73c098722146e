"""A study of controllers: each searches the same task from many seeds, on a virtual clock, and is ranked.

The searches are those of `nas.run_search`. Every finished search is a line of `searches.jsonl`, so that a
second call continues where a first was cut off.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import platform
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from nas.analysis.ranking import Ranking, band, curve, rank
from nas.analysis.result_log import append_result, read_results
from nas.analysis.search_curve import SearchCurve, trace_search
from nas.config import build, build_controller, build_executor, build_space, build_task
from nas.config.sources import own_digests
from nas.reporting.charts import time_unit
from nas.reporting.figures import figure_file, series_style
from nas.search.checking import check_metrics, check_space
from nas.search.config import SearchConfig, TrialSettings
from nas.search.objective import Objective, ObjectiveError, check_objective_count
from nas.utils.files import locked_folder, replace_file
from nas.utils.signals import ignore_interrupts
from nas.utils.templates import render
from nas.utils.terminal import counted
from proxy_tasks.task import AdaptedTask
from search_space import Space
from search_space.utils.strict_json import to_json
from search_space.utils.validation import AtLeast, validate

FIRST_POINTS = (10, 25, 50, 100, 150, 300, 500)
"""Numbers of trials at which the page gives the regret; then 1, 2 and 5 times every power of ten."""


FEW_TRIALS = 3
"""Curves of fewer trials have a dot at each."""

SMALLEST_REGRET = 1e-12
"""A regret of 0 has no place on a logarithmic axis."""


@dataclass(frozen=True, kw_only=True)
class ControllerStudy:
    """The controllers to compare, and the searches to compare them in.

    Args:
        common: configuration of space, task, executor, objective, search, trials, workers and fidelity, as
            plain data.
        controllers: the controllers' configurations by name.
        seeds: how many searches each controller makes.
        first_seed: the seed of the first of them; the others follow.
    """

    common: Mapping[str, Any]
    controllers: Mapping[str, Mapping[str, Any]]
    seeds: Annotated[int, AtLeast(2)]
    first_seed: Annotated[int, AtLeast(0)] = 0

    def __post_init__(self) -> None:
        validate(self)

    def jobs(self) -> Iterator[tuple[str, int]]:
        """Gives (controller, seed) of all searches, seed by seed, so that a cut-off study is balanced."""
        for seed in range(self.first_seed, self.first_seed + self.seeds):
            for name in self.controllers:
                yield name, seed

    @property
    def trials(self) -> int:
        """The budget of each search."""
        return int(self.common["trials"])


Searches = dict[tuple[str, int], SearchCurve]
"""Finished searches by controller and seed."""


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
        return _write(study, done, folder, command)


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
    missing = [job for job in study.jobs() if job not in done]
    common = to_json(study.common)
    jobs = [(common, study.controllers[name], name, seed) for name, seed in missing]
    total = len(done) + len(missing)
    for (name, seed), found in _map(jobs, processes):
        done[name, seed] = found
        append_result(path, {"controller": name, "seed": seed, "found": asdict(found)})
        if progress is not None:
            progress(len(done), total)
    return done


_Job = tuple[str, Mapping[str, Any], str, int]
"""Common configuration as JSON, configuration and name of the controller, seed."""


def _map(jobs: list[_Job], processes: int | None) -> Iterator[tuple[tuple[str, int], SearchCurve]]:
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


def _search(job: _Job) -> tuple[tuple[str, int], SearchCurve]:
    common, node, name, seed = job
    parts = _build_parts(common)
    made = build_controller(_seeded(node, seed), parts.space, f"controller {name}")
    executor = build_executor(parts.config["executor"])
    found = trace_search(
        parts.space, made, parts.task, executor, parts.config["trials"], parts.search_config(seed)
    )
    return (name, seed), found


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


def choose_points(trials: int) -> list[int]:
    """Gives the numbers of trials at which a study tells the regret, its last trial included."""
    found = list(FIRST_POINTS)
    while found[-1] < trials:
        power = 10 ** len(str(found[-1]))
        found += [power, 2 * power, 5 * power]
    return [point for point in found if point < trials] + [trials]


def _seeded(node: Mapping[str, Any], seed: int) -> dict[str, Any]:
    return {**node, "seed": seed} if "seed" in node else dict(node)


def _read(path: Path, study: ControllerStudy, digest: str | None) -> Searches:
    """Reads the finished searches that found a score."""
    head = {
        **study.common,
        "controllers": study.controllers,
        "own files": own_digests([study.common, study.controllers]),
        "table": digest,
    }
    wanted, done = set(study.jobs()), {}
    for entry in read_results(path, head, "comparison", lambda entry: bool(entry["found"]["steps"])):
        job, found = (entry["controller"], entry["seed"]), entry["found"]
        if job in wanted:
            done[job] = SearchCurve(**{**found, "steps": tuple(map(tuple, found["steps"]))})
    return done


def _write(study: ControllerStudy, done: Searches, folder: Path, command: str) -> str:
    names = list(study.controllers)
    trials = np.arange(1, study.trials + 1, dtype=np.float64)
    by_trial = {
        name: np.array(
            [
                curve([(n, best) for n, _, best in found.steps], trials)
                for (other, _), found in sorted(done.items())
                if other == name
            ]
        )
        for name in names
    }
    scoreless = next((name for name in names if np.isnan(by_trial[name][:, -1]).any()), None)
    if scoreless is not None:
        reason = next((f.failure for (name, _), f in done.items() if name == scoreless and f.failure), "")
        raise ValueError(f"a search with {scoreless} found no score at all; the last failure: {reason}")
    parts = _build_parts(to_json(study.common))
    known = best_known(parts.task, parts.objective)
    best = float(known) if known is not None else max(float(np.nanmax(c)) for c in by_trial.values())
    # Before the first score the regret is that of the worst that any search began with.
    floor = min(float(np.nanmin(c)) for c in by_trial.values())
    regrets = {name: best - np.nan_to_num(c, nan=floor) for name, c in by_trial.items()}
    baseline = "random" if "random" in names else None
    ranking = rank({name: -regrets[name][:, -1] for name in names}, baseline)
    points = choose_points(study.trials)
    data = {
        "common": study.common,
        "controllers": study.controllers,
        "seeds": study.seeds,
        "best": best,
        "best_is_known": known is not None,
        "regret": {n: {p: float(regrets[n][:, p - 1].mean()) for p in points} for n in names},
        "standard_error": {n: {p: _standard_error(regrets[n][:, p - 1]) for p in points} for n in names},
        "failed": {n: sum(found.failed for (name, _), found in done.items() if name == n) for n in names},
        "kruskal_p": ranking.overall_p,
        "ranks": dict(ranking.ranks),
        "pairs": [
            {"better": a, "worse": b, "p": p, "superiority": ranking.superiority[a, b]}
            for (a, b), p in ranking.pairs.items()
        ],
        "against_random": dict(ranking.against),
        "command": command,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    text = render(
        "nas.analysis",
        "controller_study.md.j2",
        title=", ".join(
            (
                counted(len(names), "controller"),
                counted(study.seeds, "seed"),
                counted(study.trials, "trial"),
            )
        ),
        known=known is not None,
        best=best,
        points=points,
        rows=_rows(done, regrets, points, ranking),
        overall_p=ranking.overall_p,
    )
    replace_file(folder / "comparison.json", to_json(data, indent=1) + "\n")
    replace_file(folder / "comparison.md", text)
    text_of_rows = io.StringIO()
    rows = csv.writer(text_of_rows, lineterminator="\n")
    rows.writerow(["controller", "seed", "trials", "seconds", "best"])
    for (name, seed), found in sorted(done.items()):
        rows.writerows([name, seed, n, f"{seconds:.6g}", value] for n, seconds, value in found.steps)
    replace_file(folder / "comparison.csv", text_of_rows.getvalue())
    _plot(study, done, regrets, best, ranking, folder / "comparison.png")
    return text


@dataclass(frozen=True, kw_only=True)
class _Row:
    """What the page says of a controller.

    Args:
        name: of the controller.
        regrets: mean regret at each of the page's numbers of trials.
        errors: their standard errors over the seeds.
        distinct: part of the proposals whose key was not proposed before.
        rank: mean rank over the seeds.
        beats: how many others end lower.
        p: of beating random search; None for random search itself, or without it.
        ask_ms: mean milliseconds of an ask and a tell.
        failed, trials: trials without a reward, and all of them, of all seeds.
        failure: message of one of the failures.
    """

    name: str
    regrets: list[float]
    errors: list[float]
    distinct: float
    rank: float
    beats: int
    p: float | None
    ask_ms: float
    failed: int
    trials: int
    failure: str


def _rows(
    done: Searches, regrets: Mapping[str, NDArray[np.float64]], points: list[int], ranking: Ranking
) -> list[_Row]:
    """Gives the rows of the page, best controller first."""
    rows = []
    for name in sorted(regrets, key=lambda n: ranking.ranks[n]):
        found = [search for (other, _), search in done.items() if other == name]
        rows.append(
            _Row(
                name=name,
                regrets=[float(regrets[name][:, p - 1].mean()) for p in points],
                errors=[_standard_error(regrets[name][:, p - 1]) for p in points],
                distinct=float(np.mean([search.distinct / search.trials for search in found])),
                rank=ranking.ranks[name],
                beats=ranking.beaten(name),
                p=ranking.against.get(name),
                ask_ms=float(np.mean([search.ask_ms for search in found])),
                failed=sum(search.failed for search in found),
                trials=sum(search.trials for search in found),
                failure=next((search.failure for search in found if search.failure), ""),
            )
        )
    return rows


def _standard_error(values: NDArray[np.float64]) -> float:
    """Gives the standard error of the mean of two or more values."""
    return float(values.std(ddof=1) / len(values) ** 0.5)


def _plot(
    study: ControllerStudy,
    done: Searches,
    regrets: Mapping[str, NDArray[np.float64]],
    best: float,
    ranking: Ranking,
    path: Path,
) -> None:
    from matplotlib.ticker import MaxNLocator

    names = sorted(regrets, key=lambda n: ranking.ranks[n])
    styles = {name: series_style(i) for i, name in enumerate(regrets)}
    few = "o" if study.trials < FEW_TRIALS else ""  # A line of one point is not seen.
    top = max(float(r.mean(0).max()) for r in regrets.values())
    lowest = min(float(r.mean(0).min()) for r in regrets.values())
    floor = max(top * 1e-3, lowest / 2, SMALLEST_REGRET)
    longest = max(s.seconds for s in done.values())
    unit, size = time_unit(longest)
    times = np.linspace(0, longest / size, 200)
    with figure_file(path, 12, 3.9) as figure:
        by_trial, by_time, ends = figure.subplots(1, 3, width_ratios=(4, 4, 3))
        trials = np.arange(1, study.trials + 1)
        for name in names:
            steps = [s.steps for (other, _), s in sorted(done.items()) if other == name]
            in_time = np.array([curve([(t / size, b) for _, t, b in s], times) for s in steps])
            worst = best - float(regrets[name].max())
            style = styles[name]
            for axes, x, values, marker in (
                (by_trial, trials, regrets[name], few),
                (by_time, times, best - np.nan_to_num(in_time, nan=worst), ""),
            ):
                mean, low, high = (np.maximum(v, floor) for v in band(values))
                axes.plot(x, mean, lw=1.5, drawstyle="steps-post", marker=marker, **style)
                axes.fill_between(x, low, high, color=style["color"], alpha=0.15, lw=0, step="post")
        workers = study.common["workers"]
        on = f"{unit} on {counted(workers, 'worker')}"
        for axes, what in ((by_trial, "trials"), (by_time, on)):
            if top > 0:
                axes.set_yscale("log")
                axes.set_ylim(bottom=floor)
            axes.set_xlabel(what)
        by_trial.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        by_time.set_ylim(by_trial.get_ylim())  # Before a first score the regret has no meaning.
        by_trial.set_ylabel("regret")
        by_trial.set_title("Mean regret, 95 % band")
        by_time.set_title("The same by virtual time")
        finals = [np.maximum(regrets[name][:, -1], 0) for name in reversed(names)]
        boxes = ends.boxplot(finals, orientation="horizontal", widths=0.55, patch_artist=True, sym=".")
        for box, name in zip(boxes["boxes"], reversed(names), strict=True):
            style = styles[name]
            box.set(facecolor=style["color"], alpha=0.35, edgecolor=style["color"])
            box.set_linestyle(style["linestyle"])
        for median in boxes["medians"]:
            median.set_color("#222222")
        labels = [textwrap.fill(f"{name} ({ranking.ranks[name]:.1f})", 24) for name in reversed(names)]
        ends.set_yticks(range(1, len(names) + 1), labels)
        for label, name in zip(ends.get_yticklabels(), reversed(names), strict=True):
            label.set_color(styles[name]["color"])  # In place of a legend, with the line of the box.
        ends.set_xlabel("regret at the end, by seed")
        ends.set_title("Spread (mean rank)")
