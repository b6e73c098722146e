"""Comparing controllers: each searches the same task from many seeds, simulated, and is ranked.

Every finished search is a line of `searches.jsonl`, so that a second call goes on where a first was cut off.
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
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.config import build, build_controller, build_space, build_task
from nas.files import replace_file
from nas.objective import Objective, ObjectiveError, check_objectives
from nas.ranking import Ranking, band, curve, rank
from nas.results_file import append_result, digests, read_results
from nas.simulating import Simulated, simulate
from proxy_tasks.table import TableTask

POINTS = (10, 25, 50, 100, 150, 300, 500, 1000, 2000, 5000, 10000, 14000)
COLOURS = ("#2a6f97", "#d1495b", "#3c7a57", "#c98a1b", "#7a5195", "#5f6b76", "#0f9aa8", "#a05a2c", "#1d3557")
NOTHING = 1e-12


@dataclass(frozen=True)
class Comparison:
    """What to compare.

    Args:
        common: configuration of space, task, executor, objective, trials, workers, fidelity, as plain data.
        controllers: their configurations by name.
        seeds: searches of each.
        first_seed: of the first of them.
    """

    common: Mapping[str, Any]
    controllers: Mapping[str, Mapping[str, Any]]
    seeds: int
    first_seed: int

    def jobs(self) -> Iterator[tuple[str, int]]:
        """(controller, seed) of all searches; a cut-off comparison has all controllers at the same seeds."""
        for seed in range(self.first_seed, self.first_seed + self.seeds):
            for name in self.controllers:
                yield name, seed

    @property
    def trials(self) -> int:
        """Of each search."""
        return int(self.common["trials"])


Searches = dict[tuple[str, int], Simulated]


def run_comparison(
    comparison: Comparison,
    folder: Path,
    processes: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> str:
    """Runs what is missing and writes `comparison.md`, `.json`, `.csv` and `.png`; gives back the first.

    Raises:
        ConfigError: if something cannot be built.
        ValueError: if the folder holds another comparison, or a controller found no score at all.
        OSError: if the folder cannot be written.
    """
    common = json.dumps(comparison.common)
    _parts.cache_clear()  # A table may have changed since.
    space, task, objective, _ = _parts(common)
    for name, node in comparison.controllers.items():  # Faults are told before anything is written.
        made = build_controller(_seeded(node, comparison.first_seed), space, f"controller {name}")
        check_objectives(made, objective)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "searches.jsonl"
    done = _read(path, comparison, getattr(task, "digest", None))
    if done and progress is not None:
        print(f"{len(done)} searches are in {folder} already", file=sys.stderr)
    missing = [job for job in comparison.jobs() if job not in done]
    jobs = [(common, comparison.controllers[name], name, seed) for name, seed in missing]
    whole = len(done) + len(missing)
    for (name, seed), found in _map(jobs, processes):
        done[name, seed] = found
        append_result(path, {"controller": name, "seed": seed, "found": asdict(found)})
        if progress is not None:
            progress(len(done), whole)
    return _write(comparison, done, folder)


def _map(jobs: list[Any], processes: int | None) -> Iterator[tuple[tuple[str, int], Simulated]]:
    """Runs jobs in other processes, or in this one if there is one process."""
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
    """A task of the user's own lies on the parent's path; one thread, as the processes share the cores."""
    import torch

    sys.path[:] = path
    torch.set_num_threads(1)


def _search(job: tuple[str, Mapping[str, Any], str, int]) -> tuple[tuple[str, int], Simulated]:
    common, node, name, seed = job
    space, task, objective, config = _parts(common)
    controller = build_controller(_seeded(node, seed), space, f"controller {name}")
    found = simulate(
        space,
        controller,
        task,
        objective,
        config["trials"],
        config["workers"],
        config["executor"].get("seconds", 1.0),
        config["fidelity"],
        seed,
    )
    return (name, seed), found


@lru_cache(maxsize=1)
def _parts(common: str) -> tuple[Any, Any, Any, dict[str, Any]]:
    """Space, task and objective, built once a process."""
    from omegaconf import OmegaConf

    config = json.loads(common)
    whole = OmegaConf.create(config)
    return build_space(whole.space), build_task(whole.task), build(whole.objective, "objective"), config


def best_known(task: Any, objective: Objective) -> float | None:
    """The best first reward that there is, if the task tells all its scores (as a table does)."""
    if not isinstance(task, TableTask):
        return None
    found = []
    for score in task.scores():
        with contextlib.suppress(ObjectiveError):
            rewards = objective.rewards(score)
            if rewards is not None:
                found.append(rewards[0])
    return max(found, default=None)


def _seeded(node: Mapping[str, Any], seed: int) -> Any:
    from omegaconf import OmegaConf

    return OmegaConf.create({**node, **({"seed": seed} if "seed" in node else {})})


def _read(path: Path, comparison: Comparison, digest: str | None) -> Searches:
    """Searches that found a score."""
    head = {
        "common": comparison.common,
        "controllers": comparison.controllers,
        "files": digests([comparison.common, comparison.controllers]),
        "table": digest,
    }
    wanted, done = set(comparison.jobs()), {}
    for entry in read_results(path, head, "comparison", lambda entry: bool(entry["found"]["steps"])):
        job, found = (entry["controller"], entry["seed"]), entry["found"]
        if job in wanted:
            done[job] = Simulated(**{**found, "steps": tuple(map(tuple, found["steps"]))})
    return done


def _write(comparison: Comparison, done: Searches, folder: Path) -> str:
    names = list(comparison.controllers)
    trials = np.arange(1, comparison.trials + 1, dtype=np.float64)
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
    _, task, objective, _ = _parts(json.dumps(comparison.common))
    known = best_known(task, objective)
    best = float(known) if known is not None else max(float(c.max()) for c in by_trial.values())
    # Before the first score the regret is that of the worst that any search began with.
    floor = min(float(np.nanmin(c)) for c in by_trial.values())
    regrets = {name: best - np.nan_to_num(c, nan=floor) for name, c in by_trial.items()}
    baseline = "random" if "random" in names else None
    ranking = rank({name: -regrets[name][:, -1] for name in names}, baseline)
    points = [p for p in POINTS if p < comparison.trials] + [comparison.trials]
    data = {
        "common": comparison.common,
        "controllers": comparison.controllers,
        "seeds": comparison.seeds,
        "best": best,
        "best_is_known": known is not None,
        "regret": {n: {p: float(regrets[n][:, p - 1].mean()) for p in points} for n in names},
        "kruskal_p": ranking.overall_p,
        "ranks": dict(ranking.ranks),
        "pairs": [
            {"better": a, "worse": b, "p": p, "superiority": ranking.superiority[a, b]}
            for (a, b), p in ranking.pairs.items()
        ],
        "against_random": dict(ranking.against),
        "command": "nas " + " ".join(sys.argv[1:]),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    text = _as_markdown(comparison, done, regrets, points, ranking, best, known is not None)
    replace_file(folder / "comparison.json", json.dumps(data, indent=1) + "\n")
    replace_file(folder / "comparison.md", text)
    text_of_rows = io.StringIO()
    rows = csv.writer(text_of_rows, lineterminator="\n")
    rows.writerow(["controller", "seed", "trials", "seconds", "best"])
    for (name, seed), found in sorted(done.items()):
        rows.writerows([name, seed, n, f"{seconds:.6g}", value] for n, seconds, value in found.steps)
    replace_file(folder / "comparison.csv", text_of_rows.getvalue())
    _plot(comparison, done, regrets, best, ranking, folder / "comparison.png")
    return text


def _as_markdown(
    comparison: Comparison,
    done: Searches,
    regrets: Mapping[str, NDArray[np.float64]],
    points: list[int],
    ranking: Ranking,
    best: float,
    known: bool,
) -> str:
    """The comparison as a page."""
    stands = "the task's best" if known else "the best that any search found"
    lines = [
        f"# {len(regrets)} controllers, {comparison.seeds} seeds, {comparison.trials} trials",
        "",
        f"Mean regret after so many trials, against {stands}, {best:.6g}.",
        "",
        "| controller | "
        + " | ".join(map(str, points))
        + " | distinct | mean rank | beats | p against random | ms an ask |",
        "| --- " * (len(points) + 6) + "|",
    ]
    for name in sorted(regrets, key=lambda n: ranking.ranks[n]):
        found = [s for (other, _), s in done.items() if other == name]
        cells = [f"{regrets[name][:, p - 1].mean():.3g}" for p in points]
        cells += [
            f"{100 * np.mean([s.distinct / s.trials for s in found]):.0f} %",
            f"{ranking.ranks[name]:.2f}",
            str(ranking.beaten(name)),
            f"{ranking.against[name]:.1e}" if name in ranking.against else "-",
            f"{np.mean([s.ask_ms for s in found]):.1f}",
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += [
        "",
        f"All alike: p = {ranking.overall_p:.1e} (Kruskal-Wallis). Beats: others that end lower, p below "
        "0.05 (Mann-Whitney, Holm-adjusted). Against random: one-sided Mann-Whitney.",
    ]
    return "\n".join(lines) + "\n"


def _plot(
    comparison: Comparison,
    done: Searches,
    regrets: Mapping[str, NDArray[np.float64]],
    best: float,
    ranking: Ranking,
    path: Path,
) -> None:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    names = sorted(regrets, key=lambda n: ranking.ranks[n])
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(regrets)}
    top = max(float(r.mean(0).max()) for r in regrets.values())
    floor = max(top * 1e-3, NOTHING)
    hours = np.linspace(0, max(s.seconds for s in done.values()) / 3600, 200)
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(12, 3.9), layout="constrained")
        by_trial, by_hour, ends = figure.subplots(1, 3, width_ratios=(4, 4, 3))
        trials = np.arange(1, comparison.trials + 1)
        for name in names:
            steps = [s.steps for (other, _), s in sorted(done.items()) if other == name]
            in_time = np.array([curve([(t / 3600, b) for _, t, b in s], hours) for s in steps])
            worst = best - float(regrets[name].max())
            for axes, x, values in (
                (by_trial, trials, regrets[name]),
                (by_hour, hours, best - np.nan_to_num(in_time, nan=worst)),
            ):
                mean, low, high = (np.maximum(v, floor) for v in band(values))
                axes.plot(x, mean, color=colours[name], lw=1.5)
                axes.fill_between(x, low, high, color=colours[name], alpha=0.15, lw=0)
        workers = comparison.common["workers"]
        on = f"hours on {workers} worker{'s' * (workers > 1)}"
        for axes, what in ((by_trial, "trials"), (by_hour, on)):
            axes.set_yscale("log")
            axes.set_ylim(bottom=floor)
            axes.set_xlabel(what)
        by_hour.set_ylim(by_trial.get_ylim())  # Before a first score the regret has no meaning.
        by_trial.set_ylabel("regret")
        by_trial.set_title("Mean regret, 95 % band", loc="left")
        by_hour.set_title("The same by virtual time", loc="left")
        finals = [np.maximum(regrets[name][:, -1], 0) for name in reversed(names)]
        boxes = ends.boxplot(finals, orientation="horizontal", widths=0.55, patch_artist=True, sym=".")
        for box, name in zip(boxes["boxes"], reversed(names), strict=True):
            box.set(facecolor=colours[name], alpha=0.35, edgecolor=colours[name])
        for median in boxes["medians"]:
            median.set_color("#222222")
        told = [textwrap.fill(f"{name} ({ranking.ranks[name]:.1f})", 24) for name in reversed(names)]
        ends.set_yticks(range(1, len(names) + 1), told)
        for label, name in zip(ends.get_yticklabels(), reversed(names), strict=True):
            label.set_color(colours[name])  # In place of a legend.
        ends.set_xlabel("regret at the end, by seed")
        ends.set_title("Spread (mean rank)", loc="left")
        figure.savefig(path, dpi=150)
