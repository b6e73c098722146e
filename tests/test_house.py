"""The house itself: what may be imported, what is shipped, what the README promises."""

from __future__ import annotations

import ast
import doctest
import importlib
import itertools
import pkgutil
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from types import FunctionType

import pytest
import yaml
from hydra.utils import instantiate
from omegaconf import OmegaConf

import controllers
import nas
import proxy_tasks
import search_space
from nas import config_folder
from nas.cli.main import main
from nas.utils.terminal import complain
from search_space import SPACES, ScalePermutedSpace

ROOT = Path(__file__).parents[1]
PACKAGES = ("nas", "search_space", "controllers", "proxy_tasks")
HEAVY = ("torch", "torchvision", "ray", "optuna", "matplotlib", "hydra", "pycocotools", "rich", "jinja2")


HELP = """
from nas.cli.main import main
from nas.utils.terminal import complain
try:
    main(["--help"])
except SystemExit:
    pass
"""


@pytest.mark.parametrize(
    ("code", "absent"), [("import search_space", HEAVY), (HELP, (*HEAVY, "numpy"))], ids=["import", "help"]
)
def test_light_imports_stay_light(code: str, absent: tuple[str, ...]) -> None:
    check = f"{code}\nimport sys\nprint([m for m in {absent} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, cwd=ROOT)
    assert found.stdout.splitlines()[-1] == "[]", found.stderr


@pytest.mark.parametrize("name", SPACES)
def test_every_ready_made_space_has_a_config_that_builds_it(name: str) -> None:
    config = OmegaConf.load(config_folder() / "space" / f"{name}.yaml")
    assert instantiate(config) == SPACES[name]


def test_the_custom_space_config_shows_every_field() -> None:
    config = OmegaConf.load(config_folder() / "space" / "custom.yaml")
    assert set(config) - {"_target_", "_convert_"} == set(ScalePermutedSpace.__dataclass_fields__)
    assert instantiate(config) == SPACES["r0-sp53"]


def test_the_readme_shows_commands_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    readme = (ROOT / "README.md").read_text()
    assert "uv run nas " in readme
    assert "uv run pytest" in readme
    for command in re.findall(r"uv run nas (spec \w+|\w+)", readme):
        try:
            status = main([*command.split(), "--help"])
        except SystemExit as end:  # Only commands that Hydra reads return.
            status = int(end.code or 0)
        assert status == 0, command
        assert capsys.readouterr().out, command


def test_ci_runs_the_readmes_test_command() -> None:
    assert "uv run pytest" in (ROOT / ".ci" / "run").read_text()


def test_the_hosted_ci_runs_the_same_script() -> None:
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    steps = [step.get("run") for step in yaml.safe_load(text)["jobs"]["all"]["steps"]]
    assert "bash .ci/run" in steps


def test_every_imported_package_is_declared() -> None:
    """Without what comes with another package by chance."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = itertools.chain.from_iterable(project["optional-dependencies"].values())
    declared = {re.split(r"[\[><=]", name)[0] for name in itertools.chain(project["dependencies"], extras)}
    imported = set()
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and node.level == 0:
                    names = [node.module or ""]
                imported |= {name.partition(".")[0] for name in names}
    foreign = imported - set(sys.stdlib_module_names) - set(PACKAGES)
    owners = {
        name: {owner.lower().replace("_", "-") for owner in known}
        for name, known in packages_distributions().items()
    }
    undeclared = {name for name in foreign if not declared & owners.get(name, {name, f"{name}-skinny"})}
    assert undeclared == set()


OF_OURS = ("task", "copied", "adapted")
"""Names of things that are opened, and are no files."""


def opens_in_the_locale(call: ast.Call) -> bool:
    """Whether a call opens a text in the encoding of the locale, as far as its own words tell."""
    words = {word.arg: word.value for word in call.keywords}
    if "encoding" in words:
        return False
    constants = [arg.value for arg in (*call.args, words.get("mode")) if isinstance(arg, ast.Constant)]
    modes = [value for value in constants if re.fullmatch(r"[rwaxbt+]+", str(value))]
    binary = any("b" in str(mode) for mode in modes)
    if isinstance(call.func, ast.Name):
        return call.func.id == "open" and not binary
    if not isinstance(call.func, ast.Attribute):
        return False
    name, holder = call.func.attr, getattr(call.func.value, "id", "")
    if name in ("read_text", "write_text", "fdopen", "NamedTemporaryFile", "TemporaryFile"):
        return not binary
    if name == "open":
        return not binary and (bool(modes) or not (call.args or holder in OF_OURS))
    return name in ("Popen", "run", "check_output") and bool(words.keys() & {"text", "universal_newlines"})


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("path.read_text()", True),
        ("path.read_text(encoding='utf-8')", False),
        ("path.open()", True),
        ("path.open('a', buffering=1)", True),
        ("path.open('rb')", False),
        ("open(name)", True),
        ("open(name, mode='wb')", False),
        ("os.fdopen(3, 'w')", True),
        ("subprocess.run(words, text=True)", True),
        ("Image.open(path)", False),
        ("task.open()", False),
    ],
)
def test_what_opens_a_text_is_found(code: str, found: bool) -> None:
    call = ast.parse(code, mode="eval").body
    assert isinstance(call, ast.Call)
    assert opens_in_the_locale(call) is found


@pytest.mark.parametrize("package", PACKAGES)
def test_every_text_is_utf_8_whatever_the_locale(package: str) -> None:
    found = [
        f"{file.relative_to(ROOT)}, line {node.lineno}"
        for file in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and opens_in_the_locale(node)
    ]
    assert found == []


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_ships_its_types(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()


def test_links_in_the_documents_lead_somewhere() -> None:
    for page in [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize(
    "name", sorted(m.name for m in pkgutil.walk_packages(search_space.__path__, "search_space."))
)
def test_examples_in_docstrings_are_true(name: str) -> None:
    module = importlib.import_module(name)
    result = doctest.testmod(module)
    assert result.failed == 0
    assert result.attempted or ">>>" not in Path(str(module.__file__)).read_text(encoding="utf-8")


def test_every_public_name_is_there_and_documented() -> None:
    for package in (search_space, controllers, proxy_tasks, nas):
        for name in package.__all__:
            thing = getattr(package, name)
            assert thing.__doc__ or not isinstance(thing, type | FunctionType), f"{package.__name__}.{name}"


def test_json_is_written_in_one_place() -> None:
    """Python's own writer makes NaN and Infinity, which other readers refuse."""
    allowed = {"search_space/utils/strict_json.py", "search_space/spec_file.py"}  # The latter shows values.
    found = set()
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                writes = isinstance(node, ast.Attribute) and node.attr in ("dump", "dumps")
                if writes and isinstance(node.value, ast.Name) and node.value.id == "json":  # type: ignore[attr-defined]
                    found.add(str(file.relative_to(ROOT)))
    assert found <= allowed


def test_what_is_wrong_is_printed_in_one_way() -> None:
    """Names of files reach a terminal only through `complain`, which makes control characters visible."""
    own_ways = re.compile(r'(print|say)\((\s*)f?"nas: ')
    found = [p.name for p in (ROOT / "nas").rglob("*.py") if own_ways.search(p.read_text(encoding="utf-8"))]
    assert found == ["trust.py"]  # A question, which has an answer on its next line.


def test_a_complaint_is_one_visible_line(capsys: pytest.CaptureFixture[str]) -> None:
    complain("\x1b[31ma name\nof a file")
    assert capsys.readouterr().err == "nas: \\x1b[31ma name of a file\n"
