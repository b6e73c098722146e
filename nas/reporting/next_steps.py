"""The commands that one types after a search: to train its winner, to continue it, and to repeat it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from nas.journal.history import History
from nas.reporting.blocks import Command, Commands
from nas.reporting.winners import read_winner
from nas.utils.files import is_in_use
from nas.utils.run_files import config_file, winner_file
from search_space.utils.parsing import ParseError, read_bounded

MAX_CONFIG_BYTES = 1 << 18

PLAIN_ROOT = re.compile(r"^ {4}root: ([\w./-]+)$", re.MULTILINE)
"""The folder of the images in a configuration, if it needs no quotes anywhere."""


def show_next(folder: Path, history: History) -> Commands:
    """What one types next: it depends on how the search stands, and on who started it."""
    run, can_resume = shlex.quote(str(folder)), is_of_command_line(folder)
    steps = []
    if read_winner(folder) is not None:
        winner = shlex.quote(str(winner_file(folder)))
        train = " ".join(["nas train", f"spec={winner}", *_task_words(folder)])
        steps.append(("Train the winner in full. Give changed settings of the search's task again:", train))
        steps.append(("Look at the winner's blocks:", f"nas spec show {winner}"))
    over = len(history.trials.proposed)
    if history.trials.finished and can_resume:
        steps.append(("Continue with twice as many trials:", f"nas resume {run} trials={2 * max(1, over)}"))
    elif not history.trials.finished and is_in_use(folder):
        steps.insert(0, ("See how far the search is:", f"nas status {run}"))
    elif not history.trials.finished and can_resume:
        steps.insert(0, ("Continue where the search stopped:", f"nas resume {run}"))
    if history.rows:
        steps.append(("Write all trials into a table:", f"nas trials {run} trials.csv"))
    return Commands(title="What you can do next", commands=steps)


def _task_words(folder: Path) -> list[str]:
    """What names the task and the images of a search again, as far as its configuration tells.

    The configuration may come from elsewhere, so that it is not parsed but looked at.
    """
    _, _, task = ("\n" + _shown_config(config_file(folder))).partition("\ntask:\n")
    task = re.split(r"^\S", task, maxsplit=1, flags=re.MULTILINE)[0]
    root = PLAIN_ROOT.search(task)
    if root is None:
        return []
    named = {
        "proxy_tasks.LabeledImages": "task=classification",
        "search_space.MaskRCNNHead": "task=mask-rcnn-cpu",
        "search_space.FCOSHead": "task.head=fcos-small",
    }
    words = [word for target, word in named.items() if f"_target_: {target}\n" in task]
    return [*words[:1], *([] if root[1] == "null" else [f"task.data.root={root[1]}"])]


def show_command(folder: Path, history: History) -> Command:
    """How to repeat the search."""
    versions = ", ".join(f"{name} {number}" for name, number in history.versions.items())
    if not is_of_command_line(folder):
        return Command(
            title="To reproduce",
            text=f"This search was started from Python with {versions}. The same call in another folder "
            "repeats it; in the same folder, resume=True continues it:",
            command="nas.run_search(space, controller, task, executor, trials, folder, config=config)",
        )
    config = config_file(folder)
    return Command(
        title="To reproduce",
        text=f"This command repeats the search with {versions}:",
        command=f"nas search --config-dir {shlex.quote(str(folder))} --config-name config run_dir=NEW",
        config=_shown_config(config),
    )


def _shown_config(path: Path) -> str:
    """The configuration as a text; "" if it cannot be shown, or is only a link to a file of somebody's."""
    if path.is_symlink():
        return ""
    try:
        return read_bounded(path, MAX_CONFIG_BYTES)
    except (OSError, ParseError):
        return ""


def is_of_command_line(folder: Path) -> bool:
    """Whether `nas search` made the folder, so that commands can continue and repeat the search."""
    return config_file(folder).is_file()
