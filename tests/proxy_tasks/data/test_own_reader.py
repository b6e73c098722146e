"""The page on data has a format of a user's own: it checks, trains and fails as the page says."""

from __future__ import annotations

import csv
import importlib
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from nas.cli.main import main
from proxy_tasks.data.dataset import DataError
from proxy_tasks.data.detection import DetectionData
from proxy_tasks.data.readers import read_split
from proxy_tasks.data.shapes import ShapesConfig, make_shapes
from tests.proxy_tasks.small_data import SPLITS, by_image, plain_boxes, read_coco

PAGE = Path(__file__).parents[3] / "docs" / "data.md"


@pytest.fixture
def csv_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The page's reader, in a file of the working folder."""
    text = PAGE.read_text().split("<!-- file: csv_boxes.py -->\n```python\n")[1].split("```")[0]
    (tmp_path / "csv_boxes.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "csv_boxes", raising=False)
    yield importlib.import_module("csv_boxes").CsvReader
    sys.modules.pop("csv_boxes", None)


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    shapes = make_shapes(tmp_path / "shapes", ShapesConfig(train=6, val=4, size=64, seed=2))
    return plain_boxes(shapes, tmp_path / "coco")


def write_csv(root: Path, target: Path, delimiter: str = ",") -> Path:
    """A copy of a COCO root in the page's format; names of classes lose their blanks."""
    (target / "images").mkdir(parents=True)
    names = {c["id"]: c["name"].replace(" ", "-") for c in read_coco(root, "train")["categories"]}
    (target / "classes.txt").write_text("\n".join(names.values()))
    for split in SPLITS:
        with (target / f"{split}.csv").open("w", newline="") as file:
            rows = csv.writer(file, delimiter=delimiter)
            rows.writerow(["file", "class", "x", "y", "width", "height"])
            for image, objects in by_image(read_coco(root, split)):
                name = image["file_name"]
                shutil.copy(root / "images" / split / name, target / "images" / name)
                rows.writerows([name, names[found["category_id"]], *found["bbox"]] for found in objects)
    return target


def test_a_reader_of_ones_own_gives_the_boxes_that_coco_gives(
    csv_reader: Any, coco: Path, tmp_path: Path
) -> None:
    root = write_csv(coco, tmp_path / "csv", ";")
    data = DetectionData(str(root), str(tmp_path / "cache"), reader=csv_reader(delimiter=";"))
    for ours, split in zip(data.splits(), SPLITS, strict=True):
        theirs = read_split(coco, split)  # type: ignore[arg-type]
        assert ours.file_names == theirs.file_names
        assert ours.boxes.tolist() == theirs.boxes.tolist()
        assert ours.labels.tolist() == theirs.labels.tolist()
    training, validation = data.caches(32)
    assert (len(training), len(validation)) == (6, 4)


def test_its_faults_are_checked_as_those_of_every_format(
    csv_reader: Any, coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_csv(coco, tmp_path / "csv")
    check = ["data", "check", str(root), "--reader", "csv_boxes.CsvReader"]
    assert main(check) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{root}: CSV\n")
    assert "train: 6 images" in out
    with (root / "train.csv").open("a") as file:
        file.write(
            "absent.png,disc,1,1,5,5\ntrain-000000.png,disc,1,wide,5,5\ntrain-000000.png,disc,90,9,5,5\n"
        )
    assert main(check) == 1
    out = capsys.readouterr().out
    for expected in ("no image 'absent.png'", "'wide'", "box [90, 9, 5, 5] lies outside the image"):
        assert expected in out
    prepare = ["data", "prepare", str(root), "--cache", str(tmp_path / "cache"), "--size", "32"]
    assert main([*prepare, "--reader", "csv_boxes.CsvReader"]) == 2
    assert "3 of 13 objects of train cannot be used" in capsys.readouterr().err
    prepare += ["--allow-left-out", "0.3"]
    assert main([*prepare, "--reader", "csv_boxes.CsvReader"]) == 0
    assert "training: 6 images" in capsys.readouterr().out


def test_what_is_no_reader_is_refused(csv_reader: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="reader must be a Reader or null"):
        DetectionData(str(tmp_path), reader=object())  # type: ignore[arg-type]

    class Unhashable(csv_reader):  # type: ignore[misc]
        __hash__ = None  # type: ignore[assignment]

    with pytest.raises(DataError, match=r"write @dataclass\(frozen=True\) above its class"):
        DetectionData(str(tmp_path), reader=Unhashable())


FAULTY = """
from dataclasses import dataclass
from proxy_tasks import Inspection
from csv_boxes import CsvReader

@dataclass(frozen=True)
class NoReturn(CsvReader):
    def inspect(self, root, split, masks=False):
        super().inspect(root, split, masks)

@dataclass(frozen=True)
class OnlyDataset(CsvReader):
    def inspect(self, root, split, masks=False):
        return super().inspect(root, split, masks).dataset

@dataclass(frozen=True)
class OnlyFaults(CsvReader):
    def inspect(self, root, split, masks=False):
        return Inspection(super().inspect(root, split, masks).faults, [])

@dataclass(frozen=True)
class Texts(CsvReader):
    def files(self, root, split):
        return [str(root / f"{split}.csv")]

@dataclass(frozen=True)
class OneText(CsvReader):
    def files(self, root, split):
        return str(root / f"{split}.csv")

@dataclass(frozen=True)
class NoFile(CsvReader):
    def files(self, root, split):
        return []
"""


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("NoReturn", "NoReturn.inspect must give an Inspection, not None; is a return missing?"),
        ("OnlyDataset", "OnlyDataset.inspect must give an Inspection, not a DetectionDataset"),
        ("OnlyFaults", "OnlyFaults.inspect must give an Inspection of a dataset, not of a list"),
        ("Texts", "Texts.files must give a list of pathlib.Path, not a str"),
        ("OneText", "OneText.files must give a list of paths, not a str"),
        ("NoFile", "NoFile.files must give a list of pathlib.Path, not an empty list"),
    ],
)
def test_what_a_reader_gives_is_checked_where_it_is_received(
    csv_reader: Any, coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, told: str
) -> None:
    (tmp_path / "faulty.py").write_text(FAULTY)
    sys.modules.pop("faulty", None)
    root = write_csv(coco, tmp_path / "csv")
    for more in ([], ["--split", "val"]):
        assert main(["data", "check", str(root), "--reader", f"faulty.{name}", *more]) == 2
        assert told in capsys.readouterr().err
    reader = getattr(importlib.import_module("faulty"), name)()
    with pytest.raises(DataError, match=f"{name}.(inspect|files) must give"):
        DetectionData(str(root), reader=reader).splits()


UNMADE = """
from dataclasses import dataclass
from proxy_tasks import Reader
from csv_boxes import CsvReader

@dataclass(frozen=True)
class NoInspect(Reader):
    name = "none"

@dataclass(frozen=True)
class Needs(CsvReader):
    def __init__(self, quote):
        pass

class Fails(CsvReader):
    def __init__(self):
        {}["a"]

class NoReader:
    pass
"""


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("NoInspect", "unmade.NoInspect lacks the method inspect"),
        ("Needs", "unmade.Needs needs a value for quote; give a default in the class"),
        ("Fails", "unmade.py, line 17: unmade.Fails cannot be made: KeyError: 'a'"),
        ("NoReader", "unmade.NoReader must be a class that inherits proxy_tasks.Reader"),
    ],
)
def test_a_reader_that_cannot_be_made_is_told_in_one_line(
    csv_reader: Any, coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, told: str
) -> None:
    (tmp_path / "unmade.py").write_text(UNMADE)
    sys.modules.pop("unmade", None)
    assert main(["data", "check", str(coco), "--reader", f"unmade.{name}"]) == 2
    err = capsys.readouterr().err
    assert told in err
    assert len(err.splitlines()) == 1
