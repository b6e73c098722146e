"""The config.yaml of a run folder, as `nas resume` reads and completes it."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

from nas.config import ConfigError
from tests.fuzz.kind import Kind
from tests.fuzz.mutation import dumps, mutate_bytes, mutate_data

BOMB = "\n".join(
    ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
)
SNIPPETS = (
    BOMB,
    "config: &a [*a]",
    "<<: *a",
    "&x seed: *x",
    "!!python/object/apply:os.getcwd []",
    "a: !!binary x",
)


def _prepare(folder: Path) -> tuple[str, Any]:
    import torch  # noqa: F401
    from omegaconf import OmegaConf

    import nas.search.build  # noqa: F401
    from nas.config import compose, config_text

    config = compose("search", ["task=synthetic", "controller=random", "executor=in_process", "run_dir=r"])
    return config_text(config), OmegaConf.to_container(config)


def _mutate(rng: Random, material: tuple[str, Any]) -> bytes:
    text, tree = material
    how = rng.randrange(4)
    if how == 0:
        return mutate_bytes(rng, text.encode())
    if how == 1:
        lines = text.splitlines()
        lines.insert(rng.randrange(len(lines)), rng.choice(SNIPPETS))
        return "\n".join(lines).encode()
    return dumps(mutate_data(rng, tree)).encode("utf-8", "surrogatepass")  # JSON is YAML.


def _read(case: bytes, folder: Path) -> None:
    from nas.cli.search import PARTS
    from nas.config import build_root, config_text, merge_overrides, read_config
    from nas.search.settings import SearchSettings

    path = folder / "config.yaml"
    path.write_bytes(case)
    config = merge_overrides(read_config(path, PARTS), ["trials=12"])
    build_root(config, SearchSettings)
    config_text(config)


KIND = Kind(name="config", prepare=_prepare, mutate=_mutate, read=_read, documented=(ConfigError,))
