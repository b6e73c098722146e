"""The loop: repeatable to the bit, resumable to the bit, honest about failure."""

from __future__ import annotations

import os
import re
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

from proxy_tasks.data.detection import DetectionData
from proxy_tasks.data.shapes import ShapesConfig, make_shapes
from proxy_tasks.data.transforms import Augmentation, Batch
from proxy_tasks.engine import progress
from proxy_tasks.engine import train as training_module
from proxy_tasks.engine.average import make_average
from proxy_tasks.engine.config import TrainConfig
from proxy_tasks.engine.optimizer import learning_rate, make_optimizer
from proxy_tasks.engine.train import Training, images_of_step, update
from proxy_tasks.task import Score, TaskFailureError
from proxy_tasks.training_task import TrainingTask
from search_space import NormConfig, RetinaNetHead, Scale, published_spec
from search_space.heads import AnchorConfig

SPEC = published_spec("spinenet-49")
TINY = Scale(width=0.125, alpha=0.5, endpoints=16, stochastic_depth=0.1, head_filters=16, head_convs=1)
PLAN = TrainConfig(
    steps=6,
    batch=4,
    image_size=64,
    learning_rate=0.02,
    augmentation=Augmentation(low=0.8, high=1.2),
    checkpoint_every=2,
)


def make_task(root: str, cache: str, **changes: Any) -> TrainingTask:
    """A small task; scripts of other processes make the same one."""
    task = TrainingTask(
        scale=TINY,
        train=PLAN,
        data=DetectionData(root, cache),
        norm=NormConfig(momentum=0.05),
        evaluations=2,
        device="cpu",
    )
    return replace(task, **changes)


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> TrainingTask:
    folder = tmp_path_factory.mktemp("training")
    root = make_shapes(folder / "shapes", ShapesConfig(train=24, val=8, size=64))
    return make_task(str(root), str(folder / "cache"))


def losses_of(task: TrainingTask, seed: int, checkpoint: Path | None = None) -> tuple[Score, list[float]]:
    losses: list[float] = []

    def report(_step: int, score: Score) -> None:
        losses.append(score.metrics.get("loss", 0.0))

    return task.evaluate(SPEC, 1.0, seed, report, checkpoint), losses


def test_the_same_seed_gives_the_same_score_to_the_last_bit(task: TrainingTask) -> None:
    torch.set_num_threads(1)
    a, losses_a = losses_of(task, 5)
    b, losses_b = losses_of(task, 5)
    _, losses_c = losses_of(task, 6)
    assert a.reward == b.reward
    assert losses_a == losses_b
    assert losses_a != losses_c


def test_scores_tell_metrics_cost_and_time(task: TrainingTask) -> None:
    score, losses = losses_of(task, 5)
    assert {"AP", "AP50", "APs", "AR100", "params", "macs", "training_seconds"} <= set(score.metrics)
    assert score.reward == score.metrics["AP"]
    assert len(losses) == 2


class CutOffError(Exception):
    pass


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_training_that_was_cut_off_ends_as_if_it_had_not(
    task: TrainingTask, tmp_path: Path, ema: float
) -> None:
    torch.set_num_threads(1)
    task = replace(task, train=replace(PLAN, ema=ema), evaluations=6)
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
from proxy_tasks.task import adapt
from search_space import published_spec
from tests.proxy_tasks.engine.test_train import make_task
torch.set_num_threads(1)
task = make_task(sys.argv[1], sys.argv[2], evaluations=6)
def report(step, score):
    print(step, score.reward.hex(), score.metrics.get("loss", 0.0).hex(), flush=True)
    time.sleep(float(sys.argv[4]))
task.evaluate(published_spec("spinenet-49"), 1.0, 2, report, Path(sys.argv[3]) if sys.argv[3] else None)
"""


@pytest.mark.slow
def test_a_process_killed_in_mid_training_goes_on_to_the_same_score(
    task: TrainingTask, tmp_path: Path
) -> None:
    def start(checkpoint: str, pause: float) -> subprocess.Popen[str]:
        arguments = [
            sys.executable,
            "-c",
            SCRIPT,
            str(task.data.root),  # type: ignore[attr-defined]
            str(task.data.cache),  # type: ignore[attr-defined]
            checkpoint,
            str(pause),
        ]
        root = str(Path(__file__).parents[3])
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


def test_a_loss_that_is_not_finite_is_a_failure_with_its_step(task: TrainingTask) -> None:
    wild = replace(task, train=replace(PLAN, learning_rate=1e30, clip=1e30, warm_up=0.0))
    with pytest.raises(TaskFailureError, match=r"step \d") as raised:
        wild.evaluate(SPEC, 1.0, 0, lambda *_: None, None)
    assert raised.value.kind == "diverged"
    assert raised.value.step is not None
    task.evaluate(SPEC, 0.2, 0, lambda *_: None, None)


def test_running_out_of_memory_is_a_failure_with_its_step(
    task: TrainingTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*_: object) -> float:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(training_module, "update", no_memory)
    with pytest.raises(TaskFailureError, match="out of memory") as raised:
        task.evaluate(SPEC, 1.0, 0, lambda *_: None, None)
    assert (raised.value.kind, raised.value.step) == ("out of memory", 0)


def test_a_checkpoint_that_cannot_be_written_is_a_failure_of_the_machine(
    task: TrainingTask, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TaskFailureError, match="checkpoint not written") as raised:
        task.evaluate(SPEC, 1.0, 0, lambda *_: None, tmp_path / "file")
    assert raised.value.kind == "infrastructure"
    assert raised.value.step == 2


def test_a_damaged_checkpoint_is_named(task: TrainingTask, tmp_path: Path) -> None:
    (tmp_path / "training.pt").write_bytes(b"nothing")
    with pytest.raises(TaskFailureError, match=r"training\.pt: no usable checkpoint"):
        task.evaluate(SPEC, 1.0, 0, lambda *_: None, tmp_path)


def test_a_scale_that_cannot_be_is_the_specs_fault(task: TrainingTask) -> None:
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
def test_it_learns(task: TrainingTask, tmp_path: Path) -> None:
    """Twelve images by heart: AP rises from nothing to something that chance does not give."""
    root = make_shapes(tmp_path / "few", ShapesConfig(train=12, val=2, size=64))
    annotations = root / "annotations"
    (annotations / "instances_val.json").write_bytes((annotations / "instances_train.json").read_bytes())
    for path in (root / "images" / "train").iterdir():
        (root / "images" / "val" / path.name).write_bytes(path.read_bytes())
    config = TrainConfig(
        steps=250, batch=12, image_size=64, learning_rate=0.1, ema=0.0, augmentation=Augmentation(flip=False)
    )
    scale = Scale(width=0.25, alpha=0.5, endpoints=32, head_filters=32, head_convs=2)
    learner = replace(
        task,
        scale=scale,
        train=config,
        data=DetectionData(str(root), str(tmp_path / "cache")),
        head=RetinaNetHead(anchors=AnchorConfig(base=2.0)),
    )
    assert learner.evaluate(SPEC, 1.0, 0, lambda *_: None, None).reward > 0.3
    assert np.isfinite(learner.evaluate(SPEC, 0.01, 0, lambda *_: None, None).reward)


def test_a_batch_of_nan_is_a_failure_at_its_step_and_the_next_trial_runs(
    task: TrainingTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    from proxy_tasks.data.transforms import training_batch as whole

    made = 0

    def poisoned(*arguments: Any) -> Batch:
        nonlocal made
        made += 1
        batch = whole(*arguments)
        return Batch(batch.images * float("nan"), batch.boxes, batch.labels) if made == 4 else batch

    monkeypatch.setattr(training_module, "training_batch", poisoned)
    with pytest.raises(TaskFailureError, match=r"the loss is nan \(step 3\)") as raised:
        task.evaluate(SPEC, 1.0, 0, lambda *_: None, None)
    assert (raised.value.kind, raised.value.step) == ("diverged", 3)
    assert np.isfinite(task.evaluate(SPEC, 1.0, 0, lambda *_: None, None).reward)


def test_weights_are_left_alone_by_a_step_that_is_not_finite(task: TrainingTask) -> None:
    net = task.network(SPEC, 0, 6)
    optimizer = make_optimizer(net, PLAN)
    training = Training(images=task.data.caches(64)[0], config=PLAN, seed=0, device=torch.device("cpu"))
    before = [p.detach().clone() for p in net.parameters()]
    with torch.no_grad():
        next(iter(net.parameters())).fill_(float("inf"))
    assert np.isnan(update(net, optimizer, training, 0))
    for old, new in list(zip(before, net.parameters(), strict=True))[1:]:
        assert torch.equal(old, new)


@pytest.mark.slow
def test_a_really_full_disk_is_a_failure_of_the_machine(task: TrainingTask, tmp_path: Path) -> None:
    """A file size limit is what a process sees of a full disk without filling one."""
    script = """
import resource, signal, sys
from pathlib import Path
from nas.executors.job import Decision, Job, run_job
from proxy_tasks.task import adapt
from search_space import published_spec
from tests.proxy_tasks.engine.test_train import PLAN, make_task
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
task = make_task(sys.argv[1], sys.argv[2], evaluations=1)
task.data.caches(PLAN.image_size)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
spec = published_spec("spinenet-49")
ended = run_job(adapt(task), Job(0, 0, spec, 1.0, 0, sys.argv[3]), lambda *_: Decision.CONTINUE, "here")
print(ended.status, ended.failure, ended.message)
print(run_job(adapt(task), Job(1, 0, spec, 1.0, 0, None), lambda *_: Decision.CONTINUE, "here").status)
print([path.name for path in Path(sys.argv[3], "checkpoint").iterdir()])
"""
    root = str(Path(__file__).parents[3])
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            script,
            str(task.data.root),  # type: ignore[attr-defined]
            str(task.data.cache),  # type: ignore[attr-defined]
            str(tmp_path),
        ],
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


def test_memory_stays_flat_over_a_training(task: TrainingTask) -> None:
    """Twice the steps, no more live tensors."""
    import gc

    def live() -> int:
        gc.collect()
        return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())

    counts: list[int] = []
    long = replace(task, train=replace(PLAN, steps=12), evaluations=12)
    long.evaluate(SPEC, 1.0, 0, lambda *_: counts.append(live()), None)
    assert max(counts[2:-1]) <= counts[1]


def test_a_long_training_logs_where_it_is(
    task: TrainingTask, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.0)
    with caplog.at_level("INFO", "proxy_tasks.engine.progress"):
        task.evaluate(SPEC, 1.0, 0, lambda *_: None, None)
    assert len(caplog.messages) == 6
    assert caplog.messages[0].startswith("step 1/6, loss ")
    assert "images/s" in caplog.messages[2]


def test_a_dry_run_estimates_the_time(task: TrainingTask) -> None:
    short, long = task.estimate_seconds(SPEC, 1.0), task.estimate_seconds(SPEC, 100.0)
    assert 0 < short < long < 1000 * short


def test_the_average_of_weights_warms_up_and_counters_are_copied() -> None:
    """Against the recurrence written out; the initial weights are the first that are averaged."""
    net = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    average = make_average(net, 0.3)
    expected = [p.detach().double().clone() for p in net.parameters()]
    for step in range(6):
        with torch.no_grad():
            for p in net.parameters():
                p.add_(torch.randn_like(p))
        net(torch.randn(4, 3))
        average.update_parameters(net)
        decay = min(0.3, (1 + step) / (10 + step))
        expected = [
            decay * e + (1 - decay) * p.detach() for e, p in zip(expected, net.parameters(), strict=True)
        ]
    for ours, wanted in zip(average.module.parameters(), expected, strict=True):
        torch.testing.assert_close(ours.double(), wanted, rtol=1e-5, atol=1e-6)
        assert not ours.requires_grad
    kept, live = dict(average.module.named_buffers()), dict(net.named_buffers())
    assert kept["1.num_batches_tracked"] == live["1.num_batches_tracked"] == 6
    assert not torch.equal(kept["1.running_mean"], live["1.running_mean"])


def test_a_reward_that_is_no_metric_is_refused(task: TrainingTask) -> None:
    with pytest.raises(ValueError, match=r"unknown reward 'AP05' \(did you mean AP"):
        replace(task, reward="AP05")
    assert replace(task, reward="AP50").metric == "AP50"
    assert task.metric == "AP"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": 0}, "train.steps must be a whole number of at least 1, not 0"),
        ({"batch": True}, "train.batch must be a whole number"),
        ({"image_size": 31}, "train.image_size must be a whole number of at least 32"),
        ({"warm_up": 1.0}, "train.warm_up must be a number of at least 0 and below 1, not 1.0"),
        ({"clip": 0}, "train.clip must be a number above 0, not 0"),
        ({"drops": [320]}, "train.drops must be a list, every item a number above 0 and below 1, not [320]"),
        ({"precision": "fp8"}, "train.precision must be fp32 or bf16, not 'fp8'"),
    ],
)
def test_wrong_settings_are_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        replace(PLAN, **wrong)
