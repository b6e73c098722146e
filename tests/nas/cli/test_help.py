"""What the help says: what a command does, the keys that matter, examples, and nothing beyond 80 columns."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from nas.cli.arguments import WIDTH, CommandParser
from nas.cli.completion import CONFIGURED
from nas.cli.examples import HELP
from nas.cli.main import build_parser, main
from nas.config.keys import list_keys

OWN = ("search", "train", "compare", "judge")


def commands(parser: CommandParser) -> Iterator[CommandParser]:
    yield parser
    if parser.commands is not None:
        for below in parser.commands.choices.values():
            yield from commands(below)


PROGRAMS = sorted({parser.prog for parser in commands(build_parser())} - {"nas complete"})


@pytest.mark.parametrize("columns", ["80", "200"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_every_help_fits_a_terminal(
    program: str, columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    try:
        status = main([*program.split()[1:], "--help"])
    except SystemExit as end:
        status = int(end.code or 0)
    assert status == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: {program.replace('correlate', 'judge')}")
    assert max(map(len, text.splitlines())) <= WIDTH
    if program in HELP or program.removeprefix("nas ") in OWN:
        assert "\nexamples:\n  " in text


@pytest.mark.parametrize("command", OWN)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_ten_keys_are_explained_and_there(
    command: str, flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, flag]) == 0
    text = capsys.readouterr().out
    keys = re.findall(r"^  ([a-z_][\w.]*)  +[A-Z]", text, re.MULTILINE)
    assert len(keys) == 10
    known = {key.rstrip(".") for key in list_keys(CONFIGURED[command])}
    assert set(keys) <= known
    assert len(text.split("examples:\n")[1].strip().splitlines()) >= 3


def test_versus_offers_only_what_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["versus", "--help"]) == 0
    text = capsys.readouterr().out
    offered = re.findall(r"^  (--[\w-]+)", text.split("more:\n")[1], re.MULTILINE)
    assert offered == ["--cfg", "--json", "--trust"]
    assert main(["versus", "--cfg", "job"]) == 0
    for refused in ("--multirun", "--config-dir=x"):
        assert main(["versus", refused]) == 2


def test_examples_are_of_commands_that_exist() -> None:
    assert set(HELP) <= set(PROGRAMS)
