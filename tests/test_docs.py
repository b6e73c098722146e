"""The documents are true: every command and every code block in them runs, page by page, in order.

A comment before a block says what a reader cannot do here, or what is made shorter:

    <!-- not run: needs a GPU -->           the block is left out, and says why
    <!-- run with: trials=2 -->             words added to its `nas search`, `train`, `compare` and `versus`
    <!-- file: my_file.py -->               the block is that file
"""

from __future__ import annotations

import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from nas.cli.main import main
from proxy_tasks.data.shapes import ShapesConfig, make_shapes
from tests.proxy_tasks.small_data import write_yolo
from tests.proxy_tasks.small_networks import SMALL

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
BLOCK = re.compile(
    r"(?:<!-- (not run|run with|file): (.*?) -->\n\n?)?^```([\w{}-]*)\n(.*?)^```", re.MULTILINE | re.DOTALL
)
CONFIGURED = re.compile(r"nas (search|train|compare|versus)\b(?! *--)")
NEWEST = re.compile(r"\b(runs|trainings)/DATE")
SHELL = re.compile(r"[|&;<>$*]")
SHOWN = ("", "text", "json", "toml", "yaml", "{toctree}", "{eval-rst}")
"""Languages of blocks that are shown and not run."""


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Args:
        language: as the fence says.
        text: what is in it.
        mark, note: what the comment before it says, such as "run with" and "trials=2".
    """

    language: str
    text: str
    mark: str
    note: str


def blocks(page: Path) -> list[Block]:
    found = BLOCK.findall(page.read_text())
    return [Block(language, text, mark, note) for mark, note, language, text in found]


def commands(block: Block) -> list[str]:
    """One for each command: continued lines are joined, comments and `uv run` are left out."""
    lines = re.sub(r" *\\\n\s*", " ", block.text).splitlines()
    found = []
    for line in lines:
        command = re.sub(r"(^|&& )(pip install uv && )?uv run ", r"\1", line.split("  #")[0].strip())
        if not command or command.startswith("#"):
            continue
        if block.mark == "run with" and CONFIGURED.search(command):
            command += f" {block.note}"
        found.append(command)
    return found


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with DIR, a COCO set, PHOTOS, the same in YOLO's format, IMAGE, one picture, and a spec."""
    folder = tmp_path_factory.mktemp("data")
    make_shapes(folder / "DIR", ShapesConfig(train=16, val=8, size=64, seed=0))
    write_yolo(folder / "DIR", folder / "PHOTOS")
    shutil.copy(next((folder / "DIR" / "images" / "val").iterdir()), folder / "IMAGE")
    Image.open(folder / "IMAGE").verify()
    (folder / "small.json").write_text(SMALL.to_json())
    return folder


@pytest.fixture
def folder(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that holds what `data` does, and nothing else."""
    shutil.copytree(data, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:  # The next page may have a file of the same name.
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_says_can_be_done(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType(f"document_{page.stem.replace('-', '_')}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for block in blocks(page):
        if block.mark == "not run":
            continue
        if block.mark == "file":
            (folder / block.note).write_text(block.text)
            example = ROOT / "examples" / block.note
            assert not example.exists() or example.read_text() == block.text, f"{page.name}: {block.note}"
        elif block.language == "python":
            exec(block.text, module.__dict__)
        elif block.language == "sh":
            for command in commands(block):
                run(command, folder, page)
        else:
            assert block.language in SHOWN, f"{page.name}: {block.language}"


def run(command: str, folder: Path, page: Path) -> None:
    def newest(found: re.Match[str]) -> str:
        made = sorted((folder / found[1]).iterdir(), key=lambda path: path.stat().st_mtime)
        return str(made[-1].relative_to(folder))

    command = NEWEST.sub(newest, command)
    if command.startswith("nas ") and not SHELL.search(command):
        # In this process: a new one would spend seconds on importing torch, for each of dozens of commands.
        try:
            status = main(shlex.split(command)[1:])
        except SystemExit as end:  # As --help and --version do.
            status = int(end.code or 0)
        assert status == 0, f"{page.name}: {command}"
        return
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    found = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=400
    )
    assert found.returncode == 0, f"{page.name}: {command}\n{found.stdout[-2000:]}\n{found.stderr[-3000:]}"


@pytest.mark.parametrize("written", ["ours", "theirs", "none"])
def test_a_site_without_one_of_our_pages_is_refused(tmp_path: Path, written: str) -> None:
    """As happened to a page called search: Sphinx's own search page has that name."""
    check = runpy.run_path(str(ROOT / "docs" / "conf.py"))["check_headings"]
    ours = '<h1>A <code>nas</code> &amp; B<a class="headerlink" href="#a">#</a></h1>'
    page = {"ours": ours, "theirs": "<h1>Search</h1>", "none": "<p></p>"}[written]
    (tmp_path / "search.html").write_text(page)
    app = types.SimpleNamespace(
        builder=types.SimpleNamespace(
            name="html", get_outfilename=lambda name: str(tmp_path / f"{name}.html")
        ),
        env=types.SimpleNamespace(
            found_docs={"search"}, titles={"search": types.SimpleNamespace(astext=lambda: "A nas & B")}
        ),
    )
    if written == "ours":
        check(app, None)
    else:
        with pytest.raises(ValueError, match="the page search is not in the site"):
            check(app, None)


def test_every_page_has_a_place_in_the_site() -> None:
    contents = (ROOT / "docs" / "index.md").read_text()
    named = set(" ".join(re.findall(r"```{toctree}\n(.*?)```", contents, re.DOTALL)).split())
    pages = {page.stem for page in (ROOT / "docs").glob("*.md")} - {"index"}
    assert pages <= named
    assert not pages & {"search", "genindex", "py-modindex"}  # Sphinx writes pages of these names.


def test_blocks_are_told_apart() -> None:
    page = "<!-- run with: trials=2 -->\n```sh\nuv run nas search \\\n  seed=1  # why\nls\n```\n"
    page += "\n```python\n1\n```\n"
    mark, note, language, text = BLOCK.findall(page)[0]
    assert commands(Block(language, text, mark, note)) == ["nas search seed=1 trials=2", "ls"]
    assert BLOCK.findall(page)[1] == ("", "", "python", "1\n")
