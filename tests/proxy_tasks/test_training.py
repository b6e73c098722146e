"""The loop: repeatable to the bit, resumable to the bit, honest about failure."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from proxy_tasks.batches import Augmentation, Batch
from proxy_tasks.data import DetectionData
from proxy_tasks.detection import DetectionTask
from proxy_tasks.shapes import ShapesSpec, make_shapes
from proxy_tasks.task import Score, TaskFailureError
from proxy_tasks.training import Plan, images_of_step, learning_rate
from search_space import Scale, published_spec

SPEC = published_spec("spinenet-49")
TINY = Scale(0.125, 0.5, 16, stochastic_depth=0.1, head_filters=16, head_convs=1)
PLAN = Plan(
    steps=6, batch=4, canvas=64, learning_rate=0.02, augmentation=Augmentation(0.8, 1.2), checkpoint_every=2
)


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> DetectionTask:
    folder = tmp_path_factory.mktemp("training")
    root = make_shapes(folder / "shapes", ShapesSpec(train=24, val=8, size=64))
    data = DetectionData(str(root), str(folder / "cache"))
    return DetectionTask(TINY, PLAN, data, evaluations=2, device="cpu")


def weights_after(
    task: DetectionTask, seed: int, checkpoint: Path | None = None
) -> tuple[Score, list[float]]:
    losses: list[float] = []

    def report(_step: int, score: Score) -> None:
        losses.append(score.metrics.get("loss", 0.0))

    return task.evaluate(SPEC, 1.0, seed, report, checkpoint), losses


def test_the_same_seed_gives_the_same_score_to_the_last_bit(task: DetectionTask) -> None:
    torch.set_num_threads(1)
    a, losses_a = weights_after(task, 5)
    b, losses_b = weights_after(task, 5)
    c, losses_c = weights_after(task, 6)
    del c
    assert a.reward == b.reward
    assert losses_a == losses_b
    assert losses_a != losses_c


def test_scores_tell_metrics_cost_and_time(task: DetectionTask) -> None:
    score, losses = weights_after(task, 5)
    assert {"AP", "AP50", "APs", "AR100", "params", "macs", "training_seconds"} <= set(score.metrics)
    assert score.reward == score.metrics["AP"]
    assert len(losses) == 2


class CutOffError(Exception):
    pass


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_training_that_was_cut_off_ends_as_if_it_had_not(
    task: DetectionTask, tmp_path: Path, ema: float
) -> None:
    torch.set_num_threads(1)
    task = replace(task, plan=replace(PLAN, ema=ema), evaluations=6)
    whole: list[tuple[int, float]] = []
    task.evaluate(SPEC, 1.0, 1, lambda step, s: whole.append((step, s.metrics.get("loss", -1.0))), None)
    seen: list[tuple[int, float]] = []

    def cut_off(step: int, score: Score) -> None:
        seen.append((step, score.metrics.get("loss", -1.0)))
        if step == 5:
            raise CutOffError

    with pytest.raises(CutOffError):
        task.evaluate(SPEC, 1.0, 1, cut_off, tmp_path)
    resumed: list[tuple[int, float]] = []
    task.evaluate(SPEC, 1.0, 1, lambda step, s: resumed.append((step, s.metrics.get("loss", -1.0))), tmp_path)
    assert [step for step, _ in resumed] == [5, 6]
    assert seen == whole[:5]
    assert resumed == whole[4:]
    assert not list(tmp_path.iterdir())


SCRIPT = """
import sys, time
from pathlib import Path
import torch
from proxy_tasks.data import DetectionData
from proxy_tasks.detection import DetectionTask
from search_space import published_spec
from tests.proxy_tasks.test_training import PLAN, TINY
torch.set_num_threads(1)
task = DetectionTask(TINY, PLAN, DetectionData(sys.argv[1], sys.argv[2]), evaluations=6, device="cpu")
def report(step, score):
    print(step, score.reward.hex(), score.metrics.get("loss", 0.0).hex(), flush=True)
    time.sleep(float(sys.argv[4]))
task.evaluate(published_spec("spinenet-49"), 1.0, 2, report, Path(sys.argv[3]) if sys.argv[3] else None)
"""


@pytest.mark.slow
def test_a_process_killed_in_mid_training_goes_on_to_the_same_score(
    task: DetectionTask, tmp_path: Path
) -> None:
    def start(checkpoint: str, pause: float) -> subprocess.Popen[str]:
        arguments = [
            sys.executable,
            "-c",
            SCRIPT,
            str(task.data.root),
            str(task.data.cache),
            checkpoint,
            str(pause),
        ]
        root = str(Path(__file__).parents[2])
        return subprocess.Popen(
            arguments, stdout=subprocess.PIPE, text=True, cwd=root, env={**os.environ, "PYTHONPATH": root}
        )

    whole = start("", 0).communicate(timeout=120)[0].splitlines()
    victim = start(str(tmp_path), 0.3)
    deadline = time.monotonic() + 100
    while not (tmp_path / "training.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    victim.send_signal(signal.SIGKILL)
    victim.communicate(timeout=60)
    assert (tmp_path / "training.pt").exists()
    resumed = start(str(tmp_path), 0).communicate(timeout=120)[0].splitlines()
    assert len(whole) == 6
    assert 0 < len(resumed) < 6
    assert resumed == whole[-len(resumed) :]


def test_a_loss_that_is_not_finite_is_a_failure_with_its_step(task: DetectionTask) -> None:
    wild = replace(task, plan=replace(PLAN, learning_rate=1e30, clip=1e30, warm_up=0.0))
    with pytest.raises(TaskFailureError, match=r"step \d") as raised:
        wild.evaluate(SPEC, 1.0, 0, lambda *_: None, None)
    assert raised.value.kind == "diverged"
    assert raised.value.step is not None
    task.evaluate(SPEC, 0.2, 0, lambda *_: None, None)


def test_running_out_of_memory_is_a_failure_with_its_step(
    task: DetectionTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*_: object) -> float:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("proxy_tasks.training._step", no_memory)
    with pytest.raises(TaskFailureError, match="out of memory") as raised:
        task.evaluate(SPEC, 1.0, 0, lambda *_: None, None)
    assert (raised.value.kind, raised.value.step) == ("out of memory", 0)


def test_a_checkpoint_that_cannot_be_written_is_a_failure_of_the_machine(
    task: DetectionTask, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TaskFailureError, match="checkpoint not written") as raised:
        task.evaluate(SPEC, 1.0, 0, lambda *_: None, tmp_path / "file")
    assert raised.value.kind == "infrastructure"
    assert raised.value.step == 2


def test_a_damaged_checkpoint_is_named(task: DetectionTask, tmp_path: Path) -> None:
    (tmp_path / "training.pt").write_bytes(b"nothing")
    with pytest.raises(TaskFailureError, match=r"training\.pt: no usable checkpoint"):
        task.evaluate(SPEC, 1.0, 0, lambda *_: None, tmp_path)


def test_a_scale_that_cannot_be_is_the_specs_fault(task: DetectionTask) -> None:
    with pytest.raises(TaskFailureError) as raised:
        replace(task, scale=Scale(width=0.01)).evaluate(SPEC, 1.0, 0, lambda *_: None, None)
    assert raised.value.kind == "invalid"


def test_every_pass_shows_every_image_once() -> None:
    shown = [i for step in range(25) for i in images_of_step(10, 4, 7, step)]
    for start in range(0, 100, 10):
        assert sorted(shown[start : start + 10]) == list(range(10))
    assert shown[:10] != shown[10:20]
    assert len(images_of_step(3, 8, 0, 5)) == 8


def test_learning_rates_warm_up_and_fall() -> None:
    cosine = replace(PLAN, steps=100, learning_rate=1.0, warm_up=0.1)
    rates = [learning_rate(cosine, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == pytest.approx(1.0)
    assert 0 < rates[-1] < 0.001
    assert 0.5 < learning_rate(replace(cosine, steps=1), 0) < 1
    assert rates[9:] == sorted(rates[9:], reverse=True)
    stepped = replace(cosine, schedule="step", drops=(0.8, 0.95))
    rates = [learning_rate(stepped, step) for step in range(100)]
    assert [rates[i] for i in (50, 79, 80, 94, 95)] == pytest.approx([1, 1, 0.1, 0.1, 0.01])


@pytest.mark.slow
def test_it_learns(task: DetectionTask, tmp_path: Path) -> None:
    """Twelve images by heart: AP rises from nothing to something that chance does not give."""
    root = make_shapes(tmp_path / "few", ShapesSpec(train=12, val=2, size=64))
    annotations = root / "annotations"
    (annotations / "instances_val.json").write_bytes((annotations / "instances_train.json").read_bytes())
    for path in (root / "images" / "train").iterdir():
        (root / "images" / "val" / path.name).write_bytes(path.read_bytes())
    plan = Plan(
        steps=250, batch=12, canvas=64, learning_rate=0.1, ema=0.0, augmentation=Augmentation(flip=False)
    )
    scale = Scale(0.25, 0.5, 32, head_filters=32, head_convs=2)
    learner = replace(
        task,
        scale=scale,
        plan=plan,
        data=replace(task.data, root=str(root)),
        anchors=replace(task.anchors, base=2.0),
    )
    assert learner.evaluate(SPEC, 1.0, 0, lambda *_: None, None).reward > 0.3
    assert np.isfinite(learner.evaluate(SPEC, 0.01, 0, lambda *_: None, None).reward)


def test_a_batch_of_nan_is_a_failure_at_its_step_and_the_next_trial_runs(
    task: DetectionTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    from proxy_tasks import detection
    from proxy_tasks.batches import training_batch as whole

    made = 0

    def poisoned(*arguments: Any) -> Batch:
        nonlocal made
        made += 1
        batch = whole(*arguments)
        return Batch(batch.images * float("nan"), batch.boxes, batch.labels) if made == 4 else batch

    monkeypatch.setattr(detection, "training_batch", poisoned)
    with pytest.raises(TaskFailureError, match=r"the loss is nan \(step 3\)") as raised:
        task.evaluate(SPEC, 1.0, 0, lambda *_: None, None)
    assert (raised.value.kind, raised.value.step) == ("diverged", 3)
    assert np.isfinite(task.evaluate(SPEC, 1.0, 0, lambda *_: None, None).reward)


def test_weights_are_left_alone_by_a_step_that_is_not_finite(task: DetectionTask) -> None:
    from proxy_tasks.training import _optimiser, _step

    net = task.network(SPEC, 0, 6)
    optimiser = _optimiser(net, PLAN)
    pack = task.data.packs(64)[0]
    before = [p.detach().clone() for p in net.parameters()]
    with torch.no_grad():
        next(iter(net.parameters())).fill_(float("inf"))
    loss_of = task.lesson(pack, pack, torch.device("cpu")).loss_of
    assert np.isnan(_step(net, optimiser, len(pack), loss_of, PLAN, 0, 0))
    for old, new in list(zip(before, net.parameters(), strict=True))[1:]:
        assert torch.equal(old, new)


@pytest.mark.slow
def test_a_really_full_disk_is_a_failure_of_the_machine(task: DetectionTask, tmp_path: Path) -> None:
    """A file size limit is what a process sees of a full disk without filling one."""
    script = """
import resource, signal, sys
from pathlib import Path
from nas.jobs import Job, run_job
from proxy_tasks.data import DetectionData
from proxy_tasks.detection import DetectionTask
from search_space import published_spec
from tests.proxy_tasks.test_training import PLAN, TINY
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
task = DetectionTask(TINY, PLAN, DetectionData(sys.argv[1], sys.argv[2]), device="cpu")
task.data.packs(PLAN.canvas)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
spec = published_spec("spinenet-49")
ended = run_job(task, Job(0, 0, spec, 1.0, 0, sys.argv[3]), lambda *_: False, "here")
print(ended.status, ended.failure, ended.message)
print(run_job(task, Job(1, 0, spec, 1.0, 0, None), lambda *_: False, "here").status)
print([path.name for path in Path(sys.argv[3]).iterdir()])
"""
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", script, str(task.data.root), str(task.data.cache), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=root,
        env={**os.environ, "PYTHONPATH": root},
    )
    lines = done.stdout.splitlines()
    assert lines[0].startswith("failed infrastructure"), done.stderr
    assert "checkpoint not written" in lines[0]
    assert "step 2" in lines[0]
    assert lines[1:] == ["completed", "[]"]


def test_memory_stays_flat_over_a_training(task: DetectionTask) -> None:
    """Twice the steps, no more live tensors."""
    import gc

    def live() -> int:
        gc.collect()
        return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())

    counts: list[int] = []
    long = replace(task, plan=replace(PLAN, steps=12), evaluations=12)
    long.evaluate(SPEC, 1.0, 0, lambda *_: counts.append(live()), None)
    assert max(counts[2:-1]) <= counts[1]


def test_a_long_training_tells_where_it_is(
    task: DetectionTask, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("proxy_tasks.training.LOG_SECONDS", 0.0)
    with caplog.at_level("INFO", "proxy_tasks.training"):
        task.evaluate(SPEC, 1.0, 0, lambda *_: None, None)
    assert len(caplog.messages) == 6
    assert caplog.messages[0].startswith("step 1/6, loss ")
    assert "images/s" in caplog.messages[2]


def test_a_dry_run_foretells_the_time(task: DetectionTask) -> None:
    short, long = task.estimate_seconds(SPEC, 1.0), task.estimate_seconds(SPEC, 100.0)
    assert 0 < short < long < 1000 * short
