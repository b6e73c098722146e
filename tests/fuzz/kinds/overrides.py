"""Words of a command line: composed as `nas search --cfg job` does."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.kind import Kind, RefusedError, commands
from tests.fuzz.mutation import mutate_bytes

WORDS = (
    "trials=10",
    "seed=3",
    "space=r0-sp53",
    "task=synthetic",
    "task=table",
    "controller=random",
    "controller=evolution",
    "controller.population=20",
    "executor=in_process",
    "executor.address=null",
    "workers=2",
    "fidelity=0.5",
    "wall_time=3600",
    "target=1e3",
    "run_dir=runs/a",
    "task.seconds=2",
    "objective.minimize=[seconds]",
    "objective.limits={seconds: 5}",
    "+task.more=1",
    "~pruner",
    "pruner=median",
    "observers.mine._target_=my_file.Mine",
    "cost_limits={macs: 1e9}",
    "experiment=r0_sp53",
    "a.b.c=[1,2,{d: 3}]",
    "tracker='a b'",
)
PIECES = (
    "[",
    "]",
    "{",
    "}",
    "'",
    '"',
    "\\",
    "${",
    "}",
    "=",
    "+",
    "~",
    ",",
    ":",
    " ",
    "@",
    "\0",
    "null",
    "???",
)


def _mutate(rng: Random, _: Any) -> list[str]:
    """Words, some of them with pieces of grammar, long or deep values, or damaged bytes."""
    words = rng.sample(WORDS, rng.randint(1, 4))
    at = rng.randrange(len(words))
    key, _, value = words[at].partition("=")
    how = rng.randrange(6)
    if how == 0:
        text = mutate_bytes(rng, words[at].encode(), 4).decode("utf-8", "surrogateescape")
    elif how == 1:
        place = rng.randrange(len(words[at]) + 1)
        text = words[at][:place] + "".join(rng.choices(PIECES, k=rng.randint(1, 8))) + words[at][place:]
    elif how == 2:
        depth = rng.choice((10, 100, 500, 1000))
        opened, closed = rng.choice((("[", "]"), ("{a:", "}"), ("f(", ")"), ("${", "}"), ("'", "'")))
        text = f"{key}={opened * depth}{value}{closed * depth}"
    elif how == 3:
        text = f"{key}={rng.choice(('a', '9', 'ä', '[1,', 'x.', '$', '-', '1e'))}" * rng.choice((1, 50, 3000))
    elif how == 4:
        numbers = (
            "9" * 5000,
            "1e999",
            "-0",
            "nan",
            "inf",
            "1_0",
            "0x1F",
            "1:2:3",
            "2024-01-01",
            "&a [*a]",
            "!!x",
        )
        text = f"{key}={rng.choice(numbers)}"
    else:
        text = f"{rng.choice(WORDS).partition('=')[0]}.{key}={value}"
    words[at] = text
    return words


def _prepare(folder: Path) -> None:
    import torch  # noqa: F401

    import nas.search.build  # noqa: F401

    commands(("search", "--cfg", "job"))


def _read(case: list[str], folder: Path) -> None:
    # A word that begins with a dash is an option, and some of those are Hydra's own commands.
    words = [word for word in case if not word.startswith("-") and "\0" not in word]
    commands(("search", "--cfg", "job", *words))


KIND = Kind(name="overrides", prepare=_prepare, mutate=_mutate, read=_read, documented=(RefusedError,))
