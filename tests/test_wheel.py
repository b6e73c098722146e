"""The package as a wheel, away from the checkout: everything that it needs is in it."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("nas", "search_space", "controllers", "proxy_tasks")


@pytest.mark.slow
def test_the_wheel_searches_in_an_empty_folder(tmp_path: Path) -> None:
    """Built without the network, and before the checkout on the path; what it needs is installed here."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    wheel = next((tmp_path / "dist").glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
        names = archive.namelist()
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "docs/"))]
    assert "nas/configs/task/cpu.yaml" in names
    for folder in ("reporting", "training"):
        templates = (ROOT / "nas" / folder / "templates").iterdir()
        assert {f"nas/{folder}/templates/{file.name}" for file in templates} <= set(names)
    assert "proxy_tasks/spinenet_bench/data/trainings.parquet" in names
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(names)
    home = tmp_path / "empty"
    home.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}

    def nas(*words: str) -> str:
        found = subprocess.run(
            [sys.executable, "-m", "nas", *words], cwd=home, env=environment, capture_output=True, text=True
        )
        assert found.returncode == 0, found.stderr
        return found.stdout

    where = [sys.executable, "-c", "import nas; print(nas.__file__)"]
    told = subprocess.run(where, cwd=home, env=environment, capture_output=True, text=True).stdout
    assert told.startswith(str(tmp_path / "site"))
    (home / "mine.py").write_text(
        "class Mine:\n    def evaluate(self, spec):\n        return -float(spec.blocks[0].level)\n"
    )
    words = ("task._target_=mine.Mine", "trials=6", "executor=in_process", "workers=1", "run_dir=run")
    assert "winner: trial" in nas("search", *words)
    assert (home / "run" / "report.html").is_file()
    assert "cpu" in nas("tasks")
