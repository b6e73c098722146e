"""The house itself: what may be imported, what is shipped, what the README promises."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

import search_space
from nas import config_folder
from search_space import SPACES, ScalePermutedSpace

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "torchvision", "ray", "optuna", "matplotlib", "hydra", "pycocotools")


@pytest.mark.parametrize(
    "code", ["import search_space", "from nas.__main__ import _build_parser; _build_parser()"]
)
def test_light_imports_stay_light(code: str) -> None:
    check = f"{code}\nimport sys\nprint([m for m in {HEAVY} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, cwd=ROOT)
    assert found.stdout == "[]\n", found.stderr


def test_help_does_not_even_import_numpy() -> None:
    check = "import sys, nas.__main__ as m; m._build_parser(); print('numpy' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, cwd=ROOT)
    assert found.stdout == "False\n"


@pytest.mark.parametrize("name", SPACES)
def test_every_ready_made_space_has_a_config_that_builds_it(name: str) -> None:
    config = OmegaConf.load(config_folder() / "space" / f"{name}.yaml")
    assert instantiate(config) == SPACES[name]


def test_the_custom_space_config_shows_every_field() -> None:
    config = OmegaConf.load(config_folder() / "space" / "custom.yaml")
    assert set(config) - {"_target_", "_convert_"} == set(ScalePermutedSpace.__dataclass_fields__)
    assert instantiate(config) == SPACES["r0-sp53"]


def test_the_readme_shows_commands_that_exist() -> None:
    readme = (ROOT / "README.md").read_text()
    assert "uv run nas " in readme
    assert "uv run pytest" in readme
    for command in re.findall(r"uv run nas (spec \w+|\w+)", readme):
        found = subprocess.run(
            [sys.executable, "-m", "nas", *command.split(), "--help"], capture_output=True, cwd=ROOT
        )
        assert found.returncode == 0, command


def test_ci_runs_the_readmes_test_command() -> None:
    assert "uv run pytest" in (ROOT / ".ci" / "run").read_text()


def test_links_in_the_documents_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("name", sorted(m.name for m in pkgutil.iter_modules(search_space.__path__)))
def test_examples_in_docstrings_are_true(name: str) -> None:
    result = doctest.testmod(importlib.import_module(f"search_space.{name}"))
    assert result.failed == 0


def test_every_public_name_is_there_and_documented() -> None:
    for name in search_space.__all__:
        thing = getattr(search_space, name)
        assert thing.__doc__ or not callable(thing), name
