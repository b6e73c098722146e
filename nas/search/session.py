"""What the journal tells of each session of a search: who runs what, where, and with which versions."""

from __future__ import annotations

import platform
import socket
from importlib.metadata import version
from pathlib import Path
from typing import Any

from controllers.controller import AskTell
from nas.journal.errors import JournalError
from nas.search.ask_tell import controller_name
from nas.search.config import SearchConfig
from nas.search.objective import Objective
from nas.utils.origin import describe_origin
from search_space import Space
from search_space.utils.strict_json import to_json


def describe_session(
    *,
    space: Space,
    controller: AskTell,
    config: SearchConfig,
    workers: int,
    recalled: int,
    folder: Path | None,
) -> dict[str, Any]:
    """Gives the data of an event `session`.

    Args:
        space: what is searched.
        controller: what proposes.
        config: of the search.
        workers: evaluations at a time.
        recalled: how many recorded requests would be others now.
        folder: of the run; without one, nothing is told of the machine and the versions.
    """
    about: dict[str, Any] = {
        "workers": workers,
        "controller": controller_name(controller),
        "seed": config.seed,
        "objective": config.objective.to_dict(),
        "recalled": recalled,
        "decisions": [
            [str(decision.name), [str(label) for label in decision.labels]] for decision in space.decisions
        ],
    }
    if folder is not None:
        about |= {
            "versions": {name: version(name) for name in ("spinenas", "torch", "ray", "optuna", "numpy")},
            "python": platform.python_version(),
            "host": socket.gethostname(),
            "cwd": str(Path.cwd()),
            "origin": describe_origin(folder),
        }
    return about


def check_same_objective(recorded: Any, objective: Objective) -> None:
    """Compares the objective with that which a session has recorded, if it has.

    Raises:
        JournalError: if they differ.
    """
    if recorded is not None and recorded != objective.to_dict():
        raise JournalError(
            f"the search began with the objective {to_json(recorded)}; its rewards cannot be compared "
            f"with those of {to_json(objective.to_dict())}"
        )
