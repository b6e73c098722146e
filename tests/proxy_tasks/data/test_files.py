"""Names of files as annotations write them, and pictures in folders."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from proxy_tasks.data.files import FileFinder, list_pictures


def make(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return root


@pytest.mark.parametrize(
    ("there", "written"),
    [
        ("a.jpg", "a.jpg"),
        ("sub/a.jpg", "sub\\a.jpg"),
        ("a.jpg", "images\\a.jpg"),
        ("a.jpg", "images/train/a.jpg"),
        ("a.jpg", "./a.jpg"),
        ("a.jpg", "train/a.jpg"),  # The folder's own name.
        ("a.JPG", "a.jpg"),
        ("a.jpg", "A.JPEG".replace("JPEG", "JPG")),
        ("sub/B.Png", "sub/b.png"),
        (unicodedata.normalize("NFC", "größe.jpg"), unicodedata.normalize("NFD", "größe.jpg")),
        (unicodedata.normalize("NFD", "größe.jpg"), unicodedata.normalize("NFC", "größe.jpg")),
        ("COCO_train_0009.jpg", "0009.jpg"),
        ("a b#%?.jpg", "a b#%?.jpg"),
    ],
)
def test_a_file_is_found_however_its_name_is_written(tmp_path: Path, there: str, written: str) -> None:
    folder = make(tmp_path / "train", there)
    found = FileFinder(folder).find(written)
    assert found == there
    assert (folder / found).is_file()


@pytest.mark.parametrize(
    "written",
    [
        "../train/a.jpg",
        "..\\train\\a.jpg",
        "/etc/passwd",
        "C:\\data\\a.jpg",
        "https://host/images/a.jpg",
        "s3://bucket/a.jpg",
        "other/a.jpg",
        "b.jpg",
        "a" * 5000 + ".jpg",
        "a\0.jpg",
        "",
        ".",
        None,
        12,
        ["a.jpg"],
        "sub",
    ],
)
def test_a_name_of_nothing_finds_nothing_and_leads_nowhere(tmp_path: Path, written: object) -> None:
    folder = make(tmp_path / "train", "a.jpg", "sub/c.jpg")
    finder = FileFinder(folder)
    assert finder.find(written) is None
    assert len(finder.explain(written)) < 300 + len(str(folder))


def test_of_two_files_that_could_be_meant_none_is_taken(tmp_path: Path) -> None:
    folder = make(tmp_path, "IMG.jpg", "img.jpg")
    if len(list(folder.iterdir())) < 2:
        pytest.skip("the file system does not tell upper and lower case apart")
    assert FileFinder(folder).find("img.jpg") == "img.jpg"
    assert FileFinder(folder).find("Img.jpg") is None


def test_an_address_is_called_an_address(tmp_path: Path) -> None:
    assert "it is an address" in FileFinder(make(tmp_path, "a.jpg")).explain("https://host/a.jpg")


def test_pictures_are_found_below_and_what_is_not_read_is_counted(tmp_path: Path) -> None:
    root = make(
        tmp_path,
        *("a.JPG", "b.jfif", "sub/c.avif", "sub/deep/d.Tiff", ".hidden.png", ".cache/e.png"),
        *("f.heic", "sub/g.HEIC", "h.raw", "notes.txt", "Thumbs.db", "labels.xml"),
    )
    found = list_pictures(root)
    assert [path.name for path in found.images] == ["a.JPG", "b.jfif", "c.avif", "d.Tiff"]
    assert found.unread == 3
    assert [fault.what.split(",")[0] for fault in found.faults] == [
        "2 .heic files are not read",
        "1 .raw files are not read",
    ]


def test_links_are_followed_and_a_circle_ends(tmp_path: Path) -> None:
    make(tmp_path / "elsewhere", "a.png")
    make(tmp_path / "set", "b.png")
    (tmp_path / "set" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "again").symlink_to(tmp_path / "set")
    assert sorted(path.name for path in list_pictures(tmp_path / "set").images) == ["a.png", "b.png"]


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unreadable to root")
def test_a_folder_that_may_not_be_read_is_a_fault(tmp_path: Path) -> None:
    closed = make(tmp_path, "a.png", "sub/b.png") / "sub"
    closed.chmod(0)
    try:
        found = list_pictures(tmp_path)
        assert FileFinder(tmp_path).find("sub/b.png") is None
    finally:
        closed.chmod(0o755)
    assert [path.name for path in found.images] == ["a.png"]
    assert "cannot be read: Permission denied" in found.faults[0].what


def test_a_picture_may_have_every_ending_of_its_kind(tmp_path: Path) -> None:
    image = Image.new("RGB", (8, 8))
    for name, kind in (("a.jfif", "JPEG"), ("b.jpe", "JPEG"), ("c.pgm", "PPM"), ("d.gif", "GIF")):
        image.save(tmp_path / name, kind)
    assert len(list_pictures(tmp_path).images) == 4
