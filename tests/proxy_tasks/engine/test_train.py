"""The loop: repeatable to the bit, resumable to the bit, honest about failure."""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import pickle
import re
import resource
import shutil
import signal
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import numpy as np
import pytest
import torch
from torch import nn

from nas.executors.job import Decision, Job, run_job
from proxy_tasks.adapted_task import adapt
from proxy_tasks.data.augmentation import Augmentation
from proxy_tasks.data.batches import Batch, Batches, HostBatch
from proxy_tasks.data.dataset import DataError
from proxy_tasks.data.detection import DetectionData
from proxy_tasks.data.shapes import ShapesConfig, make_shapes
from proxy_tasks.engine import progress
from proxy_tasks.engine import train as training_module
from proxy_tasks.engine.average import WeightAverage, measure_statistics
from proxy_tasks.engine.batch_stream import BatchStream, ImageOrder
from proxy_tasks.engine.checkpoint import Trained
from proxy_tasks.engine.config import TrainConfig
from proxy_tasks.engine.optimizer import learning_rate, make_optimizer
from proxy_tasks.engine.precision import resolve_precision
from proxy_tasks.engine.train import LEAST_SCALE, Training, check_scale, train, update
from proxy_tasks.evaluation.evaluators import Finite
from proxy_tasks.evaluation.latency import LatencyConfig
from proxy_tasks.task import Score, TaskFailureError
from proxy_tasks.training_task import TrainingTask
from search_space import NormConfig, RetinaNetHead, Scale
from search_space.heads import AnchorConfig
from tests.nas.search.killing import forking
from tests.proxy_tasks.learning import train_until
from tests.proxy_tasks.small_networks import SMALL
from tests.proxy_tasks.watching import Watch

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

    return task.evaluate(SMALL, 1.0, seed, report, checkpoint), losses


@pytest.fixture(scope="module")
def of_seed_5(task: TrainingTask) -> tuple[Score, list[float]]:
    torch.set_num_threads(1)
    return losses_of(task, 5)


def test_the_same_seed_gives_the_same_score_to_the_last_bit(
    task: TrainingTask, of_seed_5: tuple[Score, list[float]]
) -> None:
    torch.set_num_threads(1)
    a, losses_a = of_seed_5
    b, losses_b = losses_of(task, 5)
    _, losses_c = losses_of(task, 6)
    assert a.metrics["loss"] == b.metrics["loss"]
    assert losses_a == losses_b
    assert losses_a != losses_c


def test_scores_tell_metrics_cost_and_time(task: TrainingTask, of_seed_5: tuple[Score, list[float]]) -> None:
    score, losses = of_seed_5
    assert {"AP", "AP50", "APs", "AR100", "params", "macs", "training_seconds"} <= set(score.metrics)
    assert score.reward == score.metrics["AP"]
    assert len(losses) == 2
    timed = replace(task, latency=LatencyConfig(rounds=1, warm_up=0))
    found = timed.evaluate(SMALL, 0.2, 5, lambda *_: None, None)
    assert {"latency_ms", "memory_mib"} <= set(found.metrics)
    for each, metrics in ((task, score.metrics), (timed, found.metrics)):
        assert each.metric_names is not None
        known = {*each.metric_names, *each.costs(SMALL)}
        assert set(metrics) - known == set(), "an objective that names one would be refused"
        assert ("latency_ms" in known) == (each is timed)


def test_a_subclass_that_scores_in_its_own_way_names_its_own_metrics(task: TrainingTask) -> None:
    class Scored(TrainingTask):
        def evaluate(self, *arguments: Any) -> Score:
            score = super().evaluate(*arguments)
            return Score(score.reward, {**score.metrics, "own": 1.0})

    class Renamed(TrainingTask):
        pass

    given = {field.name: getattr(task, field.name) for field in fields(task)}
    assert Scored(**given).metric_names is None
    assert Renamed(**given).metric_names == task.metric_names


class CutOffError(Exception):
    pass


@pytest.mark.parametrize("average", [0.0, 0.1])
def test_a_training_that_was_cut_off_ends_as_if_it_had_not(
    task: TrainingTask, tmp_path: Path, average: float
) -> None:
    torch.set_num_threads(1)
    task = replace(task, train=replace(PLAN, average=average), evaluations=6)
    whole: list[tuple[int, float]] = []
    task.evaluate(SMALL, 1.0, 1, lambda step, s: whole.append((step, s.metrics.get("loss", -1.0))), None)
    seen: list[tuple[int, float]] = []

    def cut_off(step: int, score: Score) -> None:
        seen.append((step, score.metrics.get("loss", -1.0)))
        if step == 5:
            raise CutOffError

    with pytest.raises(CutOffError):
        task.evaluate(SMALL, 1.0, 1, cut_off, tmp_path)
    before = torch.load(tmp_path / "training.pt", weights_only=True)
    torch.save({**before, "seconds": 1000.0}, tmp_path / "training.pt")
    resumed: list[tuple[int, float]] = []
    score = task.evaluate(
        SMALL, 1.0, 1, lambda step, s: resumed.append((step, s.metrics.get("loss", -1.0))), tmp_path
    )
    assert before["seconds"] > 0
    assert score.metrics["training_seconds"] > 1000, "those of both sessions"
    assert [step for step, _ in resumed] == [5, 6]
    assert seen == whole[:5]
    assert resumed == whole[4:]
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["progress.json", "training.pt"], "nothing but the state of the last step"


@pytest.mark.parametrize("average", [0.0, 0.1])
def test_a_training_whose_score_was_lost_is_measured_again_without_a_step(
    task: TrainingTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, average: float
) -> None:
    torch.set_num_threads(1)
    task = replace(task, train=replace(PLAN, average=average))
    first = task.evaluate(SMALL, 1.0, 1, lambda *_: None, tmp_path)
    monkeypatch.setattr(training_module, "update", lambda *_: pytest.fail("a step is trained again"))
    reports: list[tuple[int, Score]] = []
    again = task.evaluate(SMALL, 1.0, 1, lambda step, score: reports.append((step, score)), tmp_path)
    assert reports == [(PLAN.steps, again)]
    changing = {"training_seconds": ANY}
    assert again == Score(first.reward, {**first.metrics, **changing})
    assert again.metrics["training_seconds"] > 0


def train_and_print(task: TrainingTask, checkpoint: Path | None, lines: Path, stop_at: int) -> None:
    """Writes a line for every report, and waits for its end at a certain one."""
    torch.set_num_threads(1)
    with lines.open("w") as file:

        def report(step: int, score: Score) -> None:
            print(step, score.reward.hex(), score.metrics.get("loss", 0.0).hex(), file=file, flush=True)
            if lines.read_text().count("\n") == stop_at:
                time.sleep(600)

        task.evaluate(SMALL, 1.0, 2, report, checkpoint)


@pytest.mark.slow
def test_a_process_killed_in_mid_training_goes_on_to_the_same_score(
    task: TrainingTask, tmp_path: Path
) -> None:
    task, lines = replace(task, evaluations=6), tmp_path / "lines.txt"

    def run(checkpoint: Path | None, stop_at: int = 0) -> list[str]:
        """The lines of a process, which is killed when it has printed so many."""
        lines.write_text("")
        process = forking().Process(target=train_and_print, args=(task, checkpoint, lines, stop_at))
        process.start()
        while stop_at and process.is_alive() and lines.read_text().count("\n") < stop_at:
            time.sleep(0.01)
        if stop_at:
            process.kill()
        process.join()
        return lines.read_text().splitlines()

    whole = run(None)
    run(tmp_path, stop_at=3)
    assert (tmp_path / "training.pt").exists()
    resumed = run(tmp_path)
    assert len(whole) == 6
    assert 0 < len(resumed) <= 4, "three steps are kept, and the last of them is reported once more"
    assert resumed == whole[-len(resumed) :]


def test_a_loss_that_is_not_finite_is_a_failure_with_its_step(task: TrainingTask) -> None:
    wild = replace(task, train=replace(PLAN, learning_rate=1e30, clip=1e30, warm_up=0.0))
    with pytest.raises(TaskFailureError, match=r"step \d") as raised:
        wild.evaluate(SMALL, 1.0, 0, lambda *_: None, None)
    assert raised.value.kind == "diverged"
    assert raised.value.step is not None
    task.evaluate(SMALL, 0.2, 0, lambda *_: None, None)


def test_running_out_of_memory_is_a_failure_with_its_step(
    task: TrainingTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*_: object) -> float:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(training_module, "update", no_memory)
    with pytest.raises(TaskFailureError, match="out of memory") as raised:
        task.evaluate(SMALL, 1.0, 0, lambda *_: None, None)
    assert (raised.value.kind, raised.value.step) == ("out of memory", 0)


def test_a_checkpoint_that_cannot_be_written_is_a_failure_of_the_machine(
    task: TrainingTask, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TaskFailureError, match="checkpoint not written") as raised:
        task.evaluate(SMALL, 1.0, 0, lambda *_: None, tmp_path / "file")
    assert raised.value.kind == "infrastructure"
    assert raised.value.step == 2


def test_a_damaged_checkpoint_is_named_where_a_user_began_the_training(
    task: TrainingTask, tmp_path: Path
) -> None:
    (tmp_path / "training.pt").write_bytes(b"nothing")
    with pytest.raises(TaskFailureError, match=r"training\.pt: no usable checkpoint"):
        task.fit(SMALL, 1.0, 0, lambda *_: None, tmp_path)
    assert (tmp_path / "training.pt").read_bytes() == b"nothing"


@pytest.mark.parametrize("damage", ["nothing", "cut", "of another training"])
def test_a_trial_sets_a_damaged_checkpoint_aside_and_gives_the_score_of_a_new_training(
    task: TrainingTask, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:

    def stop_early(step: int, _: object) -> None:
        raise KeyboardInterrupt

    begun = replace(task, scale=replace(TINY, width=0.25)) if damage == "of another training" else task
    with pytest.raises(KeyboardInterrupt):
        begun.fit(SMALL, 1.0, 0, stop_early, tmp_path)
    path = tmp_path / "training.pt"
    if damage != "of another training":
        path.write_bytes(b"" if damage == "nothing" else path.read_bytes()[:-1000])
    before = path.read_bytes()
    with caplog.at_level(logging.WARNING, "proxy_tasks.notices"):
        found = task.evaluate(SMALL, 1.0, 0, lambda *_: None, tmp_path)
    anew = task.evaluate(SMALL, 1.0, 0, lambda *_: None, None)
    assert found.metrics["loss"] == anew.metrics["loss"]
    assert (tmp_path / "training.pt.damaged").read_bytes() == before
    assert len(torch.load(path, weights_only=True)["losses"]) == PLAN.steps, "it is that of the new training"
    assert "no usable checkpoint" in caplog.text
    assert "begins anew" in caplog.text


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "out of memory"),
        (MemoryError(), "out of memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "out of memory"),
        (OSError(errno.ESTALE, "Stale file handle"), "infrastructure"),
    ],
)
def test_a_sound_checkpoint_outlives_a_fault_of_the_machine(
    task: TrainingTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception, kind: str
) -> None:
    def stop_early(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        task.fit(SMALL, 1.0, 0, stop_early, tmp_path)
    before = (tmp_path / "training.pt").read_bytes()

    def broken(*_: object, **__: object) -> None:
        raise fault

    with monkeypatch.context() as patch:
        patch.setattr(torch, "load", broken)
        with pytest.raises(TaskFailureError) as raised:
            task.evaluate(SMALL, 1.0, 0, lambda *_: None, tmp_path)
        assert raised.value.kind == kind
    assert (tmp_path / "training.pt").read_bytes() == before


def test_a_scale_that_cannot_be_is_the_specs_fault(task: TrainingTask) -> None:
    with pytest.raises(TaskFailureError) as raised:
        replace(task, scale=Scale(width=0.01)).evaluate(SMALL, 1.0, 0, lambda *_: None, None)
    assert raised.value.kind == "invalid"


def test_every_pass_shows_every_image_once() -> None:
    order = ImageOrder(10, 7)
    shown = [i for step in range(25) for i in order.of_step(step, 4).tolist()]
    for start in range(0, 100, 10):
        assert sorted(shown[start : start + 10]) == list(range(10))
    assert shown[:10] != shown[10:20]
    assert len(ImageOrder(3, 0).of_step(5, 8)) == 8
    assert ImageOrder(10, 7).of_step(13, 4).tolist() == shown[52:56], "a training can begin at any step"


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
        steps=250, batch=12, image_size=64, learning_rate=0.1, augmentation=Augmentation(flip=False)
    )
    scale = Scale(width=0.25, alpha=0.5, endpoints=32, head_filters=32, head_convs=2)
    learner = replace(
        task,
        scale=scale,
        train=config,
        data=DetectionData(str(root), str(tmp_path / "cache")),
        head=RetinaNetHead(anchors=AnchorConfig(base=2.0)),
        evaluations=10,
    )
    assert train_until(lambda score: score.reward > 0.3, learner, SMALL)[-1].reward > 0.3
    assert np.isfinite(learner.evaluate(SMALL, 0.01, 0, lambda *_: None, None).reward)


def test_a_batch_of_nan_is_a_failure_at_its_step_and_the_next_trial_runs(
    task: TrainingTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, made = Batches.to_device, 0

    def poisoned(self: Batches, host: HostBatch) -> Batch:
        nonlocal made
        made += 1
        batch = whole(self, host)
        return replace(batch, images=batch.images * float("nan")) if made == 4 else batch

    monkeypatch.setattr(Batches, "to_device", poisoned)
    with pytest.raises(TaskFailureError, match=r"the loss is nan \(step 3\)") as raised:
        task.evaluate(SMALL, 1.0, 0, lambda *_: None, None)
    assert (raised.value.kind, raised.value.step) == ("diverged", 3)
    assert np.isfinite(task.evaluate(SMALL, 1.0, 0, lambda *_: None, None).reward)


def test_a_network_that_has_diverged_at_the_end_is_no_network_that_finds_nothing(task: TrainingTask) -> None:
    wild = replace(task, train=replace(PLAN, steps=1, learning_rate=1e20, clip=1e30, warm_up=0.0))
    with pytest.raises(TaskFailureError, match="the outputs of the network are not finite") as raised:
        wild.evaluate(SMALL, 1.0, 0, lambda *_: None, None)
    assert raised.value.kind == "diverged"


@pytest.mark.parametrize(
    ("dtype", "value", "fails"),
    [
        (torch.float16, math.inf, False),  # A large feature of an early network, from 65520 on.
        (torch.float16, math.nan, True),
        (torch.bfloat16, math.inf, True),
        (torch.float32, math.inf, True),
    ],
)
def test_what_is_infinite_in_fp16_alone_is_no_divergence(
    dtype: torch.dtype, value: float, fails: bool
) -> None:
    finite = Finite(torch.device("cpu"))
    finite.look(torch.tensor([1.0, value], dtype=dtype))
    with pytest.raises(TaskFailureError) if fails else contextlib.nullcontext():
        finite.check()


def test_memory_that_runs_out_before_the_first_step_is_told(
    task: TrainingTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU holds the optimizer's momentum and the averaged weights beside the network."""

    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("proxy_tasks.engine.train.make_optimizer", fail)
    with pytest.raises(TaskFailureError, match="out of memory") as raised:
        task.evaluate(SMALL, 1.0, 0, lambda *_: None, None)
    assert raised.value.kind == "out of memory"


def test_fp16_gradients_that_are_never_finite_are_a_failure() -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=1.0)
    weight = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight], 0.1)
    for step in range(10):
        weight.grad = torch.full((2,), math.nan)
        scaler.scale(torch.ones(()))
        scaler.step(optimizer)
        scaler.update()
        check_scale(scaler, step)
    scaler.update(LEAST_SCALE / 2)
    with pytest.raises(TaskFailureError, match="fp16") as raised:
        check_scale(scaler, 11)
    assert (raised.value.kind, raised.value.step) == ("diverged", 11)
    assert weight.tolist() == [1.0, 1.0]
    check_scale(torch.amp.GradScaler("cpu", init_scale=1.0), 1)
    check_scale(torch.amp.GradScaler("cpu", enabled=False), 1)


def test_momentum_begins_at_zero_where_the_first_step_is_skipped() -> None:
    """As it is in float16, where gradients overflow until the scale of the loss has come down."""
    net = nn.Linear(400, 400, bias=False)
    before = net.weight.detach().clone()
    optimizer = make_optimizer(
        net,
        TrainConfig(steps=3, batch=1, image_size=64, optimizer="sgd", weight_decay=0.0, learning_rate=0.1),
    )
    net.weight.grad = torch.ones_like(net.weight)
    scaled: Any = optimizer  # A scaler of gradients sets these two.
    scaled.grad_scale, scaled.found_inf = None, torch.tensor(1.0)
    optimizer.step()
    assert torch.equal(net.weight, before)
    scaled.found_inf = torch.tensor(0.0)
    optimizer.step()
    assert torch.equal(net.weight, before - 0.1)


def test_weights_are_left_alone_by_a_step_that_is_not_finite(task: TrainingTask) -> None:
    net = task.network(SMALL, 0, 6)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    optimizer = make_optimizer(net, PLAN)
    trained = Trained(net=net, optimizer=optimizer, average=None, scaler=scaler)
    batches = Batches(task.data.caches(64)[0], 64, torch.device("cpu"))
    batch = next(BatchStream(batches, PLAN, 0).steps(0, 1))
    before = [p.detach().clone() for p in net.parameters()]
    with torch.no_grad():
        next(iter(net.parameters())).fill_(float("inf"))
    assert np.isnan(float(update(net, trained, PLAN, "fp32", batch)))
    for old, new in list(zip(before, net.parameters(), strict=True))[1:]:
        assert torch.equal(old, new)


def train_on_a_full_disk(task: TrainingTask, folder: Path, output: Path) -> None:
    """Writes what becomes of a trial that keeps a checkpoint, of one that keeps none, and what is left."""
    folder.mkdir()
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    jobs = [Job(0, 0, SMALL, 1.0, 0, str(folder)), Job(1, 0, SMALL, 1.0, 0, None)]
    full, fine = (run_job(adapt(task), job, lambda *_: Decision.CONTINUE, "here") for job in jobs)
    left = [path.name for path in (folder / "checkpoint").iterdir()]
    output.write_text(f"{full.status} {full.failure} {full.message}\n{fine.status}\n{left}\n")


@pytest.mark.slow
def test_a_really_full_disk_is_a_failure_of_the_machine(task: TrainingTask, tmp_path: Path) -> None:
    """A file size limit is what a process sees of a full disk without filling one."""
    task.data.caches(PLAN.image_size)
    folder, output = tmp_path / "trial", tmp_path / "lines.txt"
    process = forking().Process(
        target=train_on_a_full_disk, args=(replace(task, evaluations=1), folder, output)
    )
    process.start()
    process.join(120)
    assert process.exitcode == 0
    lines = output.read_text().splitlines()
    assert lines[0].startswith("failed infrastructure")
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
    long.evaluate(SMALL, 1.0, 0, lambda *_: counts.append(live()), None)
    assert max(counts[2:-1]) <= counts[1]


def test_a_long_training_logs_where_it_is(
    task: TrainingTask, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.0)
    with caplog.at_level("INFO", "proxy_tasks.engine.progress"):
        task.evaluate(SMALL, 1.0, 0, lambda *_: None, None)
    assert len(caplog.messages) == 6
    assert caplog.messages[0].startswith("step 1/6, learning rate "), "no loss has been read yet"
    assert re.match(r"step 3/6, loss \d.*images/s", caplog.messages[2])


def test_weights_are_averaged_over_a_share_of_the_steps() -> None:
    """Against the sum of all weights written out, at every step."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    average, seen = WeightAverage(net, 0.25), []
    for step in range(1, 30):
        with torch.no_grad():
            for p in net.parameters():
                p.add_(torch.randn_like(p))
        net(torch.randn(4, 3))
        average.update(step)
        seen.append([p.detach().double().clone() for p in net.parameters()])
        kept = [(1 - 1 / t) ** 4 for t in range(1, step + 1)]
        shares = [(1 - k) * math.prod(kept[t + 1 :]) for t, k in enumerate(kept)]
        assert sum(shares) == pytest.approx(1)
        for i, averaged in enumerate(average.module.parameters()):
            wanted = torch.stack([share * p[i] for share, p in zip(shares, seen, strict=True)]).sum(0)
            torch.testing.assert_close(averaged.double(), wanted, rtol=1e-4, atol=1e-5)
            assert not averaged.requires_grad
    age = sum(share * (29 - t) for t, share in enumerate(shares, 1))
    assert age == pytest.approx(29 / 5, rel=0.1), "a fifth of all steps, as k = 3"


def test_statistics_of_averaged_weights_are_measured_on_batches() -> None:
    """The plain mean over the batches of mean and variance of what enters the norm."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2, momentum=0.3)).eval()
    batches = [torch.randn(6, 3) for _ in range(4)]
    net(torch.randn(6, 3))
    measure_statistics(net, net, batches)
    inputs = torch.stack([net[0](batch) for batch in batches])
    kept = dict(net.named_buffers())
    torch.testing.assert_close(kept["1.running_mean"], inputs.mean(1).mean(0))
    torch.testing.assert_close(kept["1.running_var"], inputs.var(1).mean(0))
    assert net[1].momentum == 0.3
    assert all(p.grad is None for p in net.parameters())


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
        ({"precision": "fp8"}, "train.precision must be auto, fp32, bf16 or fp16, not 'fp8'"),
    ],
)
def test_wrong_settings_are_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        replace(PLAN, **wrong)


CONSTANT = replace(PLAN, schedule="constant", average=0.2, warm_up=0.3, steps=12)


@pytest.mark.parametrize("cut", [0.25, 0.5, 0.9])
def test_a_constant_training_passes_where_a_shorter_one_ends_and_goes_on_from_there(
    task: TrainingTask, tmp_path: Path, cut: float
) -> None:
    """Cut and continued, it is the uninterrupted one to the last bit; its fidelity may be above 1."""
    torch.set_num_threads(1)
    task = replace(task, train=CONSTANT, evaluations=1)
    whole = task.fit(SMALL, 1.5, 3, lambda *_: None, None)
    short = task.fit(SMALL, cut, 3, lambda *_: None, tmp_path)
    assert short.metrics == pytest.approx(
        {**task.fit(SMALL, cut, 3, lambda *_: None, None).metrics, "training_seconds": ANY}, abs=0
    )
    further = task.fit(SMALL, 1.5, 3, lambda *_: None, tmp_path)
    assert {**further.metrics, "training_seconds": ANY} == {**whole.metrics, "training_seconds": ANY}


def test_a_constant_schedule_does_not_know_its_end() -> None:
    config, steps = CONSTANT.at_fidelity(0.5)
    assert (config, steps) == (CONSTANT, 6)
    rates = [learning_rate(config, step) for step in range(100)]
    assert rates[:2] == pytest.approx([0.02 / 3.6, 0.04 / 3.6])
    assert set(rates[3:]) == {0.02}
    shortened, steps = PLAN.at_fidelity(0.5)
    assert (shortened.steps, steps) == (3, 3)


def test_scores_have_mean_losses_of_the_last_parts_of_the_training(task: TrainingTask) -> None:
    losses: list[float] = []
    task = replace(task, train=replace(PLAN, steps=20), evaluations=1)
    score = task.fit(SMALL, 1.0, 0, lambda *_: None, None, on_step=lambda _, loss, __: losses.append(loss))
    assert len(losses) == 20
    for name, count in (("loss_50", 10), ("loss_25", 5), ("loss", 2)):
        assert score.metrics[name] == pytest.approx(sum(losses[-count:]) / count)


def test_the_host_reads_losses_now_and_then_and_nothing_else(
    task: TrainingTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every operation of 120 steps is watched for results that the host would have to wait for."""
    reads: list[str] = []
    read: list[int] = []
    monkeypatch.setattr(training_module, "update", watched(update, reads))
    tolist = torch.Tensor.tolist

    def counted(tensor: torch.Tensor) -> Any:
        read.append(tensor.numel())
        return tolist(tensor)

    monkeypatch.setattr(torch.Tensor, "tolist", counted)
    batches = Batches(task.data.caches(64)[0], 64, torch.device("cpu"))
    config = replace(PLAN, steps=120, checkpoint_every=1000, average=0.1)
    train(task.network(SMALL, 0, 6), Training(batches=batches, config=config, steps=120, seed=0))
    assert reads == []
    assert [count for count in read if count > 1] == [50, 50, 20]


def watched(step: Any, reads: list[str]) -> Any:
    """The update, with a note of every operation that waits for the device."""

    def run(*arguments: Any) -> Any:
        with (watch := Watch()):
            result = step(*arguments)
        reads.extend(watch.reads)
        return result

    return run


@pytest.mark.parametrize(
    ("flags", "expected"), [({"avx512_bf16": True}, "bf16"), ({"amx_bf16": True}, "bf16"), ({}, "fp32")]
)
def test_auto_takes_the_precision_that_a_cpu_computes(
    monkeypatch: pytest.MonkeyPatch, flags: dict[str, bool], expected: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: flags)
    assert resolve_precision("auto", torch.device("cpu")) == expected
    assert resolve_precision("fp32", torch.device("cpu")) == "fp32"


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), "fp16"), ((8, 0), "bf16"), ((9, 0), "bf16")])
def test_auto_takes_the_precision_that_a_gpu_computes(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert resolve_precision("auto", torch.device("cuda", 0)) == expected


def test_a_precision_that_a_device_lacks_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    assert resolve_precision("bf16", torch.device("cpu")) == "bf16"
    assert caplog.messages == ["train.precision: this CPU emulates bf16, slower than fp32; use auto"]
    with pytest.raises(ValueError, match="fp16 needs an NVIDIA GPU, not cpu; auto takes"):
        resolve_precision("fp16", torch.device("cpu"))


def test_an_opened_task_looks_at_no_file_of_the_set_again(task: TrainingTask, tmp_path: Path) -> None:
    """As in a search: the driver prepares, workers open, and trials find everything in place."""
    root = make_shapes(tmp_path / "set", ShapesConfig(train=8, val=4, size=64))
    own = replace(task, data=DetectionData(str(root), str(tmp_path / "cache")), evaluations=1)
    own.setup(tmp_path)
    expected = own.evaluate(SMALL, 0.2, 0, lambda *_: None, None)
    worker = pickle.loads(pickle.dumps(own))
    shutil.rmtree(root)
    worker.open()
    found = worker.evaluate(SMALL, 0.2, 0, lambda *_: None, None)
    assert found.reward == expected.reward
    assert found.metrics["loss"] == expected.metrics["loss"]
    with pytest.raises(DataError):
        own.evaluate(SMALL, 0.2, 0, lambda *_: None, None)
    assert pickle.loads(pickle.dumps(worker))._opened is None, "processes open the images themselves"


def test_finalists_are_trained_alike_and_measured_on_images_of_their_own(
    task: TrainingTask, tmp_path: Path
) -> None:
    """On a worker that has no files of the set, with one training and two sets of images."""
    root = make_shapes(tmp_path / "set", ShapesConfig(train=8, val=6, size=64))
    own = replace(task, data=DetectionData(str(root), str(tmp_path / "cache"), selection=0.5), evaluations=1)
    driver = adapt(own)
    driver.setup(tmp_path)
    assert driver.finalist_task is not None
    worker = pickle.loads(pickle.dumps(driver))
    shutil.rmtree(root)
    worker.open()
    parts = [part.task._images()[1].split.file_names for part in (worker, worker.finalist_task)]
    assert [len(names) for names in parts] == [3, 3]
    assert not set(parts[0]) & set(parts[1])
    scores = [part.evaluate(SMALL, 0.2, 0, lambda *_: None, None) for part in (worker, worker.finalist_task)]
    assert scores[0].metrics["loss"] == scores[1].metrics["loss"]
    assert adapt(task).finalist_task is None


def test_evaluations_are_spread_evenly(task: TrainingTask) -> None:
    steps: list[int] = []
    task = replace(task, train=replace(PLAN, steps=7), evaluations=4)
    task.evaluate(SMALL, 1.0, 0, lambda step, _: steps.append(step), None)
    assert steps == [2, 4, 5, 7]


def test_a_training_of_fewer_steps_than_evaluations_begins_with_none(task: TrainingTask) -> None:
    steps: list[int] = []
    few = replace(task, train=replace(PLAN, steps=1), evaluations=3)
    few.evaluate(SMALL, 1.0, 0, lambda step, _: steps.append(step), None)
    assert steps == [1]


def test_each_step_is_told_with_its_own_learning_rate(task: TrainingTask) -> None:
    told: list[tuple[int, float]] = []
    task.fit(SMALL, 1.0, 0, lambda *_: None, None, on_step=lambda step, _, rate: told.append((step, rate)))
    assert told == [(step + 1, learning_rate(PLAN, step)) for step in range(6)]


def test_statistics_are_measured_on_no_more_batches_than_there_were_steps(
    task: TrainingTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[int] = []

    def counting(net: nn.Module, forward: Any, batches: Any) -> None:
        measured.append(len(list(batches)))

    monkeypatch.setattr(training_module, "measure_statistics", counting)
    replace(task, train=replace(PLAN, average=0.2), evaluations=2).fit(SMALL, 1.0, 0, lambda *_: None, None)
    assert measured == [3, 6]


def test_one_small_image_a_batch_is_refused_with_what_would_do(task: TrainingTask) -> None:
    one = replace(task, train=replace(PLAN, batch=1, image_size=64))
    with pytest.raises(
        ValueError, match=r"train\.batch: one image of 64 x 64 pixels .* a batch of at least 2"
    ):
        one.evaluate(SMALL, 1.0, 0, lambda *_: None, None)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (None, "a NoneType"),
        (torch.zeros(()), "a Tensor"),
        ({}, "an empty dict"),
        ({"box": 1.0}, "{'box': a float}"),
        ({"class": torch.zeros(()), "box": torch.zeros(2)}, "{'box': a Tensor of shape (2,)}"),
    ],
)
def test_a_network_that_gives_no_losses_is_told_what_they_are(given: Any, told: str) -> None:
    class Net(nn.Module):
        def forward(self, images: Any, targets: Any) -> Any:
            return given

    batch = Batch(images=torch.zeros(2, 3, 8, 8), targets=ANY)
    with pytest.raises(TaskFailureError) as raised:
        training_module.batch_loss(Net(), "fp32", batch)
    assert str(raised.value).endswith(
        f"Net.forward must give the losses by name, each a tensor of one value, not {told}"
    )


def test_losses_may_have_any_shape_of_one_value() -> None:
    class Net(nn.Module):
        def forward(self, images: Any, targets: Any) -> Any:
            return {"a": torch.ones(1), "b": torch.ones(()), "c": torch.ones(1, 1)}

    loss = training_module.batch_loss(Net(), "fp32", Batch(images=torch.zeros(2, 3, 8, 8), targets=ANY))
    assert (loss.shape, loss.item()) == ((), 3.0)


def test_of_several_processes_the_network_itself_is_named(
    tmp_path: Path,
) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(1, 1)

        def forward(self, images: Any, targets: Any) -> Any:
            return {"a": self.layer(torch.ones(2, 1))}

    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'group'}", rank=0, world_size=1
    )
    try:
        parallel = nn.parallel.DistributedDataParallel(Net())
        with pytest.raises(TaskFailureError, match=r"in training, Net\.forward must give .*\(2, 1\)"):
            training_module.batch_loss(parallel, "fp32", Batch(images=torch.zeros(2, 3, 8, 8), targets=ANY))
    finally:
        torch.distributed.destroy_process_group()


def test_what_is_no_head_is_told_by_name(task: TrainingTask) -> None:
    with pytest.raises(ValueError, match="head: Scale is no head of a network: it has no name, network"):
        replace(task, head=Scale())  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "kind"), [("head", RetinaNetHead), ("data", DetectionData)])
def test_a_class_in_the_place_of_a_part_is_told(task: TrainingTask, name: str, kind: type) -> None:
    told = f"{name}: {kind.__name__} is a class; write {kind.__name__}()"
    with pytest.raises(ValueError, match=re.escape(told)):
        replace(task, **{name: kind})  # type: ignore[arg-type]
