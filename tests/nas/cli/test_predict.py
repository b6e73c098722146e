"""Objects in photos: by `nas predict`, and by the example script with an exported model."""

from __future__ import annotations

import ast
import dataclasses
import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from nas.cli.main import main
from proxy_tasks.evaluation.inference import Objects, draw, predict
from proxy_tasks.models.model import Categories
from proxy_tasks.models.model_file import save_model
from search_space import published_spec
from tests.proxy_tasks.small_networks import small_model, small_network, sure_retinanet

SCRIPT = Path(__file__).parents[3] / "examples" / "run_onnx.py"
NAMES: Categories = ((7, "Katze"), (9, "собака"), (12, "牛"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    described, net = sure_retinanet(64, spec=published_spec("spinenet-49"))
    net.class_tower.predict.bias.data.fill_(0.0)  # type: ignore[operator]
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    save_model(path, dataclasses.replace(described, categories=NAMES), net, {})
    return path


def photo(path: Path, width: int = 90, height: int = 60, seed: int = 0) -> Path:
    """Smooth noise, which survives being scaled."""
    path.parent.mkdir(parents=True, exist_ok=True)
    small = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC).save(path)
    return path


def test_without_a_result_there_is_no_folder_of_results(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.png").write_text("no image")
    assert main(["predict", str(model), str(tmp_path / "a.png"), "--out", str(tmp_path / "out")]) == 1
    assert "a.png: this image cannot be read" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_stands_for_its_images(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    for name in ("b.PNG", "a.jpg", "more/a.png", ".hidden.png"):
        photo(photos / name)
    (photos / "c.heif2").write_text("no image")
    out = photos / "found"
    words = ["predict", str(model), str(photos), "--out", str(out), "--score", "0.5"]
    assert main(words) == 0
    first = capsys.readouterr()
    assert first.err.startswith(
        f"nas: {photos}: 1 .heif2 files are not read, such as 'c.heif2'; pictures are ."
    )
    assert sorted(path.name for path in out.iterdir()) == sorted(
        f"{name}.{ending}" for name in ("a", "a-2", "b") for ending in ("json", "png")
    )
    assert main(words) == 0, "the drawings of the first time are no photos"
    assert capsys.readouterr().out == first.out


@pytest.mark.parametrize(
    ("name", "told"),
    [(None, "the name of an image ends in .jpg"), ("x.heif2", "1 .heif2 files are not read")],
)
def test_a_folder_without_an_image_is_refused(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str | None, told: str
) -> None:
    (tmp_path / "photos").mkdir()
    if name:
        (tmp_path / "photos" / name).write_text("")
    out = tmp_path / "out"
    assert main(["predict", str(model), str(tmp_path / "photos"), "--out", str(out)]) == 2
    err = capsys.readouterr().err
    assert f"photos: the folder holds no image; {told}" in err
    assert not out.exists()


def test_where_nothing_is_found_the_highest_score_is_told(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["predict", str(model), str(photo(tmp_path / "p.png")), "--out", str(tmp_path / "out")]
    assert main([*words, "--score", "1"]) == 0
    told = capsys.readouterr().out
    assert "p.png: 0 objects with a score of 1 or more; the highest score is 0." in told
    lower = told.split("so give --score ")[1].split()[0]
    assert 0 < float(lower) < 1
    assert main([*words, "--score", lower]) == 0
    assert "p.png: 0 objects" not in capsys.readouterr().out
    highest = float(told.split("the highest score is ")[1].split(",")[0])
    found = json.loads((tmp_path / "out" / "p.json").read_text())["detections"]
    assert found[0]["score"] == pytest.approx(highest, abs=1e-4)
    assert {entry["category"] for entry in found} <= {name for _, name in NAMES}


def test_a_threshold_below_the_networks_own_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    path = tmp_path / "m.safetensors"
    save_model(path, small_model("mask-rcnn", size=64), small_network("mask-rcnn"), {})
    words = ["predict", str(path), str(photo(tmp_path / "p.png")), "--out", str(tmp_path / "out")]
    assert main([*words, "--score", "0.9"]) == 0
    told = capsys.readouterr().out
    assert "0 objects with a score of 0.9 or more; the highest score is 0." in told
    assert main([*words, "--score", "0.01"]) == 0
    found = json.loads((tmp_path / "out" / "p.json").read_text())["detections"]
    assert found
    assert all("segmentation" in entry for entry in found)


def test_names_are_drawn_and_what_the_font_lacks_is_a_number(tmp_path: Path) -> None:
    """A name in Cyrillic, one in a script without letters in the font, and the number that stands for it."""
    photo(tmp_path / "p.png", 200, 160)
    pictures = []
    for category in ((9, "собака"), (9, "9"), (9, "牛"), (9, "牛 牛")):
        box, score = np.array([[20.0, 60.0, 150.0, 120.0]]), np.array([0.5])
        draw(tmp_path / "p.png", Objects(200, 160, box, score, (category,)), tmp_path / "drawn.png")
        with Image.open(tmp_path / "drawn.png") as drawn:
            pictures.append(np.asarray(drawn))
    assert (pictures[0] != pictures[1]).any()
    assert (pictures[1] == pictures[2]).all()
    assert (pictures[1] == pictures[3]).all()


@pytest.mark.parametrize("corner", [(0, 0), (140, 0), (0, 140), (140, 140)], ids=str)
def test_names_stay_inside_the_picture(tmp_path: Path, corner: tuple[int, int]) -> None:
    Image.new("RGB", (160, 160)).save(tmp_path / "p.png")
    x, y = corner
    boxes = np.array([[x, y, x + 20.0, y + 20.0]])
    objects = Objects(160, 160, boxes, np.array([0.5]), ((0, "a name of some length"),))
    draw(tmp_path / "p.png", objects, tmp_path / "drawn.png")
    with Image.open(tmp_path / "drawn.png") as drawn:
        white: NDArray[np.bool_] = np.asarray(np.all(np.asarray(drawn) > 200, axis=-1))
    rows, columns = np.flatnonzero(np.any(white, axis=1)), np.flatnonzero(np.any(white, axis=0))
    assert white.sum() > 30
    assert min(rows[0], columns[0]) > 0
    assert rows[-1] < 159
    assert columns[-1] < 159


def test_a_metric_without_an_object_is_a_dash_and_null(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "set"
    photo(root / "images" / "val" / "1.png", 40, 30)
    (root / "annotations").mkdir()
    data = {
        "images": [{"id": 1, "file_name": "1.png", "width": 40, "height": 30}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 9, "bbox": [4, 4, 20, 20], "area": 400}],
        "categories": [{"id": number, "name": name} for number, name in NAMES],
    }
    (root / "annotations" / "instances_val.json").write_text(json.dumps(data))
    words = ["eval", str(model), "--root", str(root), "--cache", str(tmp_path / "cache")]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [name for name, value in found.items() if value is None] == ["APm", "APl", "ARm", "ARl"]
    assert main(words) == 0
    shown = dict(line.split() for line in capsys.readouterr().out.splitlines())
    assert shown["APl"] == "\u2013"
    assert float(shown["APs"]) == pytest.approx(found["APs"], abs=1e-4)
    assert "-1" not in shown.values()


def write_val(root: Path, count: int) -> Path:
    """A COCO set without train, with one object in each image of val."""
    for number in range(1, count + 1):
        photo(root / "images" / "val" / f"{number}.png", 40, 30, number)
    numbers = range(1, count + 1)
    data = {
        "images": [{"id": n, "file_name": f"{n}.png", "width": 40, "height": 30} for n in numbers],
        "annotations": [{"id": n, "image_id": n, "category_id": 9, "bbox": [4, 4, 20, 20]} for n in numbers],
        "categories": [{"id": number, "name": name} for number, name in NAMES],
    }
    (root / "annotations").mkdir()
    (root / "annotations" / "instances_val.json").write_text(json.dumps(data))
    return root


@pytest.mark.parametrize("how", ["missing", "unreadable"])
def test_an_evaluation_says_what_it_leaves_out_and_refuses_too_much(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    root = write_val(tmp_path / "set", 4)
    words = ["eval", str(model), "--root", str(root), "--cache", str(tmp_path / "cache"), "--json"]
    assert main(words) == 0
    assert "val: 4 images, 4 objects" in capsys.readouterr().err.splitlines()
    for number in (1, 2, 3):
        path = root / "images" / "val" / f"{number}.png"
        path.unlink() if how == "missing" else path.write_bytes(b"none")
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert f"{root}: 3 of 4 images of val cannot be used" in err
    assert "(--allow-left-out 0.75 of other commands) takes the rest" in err
    assert f"; nas data check {root} names every fault" in err
    assert main([*words, "--allow-left-out", "0.75"]) == 0
    out, err = capsys.readouterr()
    line = "val: 1 images, 1 objects; left out: 3 of 4 images, 3 of 4 objects"
    assert line.replace("1 objects", "1 object") in err.splitlines()
    assert "AP" in json.loads(out)
    (root / "images" / "val" / "4.png").write_bytes(b"none")
    assert main([*words, "--allow-left-out", "1"]) == 2
    assert ".png: " in capsys.readouterr().err
    assert main([*words, "--allow-left-out", "2"]) == 2
    assert "--allow-left-out must be in 0..1, not 2" in capsys.readouterr().err


def test_an_evaluation_reads_a_set_of_two_formats_with_the_reader_that_is_named(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_val(tmp_path / "set", 2)
    (root / "data.yaml").write_text("val: images/val\nnames: [a, b, c]\n")
    words = ["eval", str(model), "--root", str(root), "--cache", str(tmp_path / "cache")]
    assert main(words) == 2
    assert "choose: task.data.reader._target_=proxy_tasks.CocoReader or --reader" in capsys.readouterr().err
    assert main([*words, "--reader", "proxy_tasks.CocoReader"]) == 0
    assert "val: 2 images, 2 objects" in capsys.readouterr().err
    assert main([*words, "--reader", "proxy_tasks.YoloReader"]) == 2
    assert "its categories are not the model's" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_example_script_finds_what_nas_predict_finds(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = tmp_path / "p.png"  # Twice the model's size, so that both scale it alike, and padded below.
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 128, 3), dtype=np.uint8)).save(image)
    assert main(["export", str(model), "--to", str(tmp_path / "m.onnx")]) == 0
    assert main(["predict", str(model), str(image), "--out", str(tmp_path / "out")]) == 0
    capsys.readouterr()
    monkeypatch.setattr("sys.argv", [str(SCRIPT), str(tmp_path / "m.onnx"), str(image)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    wanted = json.loads((tmp_path / "out" / "p.json").read_text())["detections"]
    rows = np.array([[float(number) for number in line[1:]] for line in lines])
    inside: NDArray[np.bool_] = np.asarray(np.all(rows[:, 3:] > rows[:, 1:3], axis=1))
    lines, rows = [line for line, seen in zip(lines, inside, strict=True) if seen], rows[inside]
    assert abs(len(lines) - len(wanted)) <= 2 < len(wanted), "slivers at the edge may round to nothing"
    for entry in wanted:  # Equal scores may stand in another order.
        x, y, w, h = entry["bbox"]
        if min(w, h) < 1:
            continue
        apart = abs(rows - [entry["score"], x, y, x + w, y + h]) / [0.02, 1.5, 1.5, 1.5, 1.5]
        same = [line[0] == entry["category"] for line in lines]
        assert apart.max(1)[same].min() < 1


def test_the_example_script_needs_no_other_package_and_is_short() -> None:
    text = SCRIPT.read_text()
    imported = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            imported |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module or "")
    assert imported == {"json", "sys", "numpy", "onnxruntime", "PIL"}
    body = text.split('"""')[2]
    assert sum(bool(line.strip()) and "import" not in line for line in body.splitlines()) <= 20


class Padded(torch.nn.Module):
    """Finds one sure object where the input is padded, and a doubtful one in the image."""

    def detect(self, images: torch.Tensor, least_score: float) -> list[dict[str, torch.Tensor]]:
        found = {
            "boxes": torch.tensor([[4.0, 50.0, 20.0, 62.0], [4.0, 4.0, 20.0, 20.0]]),
            "scores": torch.tensor([1.0, 0.2]),
            "labels": torch.tensor([0, 0]),
        }
        kept = found["scores"] > least_score
        return [{name: values[kept] for name, values in found.items()}]


def test_an_object_in_the_padding_is_in_no_image_and_no_reason_for_advice(tmp_path: Path) -> None:
    described = dataclasses.replace(small_model("retinanet", size=64), categories=NAMES)
    path, cpu = photo(tmp_path / "a.png", 64, 40), torch.device("cpu")
    ((_, none),) = predict(described, Padded(), [path], 0.5, cpu)
    assert isinstance(none, Objects)
    assert len(none.scores) == 0
    assert none.highest == pytest.approx(0.2)
    ((_, one),) = predict(described, Padded(), [path], 0.2, cpu)
    assert isinstance(one, Objects)
    assert one.scores.tolist() == pytest.approx([0.2])
    assert one.boxes.tolist() == [[4.0, 4.0, 20.0, 20.0]]
