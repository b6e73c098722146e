"""What a search must be able to send or copy is checked before anything is started or written."""

from __future__ import annotations

import copy
from typing import Any, Protocol, runtime_checkable

import numpy as np

from nas.executors import Executor
from nas.executors.sending import check_sent
from nas.plugins import reraise_as
from proxy_tasks.task import AdaptedTask
from search_space import Space


@runtime_checkable
class SendsTasks(Protocol):
    """Ability of an executor: it sends the task and the specs to other processes."""

    def check_sending(self, task: Any, spec: Any) -> None:
        """Checks that both can be sent.

        Args:
            task: as the user wrote it.
            spec: one of those that the space decodes.

        Raises:
            ValueError: if one cannot; it says which, and why.
        """


def check_sending(space: Space, task: AdaptedTask, executor: Executor, scheduler: object) -> None:
    """Checks a search's task, a spec of its space, and its scheduler.

    Raises:
        ValueError: if the task or a spec cannot be sent to the workers, or the scheduler cannot be copied.
        FaultError: if the space fails.
    """
    if scheduler is not None:
        advice = "make that part when it is first used"
        name, what = type(scheduler).__name__, "cannot be copied, which each search does"
        check_sent(scheduler, name, what, copy.deepcopy, advice)
    if isinstance(executor, SendsTasks):
        with reraise_as(f"{type(space).__name__}.decode"):
            spec = space.decode(space.sample(np.random.default_rng(0)))
        for each in task.tasks:
            executor.check_sending(each.task, spec)
