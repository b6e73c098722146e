"""`nas train`: trains one spec in full, and continues a training that was interrupted."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from nas.cli.arguments import Commands, ConfiguredHelp, add_configured_command
from nas.cli.hydra_app import run_configured
from nas.cli.model_path import find_model
from nas.utils.run_files import TRAINING_FILES, best_model, config_file, journal_file, model_card
from nas.utils.run_folder import new_names, resume_command, run_folder, short_path
from nas.utils.signals import INTERRUPTED
from nas.utils.terminal import announce_loading, complain

HELP = ConfiguredHelp(
    about="train one spec in full",
    text="Trains the network of one architecture, measures it, and leaves a model file that nas eval, nas "
    "predict and nas export take. All results are in one folder below trainings/. nas resume "
    "continues a training that was interrupted.",
    keys={
        "spec": "Architecture: a winner's file, or a published name such as spinenet-49.",
        "task": "How it is trained: cpu, protocol-a, -b, -c, mask-rcnn, classification, ...",
        "task.data.root": "Folder of your images; default: generated shapes.",
        "scale": "Size of the network, such as 49S or 96; default: the task's own.",
        "fidelity": "Length of the training, relative to the task's own.",
        "task.train.steps": "Length of the training in steps.",
        "task.train.batch": "Number of images in each step.",
        "weights": "A model file; the training starts from its backbone.",
        "seed": "Seed of the weights and of the order of the data.",
        "run_dir": "Folder of the training; default: trainings/ with the date and time.",
    },
    examples=(
        "nas train spec=runs/DATE/winners/best.json task.data.root=DIR",
        "nas train spec=spinenet-49 scale=49S task.train.steps=2000",
        "nas train mine.yaml seed=1",
    ),
)


PARTS = ("spec", "task")
"""What the config.yaml of a training must have; that of a search has no spec."""

KEPT = ("spec", "scale", "seed", "fidelity", "weights", "run_dir", "layout")
"""Keys that a resume may not change: the network or its schedule would be another."""


def add_train_command(commands: Commands) -> None:
    """Adds the command to the parser's."""
    add_configured_command(commands, "train", HELP, _train)


def _train(options: argparse.Namespace) -> int:
    from nas.training.settings import TrainSettings

    return run_configured("train", options.overrides, HELP, TrainSettings, _start, _begin)


def _begin(root: Mapping[str, Any]) -> None:
    """Refuses a folder that is taken, and says why nothing happens for a while."""
    if root["run_dir"] is not None:
        _refuse_taken(Path(root["run_dir"]))
    if root["weights"] is not None and Path(root["weights"]).exists():
        find_model(str(root["weights"]))
    announce_loading()


def _refuse_taken(folder: Path) -> None:
    from nas.config import ConfigError

    if journal_file(folder).exists():
        raise ConfigError(f"{folder} holds a search; choose another run_dir=")
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file; choose another run_dir=")
    if any((folder / name).exists() for name in TRAINING_FILES):
        raise ConfigError(f"{folder} already holds a training; to continue: {resume_command(folder)}")


def _start(config: Any) -> int:
    from nas.training.launch import read_settings
    from proxy_tasks.models.model_file import read_model

    weights = read_settings(config).weights
    if weights is not None:
        config.weights = str(find_model(str(weights)) if Path(weights).exists() else weights)
        read_model(config.weights)  # Fails before a folder is made.
    if config.scale is not None:
        config.task.scale = {"_target_": "search_space.parse_scale", "text": str(config.scale)}
    given = None if config.run_dir is None else str(config.run_dir)
    with _training_folder(given) as folder:
        _refuse_taken(folder)
        config.run_dir = str(folder)
        return run(config, short_path(folder))


def resume_training(folder: Path, overrides: list[str]) -> int:
    """Continues the training of a folder."""
    from nas.config import check_resume, merge_overrides, read_config
    from nas.training.evaluations import read_evaluations
    from nas.utils.files import refuse_if_in_use

    refuse_if_in_use(folder)
    if read_evaluations(folder).finished:
        print(f"{folder}: the training has finished; nothing to do")
        return 0
    before = read_config(config_file(folder), PARTS)
    for note in check_resume(before, overrides, KEPT):
        print(note, flush=True)
    config = merge_overrides(before, overrides, lambda _: announce_loading())
    config.run_dir = str(folder.absolute())
    return run(config, short_path(folder))


def holds_training(folder: Path) -> bool:
    """Whether a folder is that of a training, not of a search, which may have lost its journal."""
    from nas.journal.budget import read_budget

    taken = journal_file(folder).exists() or not config_file(folder).exists()
    return not taken and read_budget(folder) is None


def run(config: Any, shown: Path) -> int:
    """Trains what a configuration says, in this process or on workers of Ray.

    Args:
        config: the whole configuration.
        shown: the folder as the user sees it; that of the configuration is absolute.
    """
    from nas.cli.progress import training_progress
    from nas.training.launch import build_trainable, read_kept_spec, read_settings, train_here
    from proxy_tasks.distributed import process_rank
    from proxy_tasks.engine.checkpoint import DamagedCheckpointError
    from proxy_tasks.engine.state_file import STATE
    from proxy_tasks.task import TaskFailureError

    folder, ray = Path(config.run_dir), read_settings(config).ray
    try:
        if ray.workers:
            from nas.training.ray_train import train_on_ray

            read_kept_spec(config)
            build_trainable(config)  # Says what is wrong before workers are started.
            with training_progress(folder):
                status = train_on_ray(config, ray)
            if status:
                return status
        else:
            with training_progress(folder) if process_rank() == 0 else nullcontext():
                train_here(config)
    except KeyboardInterrupt:
        more = f"; to continue: {resume_command(shown)}" if config_file(folder).exists() else ""
        if more and not (folder / STATE).exists():
            more += " (it begins at the first step, because no checkpoint has been written yet)"
        print(f"\nnas: interrupted{more}", file=sys.stderr)
        return INTERRUPTED
    except DamagedCheckpointError as error:
        again = f"to begin at the first step, remove {shown / STATE}, then type: {resume_command(shown)}"
        complain(f"{error}; {again}")
        return 1
    except TaskFailureError as error:
        again = f"; to continue: {resume_command(shown)}" if error.kind == "infrastructure" else ""
        complain(f"the training failed ({error.kind}): {error}{again}")
        return 1
    if process_rank() == 0:
        print(f"model: {best_model(shown)}, card: {model_card(shown)}")
    return 0


@contextlib.contextmanager
def _training_folder(given: str | None) -> Iterator[Path]:
    """The folder of a new training; of several processes of a launcher the first one alone makes it."""
    from proxy_tasks.distributed import process_rank

    if given is None and process_rank() != 0:
        yield Path("trainings", next(new_names())).absolute()
        return
    with run_folder(given, "trainings") as folder:
        yield folder
