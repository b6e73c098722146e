"""Two processes train as one does: the same batches, norms, losses, gradients and scores, up to rounding."""

from __future__ import annotations

import json
import os
import socket
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from proxy_tasks import DetectionData, TrainingTask
from proxy_tasks.data.batches import Batches
from proxy_tasks.data.shapes import ShapesConfig, make_shapes
from proxy_tasks.distributed import (
    all_gather,
    all_reduce_sum,
    own_batches,
    process_group,
    rank_and_size,
    wrap_ddp,
)
from proxy_tasks.engine import train as training_module
from proxy_tasks.engine.checkpoint import (
    DAMAGED,
    DamagedCheckpointError,
    Past,
    Trained,
    restore_checkpoint,
    save_checkpoint,
)
from proxy_tasks.engine.config import TrainConfig
from proxy_tasks.engine.state_file import STATE
from proxy_tasks.engine.train import Training, train
from proxy_tasks.evaluation.evaluators import Finite
from proxy_tasks.models.model import Model, build_model, numbered_categories
from proxy_tasks.models.region_parts import mean_over_processes
from proxy_tasks.task import Score, TaskFailureError
from search_space import ClassifierHead, NormConfig, Scale
from search_space.heads import as_head
from tests.nas.search.killing import forking
from tests.proxy_tasks.small_networks import SMALL


def gradients(head: str) -> dict[str, Any]:
    """Loss, and the size of gradients and statistics, of one batch that the processes share."""
    torch.manual_seed(0)
    scale = Scale(width=0.125, alpha=0.5, endpoints=16, repeats=2, head_filters=16, head_convs=1)
    model = Model(
        spec=SMALL, scale=scale, head=as_head(head), categories=numbered_categories(3), image_size=128
    )
    net = build_model(model).double()
    images = torch.randn(8, 3, 128, 128, dtype=torch.float64)
    targets = [
        {
            "boxes": torch.tensor([[5.0 * i, 8.0, 5.0 * i + 30, 60.0]] * (i % 3)).reshape(-1, 4),
            "labels": torch.full((i % 3,), i % 2),
        }
        for i in range(8)
    ]
    rank, size = rank_and_size()
    parallel = net if size == 1 else wrap_ddp(net, torch.device("cpu"))
    part = slice(rank * 8 // size, (rank + 1) * 8 // size)
    loss = torch.stack(list(parallel(images[part], targets[part]).values())).sum()
    loss.backward()
    value = float(all_reduce_sum(loss.detach())) / size
    norms = [float(p.grad.norm()) for p in net.parameters()]  # type: ignore[union-attr]
    statistics = [float(b.double().norm()) for b in net.buffers()]
    return {"loss": value, "norms": norms, "statistics": statistics, "size": size}


class Norms(nn.Module):
    """Norms of vectors, as Mask R-CNN's box head has, and of maps."""

    def __init__(self) -> None:
        super().__init__()
        self.vectors, self.maps = nn.BatchNorm1d(5), nn.BatchNorm2d(3)

    def forward(self, vectors: Tensor, maps: Tensor) -> Tensor:
        return torch.cat([self.vectors(vectors).pow(3).flatten(), self.maps(maps).pow(3).flatten()])


def unused_parameters() -> dict[str, float]:
    """The size of the weights of a classifier that leaves outputs of the backbone unused, after two steps."""
    torch.manual_seed(0)
    scale = Scale(width=0.125, alpha=0.5, endpoints=16, head_filters=16, head_convs=1)
    model = Model(
        spec=SMALL,
        scale=scale,
        head=ClassifierHead(pooling="coarsest"),
        categories=numbered_categories(3),
        image_size=64,
    )
    net = build_model(model).double()
    rank, size = rank_and_size()
    parallel = net if size == 1 else wrap_ddp(net, torch.device("cpu"))
    images = torch.randn(8, 3, 64, 64, dtype=torch.float64)[rank * 8 // size : (rank + 1) * 8 // size]
    targets = [{"boxes": torch.tensor([[0.0, 0, 64, 64]]), "labels": torch.tensor([1])}] * len(images)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    for _ in range(2):
        optimizer.zero_grad()
        parallel(images, targets)["classes"].backward()
        optimizer.step()
    return {name: float(p.detach().norm()) for name, p in net.named_parameters()}


def norms_without_values() -> list[Tensor]:
    """What a norm gives, and its statistics, where one process has no value, and where none has."""
    rank, size = rank_and_size()
    if size == 1:
        return []
    torch.manual_seed(0)
    net = Norms().double()
    wrap_ddp(net, torch.device("cpu"))
    some = torch.randn(4 * rank, 5, dtype=torch.float64, requires_grad=True)
    net.vectors(some).sum().backward()
    mean = net.vectors.running_mean
    assert mean is not None
    found = [mean.clone()]
    empty = torch.randn(0, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    net.maps(empty).sum().backward()
    assert net.maps.weight.grad is not None
    assert net.maps.running_mean is not None
    assert net.maps.running_var is not None
    return [*found, net.maps.weight.grad, net.maps.running_mean, net.maps.running_var]


def norms_of_vectors() -> list[float]:
    """The statistics of norms over the vectors and maps of all processes, and gradients."""
    torch.manual_seed(0)
    net, vectors, maps = Norms().double(), torch.randn(8, 5).double(), torch.randn(8, 3, 2, 2).double()
    rank, size = rank_and_size()
    parallel = net if size == 1 else wrap_ddp(net, torch.device("cpu"))
    part = slice(rank * 8 // size, (rank + 1) * 8 // size)
    parallel(vectors[part], maps[part]).sum().backward()
    gradients = [float(p.grad.norm()) for p in net.parameters() if p.grad is not None]
    return [*(float(b.double().norm()) for b in net.buffers()), *(g * size for g in gradients)]


def norms_far_from_zero() -> float:
    """The largest difference of a norm's outputs from torch's own, at a mean of 1000 and a deviation of 1."""
    rank, size = rank_and_size()
    torch.manual_seed(0)
    net, maps = nn.Sequential(nn.BatchNorm2d(3)), 1000 + torch.randn(8, 3, 4, 4)
    wanted = nn.BatchNorm2d(3)(maps.double().float())
    if size > 1:
        wrap_ddp(net, torch.device("cpu"))
    part = slice(rank * 8 // size, (rank + 1) * 8 // size)
    return float((net(maps[part]) - wanted[part]).abs().max())


def region_losses() -> dict[str, float]:
    """Means of losses over regions: one process has ten, three with an object, the other six without."""
    rank, size = rank_and_size()
    regions, positives = [(16, 3), (10, 3), (6, 0)][0 if size == 1 else 1 + rank]
    own = {"loss_classifier": [8.0, 5.0, 3.0][0 if size == 1 else 1 + rank] / regions, "loss_mask": 0.9}
    if not positives:
        own["loss_mask"] = 0.0
    losses = {name: torch.tensor(value) for name, value in own.items()}
    found = mean_over_processes(losses, regions, torch.tensor(positives))
    return {name: float(all_reduce_sum(loss)) / size for name, loss in found.items()}


def loss_without_a_label() -> float:
    """The loss of a classifier over four images, of which the last has no label."""
    torch.manual_seed(0)
    scale = Scale(width=0.125, alpha=0.5, endpoints=16, head_filters=16, head_convs=1)
    model = Model(
        spec=SMALL, scale=scale, head=ClassifierHead(), categories=numbered_categories(3), image_size=64
    )
    net = build_model(model).double()
    rank, size = rank_and_size()
    parallel = net if size == 1 else wrap_ddp(net, torch.device("cpu"))
    part = slice(rank * 4 // size, (rank + 1) * 4 // size)
    targets = [
        {"boxes": torch.zeros(int(i < 3), 4), "labels": torch.full((int(i < 3),), i)} for i in range(4)
    ]
    images = torch.randn(4, 3, 64, 64, dtype=torch.float64)
    loss = parallel(images[part], targets[part])["classes"]
    return float(all_reduce_sum(loss.detach())) / size


def divergence() -> str:
    """The failure of a network whose last process alone has met what is no number."""
    rank, size = rank_and_size()
    finite = Finite(torch.device("cpu"))
    finite.look(torch.tensor(float("nan") if rank == size - 1 else 1.0))
    try:
        finite.check()
    except TaskFailureError as error:
        return error.kind
    return ""


def curve(data: Path, cache: Path, checkpoint: Path) -> dict[str, Any]:
    """Losses and AP of a short training."""
    task = TrainingTask(
        scale=Scale(width=0.125, alpha=0.5, endpoints=16, head_filters=16, head_convs=1),
        train=TrainConfig(
            steps=5, batch=4, image_size=128, learning_rate=0.005, warm_up=0.0, checkpoint_every=2
        ),
        data=DetectionData(data, cache),
        norm=NormConfig(momentum=0.05),
        evaluations=5,
        device="cpu",
    )
    losses: list[float] = []

    def report(_step: int, score: Score) -> None:
        losses.append(score.metrics.get("loss", 0.0))

    score = task.evaluate(SMALL, 1.0, 3, report, checkpoint)
    return {"losses": losses, "AP": score.reward}


def train_as(rank: int, size: int, port: int, folder: Path, found: Path) -> None:
    """One of the processes, as torchrun would start it; that of rank 0 writes what it has found."""
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(rank)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with process_group("cpu"):
        results: dict[str, Any] = {head: gradients(head) for head in ("retinanet", "fcos")}
        results["norms of vectors"] = norms_of_vectors()
        results["unused"] = unused_parameters()
        results["norms without values"] = [tensor.tolist() for tensor in norms_without_values()]
        results["regions"], results["a label missing"] = region_losses(), loss_without_a_label()
        results["far from zero"] = norms_far_from_zero()
        results["divergence"] = divergence()
        results["gathered"] = all_gather([rank, 10 + rank])
        results["shares"] = all_gather([number for part in own_batches(7, 2) for number in part])
        results["curve"] = curve(folder / "shapes", folder / "cache", folder / f"run{size}")
        if rank == 0:
            found.write_text(json.dumps(results))


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def restore_as(rank: int, port: int, folder: Path, found: Path) -> None:
    """One of two processes that each see another disk; it writes where it goes on, with which weights."""
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    results: dict[str, Any] = {}
    with process_group("cpu"):
        for name in ("first", "second", "damaged"):
            trained = tiny_training()
            try:
                past = restore_checkpoint(folder / name / str(rank) / STATE, trained, 0)
            except DamagedCheckpointError as error:
                results[name] = str(error)
            else:
                results[name] = [len(past.losses), past.seconds, picture(trained)]
    found.write_text(json.dumps(results))


def tiny_training() -> Trained:
    net = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    return Trained(net=net, optimizer=optimizer, average=None, scaler=scaler)


def picture(trained: Trained) -> list[list[float]]:
    """Weights and momentum."""
    weights = [weight.detach().flatten().tolist() for weight in trained.net.parameters()]
    return weights + [
        state["momentum_buffer"].flatten().tolist() for state in trained.optimizer.state.values()
    ]


@pytest.fixture(scope="module")
def one_and_two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What one process finds, and rank 0 of two."""
    folder = tmp_path_factory.mktemp("distributed")
    make_shapes(folder / "shapes", ShapesConfig(train=12, val=6, size=128))
    found = []
    for size in (1, 2):
        path, port = folder / f"{size}.json", free_port()
        ranks = [
            forking().Process(target=train_as, args=(rank, size, port, folder, path)) for rank in range(size)
        ]
        for process in ranks:
            process.start()
        for process in ranks:
            process.join()
        assert [process.exitcode for process in ranks] == [0] * size
        found.append(json.loads(path.read_text()))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("head", ["retinanet", "fcos"])
def test_gradients_and_statistics_of_two_processes_are_those_of_one(
    one_and_two: list[dict[str, Any]], head: str
) -> None:
    one, two = (found[head] for found in one_and_two)
    assert (one["size"], two["size"]) == (1, 2)
    # The heads' outputs are float32 by design, which is what limits the agreement.
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-6)
    assert two["norms"] == pytest.approx(one["norms"], rel=1e-3, abs=1e-9)
    assert two["statistics"] == pytest.approx(one["statistics"], rel=1e-7)


@pytest.mark.slow
def test_vectors_are_normalized_over_all_processes(one_and_two: list[dict[str, Any]]) -> None:
    one, two = (found["norms of vectors"] for found in one_and_two)
    assert two == pytest.approx(one, rel=1e-9)


@pytest.mark.slow
def test_two_processes_follow_the_loss_curve_of_one(one_and_two: list[dict[str, Any]]) -> None:
    one, two = (found["curve"] for found in one_and_two)
    assert len(one["losses"]) == 5
    # Float32 rounding grows from step to step. What is learned here changes the losses by up to 7 %.
    assert two["losses"][0] == pytest.approx(one["losses"][0], rel=1e-3)
    assert two["losses"] == pytest.approx(one["losses"], rel=0.01)
    assert one["losses"][0] > 1.05 * one["losses"][-1]


@pytest.mark.slow
def test_all_processes_fail_where_one_has_diverged(one_and_two: list[dict[str, Any]]) -> None:
    """Otherwise the others would wait for its part of the scores."""
    assert [found["divergence"] for found in one_and_two] == ["diverged", "diverged"]


@pytest.mark.slow
def test_what_all_processes_have_found_is_gathered(one_and_two: list[dict[str, Any]]) -> None:
    one, two = one_and_two
    assert (one["gathered"], two["gathered"]) == ([0, 10], [0, 10, 1, 11])
    assert one["shares"] == list(range(7))
    assert two["shares"] == [0, 1, 4, 5, 2, 3, 6]


@pytest.mark.slow
def test_losses_are_means_over_the_regions_and_labels_of_all_processes(
    one_and_two: list[dict[str, Any]],
) -> None:
    one, two = one_and_two
    assert one["regions"] == pytest.approx({"loss_classifier": 0.5, "loss_mask": 0.9})
    assert two["regions"] == pytest.approx(one["regions"])
    assert two["a label missing"] == pytest.approx(one["a label missing"], rel=1e-6)


def test_a_batch_that_cannot_be_shared_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_module, "rank_and_size", lambda: (0, 3))
    config = TrainConfig(steps=1, batch=4, image_size=64, learning_rate=0.1)
    batches = Batches.__new__(Batches)  # Only its device is looked at.
    batches.device = torch.device("cpu")
    training = Training(batches=batches, config=config, steps=1, seed=0)
    with pytest.raises(ValueError, match="batch 4 cannot be shared by 3 processes"):
        train(torch.nn.Identity(), training)


def test_a_head_that_leaves_outputs_unused_trains_alike(one_and_two: list[dict[str, Any]]) -> None:
    one, two = (found["unused"] for found in one_and_two)
    assert two == pytest.approx(one, rel=1e-6)


def test_norms_without_values_stay_finite(one_and_two: list[dict[str, Any]]) -> None:
    some, gradient, mean, variance = one_and_two[1]["norms without values"]
    assert any(some), "rank 1 had values"
    assert (gradient, mean, variance) == ([0.0] * 3, [0.0] * 3, [1.0] * 3)


def test_norms_of_values_far_from_zero_keep_their_digits(one_and_two: list[dict[str, Any]]) -> None:
    assert one_and_two[1]["far from zero"] < 2e-3


def test_all_processes_go_on_from_what_the_first_one_reads(tmp_path: Path) -> None:
    """Only the first one sees a checkpoint; only the second one sees one; the first one's is damaged."""
    trained = tiny_training()
    trained.net(torch.ones(1, 2)).sum().backward()
    trained.optimizer.step()
    for name, rank in (("first", 0), ("second", 1), ("damaged", 1)):
        save_checkpoint(
            tmp_path / name / str(rank) / STATE, trained, Past(seed=0, losses=[1.0] * 3, seconds=7.0)
        )
    (tmp_path / "damaged" / "0").mkdir()
    (tmp_path / "damaged" / "0" / STATE).write_bytes(b"cut off")
    port = free_port()
    ranks = [
        forking().Process(target=restore_as, args=(rank, port, tmp_path, tmp_path / f"{rank}.json"))
        for rank in range(2)
    ]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    assert [process.exitcode for process in ranks] == [0, 0]
    one, other = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert one["first"] == other["first"] == [3, 7.0, picture(trained)]
    assert one["second"][:2] == other["second"][:2] == [0, 0.0]
    assert one["damaged"] == other["damaged"]
    assert "no usable checkpoint" in one["damaged"]


@pytest.mark.parametrize("rank", [0, 1])
def test_the_first_process_alone_sets_a_damaged_checkpoint_aside(
    rank: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, fits = TrainingTask(train=TrainConfig(steps=1, batch=4, image_size=64, learning_rate=0.1)), []

    def fit(*_: object) -> Score:
        fits.append(rank)
        if len(fits) == 1:
            raise DamagedCheckpointError("infrastructure", "no usable checkpoint")
        return Score(0.5)

    monkeypatch.setattr(TrainingTask, "fit", lambda *args: fit(*args[1:]))
    monkeypatch.setattr("proxy_tasks.training_task.rank_and_size", lambda: (rank, 2))
    (tmp_path / STATE).touch()
    assert task.evaluate(SMALL, 1.0, 0, lambda *_: None, tmp_path) == Score(0.5)
    assert len(fits) == 2
    assert (tmp_path / DAMAGED).exists() == (rank == 0)


def test_a_training_step_calls_nothing_that_torch_is_about_to_remove(tmp_path: Path) -> None:
    init = f"file://{tmp_path / 'group'}"
    torch.distributed.init_process_group("gloo", init_method=init, rank=0, world_size=1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", FutureWarning)
            warnings.simplefilter("error", DeprecationWarning)
            net = wrap_ddp(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)), torch.device("cpu"))
            net(torch.randn(2, 3, 4, 4)).square().sum().backward()
    finally:
        torch.distributed.destroy_process_group()
    assert all(parameter.grad is not None for parameter in net.parameters())
