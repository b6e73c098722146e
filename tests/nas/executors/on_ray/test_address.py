"""Addresses where no Ray answers, and tokens that are missing: one line, soon."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from nas.executors.on_ray import address as module
from nas.executors.on_ray.address import can_connect, check_cluster, check_token_file
from nas.executors.on_ray.executor import RayExecutor
from nas.executors.on_ray.watch import SECONDS_BETWEEN, SECONDS_TO_RETURN, RayWatch


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without a token, and little patience."""
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(module, "SECONDS_TO_CONNECT", 0.2)
    return tmp_path


@contextmanager
def server(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """The address of something that listens, and what it does with whoever connects."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    found, _ = listening.accept()
                except OSError:
                    return
                threading.Thread(target=answer, args=(found,), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    return port


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "localhost:{}", "ray://127.0.0.1:{}"])
def test_a_refused_connection_is_said_with_the_address(form: str) -> None:
    address = form.format(free_port())
    with pytest.raises(OSError, match=f"^no Ray answers at {address}: Connection refused$"):
        check_cluster(address)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("no.such.host.invalid:6379", "no Ray answers at no.such.host.invalid:6379: "),
        ("host", "must be HOST:PORT"),
        ("host:port", "must be HOST:PORT"),
        ("10.0.0.1:99999", "must be HOST:PORT"),
        (":6379", "must be HOST:PORT"),
        ("", "must be HOST:PORT"),
    ],
)
def test_a_wrong_address_is_said(address: str, told: str) -> None:
    with pytest.raises(OSError, match=told):
        check_cluster(address)


def test_an_address_whose_packets_are_lost_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: object) -> None:
        raise TimeoutError("timed out")

    monkeypatch.setattr("nas.executors.on_ray.address.socket.create_connection", lost)
    with pytest.raises(OSError, match=r"^no Ray answers at 10\.255\.255\.1:6379: timed out$"):
        check_cluster("10.255.255.1:6379")


def talk(found: socket.socket) -> None:
    with found:
        found.recv(1000)
        found.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def stay_silent(found: socket.socket) -> None:
    with found:
        while found.recv(1000):
            pass


@pytest.mark.slow
@pytest.mark.parametrize("answer", [stay_silent, talk])
def test_something_else_that_listens_is_no_ray(
    answer: Callable[[socket.socket], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SECONDS_TO_ANSWER", 3.0)
    with server(answer) as address, pytest.raises(OSError, match=f"^no Ray answers at {address}: "):
        check_cluster(address)


def test_auto_without_a_ray_says_how_to_start_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_: str) -> str:
        raise ConnectionError("Could not find any running Ray instance.")

    monkeypatch.setattr("ray._private.services.canonicalize_bootstrap_address", none)
    with pytest.raises(OSError, match="no Ray runs on this machine; start one with: ray start --head"):
        check_cluster("auto")


def test_a_missing_token_is_named(surroundings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    with pytest.raises(OSError, match="RAY_AUTH_MODE=token, but there is no token: set RAY_AUTH_TOKEN"):
        check_cluster("127.0.0.1:1")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "  ")
    with pytest.raises(OSError, match="there is no token"):
        check_cluster("127.0.0.1:1")
    (surroundings / ".ray").mkdir()
    (surroundings / ".ray" / "auth_token").write_text("secret", encoding="utf-8")
    with pytest.raises(OSError, match="no Ray answers"):
        check_cluster("127.0.0.1:1")


def test_a_token_file_that_is_missing_or_empty_is_named(
    surroundings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = surroundings / "token"
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(file))
    with pytest.raises(OSError, match="cannot be read, or holds no token"):
        check_token_file()
    file.write_text("\n", encoding="utf-8")
    with pytest.raises(OSError, match="cannot be read, or holds no token"):
        check_token_file()
    file.write_text("secret\n", encoding="utf-8")
    check_token_file()


def test_a_cluster_that_comes_back_is_waited_for_and_one_that_does_not_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, there = [0.0], [True]
    monkeypatch.setattr("nas.executors.on_ray.watch.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("nas.executors.on_ray.watch.can_connect", lambda *_, **__: there[0])
    monkeypatch.setattr("nas.executors.on_ray.watch.find_dead_process", str)
    watch = RayWatch("10.0.0.1:6379")

    def look_for(seconds: float) -> str:
        until = clock[0] + seconds
        while clock[0] < until:
            clock[0] += SECONDS_BETWEEN
            found = watch.look()
        return found

    assert look_for(10) == ""
    there[0] = False
    assert look_for(SECONDS_TO_RETURN - 5) == ""
    there[0] = True
    assert look_for(5) == ""
    there[0] = False
    assert look_for(SECONDS_TO_RETURN - 5) == ""
    assert "the Ray at 10.0.0.1:6379 has not answered" in look_for(15)


def test_the_time_in_which_nobody_asked_a_cluster_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """A controller that takes a minute leaves no time to ask; one refused connection then ends no search."""
    clock, there = [0.0], [True]
    monkeypatch.setattr("nas.executors.on_ray.watch.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("nas.executors.on_ray.watch.can_connect", lambda *_, **__: there[0])
    monkeypatch.setattr("nas.executors.on_ray.watch.find_dead_process", str)
    watch = RayWatch("10.0.0.1:6379")
    for now, answers, fault in (
        (5, True, False),
        (65, False, False),
        (105, False, False),
        (111, False, True),
    ):
        clock[0], there[0] = float(now), answers
        assert bool(watch.look()) == fault, now


@pytest.mark.parametrize(
    ("given", "through_a_proxy", "watched"),
    [
        ("ray://h:1", True, ["h:1"]),
        ("ray://[::1]:1", True, ["[::1]:1"]),
        ("10.0.0.1:6379", False, ["10.0.0.1:6379"]),
        ("auto", False, ["10.0.0.1:6379"]),
        ("auto", True, []),
    ],
)
def test_behind_a_proxy_the_proxy_is_watched_and_not_the_cluster(
    given: str, through_a_proxy: bool, watched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine outside may reach nothing but the proxy, and Ray tells it the address inside."""
    asked: list[str] = []
    monkeypatch.setattr("nas.executors.on_ray.executor.start_ray", lambda *_: True)
    monkeypatch.setattr("nas.executors.on_ray.watch.find_dead_process", str)
    monkeypatch.setattr("nas.executors.on_ray.watch.SECONDS_BETWEEN", 0.0)

    def connect(address: str, timeout: float) -> bool:
        asked.append(address)
        return True

    monkeypatch.setattr("nas.executors.on_ray.watch.can_connect", connect)
    monkeypatch.setattr("ray.util.client.ray.is_connected", lambda: through_a_proxy)
    monkeypatch.setattr("ray.get_runtime_context", lambda: SimpleNamespace(gcs_address="10.0.0.1:6379"))
    assert RayExecutor(address=given)._connect().watch.look() == ""
    assert asked == watched


def test_whether_something_listens() -> None:
    with server(stay_silent) as address:
        assert can_connect(address, 5)
    assert not can_connect(f"127.0.0.1:{free_port()}", 5)
