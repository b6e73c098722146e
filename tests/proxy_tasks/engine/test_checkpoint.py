"""Checkpoints that somebody has changed: they run no code, and whatever is wrong is one error."""

from __future__ import annotations

import io
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import nn

from proxy_tasks.engine.checkpoint import Past, Trained, restore_checkpoint, save_checkpoint
from proxy_tasks.engine.config import TrainConfig
from proxy_tasks.engine.optimizer import make_optimizer
from proxy_tasks.task import TaskFailureError

LOSSES = [3.0, 2.5, 2.25]
PAST = Past(seed=7, losses=LOSSES, seconds=12.5)


def made(optimizer: Literal["sgd", "adamw"] = "sgd") -> Trained:
    """A network and its optimizer as trainings have them."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    config = TrainConfig(steps=8, batch=1, image_size=32, learning_rate=0.1, optimizer=optimizer)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    return Trained(net=net, optimizer=make_optimizer(net, config), average=None, scaler=scaler)


def restore(path: Path) -> Past:
    return restore_checkpoint(path, made(), 7)


def updated(folder: Path, optimizer: Literal["sgd", "adamw"]) -> Path:
    """A checkpoint whose optimizer remembers one update."""
    state = made(optimizer)
    state.net(torch.zeros(1, 3, 4, 4)).sum().backward()
    state.optimizer.step()
    save_checkpoint(folder / "training.pt", state, PAST)
    return folder / "training.pt"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "training.pt", made(), PAST)
    return tmp_path / "training.pt"


def test_what_was_saved_is_restored(path: Path) -> None:
    assert restore(path) == PAST


def test_a_checkpoint_of_another_seed_is_of_another_training(path: Path) -> None:
    with pytest.raises(TaskFailureError, match="of a training with the seed 7, not 8"):
        restore_checkpoint(path, made(), 8)


def scaled(enabled: bool) -> Trained:
    return replace(made(), scaler=torch.amp.GradScaler("cpu", init_scale=32.0, enabled=enabled))


@pytest.mark.parametrize(("before", "after"), [(False, True), (True, False), (True, True)])
def test_a_training_goes_on_in_another_precision(tmp_path: Path, before: bool, after: bool) -> None:
    """Another GPU may have bf16, which takes no scaled losses, or may lack it."""
    save_checkpoint(tmp_path / "training.pt", scaled(before), PAST)
    now = scaled(after)
    assert restore_checkpoint(tmp_path / "training.pt", now, 7) == PAST
    assert now.scaler.get_scale() == (32.0 if after else 1.0)


class Evil:
    def __init__(self, mark: str) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (Path(self.mark),)


@pytest.mark.parametrize("plain", [True, False], ids=["a pickle", "in an archive"])
def test_a_pickle_runs_no_code(path: Path, tmp_path: Path, plain: bool) -> None:
    mark = tmp_path / "executed"
    if plain:
        path.write_bytes(pickle.dumps({"step": Evil(str(mark))}))
    else:
        torch.save({"step": Evil(str(mark))}, path)
    with pytest.raises(TaskFailureError, match="no usable checkpoint"):
        restore(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    "change",
    [
        {"losses": 10**400},
        {"losses": torch.tensor([1.0, float("nan")])},
        {"losses": "7"},
        {"losses": None},
        {"seconds": "seven"},
        {"seconds": -1.0},
        {"seconds": float("nan")},
        {"seed": None},
        {"seed": torch.zeros(2)},
        {"net": []},
        {"net": {"0.weight": 1}},
        {"optimizer": {}},
        {"optimizer": {"state": {0: {"momentum_buffer": "x"}}, "param_groups": [{"params": [[]]}]}},
        {"optimizer": 10**30},
    ],
)
def test_a_value_of_another_type_is_told(path: Path, change: dict[str, Any]) -> None:
    state = torch.load(path, weights_only=True)
    torch.save({**state, **change}, path)
    with pytest.raises(TaskFailureError, match=r"training\.pt: no usable checkpoint: ") as raised:
        restore(path)
    assert raised.value.kind == "infrastructure"
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize(
    "buffer",
    [
        torch.zeros(3),
        torch.zeros(1).expand(10**10),
        torch.zeros(1, dtype=torch.float64).expand(4, 3, 3, 3),
        torch.zeros(2, device="meta"),
        [0.0],
        None,
    ],
    ids=["short", "long", "of another type", "of no memory", "a list", "nothing"],
)
def test_a_buffer_that_does_not_fit_its_parameter_is_told(
    tmp_path: Path, optimizer: Literal["sgd", "adamw"], buffer: Any
) -> None:
    """The fused optimizers would read and write behind the end of a short one."""
    path = updated(tmp_path, optimizer)
    state = torch.load(path, weights_only=True)
    remembered = state["optimizer"]["state"][0]
    for name in remembered:
        torch.save(state | {"optimizer": {"state": {0: remembered | {name: buffer}}}}, path)
        with pytest.raises(TaskFailureError, match=f"its optimizer has a wrong {name} for a parameter of"):
            restore_checkpoint(path, made(optimizer), 7)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_values_that_share_their_memory_are_copied(
    tmp_path: Path, optimizer: Literal["sgd", "adamw"]
) -> None:
    path = updated(tmp_path, optimizer)
    state = torch.load(path, weights_only=True)
    remembered = state["optimizer"]["state"][0]
    for name in remembered.keys() - {"step"}:
        remembered[name] = torch.full((1,), 0.5).expand(4, 3, 3, 3)
    torch.save(state, path)
    restored = made(optimizer)
    restore_checkpoint(path, restored, 7)
    for name in remembered.keys() - {"step"}:
        assert restored.optimizer.state[next(restored.net.parameters())][name].stride() == (27, 9, 3, 1)


@pytest.mark.parametrize(
    ("state", "told"),
    [({7: {}}, "a parameter 7"), ({"0": {}}, "a parameter '0'"), ({0: {"a": 1}}, r"remembers \['a'\]")],
)
def test_what_the_optimizer_does_not_know_is_told(path: Path, state: Any, told: str) -> None:
    saved = torch.load(path, weights_only=True)
    torch.save(saved | {"optimizer": {"state": state}}, path)
    with pytest.raises(TaskFailureError, match=told):
        restore(path)


def test_the_optimizer_keeps_its_own_settings(path: Path) -> None:
    saved = torch.load(path, weights_only=True)
    saved["optimizer"]["param_groups"][0] |= {"momentum": "much", "lr": 10**400}
    torch.save(saved, path)
    restored = made()
    restore_checkpoint(path, restored, 7)
    assert restored.optimizer.param_groups[0]["momentum"] == 0.9


def test_a_compressed_archive_is_no_checkpoint(path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name) + b"\0" * 10**7)
    path.write_bytes(packed.getvalue())
    assert path.stat().st_size < 10**6
    with pytest.raises(TaskFailureError, match="its parts are compressed"):
        restore(path)


def test_parts_that_share_their_bytes_are_no_checkpoint(path: Path) -> None:
    """Overlapping parts make a small file a large one without any compression."""
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        first = archive.infolist()[0]
    entry = content.index(b"PK\x01\x02")
    content[entry + 20 : entry + 28] = (10**9).to_bytes(4, "little") * 2
    path.write_bytes(content)
    with pytest.raises(TaskFailureError, match="no usable checkpoint"):
        restore(path)
    assert first.file_size < 10**6


def test_what_a_kill_left_in_the_middle_of_a_checkpoint_is_removed(tmp_path: Path) -> None:
    left = [tmp_path / f".123-{16 * '0'}{ending}" for ending in (".pt", ".json", ".safetensors")]
    own = [tmp_path / name for name in ("metrics.json", ".hidden.pt", f".123-{16 * '0'}.html")]
    for path in (*left, *own):
        path.touch()
    restore_checkpoint(tmp_path / "training.pt", made(), 7)
    assert [path.exists() for path in left] == [False] * 3
    assert [path.exists() for path in own] == [True] * 3
