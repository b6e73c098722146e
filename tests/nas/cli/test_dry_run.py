"""A dry run has as many threads as a worker, so that its time is that of a worker."""

from __future__ import annotations

import torch

from nas.cli.dry_run import as_in_a_worker
from nas.executors import LocalExecutor, RayExecutor


def count(spec: object, fidelity: float) -> float:
    return float(torch.get_num_threads())


def test_the_threads_are_those_of_a_worker_and_given_back() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert as_in_a_worker(count, RayExecutor(workers=2))(None, 1.0) == 1
        assert as_in_a_worker(count, RayExecutor(workers=1, cpus=2))(None, 1.0) == 2
        assert as_in_a_worker(count, RayExecutor(workers=4, cpus=0.5))(None, 1.0) == 1
        assert as_in_a_worker(count, LocalExecutor())(None, 1.0) == 3
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
