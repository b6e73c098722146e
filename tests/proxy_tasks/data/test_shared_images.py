"""Images that are in train and in val."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from proxy_tasks.data import shared_images
from proxy_tasks.data.dataset import DataError
from tests.proxy_tasks.small_data import data_of, write_both


def test_a_file_that_is_in_train_and_in_val_is_left_out_of_train(tmp_path: Path) -> None:
    root = write_both(tmp_path / "set")
    for how in ("symlink", "hard link"):
        path = root / "images" / "val" / "2.png"
        path.unlink(missing_ok=True)
        target = root / "images" / "train" / "2.png"
        path.symlink_to(target) if how == "symlink" else os.link(target, path)
        survey = data_of(root).survey()
        assert "2.png" not in survey.training.dataset.file_names
        assert survey.training.left_out_images == 1
        (fault,) = survey.training.faults
        assert (fault.where, fault.what) == ("2.png", "the file is in train and in val")
        os.utime(root / "annotations" / "instances_val.json")
    shutil.rmtree(root / "images" / "val")
    (root / "images" / "val").symlink_to(root / "images" / "train")
    with pytest.raises(DataError, match=r"all 4 images of train are in val too.*held-out divides train"):
        data_of(root).splits()


def test_a_copy_in_val_is_remarked_and_still_used(tmp_path: Path) -> None:
    root = write_both(tmp_path / "set")
    shutil.copy(root / "images" / "train" / "2.png", root / "images" / "val" / "2.png")
    survey = data_of(root).survey()
    assert len(survey.training.dataset) == 4
    (remark,) = survey.remarks
    assert "1 image of train is in val too, as a copy of the same name, such as '2.png'" in remark
    assert remark in survey.line()


def test_files_that_cannot_be_read_are_no_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(path)

    root = write_both(tmp_path / "set")
    shutil.copy(root / "images" / "train" / "2.png", root / "images" / "val" / "2.png")
    monkeypatch.setattr(shared_images, "read_regular", refuse)
    assert data_of(root).survey().remarks == ()
