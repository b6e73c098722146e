"""Checkpoints that somebody has changed: they run no code, and whatever is wrong is one error."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from proxy_tasks.engine.checkpoint import restore_checkpoint, save_checkpoint
from proxy_tasks.task import TaskFailureError


def made() -> tuple[nn.Module, torch.optim.Optimizer]:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    return net, torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)


def restore(path: Path) -> int:
    return restore_checkpoint(path, *made(), None, torch.device("cpu"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "training.pt", 7, *made(), None)
    return tmp_path / "training.pt"


def test_what_was_saved_is_restored(path: Path) -> None:
    assert restore(path) == 7


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
        {"step": 10**400},
        {"step": -1},
        {"step": "7"},
        {"step": None},
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
