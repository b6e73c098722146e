"""What only a CUDA device can show of a training: `uv run pytest -m gpu -n 0 tests/gpu`."""

from __future__ import annotations

import copy
import gc
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nas.config import load_task
from proxy_tasks.data.batches import Batch, Batches
from proxy_tasks.data.targets import Targets, pad_targets
from proxy_tasks.engine.checkpoint import Trained
from proxy_tasks.engine.optimizer import make_optimizer
from proxy_tasks.engine.train import Training, batch_loss, train, update
from proxy_tasks.models.anchors import make_anchors
from proxy_tasks.models.focal_loss import focal_loss
from proxy_tasks.models.matching import match
from proxy_tasks.task import TaskFailureError
from proxy_tasks.training_task import TrainingTask
from search_space import published_spec
from search_space.heads import AnchorConfig
from tests.proxy_tasks.reference import match_image

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

SPEC = published_spec("spinenet-49")
CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
MIB = 2**20


@pytest.fixture(autouse=True)
def exact_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> TrainingTask:
    """The `cpu` proxy on the GPU, with pixels that are copied in every step."""
    cache = tmp_path_factory.mktemp("cache")
    found: TrainingTask = load_task(
        "cpu", f"data.cache={cache}", "data.shapes.train=64", "data.shapes.val=16", "device=cuda"
    )
    return found


def batches_of(task: TrainingTask, device: torch.device, resident: bool | None = None) -> Batches:
    return Batches(
        task.data.caches(task.train.image_size)[0], task.train.image_size, device, resident=resident
    )


def network(task: TrainingTask, device: torch.device) -> nn.Module:
    return task.network(SPEC, 0, 6).to(device)


def test_a_step_is_that_of_a_cpu(task: TrainingTask) -> None:
    """In float64: what two devices round in float32 changes the gradient of a fresh network by a tenth."""
    noise = np.random.default_rng(0).random((8, 4))
    batches = {
        d: batches_of(task, d).training(np.arange(8), task.train.augmentation, noise) for d in (CPU, GPU)
    }
    single = [
        float(batch_loss(network(task, d).train(), "fp32", batch).detach()) for d, batch in batches.items()
    ]
    assert single[1] == pytest.approx(single[0], rel=1e-4)
    losses, gradients = [], []
    for device in (CPU, GPU):
        net = network(task, device).double().train()
        batch = Batch(
            images=batches[CPU].images.double().to(device), targets=_moved(batches[CPU].targets, device)
        )
        loss = batch_loss(net, "fp32", batch)
        loss.backward()
        losses.append(float(loss.detach()))
        gradients.append({name: p.grad.cpu() for name, p in net.named_parameters() if p.grad is not None})
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)
    assert gradients[1].keys() == gradients[0].keys()
    for name, expected in gradients[0].items():
        assert float((gradients[1][name] - expected).norm()) <= 1e-4 * float(expected.norm()) + 1e-9, name


def test_pixels_kept_on_the_device_make_the_batches_of_copied_ones(task: TrainingTask) -> None:
    noise = np.random.default_rng(0).random((8, 4))
    made = [
        batches_of(task, GPU, resident).training(np.arange(8), task.train.augmentation, noise)
        for resident in (False, True)
    ]
    assert torch.equal(made[0].images, made[1].images)
    assert torch.equal(made[0].targets.boxes, made[1].targets.boxes)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_learns_as_float32_does(task: TrainingTask, precision: str) -> None:
    """Weights that differ by 1e-7 at the start change this mean by up to 6 % in float32, by 9 % in bf16."""
    means = {}
    for name in ("fp32", precision):
        config = replace(task.train, steps=200, precision=name)  # type: ignore[arg-type]
        training = Training(batches=batches_of(task, GPU), config=config, steps=200, seed=0)
        means[name] = train(network(task, GPU), training)[1]["loss_50"]
    assert means["fp32"] < 0.8
    assert means[precision] == pytest.approx(means["fp32"], rel=0.25)


def test_losses_and_matches_are_those_of_a_cpu() -> None:
    torch.manual_seed(0)
    anchors = {d: make_anchors(AnchorConfig(), {3: (64, 64), 5: (16, 16)}, d) for d in (CPU, GPU)}
    corners = torch.rand(4, 30, 2) * 400
    boxes = torch.cat([corners, corners + 4 + torch.rand(4, 30, 2) * 100], -1)
    targets = pad_targets([{"boxes": b, "labels": torch.zeros(30, dtype=torch.int64)} for b in boxes])
    matched = match(anchors[CPU], targets)
    assert torch.equal(match(anchors[GPU], _moved(targets)).cpu(), matched)
    assert torch.equal(matched[0], match_image(anchors[CPU].boxes, boxes[0]))
    logits = torch.randn(4, matched.shape[1], 20) - 3
    labels = torch.where(matched >= 0, matched % 20, -1)
    found = focal_loss(logits.to(GPU), labels.to(GPU), 0.25, 1.5)
    torch.testing.assert_close(found.cpu(), focal_loss(logits, labels, 0.25, 1.5), rtol=1e-5, atol=0)


def _moved(targets: Targets, device: torch.device = GPU) -> Targets:
    return replace(targets, boxes=targets.boxes.to(device), labels=targets.labels.to(device))


def test_mask_rcnn_computes_boxes_in_float32(tmp_path: Path) -> None:
    task: TrainingTask = load_task(
        "mask-rcnn-cpu",
        f"data.cache={tmp_path}",
        "data.shapes.train=8",
        "data.shapes.val=4",
        "device=cuda",
        "train.precision=bf16",
    )
    seen: list[torch.dtype] = []
    net = task.network(SPEC, 0, 6).to(GPU).train()
    net.proposals.register_forward_hook(  # type: ignore[union-attr]
        lambda _module, _inputs, result: seen.extend(boxes.dtype for boxes in result[0])
    )
    noise = np.random.default_rng(0).random((4, 4))
    batch = batches_of(task, GPU).training(np.arange(4), task.train.augmentation, noise)
    assert bool(batch_loss(net, "bf16", batch).isfinite())
    assert set(seen) == {torch.float32}


@pytest.mark.parametrize("resident", [False, True])
def test_the_host_waits_for_the_device_at_most_once_in_fifty_steps(
    task: TrainingTask, resident: bool
) -> None:
    """What a training waits for at its start and end, such as constants, it waits for at any length."""
    config = replace(task.train, average=0.1, checkpoint_every=1000)
    training = Training(batches=batches_of(task, GPU, resident), config=config, steps=50, seed=0)
    net = network(task, GPU)
    short, long = (_waits(copy.deepcopy(net), replace(training, steps=steps)) for steps in (50, 150))
    assert short > 0
    assert long - short <= 2


def _waits(net: nn.Module, training: Training) -> int:
    """So often the host waits for the device in a training."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")  # It also warns that it is a prototype.
        try:
            train(net, training)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("called a synchronizing" in str(warning.message) for warning in told)


def test_a_training_goes_on_from_its_checkpoint(task: TrainingTask, tmp_path: Path) -> None:
    # At higher rates, what a GPU adds up in another order each time grows from step to step.
    config = replace(task.train, steps=20, schedule="constant", average=0.1, learning_rate=1e-5)
    training = Training(batches=batches_of(task, GPU), config=config, steps=20, seed=0)
    whole = train(network(task, GPU), training)[1]["loss_50"]
    kept = replace(training, checkpoint=tmp_path / "training.pt")
    train(network(task, GPU), replace(kept, steps=10))
    assert train(network(task, GPU), kept)[1]["loss_50"] == pytest.approx(whole, rel=1e-3)


def _held() -> float:
    gc.collect()
    torch.cuda.empty_cache()
    return torch.cuda.memory_allocated() / MIB


@pytest.mark.parametrize("where", ["build", "step", "evaluation"])
def test_after_memory_runs_out_the_next_trial_succeeds(
    task: TrainingTask, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = replace(task, train=replace(task.train, steps=2))
    short.evaluate(SPEC, 1.0, 0, lambda *_: None, None)
    before = _held()

    def too_much(*_: object, **__: object) -> Tensor:
        return torch.empty(2**45, dtype=torch.uint8, device=GPU)

    with monkeypatch.context() as patch:
        if where == "build":
            patch.setattr(TrainingTask, "network", too_much)
        elif where == "step":
            patch.setattr("proxy_tasks.engine.train.batch_loss", too_much)
        else:
            patch.setattr(type(short.evaluator), "measure", too_much)
        with pytest.raises(TaskFailureError) as raised:
            short.evaluate(SPEC, 1.0, 0, lambda *_: None, None)
    assert raised.value.kind == "out of memory"
    del raised
    assert _held() - before < 50
    assert np.isfinite(short.evaluate(SPEC, 1.0, 0, lambda *_: None, None).reward)


def test_memory_stays_flat_over_trials(task: TrainingTask) -> None:
    short = replace(task, train=replace(task.train, steps=2))
    held = []
    for seed in range(20):
        short.evaluate(SPEC, 1.0, seed, lambda *_: None, None)
        held.append(_held())
    assert held[-1] - held[1] < 100


def test_weights_stay_where_a_step_is_not_finite(task: TrainingTask) -> None:
    net = network(task, GPU).train()
    scaler = torch.amp.GradScaler("cuda", enabled=False)
    trained = Trained(net=net, optimizer=make_optimizer(net, task.train), average=None, scaler=scaler)
    noise = np.random.default_rng(0).random((8, 4))
    batch = batches_of(task, GPU).training(np.arange(8), task.train.augmentation, noise)
    before = [p.detach().clone() for p in net.parameters()]
    poisoned = replace(batch, images=batch.images * float("nan"))
    assert bool(update(net, trained, task.train, "fp32", poisoned).isnan())
    assert all(map(torch.equal, before, (p.detach() for p in net.parameters())))
