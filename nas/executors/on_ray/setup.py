"""The setup of a task on a node of a cluster: the head node is spared what a data set costs."""

from __future__ import annotations

import contextlib
import io
import logging
import pickle
import sys
from collections.abc import Callable
from dataclasses import dataclass
from logging.handlers import QueueHandler
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from nas.executors.on_ray.room import RoomWatch
from nas.executors.on_ray.worker import join_search
from nas.executors.setup import call_setup
from nas.plugins.faults import FaultError, one_line
from nas.utils.logging import tasks_handled_by
from proxy_tasks.adapted_task import AdaptedTask

STARTS = 2
"""Workers in a row that may die in the setup."""

WAIT_SECONDS = 1.0
"""How often it is looked whether the cluster is still there."""


@dataclass(frozen=True, kw_only=True)
class SetUp:
    """What a worker sends back.

    Args:
        task: the pickled task as it is after its setup; None if that failed.
        error: the pickled exception; None if there was none.
        printed: what the task has printed.
        logged: records of what it has logged.
    """

    task: bytes | None
    error: bytes | None
    printed: str
    logged: tuple[logging.LogRecord, ...]


def set_up_on_node(
    task: AdaptedTask,
    folder: Path,
    options: dict[str, Any],
    check_ray: Callable[[], None],
    room: RoomWatch,
) -> AdaptedTask:
    """Runs the setup of a task in a worker of its own, which ends afterwards.

    What the task prints and logs appears here, when it is over.

    Args:
        task: what is set up; this object stays as it is.
        folder: the run folder, for the argument of `setup`.
        options: what the worker asks Ray for.
        check_ray: raises OSError if the cluster is gone.
        room: tells the user if the worker does not start.

    Returns:
        the task as its setup left it.

    Raises:
        OSError: if the cluster is gone, or the workers die.
        Exception: see `nas.executors.setup.set_up`.
    """
    import ray
    from ray import cloudpickle

    sent = ray.put(cloudpickle.dumps(task))  # type: ignore[no-untyped-call]
    death = ""
    for _ in range(STARTS):
        worker: Any = ray.remote(_SetUpWorker).options(max_restarts=0, **options)
        actor = worker.remote(str(Path.cwd()), list(sys.path))
        try:
            started = actor.__ray_ready__.remote()
            answer = actor.set_up.remote(sent, folder)
            while not ray.wait([answer], timeout=WAIT_SECONDS)[0]:
                check_ray()
                room.look(found=bool(ray.wait([started], timeout=0)[0]))
            return _take(ray.get(answer))
        except ray.exceptions.RayError as error:
            check_ray()
            death = one_line(error)
        finally:
            with contextlib.suppress(Exception):
                ray.kill(actor)
    raise OSError(f"{task.name}.setup: its worker died {STARTS} times; the last time: {death}")


class _SetUpWorker:
    """The actor; see `join_search` for the arguments."""

    def __init__(self, folder: str, path: list[str]) -> None:
        join_search(folder, path)

    def set_up(self, pickled: bytes, run_dir: Path) -> SetUp:
        """Sets the task up."""
        from ray import cloudpickle

        printed, records = io.StringIO(), SimpleQueue[logging.LogRecord]()
        task = error = None
        with (
            contextlib.redirect_stdout(printed),
            contextlib.redirect_stderr(printed),
            tasks_handled_by(QueueHandler(records)),
        ):
            try:
                loaded: AdaptedTask = cloudpickle.loads(pickled)
                call_setup(loaded, run_dir)
                task = cloudpickle.dumps(loaded)  # type: ignore[no-untyped-call]
            except Exception as raised:
                error = _pickle_error(raised)
        logged = tuple(records.get() for _ in range(records.qsize()))
        return SetUp(task=task, error=error, printed=printed.getvalue(), logged=logged)


def _pickle_error(error: Exception) -> bytes:
    """An exception as bytes; one that cannot be sent becomes its message."""
    from ray import cloudpickle

    with contextlib.suppress(Exception):
        pickled: bytes = cloudpickle.dumps(error)  # type: ignore[no-untyped-call]
        if type(pickle.loads(pickled)) is type(error):
            return pickled
    return pickle.dumps(FaultError(f"{type(error).__name__}: {one_line(error)}"))


def _take(found: SetUp) -> AdaptedTask:
    """Repeats what the setup has printed, logged and raised; gives the task."""
    from ray import cloudpickle

    for record in found.logged:
        logging.getLogger(record.name).handle(record)
    if found.printed:
        print(found.printed, end="", flush=True)
    if found.error is not None:
        raise cloudpickle.loads(found.error)
    task: AdaptedTask = cloudpickle.loads(found.task or b"")
    return task
