"""`nas compare`: controllers over seeds on a task whose scores are at hand."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

from nas.cli.arguments import Commands, ConfiguredHelp, add_configured_command
from nas.cli.hydra_app import run_configured
from nas.cli.study_board import CONTINUES
from nas.plugins.import_path import takes
from nas.plugins.kinds import installed
from nas.utils.terminal import counter

HELP = ConfiguredHelp(
    about="rank controllers over seeds on a table or a synthetic score",
    text="Every controller searches the same task with several seeds, in simulated time. The result is a "
    "folder with a page, a picture and all numbers. A second call with the same settings continues.",
    keys={
        "controllers": "Names, with settings if needed: 'controllers=[random,\"evolution population=50\"]'.",
        "task": "How a score is found: synthetic, table (with task.path=scores.csv), or your own.",
        "space": "Set of architectures, such as r0-sp53.",
        "seeds": "Searches of each controller; default: 20.",
        "trials": "Proposals of each search; default: 150.",
        "workers": "Evaluations at the same time, in simulated time.",
        "seed": "Seed of the first search; the others count up from it.",
        "objective.maximize": "Metrics to maximize, such as [AP50].",
        "processes": "Searches at the same time on this machine; default: one for each core.",
        "out": "Folder of the results.",
    },
    examples=(
        "nas compare seeds=5 'controllers=[random,local,ppo]'",
        "nas compare task=table task.path=scores.csv task.reward=AP",
        "nas compare mine.yaml out=again",
    ),
)


def add_compare_command(commands: Commands) -> None:
    """Adds the command to the parser's."""
    add_configured_command(commands, "compare", HELP, _compare)


def _compare(options: argparse.Namespace) -> int:
    from nas.analysis.settings import CompareSettings

    command = shlex.join(["nas", "compare", *options.overrides])
    return run_configured(
        "compare", options.overrides, HELP, CompareSettings, lambda config: _start(config, command)
    )


def _start(config: Any, command: str) -> int:
    from omegaconf import OmegaConf

    from nas.analysis.controller_plan import ControllerStudy
    from nas.analysis.controller_study import run_controller_study
    from nas.analysis.settings import CompareSettings
    from nas.config import build_root

    settings = build_root(config, CompareSettings)
    common: Any = OmegaConf.to_container(config, resolve=True)
    for own in ("_target_", "controllers", "seeds", "seed", "out", "processes"):
        del common[own]
    controllers = {
        " ".join(text.split()): _node(text, settings.seed, settings.trials) for text in settings.controllers
    }
    folder = Path(settings.out)
    try:
        text = run_controller_study(
            ControllerStudy(
                common=common, controllers=controllers, seeds=settings.seeds, first_seed=settings.seed
            ),
            folder,
            processes=settings.processes,
            progress=counter("searches"),
            command=command,
        )
    except KeyboardInterrupt:
        print(f"\n{CONTINUES}", file=sys.stderr)
        raise
    print(text, end="")
    print(f"\nwritten: {folder / 'comparison.png'}, .md, .json and .csv")
    return 0


def _node(text: str, seed: int, trials: int) -> dict[str, Any]:
    """Gives a controller's configuration.

    Args:
        text: a name with changes, such as "evolution population=50", or the import path of a plug-in.
        seed: of the controller, where it takes one.
        trials: the budget that the controller is built for.

    Raises:
        ConfigError: if the text cannot be read, or there is no such controller.
    """
    from omegaconf import OmegaConf

    from nas.config import ConfigError, compose

    try:
        name, *changes = shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"controllers: {text!r} cannot be read: {error}") from None
    own = installed("controller").get(name, name if "." in name else None)
    if own is not None:
        seeded = [f"seed={seed}"] if takes(own, "seed") else []
        node = OmegaConf.from_dotlist([f"_target_={own}", "_partial_=true", *seeded, *changes])
    else:
        # The class itself refuses what it does not take.
        overrides = [f"++controller.{change}" for change in changes]
        node = compose(f"controller/{name}", [f"+seed={seed}", f"+trials={trials}", *overrides])
    found: dict[str, Any] = OmegaConf.to_container(node, resolve=True)  # type: ignore[assignment]
    return found
