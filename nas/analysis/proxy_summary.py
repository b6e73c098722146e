"""What the trainings of a study of a proxy come to: specs that have all their scores, and correlations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nas.analysis.rank_correlation import Floats, RankCorrelation, correlate
from nas.analysis.settings import ProxyStudyConfig
from nas.analysis.strata import Feature, Strata, stratify
from nas.executors.job import JobResult
from proxy_tasks.task import Score

Role = Literal["proxy", "reference", "neighbor"]
"""Whether a spec is trained at the proxy, at the higher fidelity, or its neighbor at the proxy."""

FEWEST_SPECS = 3
"""Specs with all their scores that a study needs."""


@dataclass(frozen=True, kw_only=True)
class ProxyTraining:
    """Tells a training from the others of its study.

    Args:
        role: what it is for.
        spec: number of the spec, from 0; of a neighbor, that of the spec whose neighbor it is.
        seed: of the training.
    """

    role: Role
    spec: int
    seed: int


@dataclass(frozen=True, kw_only=True, eq=False)
class ProxySummary:
    """What a study of a proxy comes to.

    Args:
        specs: numbers of the specs that have all their scores.
        proxy: [specs, seeds], their scores at the proxy.
        reference: [specs], their mean scores at the higher fidelity.
        macs: their multiply-adds; None where the task does not tell them.
        correlation: of proxy and reference.
        strata: the same among specs that are alike; None if nothing tells them apart.
        unknown: name of the feature that should tell specs apart and is not known of any of them; "" if there
            is none.
        seconds: mean seconds of a training at the proxy and at the higher fidelity.
        failed: how many trainings failed.
    """

    specs: tuple[int, ...]
    proxy: Floats
    reference: Floats
    macs: tuple[float | None, ...]
    correlation: RankCorrelation
    strata: Strata | None
    unknown: str
    seconds: Mapping[str, float]
    failed: int


def summarize(
    plan: ProxyStudyConfig, done: Mapping[ProxyTraining, JobResult], feature: Feature | None
) -> ProxySummary:
    """Compares the scores of a study's trainings.

    Args:
        plan: which trainings the study has.
        done: how they ended.
        feature: tells the specs of the study apart before training; None if nothing does.

    Raises:
        ValueError: if fewer than `FEWEST_SPECS` specs have all their scores.
    """
    proxy, reference, neighbors = (_scores(done, role) for role in ("proxy", "reference", "neighbor"))
    specs = [
        i
        for i in range(plan.specs)
        if len(proxy.get(i, ())) == plan.seeds and len(reference.get(i, ())) == plan.reference_seeds
    ]
    failed = [ended for ended in done.values() if ended.status == "failed"]
    if len(specs) < FEWEST_SPECS:
        reason = failed[0].message if failed else "nothing was trained"
        raise ValueError(f"only {len(specs)} specs have all their scores; first failure: {reason}")
    by_seed = np.array([[score.reward for score in proxy[i]] for i in specs])
    means = np.array([np.mean([score.reward for score in reference[i]]) for i in specs])
    pairs = [(proxy[i][0].reward, neighbors[i][0].reward) for i in specs if i in neighbors]
    known = None if feature is None else feature.of(specs)
    is_known = known is not None and any(value is not None for value in known.values)
    return ProxySummary(
        specs=tuple(specs),
        proxy=by_seed,
        reference=means,
        macs=tuple(proxy[i][0].metrics.get("macs") for i in specs),
        correlation=correlate(by_seed, means, pairs),
        strata=stratify(known, by_seed, means) if known is not None and is_known else None,
        unknown=known.name if known is not None and not is_known else "",
        seconds={"proxy": _mean_seconds(done, "proxy"), "reference": _mean_seconds(done, "reference")},
        failed=len(failed),
    )


def _scores(done: Mapping[ProxyTraining, JobResult], role: Role) -> dict[int, list[Score]]:
    """The scores of each spec by its number, in the order of the seeds."""
    found: dict[int, list[Score]] = {}
    for training, ended in sorted(done.items(), key=lambda item: item[0].seed):
        if training.role == role and ended.score is not None:
            found.setdefault(training.spec, []).append(ended.score)
    return found


def _mean_seconds(done: Mapping[ProxyTraining, JobResult], role: Role) -> float:
    """Mean seconds of the trainings that have a score."""
    return float(
        np.mean(
            [
                ended.seconds
                for training, ended in done.items()
                if training.role == role and ended.score is not None
            ]
        )
    )
