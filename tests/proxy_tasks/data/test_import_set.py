"""What labeling tools write becomes a set: every tool's layout, the rule that divides, and no half set."""

from __future__ import annotations

import json
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest
from PIL import Image

from proxy_tasks.data.dataset import DataError, DetectionDataset
from proxy_tasks.data.detection import DetectionData
from proxy_tasks.data.exports.contents import Contents
from proxy_tasks.data.exports.splits import split_of
from proxy_tasks.data.image_folder import LabeledImages
from proxy_tasks.data.import_set import _copy, import_set, validation_hash
from proxy_tasks.data.readers import ALL_READERS, find_reader, inspect_split
from tests.proxy_tasks.small_data import voc_annotation, voc_object

WIDTH, HEIGHT = 40, 30
NAMES = [f"photo {i}.png" for i in range(6)]
BOX = (4.0, 6.0, 20.0, 12.0)
"""x, y, width and height of the only object of each image; the classes are cat and dog in turn."""


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(crc32(path.name.encode())).integers(
        0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8
    )
    Image.fromarray(pixels).save(path, {".jpg": "PNG"}.get(path.suffix))


def pictures(folder: Path, names: list[str] = NAMES) -> None:
    for name in names:
        picture(folder / name)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def yolo_line(number: int) -> str:
    x, y, w, h = BOX
    values = ((x + w / 2) / WIDTH, (y + h / 2) / HEIGHT, w / WIDTH, h / HEIGHT)
    return f"{number % 2} {' '.join(f'{value:.6f}' for value in values)}\n"


def voc_text(number: int, name: str) -> str:
    return voc_annotation(name, WIDTH, HEIGHT, [voc_object(("cat", "dog")[number % 2], list(BOX))])


def coco(names: list[str]) -> dict[str, Any]:
    return {
        "images": [
            {"id": i, "file_name": name, "width": WIDTH, "height": HEIGHT} for i, name in enumerate(names)
        ],
        "annotations": [
            {"id": i, "image_id": i, "category_id": i % 2, "bbox": list(BOX)} for i in range(len(names))
        ],
        "categories": [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}],
    }


def label_studio_yolo(root: Path) -> None:
    pictures(root / "images")
    for i, name in enumerate(NAMES):
        write(root / "labels" / f"{Path(name).stem}.txt", yolo_line(i))
    write(root / "classes.txt", "cat\ndog\n")
    write(root / "notes.json", '{"categories": [{"id": 0, "name": "cat"}]}')


def yolo_without_names(root: Path) -> None:
    label_studio_yolo(root)
    (root / "classes.txt").unlink()


def cvat_yolo(root: Path) -> None:
    pictures(root / "obj_train_data")
    for i, name in enumerate(NAMES):
        write(root / "obj_train_data" / f"{Path(name).stem}.txt", yolo_line(i))
    write(root / "obj.names", "cat\ndog\n")
    write(root / "obj.data", "classes = 2\nnames = data/obj.names\n")


def yolo_without_lists(root: Path) -> None:
    """Labels in a folder of their own, one ending in upper case, one name in decomposed letters."""
    names = [name.replace("photo", unicodedata.normalize("NFD", "größe")) for name in NAMES]
    pictures(root / "set" / "images", names)
    for i, name in enumerate(names):
        stem = unicodedata.normalize("NFC", Path(name).stem)
        write(root / "set" / "labels" / f"{stem}.txt", yolo_line(i))
    write(root / "data.yaml", "names: [cat, dog]\n")


def plain_voc(root: Path) -> None:
    pictures(root / "images")
    for i, name in enumerate(NAMES):
        write(root / "Annotations" / f"{Path(name).stem}.xml", voc_text(i, name))


def voc_beside(root: Path) -> None:
    """The size is missing, and the name that the file gives is that of another machine."""
    pictures(root)
    for i, name in enumerate(NAMES):
        text = voc_text(i, f"C:\\photos\\{name}").replace(f"<width>{WIDTH}</width>", "<width>0</width>")
        write(root / f"{Path(name).stem}.xml", text)


def cvat_voc(root: Path) -> None:
    pictures(root / "JPEGImages")
    for i, name in enumerate(NAMES):
        write(root / "Annotations" / f"{Path(name).stem}.xml", voc_text(i, name))
    write(root / "ImageSets" / "Main" / "default.txt", "\n".join(Path(name).stem for name in NAMES))
    write(root / "labelmap.txt", "# label:color_rgb:parts:actions\ncat:1,2,3::\n")


def cvat_xml(root: Path) -> None:
    pictures(root / "images")
    x, y, w, h = BOX
    images = "".join(
        f'<image id="{i}" name="{name}" width="{WIDTH}" height="{HEIGHT}">'
        f'<box label="{("cat", "dog")[i % 2]}" xtl="{x}" ytl="{y}" xbr="{x + w}" ybr="{y + h}"/></image>'
        for i, name in enumerate(NAMES)
    )
    write(root / "annotations.xml", f"<annotations><version>1.1</version>{images}</annotations>")


def cvat_coco(root: Path) -> None:
    pictures(root / "images" / "default")
    write(root / "annotations" / "instances_default.json", json.dumps(coco(NAMES)))


def label_studio_coco(root: Path) -> None:
    pictures(root / "images")
    names = ["images\\" + name for name in NAMES[:3]]
    names += ["../../label-studio/data/media/upload/1/" + name for name in NAMES[3:]]
    write(root / "result.json", json.dumps(coco(names)))


def label_studio_json(root: Path) -> None:
    pictures(root / "uploads")
    x, y, w, h = BOX
    value = {
        "x": 100 * x / WIDTH,
        "y": 100 * y / HEIGHT,
        "width": 100 * w / WIDTH,
        "height": 100 * h / HEIGHT,
    }
    tasks = [
        {
            "id": i,
            "data": {"image": f"/data/upload/1/0a1b2c3d-{name}"},
            "annotations": [
                {
                    "result": [
                        {
                            "type": "rectanglelabels",
                            "value": {**value, "rectanglelabels": [("cat", "dog")[i % 2]]},
                        }
                    ]
                }
            ],
        }
        for i, name in enumerate(NAMES)
    ]
    write(root / "project-1-at-2024.json", json.dumps(tasks))


EXPORTS = [
    label_studio_yolo,
    cvat_yolo,
    yolo_without_lists,
    plain_voc,
    voc_beside,
    cvat_voc,
    cvat_xml,
    cvat_coco,
    label_studio_coco,
    label_studio_json,
]


def all_of(out: Path) -> list[DetectionDataset]:
    found = []
    for split in ("train", "val"):
        inspection = inspect_split(out, split)
        assert [fault for fault in inspection.faults if fault.skipped != "nothing"] == []
        found.append(inspection.dataset)
    return found


@pytest.mark.parametrize("make", EXPORTS)
def test_every_tools_export_becomes_the_same_set(tmp_path: Path, make: Callable[[Path], None]) -> None:
    root, out = tmp_path / "export", tmp_path / "set"
    make(root)
    before = sorted(root.rglob("*"))
    made = import_set(root, out)
    assert sorted(root.rglob("*")) == before
    assert sum(made.images.values()) == made.objects == 6
    assert made.classes == ("cat", "dog")
    assert made.faults == ()
    assert made.divided
    train, val = all_of(out)
    for dataset in (train, val):
        for i, name in enumerate(dataset.file_names):
            label = int(name.split()[-1].split(".")[0]) % 2
            assert dataset.category_names[dataset.labels[dataset.boxes_of(i)][0]] == ("cat", "dog")[label]
            assert dataset.boxes[dataset.boxes_of(i)].tolist() == [[4, 6, 24, 18]]
    names = {name.rpartition("/")[2].split()[-1] for name in (*train.file_names, *val.file_names)}
    assert names == {f"{i}.png" for i in range(6)}
    assert len(DetectionData(str(out), str(tmp_path / "cache")).splits()) == 2


@pytest.mark.parametrize(
    "make", [cvat_yolo, plain_voc, cvat_xml, cvat_coco, label_studio_coco, label_studio_json]
)
def test_a_root_that_is_not_read_directly_names_the_command_that_mends_it(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "export")
    with pytest.raises(DataError) as caught:
        find_reader(tmp_path / "export", ALL_READERS)
    told = str(caught.value)
    assert f"nas data import {tmp_path / 'export'} --out SET" in told
    assert "It looks like " in told
    assert len(told.splitlines()) == 1


def test_a_set_in_a_folder_below_is_named(tmp_path: Path) -> None:
    write(tmp_path / "zip" / "annotations" / "instances_train.json", json.dumps(coco(NAMES)))
    with pytest.raises(DataError, match=r"But .*zip is a set in COCO format: give this folder"):
        find_reader(tmp_path)
    (tmp_path / "zip" / "images" / "train").mkdir(parents=True)
    with pytest.raises(DataError, match=r"But .*zip is a set in COCO format: give this folder"):
        find_reader(tmp_path / "zip" / "images")
    write(tmp_path / "a.zip", "x")
    with pytest.raises(DataError, match="unpack an archive first"):
        find_reader(tmp_path / "a.zip")


def test_a_split_that_is_there_is_kept_and_test_is_not_taken(tmp_path: Path) -> None:
    root = tmp_path / "roboflow"
    for folder, names in (("train", NAMES[:3]), ("valid", NAMES[3:5]), ("test", NAMES[5:])):
        pictures(root / folder / "images", names)
        for i, name in enumerate(names):
            write(root / folder / "labels" / f"{Path(name).stem}.txt", yolo_line(i))
    write(root / "data.yaml", "names: [cat, dog]\ntrain: x\nval: y\n")
    made = import_set(root, tmp_path / "set")
    assert (made.images, made.divided, made.test) == ({"train": 3, "val": 2}, False, 1)
    train, val = all_of(tmp_path / "set")
    assert train.file_names == tuple(NAMES[:3])
    assert val.file_names == tuple(NAMES[3:5])


def test_images_of_one_name_in_two_splits_stay_apart(tmp_path: Path) -> None:
    root = tmp_path / "export"
    for split in ("train", "val"):
        for i in range(3):
            path = root / "images" / split / f"{i}.png"
            picture(path)
            Image.new("RGB", (WIDTH, HEIGHT), (i, len(split), 0)).save(path)
        write(root / "json" / f"{split}.json", json.dumps(coco([f"{i}.png" for i in range(3)])))
    made = import_set(root, tmp_path / "set")
    assert made.images == {"train": 3, "val": 3}
    train, _ = all_of(tmp_path / "set")
    assert len(train.boxes) == 3


def test_folders_of_classes_become_labeled_images(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    for i in range(20):
        picture(root / ("cat", "dog")[i % 2] / f"{i}.jpg")
    (root / "cat" / "x.heic").write_bytes(b"x")
    made = import_set(root, tmp_path / "set")
    assert made.kind == "folders of classes"
    assert sum(made.images.values()) == 20
    assert "1 .heic files are not read" in made.faults[0].what
    training, validation = LabeledImages(str(tmp_path / "set"), str(tmp_path / "cache")).splits()
    assert training.category_names == ("cat", "dog")
    assert len(training) + len(validation) == 20


def test_the_rule_is_fixed_and_an_image_stays_where_it_is(tmp_path: Path) -> None:
    assert [round(validation_hash(name), 4) for name in ("a.jpg", "b.jpg", "größe.jpg")] == [
        0.9933,
        0.5868,
        0.124,
    ]
    assert validation_hash(unicodedata.normalize("NFD", "größe.jpg")) == validation_hash("größe.jpg")
    shares = np.array([validation_hash(f"{i}.jpg") for i in range(5000)])
    assert abs((shares < 0.2).mean() - 0.2) < 0.02
    before: set[str] = set()
    for count in (20, 40):
        root = tmp_path / f"export-{count}"
        pictures(root, [f"{i}.png" for i in range(count)])
        for i in range(count):
            write(root / f"{i}.txt", yolo_line(i))
        write(root / "classes.txt", "cat\ndog\n")
        import_set(root, tmp_path / f"set-{count}", val=0.3)
        _, val = all_of(tmp_path / f"set-{count}")
        assert before <= set(val.file_names)
        assert set(val.file_names) == {f"{i}.png" for i in range(count) if validation_hash(f"{i}.png") < 0.3}
        before = set(val.file_names)


def test_two_images_are_one_of_each_and_one_cannot_be_divided(tmp_path: Path) -> None:
    label_studio_yolo(tmp_path / "export")
    for name in NAMES[2:]:
        (tmp_path / "export" / "images" / name).unlink()
    assert import_set(tmp_path / "export", tmp_path / "set").images == {"train": 1, "val": 1}
    (tmp_path / "export" / "images" / NAMES[1]).unlink()
    with pytest.raises(DataError, match="one image cannot be divided"):
        import_set(tmp_path / "export", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_what_cannot_be_used_is_named_and_too_much_of_it_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "export"
    label_studio_json(root)
    (root / "uploads" / NAMES[0]).write_bytes(b"none")
    path = root / "project-1-at-2024.json"
    tasks = json.loads(path.read_text())
    tasks[1]["annotations"][0]["result"][0]["type"] = "brushlabels"
    tasks[2]["annotations"] = "x"
    tasks[3]["annotations"][0]["result"].append(None)
    path.write_text(json.dumps(tasks))
    with pytest.raises(DataError, match=r"2 of 5 objects .* such as .* task 2 result 1.*--allow-left-out"):
        import_set(root, tmp_path / "set")
    made = import_set(root, tmp_path / "set", allow_left_out=0.4)
    told = [f"{fault.where}: {fault.what}" for fault in made.faults]
    assert made.left_out == 1
    assert "task 1: cannot be read as an image: no image of a kind" in told[0]
    assert "task 2 result 1: only rectangles and polygons are read, not 'brushlabels'" in told[1]
    assert "task 4 result 2: only rectangles and polygons are read" in told[2]
    (root / "uploads" / NAMES[5]).unlink()
    with pytest.raises(
        DataError, match=r"2 of 6 images of Label Studio's JSON cannot be used.*--allow-left-out"
    ):
        import_set(root, tmp_path / "other")
    assert import_set(root, tmp_path / "other", allow_left_out=0.5).left_out == 2


@pytest.mark.parametrize("make", [cvat_coco, label_studio_json])
def test_annotations_that_are_damaged_are_named(tmp_path: Path, make: Callable[[Path], None]) -> None:
    root = tmp_path / "export"
    make(root)
    (path,) = root.rglob("*.json")
    whole = path.read_text()
    write(path.with_name("second.json"), whole[:-20])
    made = import_set(root, tmp_path / "set")
    (fault,) = [fault for fault in made.faults if "second.json" in fault.where]
    assert fault.what.startswith("not readable as JSON: ")
    write(path, whole[:-20])
    told = rf"6 pictures, but no annotations of a known kind; \S*{path.name} cannot be read: not readable"
    with pytest.raises(DataError, match=told):
        import_set(root, tmp_path / "other")


@pytest.mark.parametrize(
    ("make", "pattern", "wrong"),
    [
        (label_studio_yolo, "labels/*.txt", (" ", " 7")),
        (plain_voc, "Annotations/*.xml", ("<xmax>", "<xmax>-")),
        (cvat_xml, "annotations.xml", ('xbr="', 'xbr="-')),
        (cvat_coco, "annotations/*.json", ('"bbox": [4.0', '"bbox": [900.0')),
        (label_studio_json, "project*.json", ('"width": ', '"width": -')),
    ],
)
def test_no_more_objects_than_images_may_be_lost(
    tmp_path: Path, make: Callable[[Path], None], pattern: str, wrong: tuple[str, str]
) -> None:
    root = tmp_path / "export"
    make(root)
    for path in root.glob(pattern):
        path.write_text(path.read_text().replace(*wrong))
    with pytest.raises(DataError, match=r"6 of 6 objects of .* cannot be used, such as .*--allow-left-out"):
        import_set(root, tmp_path / "set")
    assert not (tmp_path / "set").exists()
    assert import_set(root, tmp_path / "set", allow_left_out=1).objects == 0


def test_labels_without_an_image_and_images_without_labels_are_named(tmp_path: Path) -> None:
    root = tmp_path / "export"
    label_studio_yolo(root)
    (root / "images" / NAMES[0]).unlink()
    (root / "labels" / f"{Path(NAMES[1]).stem}.txt").unlink()
    (root / "labels" / "README.txt").write_text("written by a tool\n")
    made = import_set(root, tmp_path / "set")
    assert {(fault.where, fault.what, fault.skipped) for fault in made.faults} == {
        ("labels/photo 0.txt", "there is no image of this name", "its boxes"),
        (
            "the labels",
            "images/photo 1.png has no label file; it counts as an image without objects",
            "nothing",
        ),
    }
    assert sum(made.images.values()) == 5


def test_a_set_inside_the_folder_that_is_imported_is_refused(tmp_path: Path) -> None:
    label_studio_yolo(tmp_path / "export")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError, match="would lie inside"):
        import_set(tmp_path / "export", tmp_path / "export" / "new" / "set")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("fault", ["full", "interrupted"])
def test_no_half_set_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    label_studio_yolo(tmp_path / "export")
    plain = shutil.copyfile
    copied: list[Path] = []

    def copy(source: Path, target: Path) -> None:
        if len(copied) == 3:
            raise OSError(28, "No space left on device") if fault == "full" else KeyboardInterrupt
        copied.append(plain(source, target))

    monkeypatch.setattr("proxy_tasks.data.import_set.shutil.copyfile", copy)
    with pytest.raises((OSError, KeyboardInterrupt)):
        import_set(tmp_path / "export", tmp_path / "set")
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


def test_a_set_that_is_there_is_left_alone(tmp_path: Path) -> None:
    label_studio_yolo(tmp_path / "export")
    (tmp_path / "set").mkdir()
    with pytest.raises(DataError, match="set: already exists; choose another folder"):
        import_set(tmp_path / "export", tmp_path / "set")
    with pytest.raises(DataError, match="above 0 and below 1"):
        import_set(tmp_path / "export", tmp_path / "other", val=1.0)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda root: root.mkdir(), "no pictures and no annotations"),
        (lambda root: pictures(root), "6 pictures, but no annotations"),
        (lambda root: write(root, "x"), "unpack an archive first"),
        (lambda root: None, "no such folder"),
        (
            yolo_without_names,
            "no file names the classes; write",
        ),
    ],
)
def test_a_folder_of_nothing_says_what_it_holds(tmp_path: Path, make: Any, told: str) -> None:
    make(tmp_path / "export")
    with pytest.raises(DataError, match=told):
        import_set(tmp_path / "export", tmp_path / "set")
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("images/train2017", "train"),
        ("annotations/instances_val2014.json", "val"),
        ("Valid/images", "val"),
        ("set/TEST", "test"),
        ("my_test_images", "test"),
        ("training-set", "train"),
        ("strain/trains", None),
        ("interval", None),
        ("validate", None),
        ("", None),
    ],
)
def test_splits_are_told_by_whole_words(text: str, split: str | None) -> None:
    assert split_of(text) == split


def test_a_picture_of_another_folder_is_not_taken_for_the_one_that_is_named(tmp_path: Path) -> None:
    root = tmp_path / "export"
    for camera in ("cam1", "cam2"):
        pictures(root / camera, [f"{i:04d}.png" for i in range(11)])
    # Of each pair of one name, one shows a cat and one a dog.
    names = [f"{camera}/{i:04d}.png" for camera in ("cam1", "cam2") for i in range(11)]
    write(root / "result.json", json.dumps(coco(names)))
    (root / "cam1" / "0009.png").unlink()
    made = import_set(root, tmp_path / "set")
    assert [fault.what for fault in made.faults] == [f"no file '{names[9]}' below {root}, or several"]
    assert sum(made.images.values()) == made.objects == 21
    label_of = {name: i % 2 for i, name in enumerate(names)}
    for dataset in all_of(tmp_path / "set"):
        for i, name in enumerate(dataset.file_names):
            wanted = "/".join(name.rsplit("/", 2)[-2:])
            assert dataset.labels[dataset.boxes_of(i)].tolist() == [label_of[wanted]], name


def test_files_of_class_names_that_differ_are_refused(tmp_path: Path) -> None:
    root = tmp_path / "export"
    for part, names in (("a", "cat\ndog\n"), ("b", "dog\ncat\n")):
        pictures(root / part)
        for i, name in enumerate(NAMES):
            write(root / part / f"{Path(name).stem}.txt", yolo_line(i))
        write(root / part / "obj.names", names)
    with pytest.raises(DataError, match=r"a/obj.names and .*b/obj.names name other classes; import each"):
        import_set(root, tmp_path / "set")
    write(root / "b" / "obj.names", "cat\ndog\n")
    assert import_set(root, tmp_path / "set").objects == 12


@pytest.mark.parametrize("folder", ["photos", "."])
def test_labels_may_lie_in_any_folder(tmp_path: Path, folder: str) -> None:
    """Without boxes, the folder of the images would be the name of a class."""
    root = tmp_path / "export"
    pictures(root / folder)
    for i, name in enumerate(NAMES):
        write(root / "labels" / f"{Path(name).stem}.txt", yolo_line(i))
    write(root / "classes.txt", "cat\ndog\n")
    made = import_set(root, tmp_path / "set")
    assert (made.kind, made.objects, made.classes) == ("YOLO labels", 6, ("cat", "dog"))


def test_objects_of_images_that_are_annotated_twice_count_as_lost(tmp_path: Path) -> None:
    root = tmp_path / "export"
    pictures(root / "images")
    for part in ("cats", "dogs"):
        write(root / f"{part}.json", json.dumps(coco(NAMES)))
    with pytest.raises(DataError, match="6 of 12 objects of COCO annotations cannot be used"):
        import_set(root, tmp_path / "set")
    made = import_set(root, tmp_path / "set", allow_left_out=0.5)
    assert made.objects == 6
    told = {(fault.what, fault.skipped) for fault in made.faults}
    assert told == {("is annotated a second time, and only the first annotation is taken", "its boxes")}


def test_a_damaged_file_beside_a_sound_one_is_named(tmp_path: Path) -> None:
    root = tmp_path / "export"
    cvat_xml(root)
    write(root / "second.xml", (root / "annotations.xml").read_text()[:200])
    made = import_set(root, tmp_path / "set")
    assert made.objects == 6
    assert [(fault.where, fault.skipped) for fault in made.faults] == [("second.xml", "its images")]


@pytest.mark.parametrize("address", ["/data/local-files/?d=uploads/{}", "http://host/a%20b/{}?token=3", "{}"])
def test_label_studio_names_images_in_its_own_ways(tmp_path: Path, address: str) -> None:
    root = tmp_path / "export"
    label_studio_json(root)
    path = root / "project-1-at-2024.json"
    tasks = json.loads(path.read_text())
    for task, name in zip(tasks, NAMES, strict=True):
        named = name.replace(" ", "%20") if "://" in address else name
        task["data"]["image"] = address.format(named)
        task["annotations"][0]["result"].append({"type": "choices", "value": {"choices": ["blurred"]}})
    path.write_text(json.dumps(tasks))
    made = import_set(root, tmp_path / "set")
    assert (made.objects, made.faults) == (6, ()), "what is chosen for an image is no object"


def test_classes_of_voc_stand_in_the_order_of_the_file_that_names_them(tmp_path: Path) -> None:
    root = tmp_path / "export"
    plain_voc(root)
    write(root / "labels.txt", "dog\ncat\n")
    assert import_set(root, tmp_path / "set").classes == ("dog", "cat")


def test_label_files_that_cannot_be_read_count_as_lost_objects(tmp_path: Path) -> None:
    root = tmp_path / "export"
    label_studio_yolo(root)
    for name in NAMES[:4]:
        path = root / "labels" / f"{Path(name).stem}.txt"
        path.write_bytes(path.read_text().encode("utf-16"))
    with pytest.raises(DataError, match="4 of 6 objects of YOLO labels cannot be used"):
        import_set(root, tmp_path / "set")


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_what_is_no_share_is_refused(tmp_path: Path, share: float) -> None:
    label_studio_yolo(tmp_path / "export")
    with pytest.raises(DataError, match=r"the share that may be left out must be in 0..1, not"):
        import_set(tmp_path / "export", tmp_path / "set", allow_left_out=share)


def test_looking_for_images_of_one_name_in_many_folders_is_quick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names of frames repeat from clip to clip; pictures that a whole path names are not compared."""
    root, count = tmp_path / "export", 30
    names = [f"clip {i}/0001.png" for i in range(count)]
    pictures(root, names)
    write(root / "result.json", json.dumps(coco(names)))
    ranked = 0
    nearest = Contents.nearest

    def counted(self: Contents, *arguments: Any) -> Path | None:
        nonlocal ranked
        ranked += 1
        return nearest(self, *arguments)

    monkeypatch.setattr(Contents, "nearest", counted)
    assert import_set(root, tmp_path / "set").objects == count
    assert ranked == 0


def test_images_that_another_kind_of_annotations_has_are_told(tmp_path: Path) -> None:
    root = tmp_path / "export"
    plain_voc(root)
    write(root / "result.json", json.dumps(coco(NAMES)))
    assert import_set(root, tmp_path / "all").faults == (), "the same images"
    write(root / "result.json", json.dumps(coco(NAMES[:4])))
    made = import_set(root, tmp_path / "set")
    assert sum(made.images.values()) == 4
    assert [(fault.what, fault.skipped) for fault in made.faults] == [
        ("2 more images are annotated as Pascal VOC's XML; import that part by itself", "its images")
    ]


def test_a_set_in_a_format_of_ones_own_is_told_to_need_a_reader(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "images" / "a.png")
    (tmp_path / "classes.txt").write_text("cat\n")
    (tmp_path / "train.csv").write_text("file,class\na.png,cat\n")
    with pytest.raises(DataError, match=r"needs a reader: --reader FILE\.CLASS"):
        find_reader(tmp_path)


def labels_json(names: list[str], categories: list[str], **more: Any) -> dict[str, Any]:
    """Annotations in iNaturalist's form, with the categories in turn."""
    return {
        "images": [{"id": i, "file_name": name, **more} for i, name in enumerate(names)],
        "annotations": [
            {"id": i, "image_id": i, "category_id": i % len(categories)} for i in range(len(names))
        ],
        "categories": [{"id": i, "name": name} for i, name in enumerate(categories)],
    }


@pytest.mark.parametrize("boxes", ["none", "null"])
def test_labels_in_json_become_labeled_images(tmp_path: Path, boxes: str) -> None:
    """The folders of the images are no classes, wherever they lie."""
    root = tmp_path / "export"
    for split, count in (("train", 7), ("val", 3)):
        names = [f"{split}{i}.jpg" for i in range(count)]
        for name in names:
            picture(root / f"{split}_imgs" / name)
        data = labels_json(names, ["x", "y"])
        if boxes == "null":
            for annotation in data["annotations"]:
                annotation["bbox"] = None
        write(root / f"{split}_annotations.json", json.dumps(data))
    made = import_set(root, tmp_path / "set")
    assert (made.kind, made.classes, made.images) == ("labels in JSON", ("x", "y"), {"train": 7, "val": 3})
    training, validation = LabeledImages(str(tmp_path / "set"), str(tmp_path / "cache")).splits()
    assert training.category_names == ("x", "y")
    assert [np.bincount(split.labels).tolist() for split in (training, validation)] == [[4, 3], [2, 1]]


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "a" * 256, "ä" * 128, "\ud800"])
def test_labels_that_are_no_names_of_folders_are_refused(tmp_path: Path, name: str) -> None:
    names = [f"{i}.jpg" for i in range(4)]
    for file in names:
        picture(tmp_path / "export" / file)
    write(tmp_path / "export" / "labels.json", json.dumps(labels_json(names, ["x", name])))
    with pytest.raises(DataError, match="cannot be the name of a folder; rename it"):
        import_set(tmp_path / "export", tmp_path / "set")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["export"]


def test_a_class_of_a_name_that_no_set_of_labeled_images_has_is_refused(tmp_path: Path) -> None:
    names = [f"{i}.jpg" for i in range(4)]
    for file in names:
        picture(tmp_path / "export" / file)
    write(tmp_path / "export" / "labels.json", json.dumps(labels_json(names, ["x", "images"])))
    with pytest.raises(DataError, match="the class 'images' has the name of a folder of other formats"):
        import_set(tmp_path / "export", tmp_path / "set")
    write(tmp_path / "export" / "labels.json", json.dumps(labels_json(names, ["x", "ä" * 127])))
    import_set(tmp_path / "export", tmp_path / "set")
    assert find_reader(tmp_path / "set", ALL_READERS).name == "labeled images"


def test_second_labels_count_as_objects_that_are_lost(tmp_path: Path) -> None:
    names = [f"{i}.jpg" for i in range(10)]
    for file in names:
        picture(tmp_path / "export" / file)
    data = labels_json(names, ["x", "y"])
    more = [{"id": 10 + i, "image_id": i, "category_id": (i + 1) % 2} for i in range(10)]
    again = dict(data["annotations"][0])  # It says nothing new.
    write(
        tmp_path / "export" / "labels.json",
        json.dumps({**data, "annotations": [*data["annotations"], again]}),
    )
    assert import_set(tmp_path / "export", tmp_path / "set").objects == 10
    data["annotations"] += more
    write(tmp_path / "export" / "labels.json", json.dumps(data))
    with pytest.raises(DataError, match=r"10 of 20 objects of labels in JSON .*image 0 has another label"):
        import_set(tmp_path / "export", tmp_path / "other")


def test_images_of_one_class_in_a_folder_of_its_name_and_elsewhere_keep_their_pixels(tmp_path: Path) -> None:
    root = tmp_path / "export"
    names = ["images/x.png", "dog/y.png", "cat/x.png", "dog/z.png"]
    for i, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), i, np.uint8)).save(root / name)
    write(root / "labels.json", json.dumps(labels_json(names, ["cat", "dog"])))
    made = import_set(root, tmp_path / "set")
    files = list((tmp_path / "set").rglob("*.png"))
    found = {int(np.asarray(Image.open(path))[0, 0, 0]): path.parts for path in files}
    assert (sum(made.images.values()), len(files), sorted(found)) == (4, 4, [0, 1, 2, 3])
    assert all(("cat", "dog")[i % 2] in parts for i, parts in found.items())


def test_a_copy_never_takes_the_place_of_another(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        picture(tmp_path / name)
    _copy(tmp_path / "a.png", tmp_path / "set" / "x.png")
    with pytest.raises(FileExistsError, match=r"two images have this name: .*x\.png"):
        _copy(tmp_path / "b.png", tmp_path / "set" / "x.png")
    assert (tmp_path / "set" / "x.png").read_bytes() == (tmp_path / "a.png").read_bytes()


def test_pictures_in_no_class_are_named_and_the_classes_are_imported(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    for i in range(20):
        picture(root / ("cat", "dog")[i % 2] / f"{i}.jpg")
    picture(root / "preview.jpg")
    made = import_set(root, tmp_path / "set")
    assert (made.classes, made.left_out, sum(made.images.values())) == (("cat", "dog"), 1, 20)
    (fault,) = made.faults
    assert (fault.where, fault.what) == ("preview.jpg", "lies in no folder of a class")
    for i in range(5):
        picture(root / f"preview{i}.jpg")
    with pytest.raises(DataError, match="6 of 26 images of folders of classes cannot be used, such as"):
        import_set(root, tmp_path / "other")


@pytest.mark.parametrize("classes", [("bus", "car", "train"), ("invalid", "valid"), ("other", "test")])
def test_a_class_may_have_the_name_of_a_split(tmp_path: Path, classes: tuple[str, ...]) -> None:
    root = tmp_path / "photos"
    for i in range(30):
        picture(root / classes[i % len(classes)] / f"{i}.jpg")
    made = import_set(root, tmp_path / "set")
    assert (made.classes, made.divided, made.test) == (classes, True, 0)
    assert sum(made.images.values()) == 30


def test_a_split_stays_one_beside_a_folder_of_another_name(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    for i in range(20):
        picture(root / ("train", "val")[i % 2] / ("cat", "dog")[i // 10] / f"{i}.jpg")
    picture(root / "train" / "stray.jpg")
    made = import_set(root, tmp_path / "set")
    assert (made.classes, made.images, made.left_out) == (("cat", "dog"), {"train": 10, "val": 10}, 1)


@pytest.mark.parametrize("stray", [False, True])
def test_pictures_of_test_need_no_class(tmp_path: Path, stray: bool) -> None:
    root = tmp_path / "photos"
    for i in range(20):
        picture(root / ("train", "val")[i % 2] / ("cat", "dog")[i // 10] / f"{i}.jpg")
    for i in range(20):
        picture(root / "test" / f"t{i}.jpg")
    if stray:
        picture(root / "docs" / "logo.png")
    made = import_set(root, tmp_path / "set")
    assert (made.classes, made.test) == (("cat", "dog") if not stray else ("cat", "docs", "dog"), 20)
    assert (sum(made.images.values()), made.left_out, made.faults) == (20 + stray, 0, ())
    assert not list((tmp_path / "set").rglob("t*.jpg"))


def test_splits_without_folders_are_no_classes(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        pictures(tmp_path / "photos" / split)
    with pytest.raises(DataError, match="18 pictures, but no annotations of a known kind"):
        import_set(tmp_path / "photos", tmp_path / "set")
