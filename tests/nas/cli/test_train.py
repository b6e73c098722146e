"""`nas train` and what one does with its model: real processes, killed and resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from nas.cli.main import main
from nas.training.run import TrainingLogger
from nas.utils.signals import INTERRUPTED
from proxy_tasks.data.shapes import ShapesConfig, make_shapes
from proxy_tasks.engine.state_file import STATE
from proxy_tasks.models.model_file import load_model, save_model
from proxy_tasks.training_task import TrainingTask
from search_space import load_spec, published_space, published_spec, spec_key
from tests.nas.search.killing import ROOT, Forked

TINY = "49,width=0.125,endpoints=16,head_filters=16,head_convs=1"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shapes(tmp_path_factory.mktemp("data") / "shapes", ShapesConfig(train=24, val=8, size=64))


def words(root: Path, folder: Path, **more: object) -> list[str]:
    settings: dict[str, object] = {
        "task.train.steps": 12,
        "task.train.batch": 4,
        "task.train.image_size": 64,
        "task.evaluations": 3,
    }
    settings |= {"task.train.checkpoint_every": 2, "task.device": "cpu"}
    settings |= {"task.data.root": root, "task.data.cache": root.parent / "cache", "run_dir": folder}
    return [f"scale='{TINY}'", *(f"{key}={value}" for key, value in {**settings, **more}.items())]


@pytest.fixture(scope="module")
def trained(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "t"
    assert main(["train", *words(root, folder)]) == 0
    return folder


def test_a_training_leaves_models_metrics_and_a_card(trained: Path) -> None:
    kept = json.loads((trained / "metrics.json").read_text())
    assert kept["finished"] is True
    assert sorted(map(int, kept["evaluations"])) == [4, 8, 12]
    card = (trained / "card.md").read_text()
    for told in (
        "retinanet on SpineNet, 6 classes, 64 px",
        "key of the spec",
        "AP50",
        "steps: 12",
        "spinenet-spec",
    ):
        assert told in card
    assert (trained / "spec.svg").is_file()
    assert list(trained.glob("events.*"))
    assert not (trained / "training.pt").exists()


def test_status_takes_a_training(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["status", str(trained), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["kind"], found["finished"], found["alive"], found["step"]) == ("training", True, False, 12)
    assert found["seconds"] > 0
    assert found["best"]["reward"] == max(
        metrics["reward"]
        for metrics in json.loads((trained / "metrics.json").read_text())["evaluations"].values()
    )
    assert not (trained / "progress.json").exists()


def test_a_model_file_is_all_that_eval_needs(
    trained: Path, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = json.loads((trained / "metrics.json").read_text())["evaluations"]["12"]
    capsys.readouterr()
    cache = str(root.parent / "cache")
    model = str(trained / "last.safetensors")
    assert main(["eval", model, "--root", str(root), "--cache", cache, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    measured = {name: value for name, value in found.items() if value is not None}
    assert measured == pytest.approx({name: metrics[name] for name in measured})
    assert len(found) == 12
    assert {name for name in found if name in metrics} == measured.keys()


def test_predictions_are_drawings_and_data(
    trained: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = sorted((root / "images" / "val").iterdir())[0]
    bad = tmp_path / "bad.jpg"
    bad.write_text("no image")
    model = str(trained / "best.safetensors")
    status = main(["predict", model, str(image), str(bad), "--out", str(tmp_path / "out"), "--score", "0"])
    assert status == 1
    assert "bad.jpg: this image cannot be read" in capsys.readouterr().err
    data = json.loads((tmp_path / "out" / f"{image.stem}.json").read_text())
    assert (data["width"], data["height"]) == (64, 64)
    assert data["detections"]
    for found in data["detections"]:
        x, y, w, h = found["bbox"]
        assert -0.01 <= x <= x + w <= 64.02
        assert -0.01 <= y <= y + h <= 64.02
        assert 0 <= found["score"] <= 1
    with Image.open(tmp_path / "out" / f"{image.stem}.png") as drawn:
        assert drawn.size == (64, 64)
    assert not (tmp_path / "out" / "bad.json").exists()


def test_predictions_never_replace_what_is_not_theirs(
    trained: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = tmp_path / "x.png"
    image.write_bytes(next((root / "images" / "val").iterdir()).read_bytes())
    before = image.read_bytes()
    words = ["predict", str(trained / "best.safetensors"), str(image)]
    assert main([*words, "--out", str(tmp_path)]) == 2
    assert "x.png is one of the images; give another --out" in capsys.readouterr().err
    out = tmp_path / "out"
    out.mkdir()
    (out / "x.json").write_text("{}")
    assert main([*words, "--out", str(out)]) == 2
    assert "x.json exists and was not written by this command" in capsys.readouterr().err
    (out / "x.json").unlink()
    (out / "x.png").write_bytes(b"a picture of somebody's")
    assert main([*words, "--out", str(out)]) == 2
    assert "x.png exists and was not written by this command" in capsys.readouterr().err
    assert (out / "x.png").read_bytes() == b"a picture of somebody's"
    (out / "x.png").unlink()
    assert main([*words, "--out", str(out)]) == main([*words, "--out", str(out)]) == 0
    assert image.read_bytes() == before


def test_a_resume_that_cannot_be_leaves_the_training_resumable(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off while the trained network is measured: the state is there, and other settings do not fit it."""
    folder = tmp_path / "run"

    def fail(*_: object) -> None:
        raise OSError("gone")

    with monkeypatch.context() as patched:
        patched.setattr(TrainingLogger, "on_evaluation", fail)
        assert main(["train", *words(root, folder, **{"task.evaluations": 1})]) == 1
    assert (folder / STATE).exists()
    config = (folder / "config.yaml").read_bytes()
    assert main(["resume", str(folder), "task.train.steps=3"]) == 2
    assert "holds 12 steps; train.steps is only 3" in capsys.readouterr().err
    assert main(["resume", str(folder), "spec=r0-sp53"]) == 2
    assert "spec=r0-sp53: a resume keeps what it was begun with, spinenet-49" in capsys.readouterr().err
    assert (folder / "config.yaml").read_bytes() == config
    assert main(["status", str(folder)]) == 0
    assert f"to continue: nas resume {folder}" in capsys.readouterr().out
    assert main(["resume", str(folder)]) == 0
    assert not (folder / STATE).exists()


def test_a_resume_trains_what_was_begun_whatever_has_become_of_its_file(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A search that goes on writes another winner into the same file."""
    file, folder = tmp_path / "best.json", tmp_path / "run"
    file.write_text(published_spec("spinenet-49").to_json())
    trained: list[str] = []

    def fit(self: TrainingTask, spec: Any, *_: Any, **__: Any) -> None:
        trained.append(spec.key())
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(TrainingTask, "fit", fit)
        assert main(["train", *words(root, folder, spec=file)]) == 130
        file.write_text(published_spec("r0-sp53").to_json())
        assert main(["resume", str(folder)]) == 130
        file.unlink()
        assert main(["resume", str(folder)]) == 130
    assert trained == [published_spec("spinenet-49").key()] * 3
    assert load_spec(folder / "spec.json") == published_spec("spinenet-49")


@pytest.mark.parametrize("what", ["damaged", "a pipe"])
def test_weights_that_cannot_be_read_leave_no_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    path = tmp_path / "weights.safetensors"
    if what == "damaged":
        path.write_bytes(b"12345678{}")
    else:
        os.mkfifo(path)
    assert main(["train", "spec=spinenet-49", f"weights={path}", f"run_dir={tmp_path / 'run'}"]) == 2
    assert str(path) in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("what", "told"), [("spec=r50-fpn", "another spec"), ("scale=49S", "another scale: width")]
)
def test_weights_of_another_backbone_leave_no_folder(
    trained: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str, told: str
) -> None:
    file = trained if what == "scale=49S" else trained / "best.safetensors"  # A folder's best one.
    assert main(["train", *words(root, tmp_path / "run"), f"weights={file}", what]) == 2
    assert f"best.safetensors: its backbone has {told}" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_training_takes_the_padding_and_the_norms_of_its_weights(
    trained: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for weights of TensorFlow's repositories; otherwise they would give other features."""
    model, net, _ = load_model(trained / "best.safetensors")
    released = replace(model, convention="garden", norm=replace(model.norm, eps=1e-4))
    save_model(tmp_path / "released.safetensors", released, net, {})
    words_of_it = words(root, tmp_path / "run", **{"task.train.steps": 2, "task.evaluations": 1})
    begun: list[nn.Module] = []

    def stop(net: nn.Module, *_: object, **__: object) -> None:
        begun.append(net)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("proxy_tasks.training_task.fit", stop)
        command = ["train", *words_of_it, f"weights={tmp_path / 'released.safetensors'}"]
        assert main(command) == INTERRUPTED
    _, whole, _ = load_model(tmp_path / "released.safetensors")
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        ours, theirs = (each.eval().backbone(images) for each in (begun[0], whole))  # type: ignore[operator]
    for name in theirs:
        torch.testing.assert_close(ours[name], theirs[name])
    assert main(["resume", str(tmp_path / "run")]) == 0
    tuned, _, _ = load_model(tmp_path / "run" / "best.safetensors")
    assert (tuned.convention, tuned.norm.eps) == ("garden", 1e-4)
    assert tuned.norm.momentum == model.norm.momentum


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("task: {_target_: proxy_tasks.SyntheticTask}\n", "config.yaml is damaged: it has no 'spec'"),
        ("spec: spinenet-49\nrun_dir: a\ntask: {}\nray: 5\nlayout: 2\n", "ray"),
    ],
)
def test_a_configuration_that_is_no_trainings_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, told: str
) -> None:
    """A search whose journal is lost looks like a training."""
    (tmp_path / "config.yaml").write_text(text)
    assert main(["resume", str(tmp_path), "--trust"]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.slow
def test_a_killed_training_goes_on_to_the_same_weights(trained: Path, root: Path, tmp_path: Path) -> None:
    folder, output = tmp_path / "killed", tmp_path / "output.txt"
    process = Forked(output, "train", *words(root, folder))
    deadline = time.monotonic() + 60
    while not (folder / "training.pt").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    assert not (folder / "card.md").exists(), "killed too late to show anything"
    assert Forked(output, "resume", str(folder)).wait(120) == 0, output.read_text()
    ours, whole = load_file(folder / "last.safetensors"), load_file(trained / "last.safetensors")
    assert ours.keys() == whole.keys()
    for name, tensor in whole.items():
        assert torch.equal(ours[name], tensor), name
    assert Forked(output, "resume", str(folder)).wait(60) == 0
    assert "nothing to do" in output.read_text()


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"spec": "nope"}, "unknown spec"),
        ({"spec": "spinenet-96"}, "give spec and scale separately"),
        ({"scale": "48"}, "unknown scale '48'"),
        ({"task": "synthetic"}, "task.train: no such key"),
        ({"foo": 1}, "foo: no such key"),
    ],
)
def test_wrong_input_is_told_in_one_line(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: dict[str, object], told: str
) -> None:
    assert main(["train", *words(root, tmp_path / "t", **more)]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert not (tmp_path / "t").exists()


def test_a_folder_that_holds_a_training_is_not_begun_anew(
    trained: Path, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *words(root, trained)]) == 2
    assert f"already holds a training; to continue: nas resume {trained}" in capsys.readouterr().err


def test_other_categories_and_files_that_are_no_models_are_refused(
    trained: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    make_shapes(other, ShapesConfig(train=2, val=2, size=64))
    path = other / "annotations" / "instances_val.json"
    data = json.loads(path.read_text())
    data["categories"][0]["name"] = "cube"
    path.write_text(json.dumps(data))
    model = str(trained / "best.safetensors")
    assert main(["eval", model, "--root", str(other)]) == 2
    assert "only the model has 1 'disc'; only the data has 1 'cube'" in capsys.readouterr().err
    assert main(["eval", str(trained / "card.md"), "--root", str(root)]) == 2
    assert "no model file" in capsys.readouterr().err
    assert main(["export", model, "--to", str(tmp_path / "x.onx")]) == 2
    assert "ends in .onnx or .pt2 is needed, or --format" in capsys.readouterr().err


def test_a_spec_is_exported_for_tensorflow(tmp_path: Path) -> None:
    assert main(["export", "spinenet-49", "--format", "tuples", "--to", str(tmp_path / "spec.py")]) == 0
    assert "(3, 'bottleneck', (2, 3), False)" in (tmp_path / "spec.py").read_text()


@pytest.mark.parametrize("form", ["tuples", "torch"])
def test_an_export_never_replaces_what_it_is_made_from(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    file = tmp_path / "source"
    if form == "tuples":
        file.write_text(published_spec("spinenet-49").to_json())
    else:
        file = tmp_path / "best.safetensors"
        file.write_bytes((trained / "best.safetensors").read_bytes())
    before = file.read_bytes()
    (tmp_path / "link").symlink_to(file)
    for name in (file, tmp_path / "link"):
        assert main(["export", str(file), "--to", str(name), "--format", form]) == 2
        assert "is the file that is exported; give another name" in capsys.readouterr().err
    assert file.read_bytes() == before


@pytest.mark.slow
def test_a_winner_of_another_stem_goes_the_whole_way(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A spec of R23-SP30's space: trained, measured, used, exported, described."""
    space = published_space("r23-sp30")
    spec = space.decode(space.sample(np.random.default_rng(3)))
    (tmp_path / "spec.json").write_text(spec.to_json())
    folder = tmp_path / "t"
    more = {"spec": tmp_path / "spec.json", "task.train.steps": 4, "task.evaluations": 1}
    assert main(["train", *words(root, folder, **more)]) == 0
    model = str(folder / "best.safetensors")
    cache = str(root.parent / "cache")
    assert main(["eval", model, "--root", str(root), "--cache", cache]) == 0
    image = sorted((root / "images" / "val").iterdir())[0]
    assert main(["predict", model, str(image), "--out", str(tmp_path / "out")]) == 0
    assert main(["export", model, "--to", str(tmp_path / "m.pt2"), "--raw"]) == 0
    program = torch.export.load(str(tmp_path / "m.pt2")).module()
    _, net, _ = load_model(model)
    images = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        for ours, theirs in zip(net.outputs(images).values(), program(images), strict=True):  # type: ignore[operator]
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    capsys.readouterr()
    assert main(["card", model]) == 0
    assert spec_key(spec) in capsys.readouterr().out


# Adam would magnify the rounding of gradients near zero.
SHARED = {
    "task.train.optimizer": "sgd",
    "task.train.learning_rate": 0.01,
    "task.train.steps": 4,
    "task.evaluations": 2,
}


@pytest.fixture(scope="module")
def trained_by_one(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("one") / "t"
    assert main(["train", *words(root, folder, **SHARED)]) == 0
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["torchrun", "ray"])
def test_two_processes_train_one_model(
    root: Path, trained_by_one: Path, tmp_path: Path, launcher: str
) -> None:
    folders = [trained_by_one, tmp_path / "two"]
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", "2"] if launcher == "torchrun" else []
    command = [sys.executable, *torchrun, "-m", "nas", "train"]
    more = {}
    if launcher == "ray":
        command.append("ray.workers=2")
        more = {"RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0"}
    done = subprocess.run(
        [*command, *words(root, folders[1], **SHARED)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **more},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("training spinenet-49 ") == 1, "only the first process speaks"
    one, two = (json.loads((f / "metrics.json").read_text())["evaluations"] for f in folders)
    assert one.keys() == two.keys()
    # Sums over two processes round otherwise, which so small a network magnifies from step to step.
    assert two["4"]["loss"] == pytest.approx(one["4"]["loss"], rel=0.05)
    assert (folders[1] / "card.md").is_file()


def test_wrong_numbers_of_workers_on_ray_are_told(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for wrong in ("ray.workers=-1", "ray.workers=2.5", "ray.gpus=-1"):
        arguments = words(root, tmp_path / "t", **{"ray.workers": 2})
        assert main(["train", *arguments, wrong]) == 2
        assert "ray." in capsys.readouterr().err
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("fidelity=inf", "fidelity must be a number above 0 and at most 1000, not inf"),
        ("fidelity=nan", "fidelity must be a number above 0"),
        ("seed=-1", "seed must be a whole number of at least 0"),
        ("seed=a", "seed must be a whole number of at least 0"),
        ("seed=99999999999", "seed must be a whole number of at least 0 and below 4294967296"),
        ("task.evaluations=0", "evaluations must be a whole number of at least 1"),
        ("task.train.warm_up=1.0", "train.warm_up must be a number of at least 0 and below 1, not 1.0"),
        ("task.train.clip=0", "train.clip must be a number above 0, not 0"),
        ("task.train.drops=[320]", "train.drops must be a list, every item a number above 0 and below 1"),
        (
            "task.train.augmentation.low=-1",
            "augmentation.low must be a number above 0 and at most 10, not -1",
        ),
        ("task.norm.momentum=2", "momentum must be a number above 0 and at most 1, not 2"),
        ("task.train.stepz=3", "task.train.stepz: no such key"),
        ("task.reward=AP05", "unknown reward 'AP05' (did you mean AP"),
        ("task.device=gpu", "device must be cpu, cuda or auto, not 'gpu'"),
    ],
)
def test_wrong_settings_are_told_and_leave_no_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str, told: str
) -> None:
    assert main(["train", "spec=spinenet-49", "task=cpu", f"run_dir={tmp_path / 'run'}", change]) == 2
    err = capsys.readouterr().err
    assert told in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_training_never_begins_in_the_folder_of_a_search(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = f"run_dir={tmp_path / 'run'}"
    assert main(["search", "task=synthetic", "executor=in_process", "trials=2", run]) == 0
    before = (tmp_path / "run" / "config.yaml").read_bytes()
    assert main(["train", "spec=spinenet-49", "task=cpu", run]) == 2
    assert "holds a search; choose another run_dir=" in capsys.readouterr().err
    assert (tmp_path / "run" / "config.yaml").read_bytes() == before


def test_a_damaged_checkpoint_says_how_to_begin_again(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (print, ("ran",))

    def cut_off(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    folder = tmp_path / "t"
    with monkeypatch.context() as patched:
        patched.setattr("proxy_tasks.engine.train.update", cut_off)
        assert main(["train", *words(root, folder)]) == INTERRUPTED
    for damage in (lambda: torch.save(Evil(), folder / STATE), lambda: (folder / STATE).write_bytes(b"x")):
        damage()
        capsys.readouterr()
        assert main(["resume", str(folder)]) == 1
        shown = capsys.readouterr()
        assert "no usable checkpoint: " in shown.err
        assert f"remove {folder / STATE}, then type: nas resume {folder}" in shown.err
        assert "weights_only" not in shown.err
        assert "ran" not in shown.out.split()
    (folder / STATE).unlink()
    assert main(["resume", str(folder)]) == 0
