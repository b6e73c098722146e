"""The result of `nas versus`: a winner beside its baselines, as data and as sections of a search's report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from markupsafe import Markup

from nas.journal.history import History
from nas.reporting.blocks import Figure, Figures, Table
from nas.reporting.charts import dot_rows
from nas.utils.terminal import amount, counted, show_reward
from search_space.utils.json_text import parse_json
from search_space.utils.parsing import read_bounded, reading
from search_space.utils.validation import AtLeast, validate

FOLDER, FILE = "versus", "versus.json"
"""Where a run folder holds the result."""

MAX_BYTES = 1 << 24
"""A larger file is no result of ours."""

Ends = tuple[float, float]
"""The ends of a 95 % confidence interval."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One of the networks that are compared.

    Args:
        name: such as "winner".
        about: how it was made, in a few words.
        params: parameters; None if the task does not know them. Of several specs this is the mean.
        macs: multiply-adds for one image, likewise.
        rewards: of its trainings, by seed; None for one that failed.
        failed: how many of its trainings failed.
        seconds: mean time of a training; None without one.
        mean: of the rewards; None without any.
        interval: of the mean; None with fewer than two rewards.
        gap: mean minus the winner's; None for the winner itself, or where a mean is missing.
        gap_interval: of this difference; None where one of the two has fewer than two rewards.
    """

    name: str
    about: str = ""
    params: float | None = None
    macs: float | None = None
    rewards: tuple[float | None, ...] = ()
    failed: Annotated[int, AtLeast(0)] = 0
    seconds: float | None = None
    mean: float | None = None
    interval: Ends | None = None
    gap: float | None = None
    gap_interval: Ends | None = None

    def __post_init__(self) -> None:
        validate(self)

    @property
    def scores(self) -> list[float]:
        """The rewards of the trainings that did not fail."""
        return [reward for reward in self.rewards if reward is not None]


@dataclass(frozen=True, kw_only=True)
class Versus:
    """A comparison of a winner with its baselines.

    Args:
        contenders: the winner first; each has as many rewards as there are seeds, or none.
        metric: name of the reward.
        seeds: of the trainings of each.
        fidelity: length of the trainings, relative to the task's own.
        notes: what a reader should know, one line each.
    """

    contenders: tuple[Contender, ...]
    metric: str
    seeds: tuple[int, ...]
    fidelity: float
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        validate(self)
        for contender in self.contenders:
            if len(contender.rewards) not in (0, len(self.seeds)):
                raise ValueError(
                    f"{contender.name} has {counted(len(contender.rewards), 'reward')} where there are "
                    f"{counted(len(self.seeds), 'seed')}"
                )


def read_versus(folder: Path) -> Versus | None:
    """Reads the result that lies in a run folder; None if there is none.

    Raises:
        ValueError: if the file holds something else; it names the file.
    """
    path = folder / FOLDER / FILE
    if not path.exists():
        return None
    with reading(lambda why: ValueError(f"{path} is damaged: {why}")):
        return versus_from_dict(parse_json(read_bounded(path, MAX_BYTES)))


def versus_from_dict(data: Mapping[str, Any]) -> Versus:
    """Makes a result of the parsed content of its file.

    Raises:
        ValueError, TypeError, KeyError: if it is something else.
    """
    contenders = tuple(
        Contender(**{name: entry[name] for name in Contender.__dataclass_fields__ if name in entry})
        for entry in data["contenders"]
    )
    return Versus(
        contenders=contenders,
        metric=data["metric"],
        seeds=tuple(data["seeds"]),
        fidelity=data["fidelity"],
        notes=tuple(data["notes"]),
    )


HEAD = ("", "parameters", "multiply-adds", "mean", "95 % interval", "minus the winner's", "each seed")


def versus_cells(found: Versus) -> list[list[str]]:
    """The rows of the table below `HEAD`."""
    return [
        [
            contender.name,
            _amount(contender.params),
            _amount(contender.macs),
            "failed" if contender.mean is None else show_reward(contender.mean),
            _span(contender.interval),
            _gap(contender),
            ", ".join("failed" if reward is None else show_reward(reward) for reward in contender.rewards),
        ]
        for contender in found.contenders
    ]


def versus_title(found: Versus) -> str:
    """What was compared, in one line."""
    how = f"{counted(len(found.seeds), 'seed')}, fidelity {found.fidelity:g}"
    return f"The winner and its baselines: {found.metric} after equal trainings ({how})"


def show_versus(folder: Path, history: History) -> Table | None:
    """The winner beside its baselines, as `nas versus` has found."""
    try:
        found = read_versus(folder)
    except ValueError as error:
        return Table(title="The winner and its baselines", head=["problem"], rows=[[str(error)]])
    if found is None:
        return None
    rows = versus_cells(found)
    about = [f"{contender.name}: {contender.about}" for contender in found.contenders if contender.about]
    return Table(title=versus_title(found), head=HEAD, rows=rows, notes=[*about, *found.notes])


def show_versus_dots(folder: Path, history: History) -> Figures | None:
    """Every training of `nas versus` as a dot, with the intervals of the means."""
    try:
        found = read_versus(folder)
    except ValueError:
        return None  # The table says so.
    if found is None:
        return None
    shown = [contender for contender in found.contenders if contender.scores]
    if not shown:
        return None
    picture = dot_rows(
        [f"{contender.name}{_cost_label(contender)}" for contender in shown],
        [contender.scores for contender in shown],
        [contender.interval for contender in shown],
        found.metric,
    )
    title = "The winner and its baselines: every training, the mean, and its 95 % interval"
    return Figures(figures=[Figure(title=title, picture=Markup(picture))])


def _cost_label(contender: Contender) -> str:
    return "" if contender.macs is None else f", {amount(contender.macs)} multiply-adds"


def _amount(value: float | None) -> str:
    return "" if value is None else amount(value)


def _span(interval: Ends | None) -> str:
    return "" if interval is None else " to ".join(map(show_reward, interval))


def _gap(contender: Contender) -> str:
    if contender.gap is None:
        return ""
    gap, span = show_reward(contender.gap, "+"), contender.gap_interval
    return gap if span is None else f"{gap} ({show_span(span)})"


def show_span(gap: Ends) -> str:
    """Writes the ends of the interval of a difference, with their signs."""
    return " to ".join(show_reward(end, "+") for end in gap)
