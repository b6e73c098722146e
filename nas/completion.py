"""`nas completion` and `nas complete`: what can stand where the cursor is, for bash, zsh and fish."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator

from nas import config_folder
from nas.plugins import installed
from nas.spec_commands import Commands

CONFIGURED = ("search", "train", "compare")
SPECS = ("spinenet-49", "r0-sp53", "mobile-spinenet-49", "nas-fpn")
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
        words: those before, without "nas".
        word: the one at the cursor, as far as it is written.
        commands: the parser's.
    """
    names = {name: parser for name, parser in commands.choices.items() if name != "complete"}
    if not words:
        yield from names
        return
    if words[0] in CONFIGURED:
        yield from _overrides(words[0], word)
        return
    parser = names.get(words[0])
    if parser is None:
        return
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            if len(words) == 1:
                yield from action.choices
                return
            parser = action.choices.get(words[1], parser)
    for action in parser._actions:  # argparse has no public way to ask.
        yield from action.option_strings
        if action.metavar == "SPEC":
            yield from SPECS
        elif action.choices is not None:
            yield from map(str, action.choices)


def _overrides(command: str, word: str) -> Iterator[str]:
    """Keys of a configuration, and what a group's key may be."""
    folder = config_folder()
    key, equals, _ = word.partition("=")
    group = folder / key.strip("+")
    if equals:
        if key == "spec":
            yield from (f"{key}={name}" for name in (*SPECS, "r50-fpn"))
        elif group.is_dir():
            yield from (f"{key}={path.stem}" for path in group.glob("*.yaml"))
            yield from (f"{key}={name}" for name in installed(key))
        return
    text = (folder / f"{command}.yaml").read_text()
    groups = re.findall(r"^  - (?:optional |override )*([a-z_]+):", text, re.MULTILINE)
    keys = re.findall(r"^([a-z_]+): *([^#\n]*)", text, re.MULTILINE)
    yield from (f"{name}=" for name in groups)
    yield from (f"{name}=" for name, value in keys if value.strip() and name != "defaults")
    for name, inner in re.findall(r"^([a-z_]+): *(?:#.*)?\n((?:  .*\n?)+)", text, re.MULTILINE):
        if name != "defaults":
            yield from (
                f"{name}.{key}=" for key in re.findall(r"^  ([a-z_]+):", inner, re.MULTILINE) if key[0] != "_"
            )
