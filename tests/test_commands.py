"""Every command that a document, a message, a docstring or a comment names can be typed as it stands.

A mention such as `nas predict` must be a command. A command with words must be one that the parser takes;
for commands of KEY=VALUE, the keys and presets must exist. Words in capitals and in braces are a reader's.
"""

from __future__ import annotations

import ast
import re
import shlex
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from nas.cli.arguments import CommandParser
from nas.cli.completion import CONFIGURED
from nas.cli.hydra_app import HYDRAS
from nas.cli.main import build_parser
from nas.config import ConfigError, compose
from nas.config.keys import list_keys
from nas.config.presets import check_preset, is_group
from tests.test_docs import BLOCK, PAGES, ROOT, Block, commands

PACKAGES = ("nas", "search_space", "controllers", "proxy_tasks")
PLACE = "X"
"""Stands for what a message fills in."""

PROGRAM = re.compile(r"(?<![\w./'-])nas +(?=[a-z])")
END = re.compile(r"[`;,\n\"|…)]|  |\. |\.$|: | #")
TYPED = re.compile(r"^(-.*|[\w.~+-]*=.*|[A-Z][A-Z_]*|.*[./].*|X+|\d+)$")
PIP = re.compile(r"pip install ((?:'?[\w.=\[\]{}-]+'? ?)+)")
ELSEWHERE = {
    "uv": "the installer",
    "optuna-dashboard": "shows a study",
    "tf-models-official": "made reference values",
    "tensorflow-cpu": "made reference values",
    "X": "what a message fills in",
}
"""Packages that documents and messages name and pyproject.toml does not."""


def texts() -> Iterator[tuple[str, str]]:
    """Where each text is, and the text: spans and blocks of documents, strings of sources, comments.

    Lines of blocks begin with "$ ", as they are commands as a whole.
    """
    for page in [*PAGES, ROOT / "CHANGELOG.md"]:
        text = page.read_text()
        for mark, note, language, block in BLOCK.findall(text):
            if language == "sh":
                for command in commands(Block(language, block, "", "")):
                    yield f"{page.name} ({mark} {note[:20]})", f"$ {command}"
        for span in re.findall(r"`([^`\n]+)`", BLOCK.sub("", text)):
            yield page.name, span
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            where = str(file.relative_to(ROOT))
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.JoinedStr):
                    parts = [p.value if isinstance(p, ast.Constant) else PLACE for p in node.values]
                    yield where, "".join(map(str, parts))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield where, node.value
    for file in sorted((ROOT / "configs").rglob("*.yaml")):
        for line in file.read_text().splitlines():
            yield str(file.relative_to(ROOT)), line.partition("#")[2]


@cache
def parser() -> CommandParser:
    return build_parser()


def named(text: str) -> Iterator[list[str]]:
    """The commands of ours in a text, without "nas", as far as their words look like words to type."""
    for found in PROGRAM.finditer(text):
        rest = text[found.end() :]
        piece = re.split(r"[|&;<>]", rest)[0] if text.startswith("$ ") else END.split(rest)[0]
        try:
            words = shlex.split(piece, comments=True)
        except ValueError:
            words = piece.split()
        known = parser().commands.choices
        kept: list[str] = []
        for i, word in enumerate(words):
            is_action = i == 1 and kept[0] in known and known[kept[0]].commands is not None
            is_published = re.fullmatch(r"[a-z]\w*-[\w-]*", word)  # Such as spinenet-49.
            is_option_value = bool(kept) and kept[-1].startswith("--") and "=" not in kept[-1]
            if i and not (
                TYPED.match(word) or (is_action and word.isalpha()) or is_published or is_option_value
            ):
                break
            if word.strip(".:"):
                kept.append(word.rstrip(".:"))
        if kept and kept[0] != "complete":  # That one is for the shells' scripts alone.
            yield kept


def wrong(words: list[str]) -> str:
    """What is wrong with a command; "" if nothing is."""
    name, *rest = words
    name = re.split(r"\W", name)[0] if "-" not in name else name
    known = parser().commands.choices
    if name not in known:
        return f"no command {name}"
    if name in CONFIGURED:
        if name == "versus":  # It takes the winner as a word of its own, and flags.
            rest = [word for word in rest if "=" in word and not word.startswith("-")]
        return wrong_settings(CONFIGURED[name], rest)
    if not rest:
        return ""
    command = known[name]
    if command.commands is not None:
        if rest[0] not in command.commands.choices:
            return f"no action {rest[0]}"
        if len(rest) == 1:
            return ""
    try:
        found = parser().parse_args([name, *rest])
    except SystemExit:
        return "the parser does not take it"
    return wrong_settings("search", found.overrides) if name == "resume" else ""


def wrong_settings(name: str, words: list[str]) -> str:
    flags = (
        "--help",
        "--cfg",
        "job",
        "--multirun",
        "-m",
        "--config-dir",
        "--config-name",
        "--resolve",
        *HYDRAS,
    )
    own = {"DIR", "FILE.yaml"}
    settings = [word for word in words if "=" in word and not word.startswith("-")]
    for word in words:
        if word in settings or word in flags or word in own or word.lower().endswith((".yaml", ".yml")):
            continue
        follows = words[words.index(word) - 1]
        if not re.fullmatch(r"[A-Z_]+|X", word) and not f"{follows} {word}".startswith(("--config", "--cfg")):
            return f"{word} is neither KEY=VALUE nor a flag"
    chosen = []
    for word in settings:
        key, _, value = word.lstrip("+~").partition("=")
        if is_group(key) and value not in ("...", "", PLACE, "mine", "null") and not value.isupper():
            try:
                check_preset(key, value.split(",")[0])
            except ConfigError as error:
                return str(error)
            chosen.append(word.split(",")[0])
    known = set(list_keys(name, chosen))
    for word in settings:
        key = word.lstrip("+~").partition("=")[0]
        if key in ("KEY", "controller.NAME") or is_group(key) or f"{key}." in known or key in known:
            continue
        above = key.rpartition(".")[0]
        is_open = any(key.startswith(f"{name}.") for name in OPEN)
        own_class = key.endswith("._target_") or any(w.startswith(f"{above}._target_") for w in settings)
        if not is_open and not own_class:
            return f"no key {key}"
    return ""


OPEN = ("cost_limits", "objective.limits", "observers", "space.choices", "controller.options")
"""Mappings that take any names."""


def test_no_command_is_named_that_cannot_be_typed() -> None:
    checked: dict[str, str] = {}
    for where, text in texts():
        for words in named(text):
            command = shlex.join(words)
            if command not in checked:
                checked[command] = f"{where}: nas {command}: {fault}" if (fault := wrong(words)) else ""
    faults = [told for told in checked.values() if told]
    assert faults == []
    assert len(checked) > 100


@pytest.mark.parametrize(
    "text",
    [
        "`nas serach`",
        "to continue: nas resume --again X",
        "nas spec shwo spinenet-49",
        "`nas search trails=3`",
        "`nas search task=nope`",
        "`nas search --trials 3`",
        "nas train stepz=3; then",
        "`nas export model.onnx`",
        "`nas status A B C`",
    ],
)
def test_a_command_that_cannot_be_typed_is_found(text: str) -> None:
    assert [wrong(words) for words in named(text)] != [""] * len(list(named(text)))


def test_hints_name_packages_that_an_index_has() -> None:
    """The package itself is on no index, with or without an extra in brackets."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lists = [
        project["project"]["dependencies"],
        *project["project"]["optional-dependencies"].values(),
        *project["dependency-groups"].values(),
    ]
    known = {re.split(r"[\[><=]", name)[0] for names in lists for name in names} | set(ELSEWHERE)
    for where, text in texts():
        assert not re.search(r"pip install '?spinenas(\[|'| |$)", text), where
        for found in PIP.findall(text):
            for name in found.split():
                if name.startswith("-"):
                    break
                if not name.endswith(".whl") and name not in (".", "and", "or"):
                    assert name.strip("'") in known, f"{where}: pip install {found}"


def test_extras_are_those_of_the_project() -> None:
    from search_space.utils.extras import EXTRAS, install_hint

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {name: tuple(re.split(r"[><=]", p)[0] for p in parts) for name, parts in extras.items()} == EXTRAS
    assert install_hint("export") == (
        "pip install onnx onnxruntime onnxscript, or in a checkout: uv sync --extra export"
    )


def test_a_search_that_a_document_shows_composes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that the documents' tests leave out, as they need a cluster or real data."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "COCO").mkdir()
    words = ["experiment=spinenet49", "executor.address=auto", "task.data.root=COCO", "workers=100"]
    assert compose("search", [*words, "executor.gpus=1"]).executor.address == "auto"
