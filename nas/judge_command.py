"""`nas judge`: how far a proxy's scores can be trusted."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from nas.progress import counter
from nas.spec_commands import Commands


def add_judge_command(commands: Commands) -> None:
    """Adds the command to the parser's."""
    parser = commands.add_parser(
        "judge",
        help="measure how far a proxy's scores foretell a dearer training",
        description="Trains random specs at a proxy and at a dearer fidelity; a second call goes on.",
    )
    parser.add_argument("folder", metavar="DIR", help="where results and report go")
    parser.add_argument("--task", default="cpu", help="a task configuration; default: cpu")
    parser.add_argument("--space", default="spinenet-49", help="a space configuration; default: spinenet-49")
    parser.add_argument("--specs", type=int, default=24, help="random specs; default: 24")
    parser.add_argument("--seeds", type=int, default=2, help="trainings of each at the proxy; default: 2")
    parser.add_argument("--fidelity", type=float, default=1.0, help="of the proxy; default: 1")
    parser.add_argument("--reference", type=float, default=3.0, help="the dearer fidelity; default: 3")
    parser.add_argument("--reference-seeds", type=int, default=1, help="trainings of each; default: 1")
    parser.add_argument("--neighbours", type=int, default=6, help="mutants trained as well; default: 6")
    parser.add_argument("--seed", type=int, default=0, help="of the random specs; default: 0")
    parser.add_argument("--workers", type=int, default=2, help="trainings at a time; default: 2")
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="of the task or the space, such as task.data.root=DIR",
    )
    parser.set_defaults(run=_judge)


def _judge(options: argparse.Namespace) -> int:
    from omegaconf import OmegaConf

    from nas.config import ConfigError, build_space, build_task, compose
    from nas.executors.on_ray import OnRay
    from nas.judging import JudgePlan, run_judging

    other = next((word for word in options.set if not word.lstrip("+").startswith(("task.", "space."))), None)
    if other is not None:
        raise ConfigError(
            f"--set {other}: a key of the task or the space is wanted, such as task.data.root=DIR"
        )
    if options.workers < 1:
        raise ConfigError(f"--workers must be at least 1, not {options.workers}")
    config = compose("search", [f"task={options.task}", f"space={options.space}", *options.set])
    task, space = build_task(config.task), build_space(config.space)
    about: Any = OmegaConf.to_container(config, resolve=True)
    plan = JudgePlan(
        options.specs,
        options.seeds,
        options.fidelity,
        options.reference,
        options.reference_seeds,
        min(options.neighbours, options.specs),
        options.seed,
    )
    folder = Path(options.folder)
    run_judging(
        space,
        task,
        OnRay(options.workers),
        plan,
        folder,
        counter("trainings"),
        {kind: about[kind] for kind in ("task", "space")},
    )
    print((folder / "judgement.md").read_text(), end="")
    print(f"\nwritten: {folder / 'judgement.json'}, .md and .png")
    return 0
