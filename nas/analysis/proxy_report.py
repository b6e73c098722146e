"""The files of a study of a proxy: a page, the same numbers as JSON, and a picture."""

from __future__ import annotations

import platform
from dataclasses import asdict
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.analysis.proxy_summary import ProxySummary
from nas.analysis.rank_correlation import Interval, RankCorrelation
from nas.analysis.settings import ProxyStudyConfig
from nas.analysis.strata import Strata
from nas.reporting.figures import FAINT, NEUTRAL, PALETTE, figure_file
from nas.utils.files import replace_file
from nas.utils.templates import render
from nas.utils.terminal import show_reward
from search_space.utils.strict_json import to_json

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def write_report(plan: ProxyStudyConfig, summary: ProxySummary, folder: Path, command: str) -> None:
    """Writes `judgement.json`, `.md` and `.png`.

    Args:
        plan: which trainings the study has.
        summary: what they came to.
        folder: where the files are written.
        command: the command line that asked for the study, which is recorded with the results.

    Raises:
        OSError: if a file cannot be written.
    """
    replace_file(folder / "judgement.json", to_json(_as_data(plan, summary, command), indent=1) + "\n")
    replace_file(folder / "judgement.md", _page(plan, summary))
    with figure_file(folder / "judgement.png", 9, 3.8) as figure:
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        _plot_scores(left, plan, summary)
        _plot_top(right, summary.correlation)


def _as_data(plan: ProxyStudyConfig, summary: ProxySummary, command: str) -> dict[str, Any]:
    return {
        "plan": asdict(plan),
        "judgement": asdict(summary.correlation),
        "strata": None if summary.strata is None else asdict(summary.strata),
        "seconds": summary.seconds,
        "failed": summary.failed,
        "specs": summary.specs,
        "proxy": summary.proxy.tolist(),
        "reference": summary.reference.tolist(),
        "macs": summary.macs,
        "command": command,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def _page(plan: ProxyStudyConfig, summary: ProxySummary) -> str:
    return render(
        "nas.analysis",
        "proxy_study.md.j2",
        config=plan,
        found=summary.correlation,
        strata=summary.strata,
        unknown=summary.unknown,
        seconds=summary.seconds,
        specs=len(summary.specs),
        failed=summary.failed,
        show_reward=show_reward,
    )


def _plot_scores(axes: Axes, plan: ProxyStudyConfig, summary: ProxySummary) -> None:
    """Draws the scores of each spec at the proxy over those at the higher fidelity."""
    means = summary.proxy.mean(1)
    spread = summary.proxy.std(1, ddof=1) if plan.seeds > 1 else None
    for name, at, color in _groups(summary.strata, len(means)):
        style: dict[str, Any] = {"fmt": "o", "ms": 4, "lw": 0.8, "color": color, "ecolor": FAINT}
        error = None if spread is None else spread[at]
        axes.errorbar(summary.reference[at], means[at], yerr=error, label=name, **style)
    if summary.strata is not None:
        axes.legend()
    axes.set_xlabel(f"score at fidelity {plan.reference:g}")
    axes.set_ylabel(f"score at fidelity {plan.fidelity:g}, {_describe_seeds(plan.seeds)}")
    axes.set_title(f"Kendall {_describe_interval(summary.correlation.kendall)}")


def _plot_top(axes: Axes, found: RankCorrelation) -> None:
    """Draws what is lost by re-training the top k of the proxy, and k specs by chance."""
    axes.plot(list(found.top), list(found.top.values()), "o-", color=PALETTE[0], label="by the proxy")
    axes.plot(list(found.chance), list(found.chance.values()), "o--", color=NEUTRAL, label="by chance")
    axes.set_xlabel("specs re-trained, k")
    axes.set_ylabel("score lost against the best")
    axes.set_ylim(bottom=-0.03 * max(*found.chance.values(), *found.top.values(), 1e-9))
    axes.legend()
    axes.set_title("Value of re-training the top k")


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
