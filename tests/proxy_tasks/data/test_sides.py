"""The images of a training and those of its evaluations: how they are found, and why they are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from proxy_tasks.data.dataset import DataError
from tests.proxy_tasks.small_data import box, change_annotations, data_of, entry, write_both, write_set


def all_crowd(data: dict[str, Any]) -> None:
    for annotation in data["annotations"]:
        annotation["iscrowd"] = 1


@pytest.mark.parametrize(
    ("split", "edit", "told"),
    [
        ("train", all_crowd, "no boxes to train on: all 4 are marked iscrowd"),
        ("val", all_crowd, "no boxes to evaluate on: all 4 are marked iscrowd"),
        ("val", lambda data: data["annotations"].clear(), "instances_val.json: no boxes to evaluate on"),
        (
            "val",
            lambda data: [data[k].clear() for k in ("images", "annotations")],
            "instances_val.json: no usable",
        ),
        (
            "train",
            lambda data: [data[k].clear() for k in ("images", "annotations")],
            "instances_train.json: no us",
        ),
        ("val", lambda data: data["categories"].pop(), "train and val have other categories"),
    ],
)
def test_what_a_training_refuses_the_survey_says(tmp_path: Path, split: str, edit: Any, told: str) -> None:
    root = write_both(tmp_path / "set")
    change_annotations(root, split, edit)
    survey = data_of(root).survey()
    assert any(told in reason for reason in survey.refusals), survey.refusals
    with pytest.raises(DataError, match="nas data check"):
        data_of(root).splits()


def test_held_out_needs_no_val_and_a_missing_val_names_it(tmp_path: Path) -> None:
    root = write_set(
        tmp_path / "set", [entry(i) for i in range(1, 6)], [box(i, i, [2, 3, 9, 9]) for i in range(1, 6)]
    )
    training, validation = data_of(root, validation="held-out").splits()
    assert (len(training), len(validation)) == (4, 1)
    assert (
        data_of(root, validation="held-out")
        .survey()
        .line()
        .startswith("train: 4 images, 4 objects. val: 1 im")
    )
    with pytest.raises(
        DataError, match=r"neither annotations/instances_val2017.*task\.data\.validation=held-out"
    ):
        data_of(root).splits()
    survey = data_of(root).survey()
    assert len(survey.training.dataset) == 5
    assert survey.validation is None


def test_a_part_of_one_image_cannot_be_held_out(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set", [entry(1)], [box(1, 1, [2, 3, 9, 9])])
    with pytest.raises(DataError, match="cannot hold out a part of one image"):
        data_of(root, validation="held-out").splits()


def test_a_part_of_no_image_cannot_be_held_out(tmp_path: Path) -> None:
    survey = data_of(write_set(tmp_path / "set", [], []), validation="held-out").survey()
    assert [reason.rpartition(": ")[2] for reason in survey.refusals_of["train"]] == ["no usable image"]
    assert survey.refusals_of["val"] == (f"{tmp_path / 'set'}: cannot hold out a part of no image",)
