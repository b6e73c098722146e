"""`nas compare`: controllers over seeds on a task whose scores are at hand."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from nas.cli.arguments import Commands, add_configured_command
from nas.cli.hydra_app import run_configured
from nas.plugins import installed, takes
from nas.utils.terminal import counter


def add_compare_command(commands: Commands) -> None:
    """Adds the command to the parser's."""
    about = "rank controllers over seeds on a table or a synthetic score"
    add_configured_command(commands, "compare", about, _compare)


def _compare(options: argparse.Namespace) -> int:
    command = shlex.join(["nas", "compare", *options.overrides])
    return run_configured("compare", options.overrides, lambda config: _start(config, command))


def _start(config: Any, command: str) -> int:
    from omegaconf import OmegaConf

    from nas.analysis.controller_study import ControllerStudy, run_controller_study
    from nas.config import ConfigError, check_whole

    check_whole(config, trials=1, workers=1)
    if config.processes is not None and (type(config.processes) is not int or config.processes < 1):
        raise ConfigError(
            f"processes must be a whole number of at least 1, or null, not {config.processes!r}"
        )
    names: Any = OmegaConf.to_container(config.controllers) if OmegaConf.is_list(config.controllers) else None
    if not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise ConfigError("controllers: give at least one, such as controllers=[random,local]")
    common: Any = OmegaConf.to_container(config, resolve=True)
    for own in ("controllers", "seeds", "seed", "out", "processes"):
        del common[own]
    controllers = {" ".join(text.split()): _node(text, config.seed, config.trials) for text in names}
    folder = Path(str(config.out))
    text = run_controller_study(
        ControllerStudy(common=common, controllers=controllers, seeds=config.seeds, first_seed=config.seed),
        folder,
        processes=config.processes,
        progress=counter("searches"),
        command=command,
    )
    print(text, end="")
    print(f"\nwritten: {folder / 'comparison.png'}, .md, .json and .csv")
    return 0


def _node(text: str, seed: int, trials: int) -> dict[str, Any]:
    """Gives a controller's configuration.

    Args:
        text: a name with changes, such as "evolution population=50", or the import path of a plug-in.
        seed: of the controller, where it takes one.
        trials: the budget that the controller is built for.
    """
    from omegaconf import OmegaConf

    from nas.config import compose

    name, *changes = shlex.split(text)
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
