"""What the trials tell together: learning curves, the Pareto front, costs, and decisions that matter."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

from markupsafe import Markup

from nas.journal.best_so_far import improvements
from nas.journal.history import History, TrialRow
from nas.reporting.blocks import Figure, Figures
from nas.reporting.charts import Chart, bars, legend, lines, scatter
from nas.reporting.curves import show_learning
from nas.reporting.importance import chance_level, importance
from nas.reporting.pareto_front import draw_front
from nas.reporting.values import first_reward
from search_space.utils.validation import is_number

TOP = 10
"""How many decisions the bars show. Of fewer networks than this, there are no bars."""


def show_insights(folder: Path, history: History) -> Figures | None:
    """Learning curves, the Pareto front, reward over multiply-adds, and decisions and rewards."""
    learning = show_learning(folder, history)
    figures = [] if learning is None else list(learning.figures)
    figures += [
        figure for figure in (draw_front(history), _costs(history), _decisions(history)) if figure is not None
    ]
    return Figures(figures=figures) if figures else None


def _costs(history: History) -> Figure | None:
    """Reward over multiply-adds, with the best reward up to each cost."""
    rows = [row for row in history.scored_rows() if _has_macs(row)]
    if not rows:
        return None
    x = [row.metrics["macs"] / 1e9 for row in rows]
    y = [first_reward(row) for row in rows]
    front = improvements(sorted(zip(x, y, strict=True), key=lambda point: (point[0], -point[1])))
    chart = Chart("G multiply-adds", "reward", x, y)
    costs, rewards = [step.at for step in front], [step.best for step in front]
    drawn = scatter(chart, x, y) + lines(chart, costs, rewards) + scatter(chart, costs, rewards, "--best")
    key = legend([("--point", "a trial"), ("--best", "best reward up to this cost")])
    return Figure(title="Reward and cost", picture=Markup(chart.drawn(drawn) + key))


def _has_macs(row: TrialRow) -> bool:
    macs = row.metrics.get("macs", 0)
    return is_number(macs) and macs > 0


def _decisions(history: History) -> Figure | None:
    """What the answer to each decision tells of the rewards, each network counted once."""
    found = _own_rewards(history)
    if len(found) < TOP:
        return None
    genotypes, rewards = [genotype for genotype, _ in found], [reward for _, reward in found]
    shares, chance = importance(genotypes, rewards), chance_level(genotypes, rewards)
    order = sorted(range(len(shares)), key=lambda i: -shares[i])[:TOP]
    names = [history.decisions[i].name for i in order]
    return Figure(
        title="Decisions and rewards",
        about="The share of the rewards' variance that each decision explains alone. "
        + (
            "A share left of the dashed mark may be due to chance."
            if max(shares) > chance
            else "All may be due to chance, as none is beyond the dashed mark."
        ),
        picture=Markup(bars(names, [shares[i] for i in order], chance)),
    )


def _own_rewards(history: History) -> list[tuple[tuple[int, ...], float]]:
    """Genotype and mean reward of each network that was evaluated; a score that is shared counts once."""
    rows: dict[str, list[TrialRow]] = {}
    for row in history.scored_rows():
        if row.status == "completed":
            rows.setdefault(row.key, []).append(row)
    return [(found[0].genotype, fmean(map(first_reward, found))) for found in rows.values()]
