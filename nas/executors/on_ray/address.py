"""The address of a Ray cluster is tried before Ray joins it: Ray would wait for a quarter of an hour."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from search_space.utils.user_folders import home_folder

SECONDS_TO_ANSWER = 24.0
"""After so long without an answer there is no cluster."""

SECONDS_TO_CONNECT = 8.0
"""So long a connection may be refused, as a cluster that is just starting does."""

ASK = """
import sys
from ray._raylet import GcsClient
GcsClient(address=sys.argv[1]).internal_kv_get(b"nas", None)
print("alive")
"""


def check_cluster(address: str) -> str:
    """Checks that a Ray cluster answers, within half a minute.

    Args:
        address: HOST:PORT, "auto" for the cluster of this machine, or ray://HOST:PORT.

    Returns:
        HOST:PORT.

    Raises:
        OSError: if no Ray answers there, or a token is missing; in one line.
    """
    _check_token()
    found = _find_local() if address == "auto" else address
    host, port = _split(found)
    deadline = time.monotonic() + SECONDS_TO_ANSWER
    _connect(found, host, port)
    if not is_of_proxy(found):
        _ask(host_port(found), deadline, local=address == "auto")
    return host_port(found)


def is_of_proxy(address: str) -> bool:
    """Whether an address is that of a proxy, ray://HOST:PORT, which may be all that can be reached."""
    return "://" in address


def host_port(address: str) -> str:
    """Gives HOST:PORT of an address, which may begin with ray://.

    Raises:
        OSError: if it is none.
    """
    host, port = _split(address)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def can_connect(address: str, timeout: float) -> bool:
    """Whether something listens at an address; waits for at most `timeout` seconds."""
    host, port = _split(address)
    try:
        with socket.create_connection((host, port), timeout):
            return True
    except OSError:
        return False


def check_token_file() -> None:
    """Checks the file that RAY_AUTH_TOKEN_PATH names, if it is set: Ray would end the process without it.

    Raises:
        OSError: if there is no token in it.
    """
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    if named and not os.environ.get("RAY_AUTH_TOKEN") and not _has_text(Path(named)):
        raise OSError(f"RAY_AUTH_TOKEN_PATH={named}: this file cannot be read, or holds no token")


def _check_token() -> None:
    if os.environ.get("RAY_AUTH_MODE", "").lower() != "token":
        return
    named = os.environ.get("RAY_AUTH_TOKEN", "").strip() or os.environ.get("RAY_AUTH_TOKEN_PATH")
    if not named and not _has_own_token():
        raise OSError(
            "RAY_AUTH_MODE=token, but there is no token: set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH=FILE, or "
            "put it into ~/.ray/auth_token"
        )


def _has_own_token() -> bool:
    home = home_folder()
    return home is not None and _has_text(home / ".ray" / "auth_token")


def _has_text(path: Path) -> bool:
    try:
        return bool(path.read_text(encoding="utf-8").strip())
    except (OSError, ValueError):
        return False


def _find_local() -> str:
    """The address of the cluster that runs on this machine."""
    from ray._private.services import canonicalize_bootstrap_address

    try:
        found = canonicalize_bootstrap_address("auto")
    except (ConnectionError, ValueError):
        found = None
    if found is None:
        raise OSError(
            "no Ray runs on this machine; start one with: ray start --head, or give the address HOST:PORT"
        )
    return str(found)


def _split(address: str) -> tuple[str, int]:
    """Host and port of an address, which may begin with ray://."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 1 << 16:
        raise OSError(f"Ray's address must be HOST:PORT, such as 10.0.0.1:6379, or auto, not {address!r}")
    return host.strip("[]"), int(port)


def _connect(address: str, host: str, port: int) -> None:
    """Waits until something listens, in a thread, as the look-up of a name cannot be interrupted."""
    why: list[str] = []
    over = threading.Event()

    def knock() -> None:
        deadline = time.monotonic() + SECONDS_TO_CONNECT
        while True:
            try:
                with socket.create_connection((host, port), max(0.1, deadline - time.monotonic())):
                    why.clear()
            except OSError as error:
                why[:] = [error.strerror or str(error) or type(error).__name__]
                if time.monotonic() < deadline and isinstance(error, ConnectionRefusedError):
                    time.sleep(0.5)
                    continue
            over.set()
            return

    why.append("timed out")
    threading.Thread(target=knock, daemon=True).start()
    over.wait(SECONDS_TO_CONNECT + 2)
    if why:
        raise OSError(f"no Ray answers at {address}: {why[0]}")


def _ask(address: str, deadline: float, local: bool) -> None:
    """Asks the cluster for a sign of life, in a process of its own, which can be ended while it waits.

    Args:
        address: HOST:PORT.
        deadline: by the monotonic clock.
        local: whether it is the cluster of this machine, to which Ray sends the user's token unasked.
    """
    environment = dict(os.environ)
    if local and _has_own_token():
        environment.setdefault("RAY_AUTH_MODE", "token")
    command = [sys.executable, "-P", "-c", ASK, address]
    try:
        answer = subprocess.run(
            command,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            stdin=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
            timeout=max(1.0, deadline - time.monotonic()),
        )
    except subprocess.TimeoutExpired:
        raise OSError(f"no Ray answers at {address}: what listens there is no Ray") from None
    if "alive" in answer.stdout:
        return
    said = answer.stderr.lower()
    if "unauthenticated" in said or "token" in said:
        raise OSError(
            f"the Ray at {address} wants a token: set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN to its own"
        )
    last = next(
        (line.strip() for line in reversed(answer.stderr.splitlines()) if line.strip()), "no reason given"
    )
    raise OSError(f"no Ray answers at {address}: {last[:200]}")
