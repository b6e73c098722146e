"""The actors of a search: Ray starts each with the search's task, and kills it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nas.executors.on_ray.worker import RayWorker
from proxy_tasks.adapted_task import AdaptedTask


class WorkerActors:
    """Starts and kills actors, each of which is a `RayWorker` with the task.

    Args:
        task: what they open. Ray keeps it until the search ends.
        share: what each of them asks Ray for; its "num_gpus" is told to the worker too.
        memory_gib: gives the memory of an actor's process beyond which it fails; None for no limit.
    """

    def __init__(
        self, task: AdaptedTask, share: Mapping[str, Any], memory_gib: Callable[[], float | None]
    ) -> None:
        import ray
        from ray import cloudpickle

        # Once: Ray keeps every class that is made remote until the search ends.
        self._class: Any = ray.remote(RayWorker)
        self._task: Any = ray.put(cloudpickle.dumps(task))  # type: ignore[no-untyped-call]
        self._share, self._memory_gib = share, memory_gib

    def start(self, avoids: frozenset[str]) -> Any:
        """Gives a new actor, which comes up as soon as Ray finds room for it.

        Args:
            avoids: ids of nodes on which it shall not start.
        """
        options = dict(self._share)
        if avoids:
            options["label_selector"] = {"ray.io/node-id": f"!in({','.join(sorted(avoids))})"}
        actor = self._class.options(max_restarts=0, **options)
        gpus, memory = self._share["num_gpus"], self._memory_gib()
        return actor.remote(self._task, gpus, memory, str(Path.cwd()), list(sys.path))

    def kill(self, actor: Any) -> None:
        """Ends an actor, if it still runs."""
        import ray

        with contextlib.suppress(Exception):
            ray.kill(actor)
