"""Run folders: new ones belong to the process that makes them, and empty ones do not stay."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from nas.utils.run_folder import claim_folder, run_folder, short_path


def test_starts_in_the_same_second_get_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.strftime", lambda _: "now")
    found: list[Path] = []
    barrier = threading.Barrier(8)

    def claim() -> None:
        barrier.wait()
        found.append(claim_folder(tmp_path / "runs"))

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(path.name for path in found) == ["now", *(f"now-{i}" for i in range(2, 9))]


def test_a_file_of_that_name_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "runs").touch()
    with pytest.raises(FileExistsError):
        claim_folder(tmp_path / "runs")


def test_a_new_folder_stays_if_something_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with run_folder(None, "runs") as folder:
        assert folder.is_absolute()
        assert folder.is_dir()
    assert not (tmp_path / "runs").exists()
    with run_folder(None, "runs") as folder:
        (folder / "file").touch()
    assert (folder / "file").exists()


def test_a_named_folder_is_absolute_and_made_by_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with run_folder("mine", "runs") as folder:
        assert folder == tmp_path / "mine"
    assert not list(tmp_path.iterdir())


def test_paths_are_shown_from_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert short_path(tmp_path / "runs" / "a") == Path("runs/a")
    assert short_path(tmp_path.parent / "other") == tmp_path.parent / "other"
