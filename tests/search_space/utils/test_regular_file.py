"""Only what ends is read as a file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from search_space.utils.regular_file import open_regular, read_regular


def test_a_file_and_a_link_to_it_are_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "file") == b"content"
    with open_regular(tmp_path / "link") as file:
        assert file.read(3) == b"con"


def test_a_pipe_without_a_writer_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match=r"not a regular file: '.*pipe'"):
        read_regular(tmp_path / "pipe")


def test_a_device_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/dev/zero")
    with pytest.raises(OSError, match="not a regular file"):
        read_regular(tmp_path / "link")


def test_other_faults_stay_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "absent")
    with pytest.raises(IsADirectoryError):
        read_regular(tmp_path)
