"""Folders of this user, on machines without a home folder too."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from search_space.utils.user_folders import make_private, private_folder, user_cache_folder


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder for each test, and no folder for caches that is named."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    return folder


def deny(monkeypatch: pytest.MonkeyPatch, *folders: Path) -> None:
    """Makes folders unwritable, for root too."""
    access = os.access

    def limited(path: object, mode: int) -> bool:
        return Path(str(path)) not in folders and access(str(path), mode)

    monkeypatch.setattr("search_space.utils.user_folders.os.access", limited)


def test_a_home_folder_that_is_there_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_cache_folder() == tmp_path / ".cache" / "spinenas"


def test_without_a_home_folder_caches_lie_below_the_temporary_one(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("search_space.utils.user_folders.Path.home", no_home)
    found = user_cache_folder()
    assert found == temporary / f"spinenas-{os.getuid()}"
    assert found.stat().st_mode & 0o777 == 0o700


def test_a_home_folder_that_cannot_be_written_is_left_alone(
    temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "missing"))
    deny(monkeypatch, tmp_path)
    assert user_cache_folder() == temporary / f"spinenas-{os.getuid()}"


def test_a_named_folder_is_used_or_the_fault_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "named"))
    assert user_cache_folder() == tmp_path / "named" / "spinenas"
    deny(monkeypatch, tmp_path)
    with pytest.raises(OSError, match=r"give task\.data\.cache=DIR, or set XDG_CACHE_HOME"):
        user_cache_folder()
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert user_cache_folder().is_absolute()


def test_with_no_folder_at_all_the_error_says_what_to_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "missing"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "no" / "such"))
    deny(monkeypatch, tmp_path)
    with pytest.raises(OSError, match=r"no folder for caches: .*; give task\.data\.cache=DIR"):
        user_cache_folder()


def test_a_link_or_a_file_in_its_place_is_refused(temporary: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (temporary / f"spinenas-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="is a link or belongs to another user"):
        private_folder()
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        make_private(tmp_path / "file")
    open_to_all = tmp_path / "open"
    open_to_all.mkdir(mode=0o777)
    assert make_private(open_to_all).stat().st_mode & 0o077 == 0
