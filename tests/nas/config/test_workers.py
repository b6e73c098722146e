"""`workers=auto`, `executor.gpus=auto`, and the line about what stays idle."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from nas.cli.main import main
from nas.config import compose
from nas.config.workers import Machine, Needs, count_workers, settle_workers, share_gpus
from nas.executors import resources


def on_machine(
    monkeypatch: pytest.MonkeyPatch, cpus: int, gpus: int = 0, gib: float = 64.0, devices: int | None = None
) -> None:
    monkeypatch.setattr(resources, "count_cpus", lambda: cpus)
    monkeypatch.setattr(resources, "count_gpus", lambda: gpus)
    monkeypatch.setattr(resources, "memory_gib", lambda: gib)
    monkeypatch.setattr(resources, "count_gpu_devices", lambda: gpus if devices is None else devices)


@pytest.mark.parametrize(
    ("machine", "needs", "most", "count", "why"),
    [
        (Machine(cpus=8, gpus=0, gib=64.0), Needs(cpus=1, gpus=None, gib=3.0), None, 8, "8 cores"),
        (Machine(cpus=8, gpus=0, gib=64.0), Needs(cpus=3, gpus=None, gib=3.0), None, 2, "8 cores"),
        (
            Machine(cpus=8, gpus=0, gib=8.0),
            Needs(cpus=1, gpus=None, gib=3.0),
            None,
            2,
            "8 GiB of memory, 3 each",
        ),
        (Machine(cpus=8, gpus=0, gib=1.0), Needs(cpus=1, gpus=None, gib=3.0), None, 1, "1 GiB of memory"),
        (Machine(cpus=8, gpus=2, gib=1.0), Needs(cpus=1, gpus=None, gib=3.0), None, 2, "2 GPUs"),
        (Machine(cpus=8, gpus=2, gib=1.0), Needs(cpus=1, gpus=0.25, gib=3.0), None, 8, "8 cores"),
        (Machine(cpus=4, gpus=1, gib=64.0), Needs(cpus=1, gpus=0.1, gib=3.0), None, 4, "4 cores"),
        (Machine(cpus=4, gpus=8, gib=64.0), Needs(cpus=1, gpus=None, gib=3.0), None, 4, "4 cores"),
        (Machine(cpus=100, gpus=0, gib=None), Needs(cpus=1, gpus=None, gib=3.0), None, 100, "100 cores"),
        (Machine(cpus=8, gpus=0, gib=64.0), Needs(cpus=1, gpus=None, gib=3.0), 3, 3, "no more to do"),
        (Machine(cpus=1, gpus=0, gib=64.0), Needs(cpus=2, gpus=None, gib=3.0), None, 1, "1 core"),
    ],
)
def test_the_scarcest_thing_sets_the_number(
    machine: Machine, needs: Needs, most: int | None, count: int, why: str
) -> None:
    found, told = count_workers(machine, needs, most)
    assert found == count
    assert why in told


@pytest.mark.parametrize(
    ("gpus", "workers", "share"),
    [(0, 4, 0.0), (1, 1, 1.0), (4, 2, 1.0), (1, 2, 0.5), (1, 3, 0.3333), (2, 3, 0.5), (2, 5, 0.3333)],
)
def test_gpus_are_shared_so_that_all_workers_have_room(gpus: int, workers: int, share: float) -> None:
    found = share_gpus(gpus, workers)
    assert found == share
    if gpus:
        assert gpus * int(1 / found) >= workers


@pytest.mark.parametrize(
    ("words", "machine", "workers", "gpus", "told"),
    [
        (["task=synthetic"], {"cpus": 6}, 6, 0, "6 workers (workers=auto: 6 cores)"),
        (["task=synthetic", "trials=1"], {"cpus": 6}, 1, 0, "1 worker (workers=auto: there is no more"),
        (["task=synthetic"], {"cpus": 6, "gpus": 2}, 6, 0, "6 workers (workers=auto: 6 cores)"),
        (["task=cpu"], {"cpus": 6, "gpus": 2}, 2, 1, "2 workers (workers=auto: 2 GPUs)"),
        (["task=cpu", "task.device=cpu"], {"cpus": 6, "gpus": 2}, 6, 0, "6 cores"),
        (["task=zero-cost", "task.measure=naswot"], {"cpus": 6, "gpus": 1}, 1, 1, "1 GPU"),
        (
            ["task=cpu", "executor.gpus=0.5"],
            {"cpus": 6, "gpus": 2},
            4,
            0.5,
            "4 workers (workers=auto: 2 GPUs)",
        ),
        (["task=cpu", "workers=4"], {"cpus": 4, "gpus": 1}, 4, 0.25, ""),
        (
            ["task=cpu", "workers=1"],
            {"cpus": 6},
            1,
            0,
            "5 cores of 6 will be idle: workers=auto takes 6 workers",
        ),
        (["task=cpu", "workers=2"], {"cpus": 6, "gib": 7.0}, 2, 0, ""),
        (["task=cpu", "workers=1", "trials=1"], {"cpus": 6}, 1, 0, ""),
        (["task=cpu", "workers=2", "executor.gpus=0"], {"cpus": 2, "gpus": 1}, 2, 0, "1 GPU will be idle"),
        (
            ["task=cpu", "workers=1"],
            {"cpus": 4, "gpus": 3},
            1,
            1,
            "2 GPUs will be idle: workers=auto uses all 3",
        ),
        # One of two GPUs is idle, and the cores allow no second worker.
        (["task=cpu", "workers=1", "executor.cpus=4"], {"cpus": 4, "gpus": 2}, 1, 1, ""),
        (["task=cpu", "executor.workers=3"], {"cpus": 3}, 3, 0, ""),
        (["task=cpu", "workers=2", "executor.workers=auto"], {"cpus": 5}, 5, 0, "5 workers"),
        (
            ["task=script", "task.command=[true]", "workers=2"],
            {"cpus": 2, "devices": 1},
            2,
            0.5,
            "",
        ),
        (
            ["task=script", "task.command=[true]", "workers=2", "executor.gpus=0"],
            {"cpus": 2, "devices": 1},
            2,
            0,
            "1 GPU will be",
        ),
    ],
)
def test_auto_becomes_numbers_and_what_is_idle_is_said(
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    machine: dict[str, int],
    workers: int,
    gpus: float,
    told: str,
) -> None:
    on_machine(monkeypatch, **machine)
    config = compose("search", words)
    lines = settle_workers(config, config.trials)
    assert (config.executor.workers, config.executor.gpus) == (workers, gpus)
    assert "auto" not in (config.workers, config.executor.gpus)
    assert told in "\n".join(lines)
    assert len(lines) == (1 if told else 0)


@pytest.mark.parametrize("word", ["workers=many", "workers=0", "executor.cpus=a", "executor.gpus=-1"])
def test_a_wrong_value_is_left_to_those_that_refuse_it(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    on_machine(monkeypatch, cpus=4)
    before = compose("search", ["task=synthetic", word])
    config = compose("search", ["task=synthetic", word])
    assert settle_workers(config) == ()
    assert OmegaConf.select(config, word.partition("=")[0]) == OmegaConf.select(
        before, word.partition("=")[0]
    )


@pytest.mark.parametrize(("executor", "workers"), [("in_process", 1), ("virtual", 6)])
def test_other_executors_get_a_number_too(
    monkeypatch: pytest.MonkeyPatch, executor: str, workers: int
) -> None:
    on_machine(monkeypatch, cpus=6)
    config = compose("search", ["task=synthetic", f"executor={executor}"])
    assert settle_workers(config) == ()
    assert (config.workers, config.executor.workers) == (workers, workers)


def test_a_value_that_is_still_missing_is_left_to_those_that_refuse_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    on_machine(monkeypatch, cpus=4)
    config = compose("search", ["task=script"])
    assert config.workers == "auto"
    assert settle_workers(config) == ("4 workers (workers=auto: 4 cores)",)


def test_a_run_folder_keeps_the_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """So that a resume on another machine is the same search."""
    on_machine(monkeypatch, cpus=5)
    run = tmp_path / "run"
    words = ["task=synthetic", "executor=virtual", "trials=9", f"run_dir={run}"]
    assert main(["search", *words]) == 0
    assert OmegaConf.load(run / "config.yaml").workers == 5
    on_machine(monkeypatch, cpus=2)
    assert main(["resume", str(run), "trials=12"]) == 0
    assert OmegaConf.load(run / "config.yaml").workers == 5
    capsys.readouterr()
    assert main(["status", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["trials"]["completed"] == 12
