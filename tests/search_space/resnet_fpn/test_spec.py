from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from search_space import R50FPNSpec, SpecError, load_spec, published_spec


def test_a_spec_is_a_readable_file(tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    for spec in (R50FPNSpec(), R50FPNSpec(0.3), R50FPNSpec(1 / 64)):
        path.write_text(spec.to_json())
        assert load_spec(path) == spec
    assert load_spec("R50-FPN") == published_spec("r50-fpn") == R50FPNSpec()


def test_widths_of_the_same_filters_share_a_key() -> None:
    assert R50FPNSpec(0.5).key() == R50FPNSpec(0.501).key()
    assert R50FPNSpec(0.5).key() != R50FPNSpec(0.51).key()


@pytest.mark.parametrize("width", [0, -1, 0.01, 2000, math.nan, True, "1", None])
def test_impossible_widths_are_refused(width: object) -> None:
    with pytest.raises(SpecError, match=r"width must be a number of at least 0\.015625"):
        R50FPNSpec(width)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"width": "1"}, "width must be a number"),
        ({"extra": 1}, 'unknown key "extra"'),
        ({"version": 2}, "reads versions up to 1"),
        ({"version": True}, '"version" must be a whole number from 1, not true'),
    ],
)
def test_wrong_files_are_refused_with_the_key(
    tmp_path: Path, change: dict[str, object], expected: str
) -> None:
    path = tmp_path / "spec.json"
    path.write_text(json.dumps({**json.loads(R50FPNSpec().to_json()), **change}))
    with pytest.raises(SpecError, match=expected):
        load_spec(path)
