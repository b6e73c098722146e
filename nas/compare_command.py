"""`nas compare`: controllers over seeds on a task whose scores are at hand."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from nas.config import ConfigError, check_whole, compose
from nas.configured import run_configured
from nas.plugins import installed, takes
from nas.progress import counter
from nas.spec_commands import Commands


def add_compare_command(commands: Commands) -> None:
    """Adds the command to the parser's."""
    compare = commands.add_parser(
        "compare",
        help="rank controllers over seeds on a table or a synthetic score; options are KEY=VALUE",
        add_help=False,
        prefix_chars="\0",
    )
    compare.add_argument("overrides", nargs="*")
    compare.set_defaults(run=lambda options: run_configured("compare", options.overrides, _start))


def _start(config: Any) -> int:
    from omegaconf import OmegaConf

    from nas.comparing import Comparison, run_comparison
    from proxy_tasks.task import is_number

    check_whole(config, trials=1, workers=1, seeds=2, seed=0)
    if not is_number(config.fidelity) or config.fidelity <= 0:
        raise ConfigError(f"fidelity must be a number above 0, not {config.fidelity!r}")
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
    text = run_comparison(
        Comparison(common, controllers, config.seeds, config.seed),
        folder,
        config.processes,
        counter("searches"),
    )
    print(text, end="")
    print(f"\nwritten: {folder / 'comparison.png'}, .md, .json and .csv")
    return 0


def _node(text: str, seed: int, trials: int) -> dict[str, Any]:
    """A controller's configuration from words such as "evolution population=50", or a plug-in's path."""
    from omegaconf import OmegaConf

    name, *changes = shlex.split(text)
    own = installed("controller").get(name, name if "." in name else None)
    if own is not None:
        seeded = [f"seed={seed}"] if takes(own, "seed") else []
        node = OmegaConf.from_dotlist([f"_target_={own}", "_partial_=true", *seeded, *changes])
    else:
        overrides = [f"++controller.{change}" for change in changes]  # What the class refuses is told.
        node = compose(f"controller/{name}", [f"+seed={seed}", f"+trials={trials}", *overrides])
    found: dict[str, Any] = OmegaConf.to_container(node, resolve=True)  # type: ignore[assignment]
    return found
