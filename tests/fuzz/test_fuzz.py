"""A small share of the fuzzing; `python -m tests.fuzz` runs as much as one likes."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from random import Random

import pytest

from tests.fuzz import harness
from tests.fuzz.harness import fuzz
from tests.fuzz.kind import Kind
from tests.fuzz.kinds import find_kind

CASES = {"spec": 60, "table": 60, "config": 12, "journal": 12, "model": 12, "checkpoint": 40}
"""How many cases of each kind are tried here: together they take some seconds."""


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_mutated_inputs_are_answered_as_documented(name: str) -> None:
    outcome = fuzz(find_kind(name), range(CASES[name]), 1, lambda _: None)
    assert outcome.cases == CASES[name]
    assert outcome.faults == []


def _misbehave(case: int, folder: Path) -> None:
    if case == 0:
        raise ValueError("as documented")
    if case == 1:
        raise KeyError("not documented")
    if case == 2:
        os.kill(os.getpid(), signal.SIGSEGV)
    if case == 3:
        while True:
            time.process_time()
    if case == 4:
        bytearray(3 << 30)
    if case == 5:
        try:
            bytearray(3 << 30)
        except MemoryError:
            raise ValueError("it asks for more memory than there is") from None


def test_the_harness_tells_every_kind_of_fault_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "SECONDS", 0.2)
    seeds = {Random(f"bad {seed}").random(): seed for seed in range(8)}
    kind = Kind(
        name="bad",
        prepare=lambda folder: None,
        mutate=lambda rng, _: seeds[rng.random()],
        read=_misbehave,
        documented=(ValueError,),
    )
    outcome = fuzz(kind, range(8), 2, lambda _: None)
    faults = {seed: fault for seed, fault, _ in outcome.faults}
    assert faults == {1: "undocumented", 2: "crash", 3: "hang", 4: "memory", 5: "memory"}
    assert (outcome.read, outcome.refused) == (2, 1)
