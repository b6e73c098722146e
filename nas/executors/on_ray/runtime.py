"""Ray, joined or started, quietly and without taking what is not ours."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nas.executors.on_ray.address import check_cluster, check_token_file, host_port, is_of_proxy
from nas.plugins.faults import one_line
from search_space.utils.user_folders import can_be_made, home_folder, make_private

STARTS = 3
"""So often Ray is started on a machine that is too busy for it."""

MAX_FOLDER = 107 - len("/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store")
"""Bytes of the longest folder for Ray: the name of a socket in it has at most 107."""


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
    # A worker for each core, which would be of no use: ours have another environment.
    os.environ.setdefault("RAY_prestart_worker_first_driver", "0")
    import ray

    if ray.is_initialized():
        return False
    check_token_file()
    # Left to itself, Ray would join whatever cluster was last started on this machine.
    options: dict[str, Any] = {"address": "local"}
    if address is None:
        options |= {
            "num_cpus": max(os.cpu_count() or 1, cpus),
            "object_store_memory": 200 << 20,
            "include_dashboard": False,
            "_temp_dir": str(ray_folder()),
        }
        _bring_token()
    else:
        check_cluster(address)
        options["address"] = address
    options |= {
        "log_to_driver": False,
        "logging_level": logging.CRITICAL,
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
    # Ray would print whatever happens to its nodes and workers, in many lines. It becomes records of trials.
    from ray._private import worker

    worker._worker_logs_enabled = False
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


def ray_folder() -> Path:
    """A folder for Ray's sockets and logs that this user alone may read; it is made if needed.

    It is below RAY_TMPDIR or the temporary folder, or below /tmp where the name of that is too long.

    Raises:
        OSError: if there is none whose name is short enough.
    """
    name = f"ray-{os.getuid()}"
    named = os.environ.get("RAY_TMPDIR")
    if named:
        folder = Path(named).absolute() / name
        if len(os.fsencode(folder)) > MAX_FOLDER:
            raise OSError(
                f"RAY_TMPDIR={named} is too long: Ray's sockets need a folder of at most "
                f"{MAX_FOLDER - len(name) - 1} bytes"
            )
        return make_private(folder)
    bases = [Path(base) for base in ("/tmp", "/var/tmp", "/dev/shm")]
    with contextlib.suppress(OSError):
        bases.insert(0, Path(tempfile.gettempdir()).absolute())
    for base in bases:
        if base.is_dir() and len(os.fsencode(base / name)) <= MAX_FOLDER:
            with contextlib.suppress(OSError):
                return make_private(base / name)
    raise OSError(
        f"no folder for Ray's sockets: {', '.join(map(str, bases))} are too long or cannot be written; "
        f"set RAY_TMPDIR to a folder of at most {MAX_FOLDER - len(name) - 1} bytes"
    )


def watched_address(address: str) -> str | None:
    """HOST:PORT that answers as long as the cluster does to which this process is connected.

    Behind a proxy, the cluster has an address too, which a machine outside may be unable to reach.

    Args:
        address: "auto", the address of the cluster, or ray://HOST:PORT of its proxy.

    Returns:
        that of the proxy if one was given; None if the connection is through another one, or tells nothing.
    """
    import ray
    from ray.util.client import ray as client

    if is_of_proxy(address):
        return host_port(address)
    with contextlib.suppress(Exception):
        if not client.is_connected():  # type: ignore[no-untyped-call]
            return str(ray.get_runtime_context().gcs_address)
    return None


def find_dead_process() -> str:
    """The name of a process of Ray, started by this one, that has ended by itself; "" if there is none."""
    from ray._private import worker

    node: Any = worker._global_node
    dead = {kind for kind, _ in node.dead_processes()} if node is not None else set()
    return next((kind for kind in ("gcs_server", "raylet") if kind in dead), "")


def abandon_ray() -> None:
    """Lets go of a Ray that is gone: its other processes are killed, and nothing waits for an answer."""
    import atexit

    import ray
    from ray._private import worker

    node: Any = worker._global_node
    if node is not None:
        with contextlib.suppress(Exception):
            node.kill_all_processes(check_alive=False, allow_graceful=False)
    atexit.unregister(ray.shutdown)
    ending = threading.Thread(target=_shut_down, daemon=True)
    ending.start()
    ending.join(timeout=5)


def _shut_down() -> None:
    import ray

    with contextlib.suppress(Exception):
        ray.shutdown()


def _bring_token() -> None:
    """Gives Ray a token for this process where it could not write one.

    Whoever has no token cannot send work to Ray. It keeps one in the home folder, and makes it if need be.
    """
    if any(os.environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")):
        return
    home = home_folder()
    if home is None or not ((home / ".ray" / "auth_token").is_file() or can_be_made(home / ".ray")):
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


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
