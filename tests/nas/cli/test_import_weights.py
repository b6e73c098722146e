"""`nas import-weights`: whatever is wrong is told in one line with the file, and nothing is left behind."""

from __future__ import annotations

import os
import stat
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.cli.main import main
from proxy_tasks.models.model_file import load_model
from tests.golden import weights
from tests.proxy_tasks.converters.fake_tensorflow import install

SCALE = "49,width=0.125,alpha=0.5,endpoints=8,activation=swish,head_filters=8,head_convs=2"
DETECTOR = ("--head", "retinanet", "--scale", SCALE, "--classes", "5", "--size", "128")


@cache
def variables() -> dict[str, Any]:
    """A small RetinaNet of the TPU repository, whose variables are known by their names."""
    with np.load(Path(__file__).parents[2] / "golden" / "tpu_models.npz", allow_pickle=False) as file:
        rows = file["retinanet/variables"].tolist()
    return {row[0]: weights.variable(row[0], tuple(int(n) for n in row[-1].split("x"))) for row in rows}


def some(ending: str) -> str:
    """A variable whose name ends so."""
    return next(key for key in variables() if key.endswith(ending))


def run(
    folder: Path, capsys: pytest.CaptureFixture[str], *words: str, to: str = "m.safetensors"
) -> tuple[int, str]:
    status = main(["import-weights", str(folder / "ckpt"), *words, "--to", str(folder / to)])
    return status, capsys.readouterr().err.replace("loading the packages, which takes seconds\n", "")


def refused(folder: Path, capsys: pytest.CaptureFixture[str], *words: str, to: str = "m.safetensors") -> str:
    """What the command says in its one line."""
    before = sorted(folder.iterdir())
    status, told = run(folder, capsys, *words, to=to)
    assert status == 2
    lines = [line for line in told.splitlines() if line.startswith("nas: ")]
    assert len(lines) == 1, told
    assert "traceback" not in told.lower()
    assert sorted(folder.iterdir()) == before
    return lines[0]


def test_a_checkpoint_becomes_a_model_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(monkeypatch, tmp_path / "ckpt", variables())
    assert run(tmp_path, capsys, *DETECTOR)[0] == 0
    model, _, _ = load_model(tmp_path / "m.safetensors")
    assert (model.image_size, len(model.categories)) == (128, 5)


def changed(key: str, value: Any) -> dict[str, Any]:
    return {**variables(), key: value}


@pytest.mark.parametrize(
    ("key", "change", "told"),
    [
        ("gamma", lambda v: np.array(["a"] * len(v), object), "holds object, not float32"),
        ("gamma", lambda v: b"text", "holds |S4, not float32"),
        ("conv2d/kernel", lambda v: v.astype(np.complex64), "holds complex64, not float32"),
        ("conv2d/kernel", lambda v: v.astype(np.int32), "holds int32, not float32"),
        ("conv2d/kernel", lambda v: v * np.nan, "holds numbers that are not finite"),
        ("moving_variance", lambda v: -v - 1, "holds a variance below 0"),
        ("conv2d/kernel", lambda v: v[0], "has 3 axes; a kernel has 4"),
        ("conv2d/kernel", lambda v: v[0, 0, 0, 0], "has 0 axes; a kernel has 4"),
        ("box-predict/bias", lambda v: v[:-1], "does not hold 4 numbers for each box"),
        ("class-predict/bias", lambda v: v[:-1], "of another shape"),
    ],
)
def test_what_no_weight_can_be_is_refused_by_name(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    key: str,
    change: Any,
    told: str,
) -> None:
    name = some(key)
    install(monkeypatch, tmp_path / "ckpt", changed(name, change(variables()[name])))
    line = refused(tmp_path, capsys, *DETECTOR)
    assert told in line
    assert str(tmp_path / "ckpt") in line


@pytest.mark.parametrize(
    "more", ["spinenet/conv2d/depthwise_kernel", "zz/kernel", "x" * 100_000, "spinenet/conv2d_" + "9" * 5000]
)
def test_every_variable_has_one_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], more: str
) -> None:
    install(monkeypatch, tmp_path / "ckpt", changed(more, variables()[some("conv2d/kernel")]))
    line = refused(tmp_path, capsys, *DETECTOR)
    assert "variables without a place" in line
    assert len(line) < 1000


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--scale", SCALE + ",width=1000"), "of another shape"),
        (("--scale", SCALE + ",head_filters=100000"), "of another shape"),
        (("--scale", SCALE + ",head_convs=100000"), "more layers than"),
        (("--classes", "9999"), "of another shape"),
        (("--classes", "0"), "--classes must be in 1..10000, not 0"),
        (("--classes", "3000000"), "--classes must be in 1..10000, not 3000000"),
        (("--size", "1"), "--size must be in 32..4096 pixels, not 1"),
        (("--norm-eps", "0"), "--norm-eps must be above 0"),
        (("--anchor-base", "nan"), "--anchor-base must be above 0"),
    ],
)
def test_a_wrong_option_is_told_without_a_network_of_that_size(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    told: str,
) -> None:
    install(monkeypatch, tmp_path / "ckpt", variables())
    assert told in refused(tmp_path, capsys, *DETECTOR, *words)


def test_an_index_that_claims_more_than_its_data_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(monkeypatch, tmp_path / "ckpt", changed("huge", 0.0), claimed={"huge": [1 << 20, 1 << 20]})
    assert "its index tells of 10995" in refused(tmp_path, capsys, *DETECTOR)


@pytest.mark.parametrize("absent", [".index", ".data-00000-of-00001", ""])
def test_a_missing_file_is_told_before_tensorflow_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], absent: str
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tensorflow", None)
    for ending in (".index", ".data-00000-of-00001"):
        if ending != absent:
            (tmp_path / f"ckpt{ending}").touch()
    line = refused(tmp_path, capsys, *DETECTOR)
    assert (f"ckpt{absent}: there is no such file" if absent else "needs TensorFlow") in line


@pytest.mark.parametrize(
    "fault", [TypeError("Descriptors cannot be created"), ImportError("libcudart.so.12")]
)
def test_a_tensorflow_that_does_not_work_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fault: Exception
) -> None:
    install(monkeypatch, tmp_path / "ckpt", variables())

    class Broken:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "tensorflow":
                raise fault

    monkeypatch.delitem(__import__("sys").modules, "tensorflow")
    monkeypatch.setattr("sys.meta_path", [Broken(), *__import__("sys").meta_path])
    assert f"TensorFlow cannot be imported: {type(fault).__name__}: {fault}" in refused(
        tmp_path, capsys, *DETECTOR
    )


@pytest.mark.parametrize("to", ["ckpt.index", "m.onnx", "m", ".safetensors", "folder.safetensors"])
def test_a_model_file_has_its_ending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], to: str
) -> None:
    (tmp_path / "folder.safetensors").mkdir()
    install(monkeypatch, tmp_path / "ckpt", variables())
    assert "--to: the name of a model file ends in .safetensors, not" in refused(
        tmp_path, capsys, *DETECTOR, to=to
    )


def test_a_pipe_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(monkeypatch, tmp_path / "ckpt", variables())
    pipe, link = tmp_path / "pipe.safetensors", tmp_path / "link.safetensors"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    for path in (pipe, link):
        status, told = run(tmp_path, capsys, *DETECTOR, to=path.name)
        assert status == 1
        assert f"{path}: it is a device or a pipe" in told
        assert stat.S_ISFIFO(pipe.stat().st_mode)
        assert link.is_symlink()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"categories": {}}', "no category has an id in 0..4"),
        ("[]", "no COCO annotations with categories"),
        ('{"categories": [{"id": 1.5, "name": "a"}]}', "whole number as id"),
        ('{"categories": [{"id": 1, "name": null}]}', "a text as name"),
        ('{"categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}', "has two names, 'a' and 'b'"),
        ("", "no COCO annotations with categories"),
    ],
)
def test_categories_that_name_no_output_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str, told: str
) -> None:
    install(monkeypatch, tmp_path / "ckpt", variables())
    (tmp_path / "names.json").write_text(text)
    line = refused(tmp_path, capsys, *DETECTOR, "--categories", str(tmp_path / "names.json"))
    assert told in line
    assert "names.json" in line
