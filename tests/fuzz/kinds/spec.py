"""Spec files of all families: loaded, checked, costed, described."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

from search_space import SPACES, CostError, ScaleError, SpecError, load_spec, parse_scale
from search_space.published import PUBLISHED_SPECS
from tests.fuzz.kind import Kind
from tests.fuzz.mutation import mutate_json


def _prepare(folder: Path) -> list[Any]:
    return [json.loads(known.spec.to_json()) for known in PUBLISHED_SPECS.values()]


def _mutate(rng: Random, specs: list[Any]) -> bytes:
    return mutate_json(rng, rng.choice(specs))


def _read(case: bytes, folder: Path) -> None:
    path = folder / "spec.json"
    path.write_bytes(case)
    spec = load_spec(path)
    spec.key()
    spec.describe()
    assert type(spec).from_dict(json.loads(spec.to_json())) == spec
    spec.cost(parse_scale("49S"), 256, "retinanet", 3)
    for space in SPACES.values():
        space.contains(spec)


KIND = Kind(
    name="spec",
    prepare=_prepare,
    mutate=_mutate,
    read=_read,
    documented=(SpecError, CostError, ScaleError),
)
