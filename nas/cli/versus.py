"""`nas versus`: a winner beside SpineNet-49, an R50-FPN of its size and random specs, trained alike."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.cli.arguments import OPTIONS, Commands, ConfiguredHelp, add_configured_command
from nas.cli.hydra_app import read_flags, show_config
from nas.cli.run_folders import NoRunError, pick_run
from nas.cli.study_board import TrainingsBoard
from nas.utils.logging import print_notices
from nas.utils.run_files import config_file, journal_file, winner_file, winners_folder
from nas.utils.signals import end_children_quietly
from nas.utils.terminal import announce_loading, counted, say, show_reward

if TYPE_CHECKING:
    from nas.reporting.versus import Contender, Versus

PIPED_WIDTH = 150
"""Columns of the table where standard output is no terminal."""

HELP = ConfiguredHelp(
    about="compare a winner with SpineNet-49, an R50-FPN of its size and random specs, fairly",
    text="Trains the winner of a search and its baselines alike: the same data, seeds, budget and head. The "
    "result is a table with intervals and a picture, in the run folder. A second call trains only what is "
    "missing.",
    keys={
        "spec": "The winner: a run folder, a spec file or a published name; default: the latest search.",
        "against": "Baselines: [spinenet-49,r50-fpn,random], or spec files.",
        "seeds": "Trainings of each network; default: 3.",
        "seed": "Seed of the first training of each; the others count up from it.",
        "fidelity": "Length of the trainings, relative to the task's own; default: 1.",
        "task": "How the networks are trained; default: the task of the search.",
        "task.data.root": "Folder of your images; default: the images of the search.",
        "task.train.steps": "Length of a training in steps.",
        "workers": "Trainings at the same time.",
        "out": "Folder of the results.",
    },
    examples=(
        "nas versus runs/DATE",
        "nas versus runs/DATE seeds=5 fidelity=2 workers=2",
        "nas versus winner.json task.data.root=DIR 'against=[r50-fpn]'",
    ),
    word="[RUN_DIR | SPEC]",
    options={
        "--cfg job": OPTIONS["--cfg job"],
        "--json": "print the results as a JSON object",
        "--trust": "use the settings of a search that was begun elsewhere",
    },
)

OF_THE_SEARCH = ("task", "space")
"""Parts that are the search's own, unless the command chooses others."""


def add_versus_command(commands: Commands) -> None:
    """Adds the command to the parser's."""
    add_configured_command(commands, "versus", HELP, _versus)


@dataclass(frozen=True, kw_only=True)
class Source:
    """The winner.

    Args:
        spec: a spec file or a published name.
        run: the run folder of its search; None if it is of none.
    """

    spec: str
    run: Path | None


def _versus(options: argparse.Namespace) -> int:
    from nas.config import ConfigError, compose

    command = shlex.join(["nas", "versus", *options.overrides])
    words = [word for word in options.overrides if word not in ("--json", "--trust")]
    as_json, trusted = "--json" in options.overrides, "--trust" in options.overrides
    flags, words = read_flags("versus", words)
    if flags.help:
        print(HELP.show("versus"))
        return 0
    if flags.multirun:
        raise ConfigError("nas versus takes no --multirun; seeds= sets how often each network is trained")
    if flags.cfg not in (None, "job") or flags.config_dir or flags.config_name:
        raise ConfigError("nas versus takes only KEY=VALUE, --json, --trust and --cfg job")
    named = [word for word in words if Path(word).exists() or not set("=~") & set(word)]
    words = [word for word in words if word not in named]
    named += [word.partition("=")[2].strip("'\"") for word in words if word.startswith("spec=")]
    if len(named) > 1:
        raise ConfigError(f"nas versus takes one winner, not {' and '.join(named)}")
    chosen = named[0] if named and named[0] != "null" else None
    try:
        source = find_source(chosen)
    except NoRunError:
        if not flags.cfg:
            raise
        source = Source(spec="", run=None)  # The settings are the same whatever the winner is.
    words = [word for word in words if not word.startswith("spec=")]
    if not flags.cfg:
        announce_loading(sys.stderr if as_json else sys.stdout)
    config = (
        compose("versus", words) if source.run is None else _with_parts_of_run(source.run, words, trusted)
    )
    if flags.cfg:
        print(show_config(config, flags.resolve), end="")
        return 0
    return _start(config, source, command, as_json)


def find_source(named: str | None) -> Source:
    """The winner that a word means.

    Args:
        named: a run folder, a spec file or a published name; None for the latest search.

    Raises:
        ConfigError: if a folder holds no search, or a search that has no winner.
        NoRunError: if nothing is named, and there is no search.
    """
    from nas.config import ConfigError
    from search_space.published import PUBLISHED_SPECS

    path = pick_run(None) if named is None else Path(named)
    if not path.exists() and str(path) not in PUBLISHED_SPECS:
        if path.suffix:
            raise ConfigError(f"{path}: no such file")
        known = ", ".join(PUBLISHED_SPECS)
        raise ConfigError(f"{path} is no run folder, no spec file and no published spec, which are {known}")
    if not path.is_dir():
        run = path.parent.parent
        inside = path.parent == winners_folder(run) and journal_file(run).is_file()
        return Source(spec=str(path), run=run if inside else None)
    if not journal_file(path).is_file():
        raise ConfigError(f"{path} holds no search; name a run folder, a spec file or a published spec")
    best = winner_file(path)
    if not best.is_file():
        raise ConfigError(
            f"{path} has no winner yet; nas status {shlex.quote(str(path))} shows how far it is"
        )
    return Source(spec=str(best), run=path)


def _with_parts_of_run(run: Path, words: Sequence[str], trusted: bool) -> Any:
    """The configuration with task and space of a search, then with what the words say.

    Raises:
        ConfigError: if the folder's configuration is damaged, or a word cannot be read.
        TrustError: if the search was begun elsewhere and is not trusted.
    """
    from nas.cli.trust import check_trust
    from nas.config import compose, merge_overrides, read_config
    from nas.journal.reading import read_provenance
    from nas.plugins.own_code import look_where_it_began

    provenance = read_provenance(run)
    check_trust(run.absolute(), provenance.origin, trusted)
    look_where_it_began(provenance.began_in)
    parts = {_key(word) for word in words if _chooses(word)}
    chosen = [word for word in words if _chooses(word) or _key(word).partition(".")[0] in parts]
    # A preset that imports little, if that of the search takes its place.
    config = compose("versus", chosen if parts & {"task", "task._target_"} else ["task=synthetic", *chosen])
    kept = read_config(config_file(run), OF_THE_SEARCH)
    for part in OF_THE_SEARCH:
        if not parts & {part, f"{part}._target_"}:
            config[part] = kept[part]
    return merge_overrides(config, [word for word in words if word not in chosen])


def _chooses(word: str) -> bool:
    """Whether a word chooses a preset or a class for a whole part."""
    from nas.config import is_group

    key = _key(word)
    return "." not in key.removesuffix("._target_") and (is_group(key) or key.endswith("._target_"))


def _key(word: str) -> str:
    return word.lstrip("+~").partition("=")[0]


def _start(config: Any, source: Source, command: str, as_json: bool) -> int:
    from omegaconf import OmegaConf

    from nas.analysis.settings import VersusSettings
    from nas.analysis.versus import describe_head, run_versus
    from nas.analysis.versus_plan import plan_versus
    from nas.config import build_executor, build_root, build_space, build_task
    from nas.config.workers import settle_workers
    from nas.search.checking import check_data, check_spec
    from nas.training.launch import read_train_spec

    say = partial(print, file=sys.stderr if as_json else sys.stdout, flush=True)
    settings = build_root(config, VersusSettings).plan()
    space, task = build_space(config.space), build_task(config.task)  # A family of one's own is known then.
    spec, origin = read_train_spec(source.spec)
    plan = plan_versus(spec, origin, space, task, settings)
    folder = Path(str(config.out)) if config.out is not None else (source.run or Path()) / "versus"
    head = describe_head(plan, task, OmegaConf.to_container(config.task, resolve=True))  # type: ignore[arg-type]
    for line in settle_workers(config, len(plan.trainings())):
        say(line)
    executor = build_executor(config.executor)
    check_data(task)
    for entry in plan.entries:
        for each in dict.fromkeys(entry.specs):
            check_spec(task, each)
    for entry in plan.entries:
        say(f"{entry.name}: {entry.about}")
    for note in plan.notes:
        say(f"note: {note}")
    end_children_quietly()
    # With --json, standard output is for that alone.
    with (
        TrainingsBoard(say, folder, executor.workers) as board,
        nullcontext() if as_json else print_notices(),
    ):
        found = run_versus(plan, task, executor, folder, head=head, watch=board, command=command)
    _conclude(found, folder, source, as_json)
    return board.tell_failures()


def _conclude(found: Versus, folder: Path, source: Source, as_json: bool) -> None:
    from nas.reporting.versus import FILE

    if as_json:
        print((folder / FILE).read_text(encoding="utf-8"), end="", flush=True)
    else:
        _print_table(found)
        for line in verdicts(found):
            print(line)
        picture = "versus.png and " if (folder / "versus.png").is_file() else ""
        say(f"written: {folder}: {picture}{FILE}")
        if source.run is not None:
            print(f"nas report {shlex.quote(str(source.run))} shows it too", flush=True)


def _print_table(found: Versus) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from nas.reporting.versus import HEAD, versus_cells, versus_title

    table = Table(title=versus_title(found), title_justify="left")
    for i, name in enumerate(HEAD):
        table.add_column(name, justify="left" if i in (0, len(HEAD) - 1) else "right")
    for row in versus_cells(found):
        table.add_row(*map(Text, row))
    console = Console()
    if not console.is_terminal:
        console.width = PIPED_WIDTH
    console.print(table)


def verdicts(found: Versus) -> list[str]:
    """What the differences mean, one line for each baseline."""
    from nas.reporting.versus import show_span

    lines = []
    for contender in found.contenders[1:]:
        span = contender.gap_interval
        if contender.gap is None or span is None:
            continue
        if span[0] > 0:
            told = f"is better than the winner, by {show_reward(contender.gap)}"
        elif span[1] < 0:
            told = f"is worse than the winner, by {show_reward(-contender.gap)}"
        else:
            told = f"shows no clear difference from the winner with {_describe_seeds(found, contender)}"
        lines.append(f"{contender.name} {told} (95 %: {show_span(span)})")
    return lines


def _describe_seeds(found: Versus, contender: Contender) -> str:
    """How many trainings the difference from the winner is of."""
    own, others = contender.failed, found.contenders[0].failed
    if not own and not others:
        return counted(len(found.seeds), "seed")
    seeds = len(found.seeds)
    return f"{counted(seeds - own, 'training')} of its own and {seeds - others} of the winner"
