"""The setup of a task: once for each search, where its executor wants it done."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

from nas.executors import Executor
from nas.plugins.faults import reraise_as
from proxy_tasks.adapted_task import AdaptedTask


@runtime_checkable
class SetsUp(Protocol):
    """An executor that may set a task up on another machine than that of the search."""

    def set_up(self, task: AdaptedTask, folder: Path) -> AdaptedTask:
        """Does what `set_up` says."""


def set_up(executor: Executor, task: AdaptedTask, folder: Path) -> AdaptedTask:
    """Calls the task's `setup` once: where the executor does it, or else in this process.

    Args:
        executor: it may be open afterwards, and must be closed.
        task: what is set up.
        folder: the run folder.

    Returns:
        the task to run, as the setup left it.

    Raises:
        OSError: if the executor cannot be used.
        Exception: of our own kinds, as the setup raises them.
        FaultError: for everything else that it raises.
    """
    if isinstance(executor, SetsUp):
        return executor.set_up(task, folder)
    call_setup(task, folder)
    return task


def call_setup(task: AdaptedTask, folder: Path) -> None:
    """Calls the task's `setup` in this process; see `set_up`."""
    with reraise_as(f"{task.name}.setup"):
        task.setup(folder)
