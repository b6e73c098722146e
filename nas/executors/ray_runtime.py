"""Ray, joined or started, quietly and without taking what is not ours."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

from nas.plugins import one_line

STARTS = 3
"""So often Ray is started on a machine that is too busy for it."""


def start_ray(address: str | None, cpus: int) -> bool:
    """Connects to Ray, or starts it on this machine.

    Args:
        address: "auto" or the address of a cluster; None starts Ray on this machine.
        cpus: least number of them that a Ray started here offers.

    Returns:
        whether this call connected or started it, so that the caller has to end it.

    Raises:
        OSError: if Ray cannot be reached or started.
    """
    # Ray would build a second environment for the workers of a driver that `uv run` started.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    if ray.is_initialized():
        return False
    # Left to itself, Ray would join whatever cluster was last started on this machine.
    options: dict[str, Any] = {"address": address or "local"}
    if address is None:
        options |= {
            "num_cpus": max(os.cpu_count() or 1, cpus),
            "object_store_memory": 200 << 20,
            "include_dashboard": False,
        }
    options |= {
        "log_to_driver": False,
        "logging_level": logging.ERROR,
        "runtime_env": {"env_vars": {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}},
    }
    for attempt in range(1, STARTS + 1):
        try:
            with _signals_kept():
                ray.init(**options)
            break
        except Exception as error:  # A machine that is too busy lets Ray time out, with a bare Exception.
            ray.shutdown()
            busy = "timed out" in str(error) and address is None
            if not busy or attempt == STARTS:
                raise OSError(f"Ray at {address or 'this machine'}: {one_line(error)}") from None
    with contextlib.suppress(ImportError, AttributeError):
        # The death of a worker becomes a record of its trial; Ray need not tell it on the terminal.
        from ray._private.ray_logging import global_worker_stdstream_dispatcher as dispatcher

        dispatcher.remove_handler("ray_print_logs")
    return True


@contextlib.contextmanager
def ray_connection(address: str | None, cpus: int) -> Iterator[None]:
    """`start_ray` for a block."""
    started = start_ray(address, cpus)
    try:
        yield
    finally:
        if started:
            import ray

            ray.shutdown()


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """Leaves SIGINT and SIGTERM to whom they belong: Ray would end the process on them, with a backtrace."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
