"""Dry runs in this process that last as long as in a worker: with as many threads as a worker has."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec

if TYPE_CHECKING:
    from nas.executors import Executor

P = ParamSpec("P")


def as_in_a_worker(estimate: Callable[P, float], executor: Executor) -> Callable[P, float]:
    """The estimate with the threads of a worker; as it is where trials run in this process.

    With a thread for each core, the dry run would compete with the workers that start at the same time, and
    take several times as long as a training takes later.

    Args:
        estimate: gives seconds.
        executor: of the trials.
    """
    from nas.executors import RayExecutor

    if not isinstance(executor, RayExecutor):
        return estimate
    threads = max(1, int(executor.cpus))

    def limited(*words: P.args, **settings: P.kwargs) -> float:
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            return estimate(*words, **settings)
        finally:
            torch.set_num_threads(before)

    return limited
