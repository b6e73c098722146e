"""`nas completion` and `nas complete`: the words that may follow, for bash, zsh and fish.

Packages such as shtab write scripts from a parser of options. They know nothing of KEY=VALUE words, whose
keys depend on the presets that the words before have chosen; so the shells ask the program itself.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from pathlib import Path

from nas.cli.arguments import CommandParser, Commands
from nas.cli.train import holds_training

CONFIGURED = {
    "search": "search",
    "train": "train",
    "versus": "versus",
    "compare": "compare",
    "judge": "judge",
    "correlate": "judge",
}
"""Commands of KEY=VALUE, each with the name of its configuration."""


FLAGS = ("--help", "--cfg", "--resolve", "--multirun", "--config-dir", "--config-name")


SPECS = ("spinenet-49", "r0-sp53", "mobile-spinenet-49", "nas-fpn", "r50-fpn")


BASH = """_nas() {
  local IFS=$'\\n'
  COMPREPLY=($(nas complete "$COMP_LINE" "$COMP_POINT" 2>/dev/null))
}
complete -o default -o nospace -F _nas nas
"""


ZSH = """(( $+functions[compdef] )) || { autoload -U compinit && compinit; }
_nas() {
  local -a found
  found=(${(f)"$(nas complete --whole "${(j: :)words[1,CURRENT]}" 2>/dev/null)"})
  if (( $#found )); then compadd -S '' -a found; else _files; fi
}
compdef _nas nas
"""


SCRIPTS = {
    "bash": BASH,
    "zsh": ZSH,
    "fish": """complete -c nas -a '(nas complete --whole (commandline -cp))'
""",
}


def add_completion_commands(commands: Commands) -> None:
    """Adds the commands to the parser's."""
    completion = commands.add_parser(
        "completion",
        help="print a shell's completion script",
        description='For bash: eval "$(nas completion bash)"; to keep it, add that line to ~/.bashrc.',
    )
    completion.add_argument("shell", choices=tuple(SCRIPTS))
    completion.set_defaults(run=_script)
    complete = commands.add_parser("complete")  # Without help: for the scripts alone.
    complete.add_argument("line")
    complete.add_argument("point", nargs="?", type=int)
    complete.add_argument("--whole", action="store_true")
    complete.set_defaults(run=lambda options: _complete(options, commands))


def _script(options: argparse.Namespace) -> int:
    print(SCRIPTS[options.shell], end="")
    return 0


def _complete(options: argparse.Namespace, commands: Commands) -> int:
    line = options.line[: options.point]
    words = line.split()[1:]
    word = "" if line.endswith(" ") or not words else words.pop()
    for found in sorted(set(candidates(words, word, commands))):
        if found.startswith(word):
            # Bash breaks words at "=", and wants only what comes after.
            print(found if options.whole else found.rpartition("=")[2] if "=" in word else found)
    return 0


def candidates(words: list[str], word: str, commands: Commands) -> Iterator[str]:
    """Whole words that may stand there.

    Args:
        words: the words before, without "nas".
        word: the word at the cursor, as far as it is written.
        commands: of the parser.
    """
    from nas.config import ConfigError

    names = {name: parser for name, parser in commands.choices.items() if name != "complete"}
    if not words:
        yield from names
        return
    name = CONFIGURED.get(words[0])
    if name is not None:
        with contextlib.suppress(ConfigError):  # What is written is wrong already.
            yield from _overrides(name, words[1:], word)
        return
    if words[0] == "resume" and len(words) > 1:
        with contextlib.suppress(ConfigError):
            yield from _overrides("train" if holds_training(Path(words[1])) else "search", [], word)
        return
    parser: CommandParser | None = names.get(words[0])
    if parser is None:
        return
    if parser.commands is not None:
        if len(words) == 1:
            yield from parser.commands.choices
            return
        parser = parser.commands.choices.get(words[1], parser)
    for action in parser.arguments:
        yield from action.option_strings
        if action.metavar == "SPEC":
            yield from SPECS
        elif action.dest == "head" and action.choices is None:
            from search_space import HEADS

            yield from HEADS
        elif action.choices is not None:
            yield from map(str, action.choices)


def _overrides(command: str, words: list[str], word: str) -> Iterator[str]:
    """Keys of a configuration one level below what is written, or values of a key."""
    from nas.config import is_group
    from nas.config.keys import list_keys
    from nas.config.presets import list_presets

    if word.startswith("-"):
        yield from FLAGS
        return
    sign = word[: len(word) - len(word.lstrip("+~"))]
    key, equals, _ = word.removeprefix(sign).partition("=")
    keys = list_keys(command, words)
    if equals:
        if key == "spec":
            yield from (f"{key}={name}" for name in SPECS)
        elif is_group(key):
            yield from (f"{sign}{key}={name}" for name in list_presets(key))
        else:
            yield from (f"{sign}{key}={value}" for value in keys.get(key, []))
        return
    above = key.rpartition(".")[0]
    for found in keys:
        if found.rstrip(".").rpartition(".")[0] == above:
            yield sign + (found if found.endswith(".") else f"{found}=")
    if not above and command == "search":
        yield f"{sign}experiment="
