"""Model files that somebody has sent: they run no code, and ask for no more than their tensors are."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from nas.cli.main import main
from proxy_tasks.models.model import ModelError, build_model
from proxy_tasks.models.model_file import load_model, read_model, save_model
from search_space import RetinaNetHead, published_spec
from tests.proxy_tasks.small_networks import small_model

Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "m.safetensors"
    model = small_model("retinanet", size=64)
    save_model(path, model, build_model(model), {"seed": 0})
    return path


def changed(honest: Path, out: Path, change: Change) -> Path:
    """The same tensors with another description."""
    with safe_open(honest, "pt") as file:
        head = file.metadata()
    info = json.loads(head["info"])
    change(info)
    save_file(load_file(honest), out, {**head, "info": json.dumps(info)})
    return out


def nas_fpn(**changes: Any) -> dict[str, Any]:
    return {**json.loads(published_spec("nas-fpn").to_json()), **changes}


@pytest.mark.parametrize(
    "change",
    [
        lambda info: info["model"]["scale"].update(head_convs=100_000, head_filters=1),
        lambda info: info["model"]["scale"].update(repeats=100_000),
        lambda info: info["model"].update(spec=nas_fpn(stacks=1000)),
        lambda info: info["model"].update(spec=nas_fpn(layers=[1000] * 4)),
        lambda info: info["model"].update(categories=[[i, str(i)] for i in range(300_000)]),
        lambda info: info["model"]["scale"].update(endpoints=100_000, head_filters=100_000),
        lambda info: info["model"]["scale"].update(width=1000),
        lambda info: info["model"]["head"]["settings"]["anchors"].update(octaves=[0.0] * 50_000),
    ],
    ids=["convs", "repeats", "stacks", "layers", "categories", "wide head", "wide", "anchors"],
)
def test_a_description_is_held_against_the_tensors_before_anything_is_built(
    honest: Path, tmp_path: Path, change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build() -> NoReturn:
        pytest.fail("a network was built in memory")

    path = changed(honest, tmp_path / "m.safetensors", change)
    real = build_model
    monkeypatch.setattr(
        "proxy_tasks.models.model_file.build_model",
        lambda model: real(model) if torch.empty(0).is_meta else build(),
    )
    began = time.process_time()
    for read in (load_model, read_model):
        with pytest.raises(ModelError, match=r"m\.safetensors: (does not fit its own model|.*damaged)"):
            read(path)
    assert time.process_time() - began < 60, "it was refused by its size, not by its end"


@pytest.mark.parametrize(
    "change",
    [
        lambda info: info.clear(),
        lambda info: info.update(model=[]),
        lambda info: info["model"].pop("spec"),
        lambda info: info["model"].update(spec={"format": "spinenet-spec", "version": 10**30}),
        lambda info: info["model"].update(image_size=10**9),
        lambda info: info["model"].update(image_size=10**400),
        lambda info: info["model"].update(categories=[[10**400, None]] * 3),
        lambda info: info["model"].update(categories=7),
        lambda info: info["model"].update(convention=["torch"]),
        lambda info: info["model"].update(norm={"eps": 10**400}),
        lambda info: info["model"].update(scale=[]),
        lambda info: info["model"]["scale"].update(width=float("nan")),
        lambda info: info["model"]["head"].update(settings={"network": "os.system"}),
        lambda info: info["model"]["head"].update(name="_target_"),
        lambda info: info.update(training=[]),
        lambda info: info["training"].update(seed=[[[]]]),
        lambda info: info["training"].update(metrics={"AP": "<script>"}),
        lambda info: info["training"].update(metrics={"AP": 10**400}),
        lambda info: info["training"].update(versions=[]),
    ],
)
def test_whatever_is_wrong_in_a_description_is_a_model_error(
    honest: Path, tmp_path: Path, change: Change, capsys: pytest.CaptureFixture[str]
) -> None:
    path = changed(honest, tmp_path / "m.safetensors", change)
    with pytest.raises(ModelError, match=r"m\.safetensors: its description is damaged: "):
        load_model(path)
    assert main(["card", str(path)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("info", "[" * 100_000),
        ("info", "9" * 5000),
        ("info", "\x00"),
        ("version", "²"),
        ("version", "9" * 5000),
        ("version", ""),
    ],
)
def test_a_header_may_hold_anything(honest: Path, tmp_path: Path, name: str, value: str) -> None:
    with safe_open(honest, "pt") as file:
        head = file.metadata()
    save_file(load_file(honest), tmp_path / "m.safetensors", {**head, name: value})
    with pytest.raises(ModelError, match=r"m\.safetensors: its description is damaged: "):
        load_model(tmp_path / "m.safetensors")


@dataclass(frozen=True, kw_only=True)
class ChoosingHead(RetinaNetHead):
    """A head whose network is a setting, which a file could choose."""

    network: str = field(default="proxy_tasks.models.retinanet.RetinaNet")  # type: ignore[misc]


@pytest.mark.parametrize(
    ("which", "settings"),
    [
        (f"{__name__}:ChoosingHead", {"network": "torch.utils.collect_env.run"}),
        ("torch.utils.collect_env:run", {"command": "true"}),
        ("subprocess:Popen", {"args": ["true"]}),
        ("search_space:RetinaNetHead.__init__.__globals__", {}),
        ("nas.cli.main:main", {}),
        ("antigravity:fly", {}),
    ],
)
def test_a_file_chooses_no_code(honest: Path, tmp_path: Path, which: str, settings: dict[str, Any]) -> None:
    def change(info: dict[str, Any]) -> None:
        info["model"]["head"] = {"class": which, "settings": settings}

    with pytest.raises(ModelError, match=r"is not imported|cannot say which network"):
        load_model(changed(honest, tmp_path / "m.safetensors", change))


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    model = small_model()
    net = build_model(model)
    with torch.no_grad():
        next(net.parameters()).fill_(math.nan)
    save_model(tmp_path / "m.safetensors", model, net, {})
    with pytest.raises(ModelError, match="is not finite; the training has diverged, or the file is damaged"):
        load_model(tmp_path / "m.safetensors")
