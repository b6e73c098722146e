"""`nas versus`: runs the trainings of a plan on an executor, and compares their scores."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Any

from nas.analysis.mean_intervals import gap_interval, mean, mean_interval
from nas.analysis.result_log import OWN_FILES
from nas.analysis.trainings import Watch, file_name, run_trainings
from nas.analysis.versus_plan import WINNER, Entry, KnownCosts, Plan, VersusTraining
from nas.config.sources import own_digests
from nas.executors import Executor
from nas.executors.job import JobResult
from nas.reporting.figures import FAINT, PALETTE, figure_file
from nas.reporting.versus import FILE, Contender, Versus
from nas.utils.files import locked_folder, replace_file
from nas.utils.terminal import amount, counted
from proxy_tasks.adapted_task import AdaptedTask
from search_space.utils.strict_json import to_json

Done = Mapping[VersusTraining, JobResult]
"""How the trainings of a comparison ended."""


def describe_head(plan: Plan, task: AdaptedTask, about: Mapping[str, Any]) -> dict[str, Any]:
    """What the results of a folder belong to; only where it is the same they can be compared.

    Args:
        plan: of the comparison.
        task: trains all of them.
        about: the task's configuration.
    """
    return {
        "task": dict(about),
        "fidelity": plan.fidelity,
        OWN_FILES: own_digests(about),
        "table": task.digest,
    }


def run_versus(
    plan: Plan,
    task: AdaptedTask,
    executor: Executor,
    folder: Path,
    *,
    head: Mapping[str, Any],
    watch: Watch | None = None,
    command: str = "",
) -> Versus:
    """Runs the missing trainings and writes `versus.json`, `versus.png`, and the specs.

    Args:
        plan: what is trained; see `nas.analysis.trainings.run_trainings`.
        task: trains all of them.
        executor: runs the trainings.
        folder: where the results are, which must be of the same task and fidelity if there are any.
        head: see `describe_head`.
        watch: sees the trainings.
        command: the command line that asked for the comparison, which is recorded with the results.

    Raises:
        ConfigError: if the folder holds another comparison.
        FolderInUseError: if another process works in the folder.
        OSError: if the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with locked_folder(folder):
        done = run_trainings(
            plan.trainings(), task, executor, folder, head=head, study="comparison", watch=watch
        )
        _write_specs(plan, folder / "specs")
        found = summarize(plan, task, done)
        _write(found, plan, done, folder, command)
    return found


def _write_specs(plan: Plan, folder: Path) -> None:
    """Writes each spec into a file, so that `nas train spec=FILE` trains it on."""
    folder.mkdir(exist_ok=True)
    for entry in plan.entries:
        for i, seed in enumerate(plan.seeds):
            several = len(set(entry.keys)) > 1
            name = file_name(f"{entry.name}-{seed}" if several else entry.name)
            if hasattr(entry.specs[i], "to_json"):
                replace_file(folder / f"{name}.json", entry.specs[i].to_json())


def summarize(plan: Plan, task: AdaptedTask, done: Done) -> Versus:
    """Gives means, intervals and differences of trainings.

    Args:
        plan: what was trained.
        task: that trained them.
        done: how the trainings ended.
    """
    costs = KnownCosts(task)
    metric = getattr(task.task, "metric", None)
    contenders: list[Contender] = []
    winner: list[float] = []
    for entry in plan.entries:
        rewards = _rewards(plan, entry, done)
        scores = [reward for reward in rewards if reward is not None]
        winner = scores if entry.name == WINNER else winner
        ended = [done[training] for training in plan.trainings_of(entry) if training in done]
        known = [costs.of(spec) for spec in dict.fromkeys(entry.specs)]
        compared = entry.name != WINNER and scores and winner
        contenders.append(
            Contender(
                name=entry.name,
                about=entry.about,
                params=_mean([cost["params"] for cost in known if "params" in cost]),
                macs=_mean([cost["macs"] for cost in known if "macs" in cost]),
                rewards=rewards,
                failed=len(rewards) - len(scores),
                seconds=_mean([result.seconds for result in ended if result.score is not None]),
                mean=_mean(scores),
                interval=mean_interval(scores),
                gap=_gap(scores, winner) if compared else None,
                gap_interval=gap_interval(scores, winner) if compared else None,
            )
        )
    notes = [*plan.notes, *_uneven(contenders, plan.seeds)]
    if len(plan.seeds) == 1:
        notes.append("one seed gives no intervals; seeds=3 adds two trainings of each network")
    return Versus(
        contenders=tuple(contenders),
        metric=metric if isinstance(metric, str) else "reward",
        seeds=plan.seeds,
        fidelity=plan.fidelity,
        notes=tuple(notes),
    )


def _rewards(plan: Plan, entry: Entry, done: Done) -> tuple[float | None, ...]:
    """The rewards of an entry, by seed; None for a training that failed."""
    results = [done.get(training) for training in plan.trainings_of(entry)]
    return tuple(
        None if result is None or result.score is None else result.score.reward for result in results
    )


def _mean(values: Sequence[float]) -> float | None:
    return mean(values) if values else None


def _gap(values: Sequence[float], others: Sequence[float]) -> float | None:
    """The difference of two means; None where it is too large for a float."""
    gap = mean(values) - mean(others)
    return gap if isfinite(gap) else None


def _uneven(contenders: Sequence[Contender], seeds: Sequence[int]) -> list[str]:
    """Says whose mean is over other seeds than the winner's, because trainings failed."""
    winner, *others = contenders
    of_winner, notes = _scored_seeds(winner, seeds), []
    for other in others:
        own = _scored_seeds(other, seeds)
        if own and of_winner and own != of_winner:
            notes.append(
                f"{other.name} has scores with seeds {_listed(own)}, and the winner with seeds "
                f"{_listed(of_winner)}: the other trainings failed, so the two means are over different seeds"
            )
    return notes


def _scored_seeds(contender: Contender, seeds: Sequence[int]) -> list[int]:
    return [seed for seed, reward in zip(seeds, contender.rewards, strict=True) if reward is not None]


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))


def _describe(name: str, training: VersusTraining, done: Done) -> dict[str, Any]:
    """How a training ended, for the file of results."""
    about: dict[str, Any] = {"name": name, "seed": training.seed, "key": training.key}
    ended = done.get(training)
    if ended is not None:
        about |= {"status": ended.status, "seconds": ended.seconds, "message": ended.message}
    if ended is not None and ended.score is not None:
        metrics = dict(ended.score.metrics)  # What is no number becomes null.
        about |= {"reward": ended.score.reward, "metrics": metrics}
    return about


def _write(found: Versus, plan: Plan, done: Done, folder: Path, command: str) -> None:
    data = {
        **asdict(found),
        "trainings": [
            _describe(entry.name, VersusTraining(key=entry.keys[i], seed=seed), done)
            for i, seed in enumerate(plan.seeds)
            for entry in plan.entries
        ],
        "command": command,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    replace_file(folder / FILE, to_json(data, indent=1) + "\n")
    if any(contender.scores for contender in found.contenders):
        _plot(found, folder / "versus.png")


def _plot(found: Versus, path: Path) -> None:
    shown = [contender for contender in found.contenders if contender.scores]
    with figure_file(path, 7.5, 1.2 + 0.6 * len(shown)) as figure:
        axes = figure.subplots()
        for row, contender in enumerate(shown):
            color = PALETTE[1] if contender.name == WINNER else PALETTE[0]
            scores = contender.scores
            axes.plot(scores, [row] * len(scores), "o", color=color, alpha=0.45, ms=6)
            if contender.interval is not None:
                axes.plot(contender.interval, [row, row], "-", color=color, lw=2)
            if contender.mean is not None:
                axes.plot([contender.mean], [row], "|", color=color, ms=18, mew=2)
        if found.contenders[0].mean is not None:
            axes.axvline(found.contenders[0].mean, color=FAINT, lw=1, zorder=0)
        axes.set_yticks(range(len(shown)), [_label(contender) for contender in shown])
        axes.set_ylim(len(shown) - 0.5, -0.5)
        failed = any(contender.failed for contender in found.contenders)
        what = "Every training that did not fail," if failed else "Every training"
        axes.set_xlabel(f"{found.metric} at fidelity {found.fidelity:g}")
        axes.set_title(f"{what} of {counted(len(found.seeds), 'seed')}, the mean, and its 95 % interval")


def _label(contender: Contender) -> str:
    macs = "" if contender.macs is None else f"\n{amount(contender.macs)} multiply-adds"
    return f"{contender.name}{macs}"
