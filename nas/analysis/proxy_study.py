"""A study of a proxy: random specs are trained briefly, as the proxy does, and longer, and ranks compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from nas.analysis.proxy_report import write_report
from nas.analysis.proxy_summary import ProxyTraining, Role, summarize
from nas.analysis.rank_correlation import RankCorrelation
from nas.analysis.result_log import OWN_FILES
from nas.analysis.settings import ProxyStudyConfig
from nas.analysis.strata import Feature, explain_unknown, find_feature
from nas.analysis.trainings import StudyTraining, Watch, run_trainings
from nas.config.sources import own_digests
from nas.executors import Executor
from nas.search.ask_tell import decode
from nas.search.checking import check_parts, costs_of
from nas.utils.files import locked_folder
from proxy_tasks.adapted_task import AdaptedTask, adapt
from proxy_tasks.task import Task
from search_space import Genotype, Space, graph_features

DRAWS = 100
"""Random specs that are drawn for each one that is wanted, until all are different."""


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
        OWN_FILES: own_digests(about or {}),
        "table": adapted.digest,
    }
    wanted = _list_trainings(plan, *([decode(space, g).spec for g in some] for some in (genotypes, nearby)))
    folder.mkdir(parents=True, exist_ok=True)
    with locked_folder(folder):
        done = run_trainings(wanted, adapted, executor, folder, head=head, study="proxy study", watch=watch)
        found = summarize(plan, done, feature)
        write_report(plan, found, folder, command)
        return found.correlation


def _list_trainings(
    plan: ProxyStudyConfig, specs: Sequence[Any], nearby: Sequence[Any]
) -> dict[ProxyTraining, StudyTraining]:
    """Lists the trainings spec by spec, so that a cut-off study is complete for the first specs."""
    wanted: dict[ProxyTraining, StudyTraining] = {}

    def want(role: Role, number: int, spec: Any, fidelity: float, seed: int) -> None:
        what = f"neighbor of spec {number}" if role == "neighbor" else f"spec {number}"
        wanted[ProxyTraining(role=role, spec=number, seed=seed)] = StudyTraining(
            label=f"{what}, fidelity {fidelity:g}, seed {seed}", spec=spec, fidelity=fidelity, seed=seed
        )

    for i, spec in enumerate(specs):
        for seed in range(plan.seeds):
            want("proxy", i, spec, plan.fidelity, seed)
        for seed in range(1000, 1000 + plan.reference_seeds):
            want("reference", i, spec, plan.reference, seed)
        if i < plan.neighbors:
            want("neighbor", i, nearby[i], plan.fidelity, 0)
    return wanted


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
