"""The config.yaml of a search or of a training, as `nas resume` reads and completes it."""

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


WORDS = {
    "search": ["task=synthetic", "controller=random", "executor=in_process", "run_dir=r"],
    "train": ["spec=spinenet-49", "run_dir=r"],
}


def _prepare(folder: Path) -> dict[str, tuple[str, Any]]:
    import torch  # noqa: F401
    from omegaconf import OmegaConf

    import nas.search.build  # noqa: F401
    from nas.config import compose, config_text

    found = {}
    for command, words in WORDS.items():
        config = compose(command, words)
        found[command] = config_text(config), OmegaConf.to_container(config)
    return found


def _mutate(rng: Random, material: dict[str, tuple[str, Any]]) -> tuple[str, bytes]:
    command = rng.choice(("search", "train"))
    return command, _damage(rng, *material[command])


def _damage(rng: Random, text: str, tree: Any) -> bytes:
    how = rng.randrange(4)
    if how == 0:
        return mutate_bytes(rng, text.encode())
    if how == 1:
        lines = text.splitlines()
        lines.insert(rng.randrange(len(lines)), rng.choice(SNIPPETS))
        return "\n".join(lines).encode()
    return dumps(mutate_data(rng, tree)).encode("utf-8", "surrogatepass")  # JSON is YAML.


def _read(case: tuple[str, bytes], folder: Path) -> None:
    from nas.cli import search, train
    from nas.config import build_root, config_text, merge_overrides, read_config
    from nas.search.settings import SearchSettings
    from nas.training.settings import TrainSettings

    command, content = case
    path = folder / "config.yaml"
    path.write_bytes(content)
    parts, changed = (search.PARTS, "trials=12") if command == "search" else (train.PARTS, "fidelity=0.5")
    config = merge_overrides(read_config(path, parts), [changed])
    build_root(config, SearchSettings if command == "search" else TrainSettings)
    config_text(config)


KIND = Kind(name="config", prepare=_prepare, mutate=_mutate, read=_read, documented=(ConfigError,))
