"""A study of a proxy: random specs are trained briefly, as the proxy does, and longer, and ranks compared."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import isnan
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nas.analysis.rank_correlation import Floats, Interval, RankCorrelation, correlate
from nas.analysis.settings import ProxyStudyConfig
from nas.analysis.strata import Feature, Strata, explain_unknown, find_feature, stratify
from nas.analysis.trainings import Done, Training, Watch, run_trainings
from nas.config.sources import own_digests
from nas.executors import Executor
from nas.reporting.figures import FAINT, NEUTRAL, PALETTE, figure_file
from nas.search.ask_tell import decode
from nas.search.checking import check_parts, costs_of
from nas.utils.files import locked_folder, replace_file
from nas.utils.templates import render
from nas.utils.terminal import show_reward
from proxy_tasks.task import AdaptedTask, Task, adapt
from search_space import Genotype, Space, graph_features
from search_space.utils.strict_json import to_json

DRAWS = 100
"""Random specs that are drawn for each one that is wanted, until all are different."""

Role = Literal["proxy", "reference", "neighbor"]
"""Whether a spec is trained at the proxy, at the higher fidelity, or its neighbor at the proxy."""


def run_proxy_study(
    space: Space,
    task: Task | AdaptedTask,
    executor: Executor,
    plan: ProxyStudyConfig,
    folder: Path,
    *,
    strata: str | None = None,
    watch: Watch | None = None,
    about: Mapping[str, Any] | None = None,
    command: str = "",
) -> RankCorrelation:
    """Runs the missing trainings and writes `judgement.json`, `judgement.md` and `judgement.png`.

    Args:
        space: the space of the random specs.
        task: the task that trains them.
        executor: runs the trainings.
        plan: which trainings; see `nas.analysis.trainings.run_trainings`.
        folder: where the results are, which must be of the same study if there are any.
        strata: what the specs are told apart by before training, see `nas.analysis.strata.find_feature`.
        watch: sees the trainings.
        about: configurations of task and space, by which the folder is recognized.
        command: the command line that asked for the study, which is recorded with the results.

    Raises:
        ValueError: if the folder holds other results, `strata` is nothing that is known of the specs, the
            space has too few specs, or too many trainings failed.
        FolderInUseError: if another process works in the folder.
        OSError: if the folder cannot be written.
    """
    adapted = adapt(task)
    check_parts(space, adapted, executor, None)
    rng = np.random.default_rng(plan.seed)
    genotypes = _distinct_genotypes(space, rng, plan.specs)
    nearby = [space.mutate(genotypes[i], rng) for i in range(plan.neighbors)]
    feature = _find_feature(space, adapted, genotypes, strata)
    head = {
        "plan": asdict(plan),
        "genotypes": [list(g) for g in genotypes],
        **(about or {}),
        "own files": own_digests(about or {}),
        "table": adapted.digest,
    }
    wanted = _list_trainings(plan, *([decode(space, g).spec for g in some] for some in (genotypes, nearby)))
    folder.mkdir(parents=True, exist_ok=True)
    with locked_folder(folder):
        done = run_trainings(wanted, adapted, executor, folder, head=head, study="proxy study", watch=watch)
        return _write_report(plan, done, folder, command, feature)


def _list_trainings(plan: ProxyStudyConfig, specs: Sequence[Any], nearby: Sequence[Any]) -> list[Training]:
    """Lists the trainings spec by spec, so that a cut-off study is complete for the first specs."""
    wanted = []
    for i, spec in enumerate(specs):
        for seed in range(plan.seeds):
            wanted.append(_training("proxy", i, spec, plan.fidelity, seed))
        for seed in range(1000, 1000 + plan.reference_seeds):
            wanted.append(_training("reference", i, spec, plan.reference, seed))
        if i < plan.neighbors:
            wanted.append(_training("neighbor", i, nearby[i], plan.fidelity, 0))
    return wanted


def _training(role: Role, number: int, spec: Any, fidelity: float, seed: int) -> Training:
    what = f"neighbor of spec {number}" if role == "neighbor" else f"spec {number}"
    return Training(
        identity=(role, number, seed),
        label=f"{what}, fidelity {fidelity:g}, seed {seed}",
        spec=spec,
        fidelity=fidelity,
        seed=seed,
    )


def _distinct_genotypes(space: Space, rng: np.random.Generator, count: int) -> list[Genotype]:
    """Random genotypes of different specs: copies would agree, whatever the proxy is worth."""
    found: dict[str, Genotype] = {}
    for _ in range(DRAWS * count):
        genotype = space.sample(rng)
        found.setdefault(decode(space, genotype).key, genotype)
        if len(found) == count:
            return list(found.values())
    raise ValueError(
        f"specs={count}: {DRAWS * count} random genotypes of the space are only {len(found)} different "
        f"networks; give specs={len(found)}"
    )


def _find_feature(
    space: Space, task: AdaptedTask, genotypes: Sequence[Genotype], wanted: str | None
) -> Feature | None:
    """Gives what the specs are told apart by. The task's costs are computed only if the graph says nothing.

    Raises:
        ValueError: if nothing of that name is known of them.
        FaultError: if the task's costs fail.
    """
    specs = [decode(space, genotype).spec for genotype in genotypes]
    known = [graph_features(spec) for spec in specs]
    found = find_feature(known, wanted)
    if found is None and task.costs is not None:
        for spec, row in zip(specs, known, strict=True):
            try:
                row.update(costs_of(task, spec))
            except ValueError:  # No network can be made of this spec at this scale.
                continue
        found = find_feature(known, wanted)
    if found is None and wanted is not None:
        raise ValueError(f"strata={wanted}: {explain_unknown(known, wanted)}")
    return found


def _write_report(
    plan: ProxyStudyConfig,
    done: Done,
    folder: Path,
    command: str,
    feature: Feature | None,
) -> RankCorrelation:
    def rewards(role: Role, spec: int) -> list[float]:
        return [
            ended.score.reward
            for identity, ended in sorted(done.items(), key=lambda item: item[0][2])
            if identity[:2] == (role, spec) and ended.score is not None
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
        (rewards("proxy", i)[0], rewards("neighbor", i)[0])
        for i in range(plan.neighbors)
        if i in whole and rewards("neighbor", i)
    ]
    found = correlate(proxy, reference, pairs)
    known = None if feature is None else feature.of(whole)
    is_known = known is not None and any(value is not None for value in known.values)
    strata = stratify(known, proxy, reference) if known is not None and is_known else None
    seconds = {
        role: float(np.mean([e.seconds for t, e in done.items() if t[0] == role and e.score is not None]))
        for role in ("proxy", "reference")
    }
    macs = [
        next(
            e.score.metrics.get("macs")
            for t, e in done.items()
            if t[:2] == ("proxy", i) and e.score is not None
        )
        for i in whole
    ]
    data: dict[str, Any] = {
        "plan": asdict(plan),
        "judgement": asdict(found),
        "strata": None if strata is None else asdict(strata),
        "seconds": seconds,
        "failed": len(failed),
        "specs": whole,
        "proxy": proxy.tolist(),
        "reference": reference.tolist(),
        "macs": macs,
        "command": command,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    replace_file(folder / "judgement.json", to_json(data, indent=1) + "\n")
    page = render(
        "nas.analysis",
        "proxy_study.md.j2",
        config=plan,
        found=found,
        strata=strata,
        unknown=known.name if known is not None and not is_known else "",
        seconds=seconds,
        specs=len(whole),
        failed=len(failed),
        show_reward=show_reward,
    )
    replace_file(folder / "judgement.md", page)
    _plot(plan, found, strata, proxy, reference, folder / "judgement.png")
    return found


def _groups(strata: Strata | None, specs: int) -> list[tuple[str, list[int], str]]:
    """Gives name, specs and color of each group of the picture; all specs are in one."""
    if strata is None:
        return [("", list(range(specs)), PALETTE[0])]
    groups = [(s.name, list(s.specs), color) for s, color in zip(strata.strata, PALETTE, strict=False)]
    unknown = sorted(set(range(specs)).difference(*(s.specs for s in strata.strata)))
    return [*groups, *([(f"{strata.feature} unknown", unknown, NEUTRAL)] if unknown else [])]


def _describe_seeds(seeds: int) -> str:
    """Says what a point and its bar are."""
    return "1 seed" if seeds == 1 else f"mean of {seeds} seeds,\nbars: standard deviation"


def _describe_interval(found: Interval) -> str:
    """Gives a correlation with its interval; a dash stands for NaN."""
    value = "-" if isnan(found.value) else f"{found.value:.2f}"
    span = "no interval" if isnan(found.low) else f"{found.low:.2f} to {found.high:.2f}"
    return f"{value} ({span})"


def _plot(
    plan: ProxyStudyConfig,
    found: RankCorrelation,
    strata: Strata | None,
    proxy: Floats,
    reference: Floats,
    path: Path,
) -> None:
    with figure_file(path, 9, 3.8) as figure:
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        means = proxy.mean(1)
        spread = proxy.std(1, ddof=1) if plan.seeds > 1 else None
        for name, at, color in _groups(strata, len(means)):
            style: dict[str, Any] = {"fmt": "o", "ms": 4, "lw": 0.8, "color": color, "ecolor": FAINT}
            error = None if spread is None else spread[at]
            left.errorbar(reference[at], means[at], yerr=error, label=name, **style)
        if strata is not None:
            left.legend()
        left.set_xlabel(f"score at fidelity {plan.reference:g}")
        left.set_ylabel(f"score at fidelity {plan.fidelity:g}, {_describe_seeds(plan.seeds)}")
        left.set_title(f"Kendall {_describe_interval(found.kendall)}")
        right.plot(list(found.top), list(found.top.values()), "o-", color=PALETTE[0], label="by the proxy")
        right.plot(list(found.chance), list(found.chance.values()), "o--", color=NEUTRAL, label="by chance")
        right.set_xlabel("specs re-trained, k")
        right.set_ylabel("score lost against the best")
        right.set_ylim(bottom=-0.03 * max(*found.chance.values(), *found.top.values(), 1e-9))
        right.legend()
        right.set_title("Value of re-training the top k")
