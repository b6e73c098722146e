"""`workers=auto` and `executor.gpus=auto` become numbers, and what stays idle is said."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from nas.config.schema import TARGET
from nas.executors import resources

AUTO = "auto"

RAY = "nas.executors.RayExecutor"
"""The executor whose workers are processes on this machine or on a cluster."""

OURS, SCRIPT = "proxy_tasks.", "proxy_tasks.ScriptTask"
"""Our tasks, and the one of them that runs a user's own code."""

GIB_EACH = 3.0
"""Memory that a worker on a CPU is given at least, where `executor.memory_gib` says nothing else."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What there is for workers.

    Args:
        cpus: cores.
        gpus: GPUs; 0 if the task uses none.
        gib: memory; None if it is not known, as on a cluster.
    """

    cpus: int
    gpus: int
    gib: float | None


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a worker needs.

    Args:
        cpus: cores.
        gpus: GPUs, or a share of one; None for "auto".
        gib: memory.
    """

    cpus: float
    gpus: float | None
    gib: float


def settle_workers(config: Any, most: int | None = None) -> tuple[str, ...]:
    """Puts numbers where "auto" stands in a configuration, and gives lines for the user.

    A line says how many workers there are and why, or that cores or GPUs stay idle.

    Args:
        config: with the keys `workers`, `executor` and `task`; it is changed.
        most: number of workers that can be busy at a time; None for any number.

    Raises:
        OSError: if the cluster that the executor names cannot be reached.
    """
    executor = config.executor
    automatic = executor.get("workers", AUTO) == AUTO
    if not automatic and config.workers == AUTO:
        config.workers = executor.workers
    if executor.get(TARGET) != RAY:
        if automatic:
            _put(
                config, resources.count_cpus() if most is None else max(1, min(resources.count_cpus(), most))
            )
        return ()
    needs = _needs(executor)
    valid = automatic or (type(executor.workers) is int and executor.workers >= 1)
    if needs is None or not valid:
        return ()  # It is refused where all keys are checked.
    here = executor.address is None
    if not here and not automatic and executor.gpus != AUTO:
        return ()
    machine = _look(config)
    count, why = count_workers(machine, needs, most)
    if automatic:
        _put(config, count)
    if executor.gpus == AUTO:
        unsaid = resources.count_gpu_devices() if here and may_use_gpu(config.task) else 0
        executor.gpus = share_gpus(machine.gpus or unsaid, executor.workers)
    told = f"{_several(count, 'worker')} (workers=auto: {why})" if automatic else ""
    hint = _idle(config, machine, count) if here else ""
    return tuple(line for line in (told, hint) if line)


def _put(config: Any, workers: int) -> None:
    """Sets the number of workers, which the executor usually takes from the search's own key."""
    if config.workers == AUTO:
        config.workers = workers
    if config.executor.get("workers") == AUTO:
        config.executor.workers = workers


def _idle(config: Any, machine: Machine, possible: int) -> str:
    """A line about what stays idle."""
    executor = config.executor
    hint = idle_hint(machine, executor, executor.workers, possible)
    if hint or executor.gpus or not may_use_gpu(config.task):
        return hint
    devices = resources.count_gpu_devices()
    return (
        f"{_several(devices, 'GPU')} will be idle: executor.gpus=1 gives each worker one" if devices else ""
    )


def count_workers(machine: Machine, needs: Needs, most: int | None = None) -> tuple[int, str]:
    """How many workers a machine has room for, at least 1, and what sets the number.

    Args:
        machine: what there is.
        needs: what each needs.
        most: number of workers that can be busy at a time; None for any number.
    """
    rooms: list[tuple[int, str]] = [
        (int(machine.cpus / max(needs.cpus, 1e-3)), _several(machine.cpus, "core"))
    ]
    each = 1.0 if needs.gpus is None else needs.gpus
    if machine.gpus and each:
        rooms.append((int(machine.gpus / each + 1e-6), _several(machine.gpus, "GPU")))
    elif machine.gib is not None:
        rooms.append((int(machine.gib / needs.gib), f"{machine.gib:.0f} GiB of memory, {needs.gib:g} each"))
    if most is not None:
        rooms.append((most, "there is no more to do at a time"))
    count, why = min(rooms, key=lambda room: room[0])
    return max(1, count), why


def share_gpus(gpus: int, workers: int) -> float:
    """GPUs of each worker: a whole one, or an equal share where workers outnumber them; 0 without GPUs."""
    if gpus >= workers or not gpus:
        return min(1.0, float(gpus))
    # Workers of one GPU never need more of it than there is: the share of the fullest GPU.
    return math.floor(10_000 / math.ceil(workers / gpus)) / 10_000


def idle_hint(machine: Machine, executor: Any, workers: int, possible: int) -> str:
    """A line if a GPU or a core stays idle; "" if none does, or it cannot be helped."""
    if machine.gpus and not executor.gpus:
        return f"{_several(machine.gpus, 'GPU')} will be idle: executor.gpus=auto lets the workers use them"
    if machine.gpus:
        idle = machine.gpus - math.ceil(workers * executor.gpus - 1e-6)
        if idle > 0 and possible > workers:
            return f"{_several(idle, 'GPU')} will be idle: workers=auto uses all {machine.gpus}"
        return ""
    idle = machine.cpus - math.ceil(workers * executor.cpus)
    if idle > 0 and possible > workers:
        return (
            f"{_several(idle, 'core')} of {machine.cpus} will be idle: workers=auto takes {possible} workers"
        )
    return ""


def wants_gpu(task: Any) -> bool:
    """Whether a task uses a GPU: it, or a part of it, has a `device` other than "cpu"."""
    return any(value != "cpu" for value in _values(task, "device"))


def may_use_gpu(task: Any) -> bool:
    """Whether a task may use a GPU without saying so: one of a user's own, or a script."""
    path = str(task.get(TARGET, ""))
    return not any(_values(task, "device")) and (not path.startswith(OURS) or path == SCRIPT)


def _look(config: Any) -> Machine:
    """What there is on this machine, or on the cluster that the executor names."""
    gpu, address = wants_gpu(config.task), config.executor.address
    if address is None:
        return Machine(
            cpus=resources.count_cpus(),
            gpus=resources.count_gpus() if gpu else 0,
            gib=resources.memory_gib(),
        )
    from nas.executors.on_ray.runtime import ray_connection

    with ray_connection(address, 1):
        import ray

        there = ray.cluster_resources()  # type: ignore[no-untyped-call]
    gpus = int(there.get("GPU", 0)) if gpu else 0
    return Machine(cpus=max(1, int(there.get("CPU", 1))), gpus=gpus, gib=None)


def _needs(executor: Any) -> Needs | None:
    """What a worker of an executor needs; None if a value is wrong, which is told where all are checked."""
    gpus = None if executor.gpus == AUTO else executor.gpus
    gib = GIB_EACH if executor.memory_gib is None else executor.memory_gib
    for value, least in ((executor.cpus, 0.0), (gpus, 0.0), (gib, 1e-9)):
        if value is not None and (isinstance(value, (bool, str)) or not value >= least):
            return None
    return Needs(cpus=executor.cpus, gpus=gpus, gib=gib)


def _values(node: Any, name: str) -> Iterator[Any]:
    """The values that a key has anywhere in a tree; one that is still missing is "???"."""
    from omegaconf import OmegaConf

    tree = OmegaConf.to_container(node) if OmegaConf.is_config(node) else node
    if not isinstance(tree, dict):
        return
    for key, value in tree.items():
        if key == name:
            yield value
        else:
            yield from _values(value, name)


def _several(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"
