"""Judging a proxy: random specs trained at the proxy and at a dearer fidelity, and what the ranks say.

Every finished training is a line of `results.jsonl` in the output folder, so that a second call with the
same arguments goes on where the first was cut off.
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nas.correlation import Judgement, judge
from nas.executors import Executor
from nas.files import replace_file
from nas.jobs import Ended, Job
from nas.proposing import spec_and_key
from nas.results_file import append_result, digests, read_results
from proxy_tasks.task import Score, Task
from search_space import Space


@dataclass(frozen=True)
class JudgePlan:
    """What to train.

    Args:
        specs: random specs.
        seeds: trainings of each at the proxy's fidelity.
        fidelity: of the proxy.
        reference: the dearer fidelity.
        reference_seeds: trainings of each at it.
        neighbours: specs of which one neighbour is trained too, to see how smooth the scores are.
        seed: of the specs.
    """

    specs: int = 24
    seeds: int = 2
    fidelity: float = 1.0
    reference: float = 3.0
    reference_seeds: int = 1
    neighbours: int = 6
    seed: int = 0

    def __post_init__(self) -> None:
        if self.specs < 3 or self.seeds < 1 or self.reference_seeds < 1 or self.neighbours < 0:
            raise ValueError("judging needs at least 3 specs, 1 seed of each kind and 0 neighbours")
        if not 0 < self.fidelity < self.reference:
            raise ValueError(f"0 < fidelity < reference, not {self.fidelity} and {self.reference}")
        if self.neighbours > self.specs:
            raise ValueError(f"neighbours: at most one for each of the {self.specs} specs")


@dataclass(frozen=True)
class Training:
    """One training to do: of spec number `spec`, or of its neighbour."""

    role: str
    spec: int
    seed: int
    fidelity: float


def run_judging(
    space: Space,
    task: Task,
    executor: Executor,
    plan: JudgePlan,
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
    about: Mapping[str, Any] | None = None,
) -> Judgement:
    """Trains what is missing and writes `judgement.json`, `judgement.md` and `judgement.png`.

    What failed is missing, too: a second call tries it again.

    Args:
        space, task, executor, plan: what is judged, and how.
        folder: of the results, which must be of the same judging if there are any.
        progress: told how many trainings are done, and of how many.
        about: configurations of task and space, by which the folder is known again.

    Raises:
        ValueError: if the folder holds other results, or too many trainings failed to say anything.
        OSError: if the folder cannot be written.
    """
    rng = np.random.default_rng(plan.seed)
    genotypes = [space.sample(rng) for _ in range(plan.specs)]
    nearby = [space.mutate(genotypes[i], rng) for i in range(plan.neighbours)]
    wanted = _trainings(plan)
    folder.mkdir(parents=True, exist_ok=True)
    head = {
        "plan": asdict(plan),
        "genotypes": [list(g) for g in genotypes],
        **(about or {}),
        "files": digests(about or {}),
        "table": getattr(task, "digest", None),
    }
    done = _read_results(folder / "results.jsonl", head)
    missing = [training for training in wanted if training not in done]
    if missing:
        executor.open(task, lambda *_: False)
        try:
            for number, training in enumerate(missing):
                chosen = nearby if training.role == "neighbour" else genotypes
                spec, _ = spec_and_key(space, chosen[training.spec])
                log = str(folder / "trials" / str(len(done) + number))
                executor.submit(Job(number, 0, spec, training.fidelity, training.seed, log))
            left = len(missing)
            while left:
                for ended in executor.wait(60):
                    left -= 1
                    done[missing[ended.trial]] = ended
                    entry = {"training": asdict(missing[ended.trial]), "ended": asdict(ended)}
                    append_result(folder / "results.jsonl", entry)
                    if progress is not None:
                        progress(len(wanted) - left, len(wanted))
        finally:
            executor.close()
    return _write_report(plan, done, folder)


def _trainings(plan: JudgePlan) -> list[Training]:
    """In an order in which a cut-off run has something to say about the first specs."""
    wanted = []
    for i in range(plan.specs):
        wanted += [Training("proxy", i, seed, plan.fidelity) for seed in range(plan.seeds)]
        wanted += [
            Training("reference", i, 1000 + seed, plan.reference) for seed in range(plan.reference_seeds)
        ]
        if i < plan.neighbours:
            wanted.append(Training("neighbour", i, 0, plan.fidelity))
    return wanted


def _read_results(path: Path, head: dict[str, Any]) -> dict[Training, Ended]:
    """Trainings that have a score."""
    done = {}
    for entry in read_results(path, head, "judging", lambda entry: entry["ended"]["score"] is not None):
        found = {**entry["ended"], "score": Score(**entry["ended"]["score"])}
        done[Training(**entry["training"])] = Ended(**found)
    return done


def _write_report(plan: JudgePlan, done: dict[Training, Ended], folder: Path) -> Judgement:
    def rewards(role: str, spec: int) -> list[float]:
        return [
            ended.score.reward
            for training, ended in sorted(done.items(), key=lambda item: item[0].seed)
            if training.role == role and training.spec == spec and ended.score is not None
        ]

    whole = [
        i
        for i in range(plan.specs)
        if len(rewards("proxy", i)) == plan.seeds and len(rewards("reference", i)) == plan.reference_seeds
    ]
    failed = [ended for ended in done.values() if ended.status == "failed"]
    if len(whole) < 3:
        reason = failed[0].message if failed else "nothing was trained"
        raise ValueError(f"only {len(whole)} specs have all their scores; first failure: {reason}")
    proxy = np.array([rewards("proxy", i) for i in whole])
    reference = np.array([np.mean(rewards("reference", i)) for i in whole])
    pairs = [
        (rewards("proxy", i)[0], rewards("neighbour", i)[0])
        for i in range(plan.neighbours)
        if i in whole and rewards("neighbour", i)
    ]
    found = judge(proxy, reference, pairs)
    seconds = {
        role: float(np.mean([e.seconds for t, e in done.items() if t.role == role and e.score is not None]))
        for role in ("proxy", "reference")
    }
    macs = [
        next(
            e.score.metrics.get("macs", 0.0)
            for t, e in done.items()
            if t.role == "proxy" and t.spec == i and e.score is not None
        )
        for i in whole
    ]
    data: dict[str, Any] = {
        "plan": asdict(plan),
        "judgement": asdict(found),
        "seconds": seconds,
        "failed": len(failed),
        "specs": whole,
        "proxy": proxy.tolist(),
        "reference": reference.tolist(),
        "macs": macs,
        "command": "nas " + " ".join(sys.argv[1:]),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    replace_file(folder / "judgement.json", json.dumps(data, indent=1) + "\n")
    replace_file(folder / "judgement.md", as_markdown(plan, found, seconds, len(whole), len(failed)))
    _plot(plan, found, proxy, reference, folder / "judgement.png")
    return found


def as_markdown(plan: JudgePlan, found: Judgement, seconds: dict[str, float], specs: int, failed: int) -> str:
    """The report as a page."""
    k, s = found.kendall, found.spearman
    rows = [
        ("Kendall", f"{k.value:.2f} (95 %: {k.low:.2f} to {k.high:.2f}; p = {found.kendall_p:.2g})"),
        ("Spearman", f"{s.value:.2f} (95 %: {s.low:.2f} to {s.high:.2f})"),
        ("Kendall with one seed", f"{found.kendall_one_seed:.2f}"),
        ("deviation over seeds", f"{found.seed_deviation:.4f}"),
        ("deviation over specs", f"{found.spec_deviation:.4f}"),
        ("reliability of one score", f"{found.reliability:.2f}"),
        ("step to a neighbour, over random pairs", f"{found.neighbour_step:.2f}"),
        ("seconds, proxy and reference", f"{seconds['proxy']:.1f} and {seconds['reference']:.1f}"),
        ("failed trainings", str(failed)),
    ]
    lines = [
        f"# {specs} random specs, fidelity {plan.fidelity:g} ({plan.seeds} seeds) against "
        f"{plan.reference:g} ({plan.reference_seeds} seeds)",
        "",
        "| figure | value |",
        "| --- | --- |",
        *(f"| {name} | {value} |" for name, value in rows),
        "",
        "Reference score lost against the best spec if the proxy's top k are re-trained and the best kept:",
        "",
        "| k | by the proxy | by chance |",
        "| --- | --- | --- |",
        *(f"| {k} | {lost:.4f} | {found.chance[k]:.4f} |" for k, lost in found.top.items()),
    ]
    return "\n".join(lines) + "\n"


def _plot(plan: JudgePlan, found: Judgement, proxy: Any, reference: Any, path: Path) -> None:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(9, 3.8), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        means, spread = proxy.mean(1), proxy.std(1)
        left.errorbar(reference, means, yerr=spread, fmt="o", ms=4, lw=0.8, color="#2a6f97", ecolor="#a9c6d8")
        left.set_xlabel(f"score at fidelity {plan.reference:g}")
        left.set_ylabel(f"score at fidelity {plan.fidelity:g}, {plan.seeds} seeds")
        k = found.kendall
        left.set_title(f"Kendall {k.value:.2f} ({k.low:.2f} to {k.high:.2f})", loc="left")
        right.plot(list(found.top), list(found.top.values()), "o-", color="#2a6f97", label="by the proxy")
        right.plot(list(found.chance), list(found.chance.values()), "o--", color="#999999", label="by chance")
        right.set_xlabel("specs re-trained, k")
        right.set_ylabel("score lost against the best")
        right.set_ylim(bottom=-0.03 * max(*found.chance.values(), *found.top.values(), 1e-9))
        right.legend(frameon=False)
        right.set_title("Value of re-training the top k", loc="left")
        figure.savefig(path, dpi=150)
