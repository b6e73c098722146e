"""`nas judge`, also called `nas correlate`: how far the scores of a proxy can be trusted."""

from __future__ import annotations

import argparse
import shlex
from functools import partial
from pathlib import Path
from typing import Any

from nas.cli.arguments import Commands, ConfiguredHelp, add_configured_command
from nas.cli.hydra_app import run_configured
from nas.cli.study_board import TrainingsBoard
from nas.utils.signals import end_children_quietly

HELP = ConfiguredHelp(
    about="measure how well a proxy's scores predict a longer training",
    text="Trains random specs briefly, as the proxy does, and longer. The result is a folder that "
    "says how well the two rankings agree. A second call with the same settings continues.",
    keys={
        "task": "How the specs are trained: cpu, paper, or your own task.",
        "task.data.root": "Folder of your images; default: generated shapes.",
        "space": "Set of architectures to draw from, such as r0-sp53.",
        "specs": "Number of random specs; default: 24.",
        "fidelity": "Length of the proxy's training, relative to the task's own.",
        "reference": "Length of the longer training, relative to the task's own.",
        "seeds": "Trainings of each spec at the proxy.",
        "strata": "Feature of specs that are compared among each other, such as macs.",
        "workers": "Trainings at the same time.",
        "out": "Folder of the results.",
    },
    examples=(
        "nas judge",
        "nas judge task.data.root=DIR specs=12 fidelity=0.25 reference=1",
        "nas judge mine.yaml out=again",
    ),
)


def add_judge_command(commands: Commands) -> None:
    """Adds the command to the parser's."""
    add_configured_command(commands, "judge", HELP, _judge, aliases=["correlate"])


def _judge(options: argparse.Namespace) -> int:
    from nas.analysis.settings import JudgeSettings

    command = shlex.join(["nas", "judge", *options.overrides])
    return run_configured(
        "judge", options.overrides, HELP, JudgeSettings, lambda config: _start(config, command)
    )


def _start(config: Any, command: str) -> int:
    from omegaconf import OmegaConf

    from nas.analysis.proxy_study import run_proxy_study
    from nas.analysis.settings import JudgeSettings
    from nas.config import build_executor, build_root, build_space, build_task
    from nas.config.workers import settle_workers
    from nas.search.checking import check_data
    from nas.utils.logging import print_notices

    notes = settle_workers(config)
    settings = build_root(config, JudgeSettings)
    task = build_task(config.task)
    check_data(task)
    for note in notes:
        print(note, flush=True)
    about: Any = OmegaConf.to_container(config, resolve=True)
    folder, executor = Path(settings.out), build_executor(config.executor)
    end_children_quietly()
    with TrainingsBoard(partial(print, flush=True), folder, executor.workers) as board, print_notices():
        run_proxy_study(
            build_space(config.space),
            task,
            executor,
            settings.plan(),
            folder,
            strata=settings.strata,
            watch=board,
            about={kind: about[kind] for kind in ("task", "space")},
            command=command,
        )
    print((folder / "judgement.md").read_text(encoding="utf-8"), end="")
    print(f"\nwritten: {folder / 'judgement.json'}, .md and .png", flush=True)
    return board.tell_failures()
