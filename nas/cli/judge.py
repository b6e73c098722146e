"""`nas judge`, also called `nas correlate`: how far the scores of a proxy can be trusted."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from nas.cli.arguments import Commands, add_configured_command
from nas.cli.hydra_app import run_configured
from nas.utils.terminal import counter


def add_judge_command(commands: Commands) -> None:
    """Adds the command to the parser's."""
    about = "measure how well a proxy's scores predict a longer training"
    add_configured_command(commands, "judge", about, _judge, aliases=["correlate"])


def _judge(options: argparse.Namespace) -> int:
    command = shlex.join(["nas", "judge", *options.overrides])
    return run_configured("judge", options.overrides, lambda config: _start(config, command))


def _start(config: Any, command: str) -> int:
    from omegaconf import OmegaConf

    from nas.analysis.proxy_study import ProxyStudyConfig, run_proxy_study
    from nas.config import build_executor, build_space, build_task, check_whole

    check_whole(config, workers=1)
    plan = ProxyStudyConfig(
        specs=config.specs,
        seeds=config.seeds,
        fidelity=config.fidelity,
        reference=config.reference,
        reference_seeds=config.reference_seeds,
        neighbors=min(config.neighbors, config.specs),
        seed=config.seed,
    )
    task = build_task(config.task)
    if task.check is not None:
        task.check()
    about: Any = OmegaConf.to_container(config, resolve=True)
    folder = Path(str(config.out))
    run_proxy_study(
        build_space(config.space),
        task,
        build_executor(config.executor),
        plan,
        folder,
        progress=counter("trainings"),
        about={kind: about[kind] for kind in ("task", "space")},
        command=command,
    )
    print((folder / "judgement.md").read_text(), end="")
    print(f"\nwritten: {folder / 'judgement.json'}, .md and .png")
    return 0
