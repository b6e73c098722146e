"""Two processes train as one does: the same batches, norms, losses, gradients and scores, up to rounding."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from proxy_tasks.data.batches import Batches
from proxy_tasks.data.shapes import ShapesConfig, make_shapes
from proxy_tasks.engine import train as training_module
from proxy_tasks.engine.config import TrainConfig
from proxy_tasks.engine.train import Training, train

ROOT = Path(__file__).parents[2]
LAUNCHERS = (
    [sys.executable],
    [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"],
)


SCRIPT = """
import json, sys
from pathlib import Path
import torch
from proxy_tasks import DetectionData, TrainConfig, TrainingTask
from proxy_tasks.distributed import all_reduce_sum, process_group, rank_and_size, wrap_ddp
from proxy_tasks.models.model import Model, build_model, numbered_categories
from search_space import NormConfig, Scale
from tests.proxy_tasks.small_networks import SMALL
from search_space.heads import as_head
torch.set_num_threads(1)

def gradients(head):
    torch.manual_seed(0)
    scale = Scale(width=0.125, alpha=0.5, endpoints=16, repeats=2, head_filters=16, head_convs=1)
    net = build_model(Model(
        spec=SMALL,
        scale=scale,
        head=as_head(head),
        categories=numbered_categories(3),
        image_size=128,
    )).double()
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
    losses = parallel(images[part], targets[part])
    loss = torch.stack(list(losses.values())).sum()
    loss.backward()
    value = float(all_reduce_sum(loss.detach())) / size
    norms = [float(p.grad.norm()) for p in net.parameters()]
    statistics = [float(b.double().norm()) for b in net.buffers()]
    return {"loss": value, "norms": norms, "statistics": statistics, "size": size}

def curve(root, cache, checkpoint):
    task = TrainingTask(
        scale=Scale(width=0.125, alpha=0.5, endpoints=16, head_filters=16, head_convs=1),
        train=TrainConfig(
            steps=5, batch=4, image_size=128, learning_rate=0.0005, warm_up=0.0, checkpoint_every=2
        ),
        data=DetectionData(root, cache),
        norm=NormConfig(momentum=0.05),
        evaluations=5,
        device="cpu",
    )
    losses = []
    report = lambda step, score: losses.append(score.metrics.get("loss", 0.0))
    score = task.evaluate(SMALL, 1.0, 3, report, Path(checkpoint))
    return {"losses": losses, "AP": score.reward}

with process_group():
    found = {head: gradients(head) for head in ("retinanet", "fcos")}
    found["curve"] = curve(*sys.argv[1:])
    if rank_and_size()[0] == 0:
        print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def one_and_two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What the script prints on one process, and on rank 0 of two."""
    folder = tmp_path_factory.mktemp("distributed")
    data = make_shapes(folder / "shapes", ShapesConfig(train=12, val=6, size=128))
    script = folder / "script.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    found = []
    for number, launcher in enumerate(LAUNCHERS):
        command = [*launcher, str(script), str(data), str(folder / "cache"), str(folder / f"run{number}")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
        assert done.returncode == 0, done.stderr[-3000:]
        found.append(json.loads([line for line in done.stdout.splitlines() if line.startswith("{")][-1]))
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
def test_two_processes_follow_the_loss_curve_of_one(one_and_two: list[dict[str, Any]]) -> None:
    one, two = (found["curve"] for found in one_and_two)
    assert len(one["losses"]) == 5
    # Float32 rounding grows from step to step; another batch or norm would differ by far more at once.
    assert two["losses"][0] == pytest.approx(one["losses"][0], rel=1e-3)
    assert two["losses"] == pytest.approx(one["losses"], rel=0.05)
    assert two["AP"] == pytest.approx(one["AP"], abs=0.01)


def test_a_batch_that_cannot_be_shared_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_module, "rank_and_size", lambda: (0, 3))
    config = TrainConfig(steps=1, batch=4, image_size=64, learning_rate=0.1)
    batches = Batches.__new__(Batches)  # Only its device is looked at.
    batches.device = torch.device("cpu")
    training = Training(batches=batches, config=config, steps=1, seed=0)
    with pytest.raises(ValueError, match="batch 4 cannot be shared by 3 processes"):
        train(torch.nn.Identity(), training)
