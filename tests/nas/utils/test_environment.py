"""Streams that take any text, and what a machine without names and home folders lacks."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from nas.utils.environment import name_user_and_home, print_anything

TEXTS = ["データがありません", "bild\udce4.jpg", "half an emoji \ud83d", "Größe µ"]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("encoding", ["ascii", "iso-8859-1", "cp1252", "utf-8"])
@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])  # The latter is the locale C's.
def test_any_text_can_be_printed_in_any_encoding(
    errors: str, text: str, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = io.BytesIO()
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(raw, encoding=encoding, errors=errors))
    print_anything()
    for stream in (sys.stdout, sys.stderr):
        print(text, file=stream, flush=True)
    shown = text.encode(encoding, "backslashreplace") + b"\n"
    assert raw.getvalue() == 2 * shown


def test_a_closed_stream_takes_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    print_anything()
    print("anything")
    with sys.stdout as stream:
        stream.flush()


@pytest.fixture
def nameless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that knows no name and no home folder for this user."""

    def no_entry(_: int) -> None:
        raise KeyError("getpwuid(): uid not found")

    for name in ("HOME", "LOGNAME", "USER", "LNAME", "USERNAME", "MPLCONFIGDIR"):
        monkeypatch.setenv(name, "")  # So that it is restored.
        monkeypatch.delenv(name)
    monkeypatch.setattr("pwd.getpwuid", no_entry)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_a_user_without_name_and_home_gets_both(nameless: Path) -> None:
    import getpass

    name_user_and_home()
    assert getpass.getuser() == f"uid{os.getuid()}"
    assert Path.home() == nameless / f"spinenas-{os.getuid()}"


def test_a_home_that_is_named_stays(nameless: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (nameless / "home").mkdir()
    monkeypatch.setenv("HOME", str(nameless / "home"))
    name_user_and_home()
    assert os.environ["HOME"] == str(nameless / "home")
    assert "MPLCONFIGDIR" not in os.environ


def test_without_a_temporary_folder_it_goes_on(nameless: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(nameless / "no" / "such"))
    name_user_and_home()
    assert "HOME" not in os.environ
