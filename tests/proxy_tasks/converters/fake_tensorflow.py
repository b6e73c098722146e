"""What `read_checkpoint` uses of TensorFlow, over variables that a test makes up."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest


class Reader:
    """A checkpoint's reader.

    Args:
        variables: by key.
        claimed: shapes that the index tells, where they are others.
    """

    def __init__(self, variables: Mapping[str, Any], claimed: Mapping[str, list[int]]) -> None:
        self.variables, self.claimed = variables, claimed

    def get_variable_to_shape_map(self) -> dict[str, list[int]]:
        return {key: list(np.shape(value)) for key, value in self.variables.items()} | dict(self.claimed)

    def has_tensor(self, key: str) -> bool:
        return key in self.variables

    def get_tensor(self, key: str) -> Any:
        assert key not in self.claimed, "TensorFlow would take that much memory"
        return self.variables[key]


def install(
    patch: pytest.MonkeyPatch,
    prefix: Path,
    variables: Mapping[str, Any],
    *,
    claimed: Mapping[str, list[int]] | None = None,
    size: int = 1 << 26,
) -> None:
    """Lets `import tensorflow` give this, and writes the files of a checkpoint that are looked at.

    Args:
        patch: undoes it.
        prefix: of the files.
        variables: by key.
        claimed: see `Reader`.
        size: bytes of the data file, which has holes.
    """
    module: Any = ModuleType("tensorflow")
    module.__spec__ = ModuleSpec("tensorflow", None)
    module.train = SimpleNamespace(load_checkpoint=lambda _: Reader(variables, claimed or {}))
    message: Any = ModuleType("tensorflow.core.protobuf.trackable_object_graph_pb2")
    message.TrackableObjectGraph = None
    for name in ("tensorflow", "tensorflow.core", "tensorflow.core.protobuf", message.__name__):
        patch.setitem(sys.modules, name, module if name == "tensorflow" else ModuleType(name))
    patch.setitem(sys.modules, message.__name__, message)
    Path(f"{prefix}.index").touch()
    with Path(f"{prefix}.data-00000-of-00001").open("wb") as file:
        file.truncate(size)
