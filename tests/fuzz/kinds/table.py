"""Tables of scores, as CSV and as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

from proxy_tasks.table import TableError, TableTask
from search_space.choices import ChoiceSpace
from tests.fuzz.kind import Kind
from tests.fuzz.mutation import NASTY, mutate_bytes, mutate_json

ROWS: list[dict[str, Any]] = [
    {"key": f"{a}|{b}", "genotype": [i, j], "reward": i + 0.5 * j, "seconds": 3, "note": "good"}
    for i, a in enumerate("ab")
    for j, b in enumerate("xyz")
]
SPACE = ChoiceSpace({"first": ["a", "b"], "second": ["x", "y", "z"]})


def _mutate(rng: Random, _: Any) -> tuple[str, str | None, bytes]:
    column = rng.choice((None, None, "key", "genotype", "note", "absent"))
    if rng.random() < 0.5:
        data = rng.choice((ROWS, {row["key"]: row["reward"] for row in ROWS}))
        return ".json", column, mutate_json(rng, data)
    lines = [",".join(ROWS[0]), *(",".join(f'"{cell}"' for cell in row.values()) for row in ROWS)]
    if rng.random() < 0.5:
        at = rng.randrange(len(lines))
        cells = lines[at].split(",")
        cells[rng.randrange(len(cells))] = str(rng.choice(NASTY[:-4]))[:100_000]
        lines[at] = ",".join(cells)
    text = "\n".join(lines).encode("utf-8", "surrogatepass")
    return ".csv", column, mutate_bytes(rng, text) if rng.random() < 0.7 else text


def _read(case: tuple[str, str | None, bytes], folder: Path) -> None:
    ending, column, content = case
    path = folder / f"table{ending}"
    path.write_bytes(content)
    task = TableTask(path, name=column, space=SPACE)
    assert task.digest
    for score in task.scores():
        json.dumps([score.reward, dict(score.metrics)], allow_nan=False)


KIND = Kind(name="table", prepare=lambda folder: None, mutate=_mutate, read=_read, documented=(TableError,))
