"""Where Ray's sockets lie."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nas.executors.on_ray.runtime import MAX_FOLDER, ray_folder


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_TMPDIR", raising=False)


def test_a_short_temporary_folder_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.executors.on_ray.runtime.MAX_FOLDER", 300)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = ray_folder()
    assert folder.parent == tmp_path
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("letter", ["x", "ü"])
def test_a_long_temporary_folder_is_left_for_a_shorter_one(
    letter: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / (letter * 60)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    folder = ray_folder()
    assert len(os.fsencode(folder)) <= MAX_FOLDER
    assert folder.is_dir()
    assert long not in folder.parents


def test_a_named_folder_that_is_too_long_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / ("x" * 60)))
    with pytest.raises(OSError, match="too long: Ray's sockets need a folder of at most"):
        ray_folder()


def test_without_any_folder_the_error_says_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> Path:
        raise PermissionError

    monkeypatch.setattr("nas.executors.on_ray.runtime.make_private", refuse)
    with pytest.raises(OSError, match=r"no folder for Ray's sockets: .*; set RAY_TMPDIR"):
        ray_folder()
